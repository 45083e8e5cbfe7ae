"""OP_NODE_ADD: a machine whose node daemon runs already becomes a node.

Order of checks and steps: facts/master.md §A3.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ancillary, ask, open_vswitch, ssh_keys
from ganeti.logic import param_changes as changes
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.candidates import becomes_candidate
from ganeti.logic.registry import implements
from ganeti.model.base import EMPTY
from ganeti.model.node import Node
from ganeti.model.params import check_params
from ganeti.model.params_node import ND_PARAMS
from ganeti.opcodes.node import OpNodeAdd
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import IpFamily
from ganeti.utils import hosts, net
from ganeti.version import CONFIG_VERSION


@dataclass(frozen=True, slots=True)
class NodeAddPlan:
    """The node as it will be, and whether it was there before."""

    node: Node
    readd: bool


@implements(OpNodeAdd)
class NodeAdd(LogicalUnit[OpNodeAdd, NodeAddPlan]):
    """Add a node, or take one in again."""

    config_hook = True

    def arguments(self) -> None:
        if self.op.readd and self.op.group:
            raise OpPrereqError(
                "a node that is added again keeps its group",
                Code.INVAL,
                hint="leave the group out; gnt-group assign-nodes moves nodes",
            )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def check(self, config: Snapshot) -> NodeAddPlan:
        host = self._host(IpFamily(config.cluster.primary_ip_family))
        known = config.find_node(host.name)
        if self.op.readd and known is not None and known.uuid == config.cluster.master_node:
            raise OpPrereqError(f"node {host.name} is the master", Code.STATE)
        secondary = self._secondary_ip(config, host, known)
        if known is not None and not self.op.readd:
            raise OpPrereqError(
                f"node {host.name} is already in the configuration",
                Code.EXISTS,
                hint="use --readd to take it in again",
            )
        if known is None and self.op.readd:
            raise OpPrereqError(f"node {host.name} is not in the configuration", Code.NOENT)
        self._check_addresses_unused(config, host.name, host.ip, secondary)
        self._check_homes(config, host.ip, secondary)
        if known is None:
            node = self._new_node(config, host, secondary)
        else:
            node = self._returning_node(config, known, host.ip, secondary)
        self._check_answers(node)
        return NodeAddPlan(node, readd=known is not None)

    def _host(self, family: IpFamily) -> hosts.Host:
        """Its full name; its address is what the name resolves to, or what is given."""
        host = hosts.look_up(self.services.paths, self.op.node_name, family)
        given = self.op.primary_ip
        if given is None:
            return host
        if not net.is_address(given) or net.family_of(given) is not family:
            raise OpPrereqError(
                f"primary address {given!r} is not IPv{4 if family is IpFamily.IPV4 else 6}, as the"
                " cluster has them",
                Code.INVAL,
            )
        return host._replace(ip=given)

    def _secondary_ip(self, config: Snapshot, host: hosts.Host, known: Node | None) -> str:
        given = self.op.secondary_ip
        if known is not None:
            if given is not None and given != known.secondary_ip:
                raise OpPrereqError(
                    f"node {known.name} has the secondary address {known.secondary_ip},"
                    f" not {given}",
                    Code.INVAL,
                )
            return known.secondary_ip if known.secondary_ip != known.primary_ip else host.ip
        if given is None:
            if net.family_of(host.ip) is IpFamily.IPV6:
                raise OpPrereqError(
                    "with IPv6 as primary network a secondary IPv4 address is needed", Code.INVAL
                )
            return host.ip
        if not net.is_address(given) or net.family_of(given) is not IpFamily.IPV4:
            raise OpPrereqError(f"secondary address {given!r} is not IPv4", Code.INVAL)
        return given

    def _check_addresses_unused(
        self, config: Snapshot, name: str, primary: str, secondary: str
    ) -> None:
        for other in config.nodes.values():
            if other.name == name:
                continue
            taken = {other.primary_ip, other.secondary_ip} & {primary, secondary}
            if taken:
                raise OpPrereqError(
                    f"address {taken.pop()} of node {name} is used by node {other.name}",
                    Code.NOTUNIQUE,
                )

    def _check_homes(self, config: Snapshot, primary: str, secondary: str) -> None:
        master = config.master()
        master_has_one = master.primary_ip == master.secondary_ip
        if master_has_one and primary != secondary:
            raise OpPrereqError(
                "the master has no secondary address, so the new node can't have one", Code.INVAL
            )
        if not master_has_one and primary == secondary:
            raise OpPrereqError(
                "the master has a secondary address, so the new node needs one",
                Code.INVAL,
                hint="give --secondary-ip",
            )

    def _new_node(self, config: Snapshot, host: hosts.Host, secondary: str) -> Node:
        capable = self.op.master_capable is not False
        return Node(
            uuid=str(uuid.uuid4()),
            name=host.name,
            primary_ip=host.ip,
            secondary_ip=secondary,
            group=self._group(config),
            master_candidate=becomes_candidate(config, capable, ()),
            offline=False,
            drained=False,
            master_capable=capable,
            vm_capable=self.op.vm_capable is not False,
            ndparams=self._ndparams(),
            hv_state_static=changes.changed_hv_state(EMPTY, self.op.hv_state or EMPTY),
            disk_state_static=changes.changed_disk_state(EMPTY, self.op.disk_state or EMPTY),
        )

    def _group(self, config: Snapshot) -> str:
        if self.op.group is not None:
            return ask.group(config, self.op.group).uuid
        if len(config.groups) != 1:
            raise OpPrereqError(
                f"there are {len(config.groups)} node groups",
                Code.INVAL,
                hint="name one with --node-group",
            )
        return next(iter(config.groups))

    def _ndparams(self) -> dict[str, Json]:
        given = check_params(ND_PARAMS, self.op.ndparams or {})
        refused = [name for name in given if ND_PARAMS[name].cluster_only]
        if refused:
            raise OpPrereqError(
                f"node parameter {refused[0]!r} can't be set for one node", Code.INVAL
            )
        return given

    def _returning_node(self, config: Snapshot, known: Node, ip: str, secondary: str) -> Node:
        capable = known.master_capable if self.op.master_capable is None else self.op.master_capable
        vm_capable = known.vm_capable if self.op.vm_capable is None else self.op.vm_capable
        holds = config.primary_instances(known.uuid) + config.secondary_instances(known.uuid)
        if holds and not vm_capable:
            raise OpPrereqError(
                f"node {known.name} holds instances, such as {holds[0].name}, so it must stay"
                " vm_capable",
                Code.STATE,
            )
        return replace(
            known,
            primary_ip=ip,
            secondary_ip=secondary,
            offline=False,
            drained=False,
            powered=True,
            master_capable=capable,
            vm_capable=vm_capable,
            master_candidate=becomes_candidate(config, capable, [known.uuid]),
            ndparams={**known.ndparams, **self._ndparams()},
            hv_state_static=changes.changed_hv_state(
                known.hv_state_static, self.op.hv_state or EMPTY
            ),
            disk_state_static=changes.changed_disk_state(
                known.disk_state_static, self.op.disk_state or EMPTY
            ),
        )

    def _check_answers(self, node: Node) -> None:
        """Its node daemon answers, with our version of the protocol."""
        for address in dict.fromkeys((node.primary_ip, node.secondary_ip)):
            problem = net.connect_error(address, constants.NODED_PORT)
            if problem is not None:
                raise OpPrereqError(
                    f"the node daemon of {node.name} does not answer at {address} port"
                    f" {constants.NODED_PORT}: {problem}",
                    Code.ENVIRON,
                    hint="is it installed and running there, and is the port open?",
                )
        outcome = self.rpc.ask(node, calls.version)
        if not outcome.ok:
            raise OpPrereqError(
                f"node {node.name} does not tell its version: {outcome.error}", Code.ENVIRON
            )
        if outcome.get() != CONFIG_VERSION:
            raise OpPrereqError(
                f"node {node.name} speaks protocol {outcome.get()}, the master {CONFIG_VERSION}",
                Code.ENVIRON,
                hint="install the same release on both",
            )

    def hooks(self, config: Snapshot, plan: NodeAddPlan) -> HookEnv:
        node = plan.node
        others = [uuid for uuid in config.nodes if uuid != node.uuid]
        env = {
            "OP_TARGET": node.name,
            "NODE_NAME": node.name,
            "NODE_PIP": node.primary_ip,
            "NODE_SIP": node.secondary_ip,
            "MASTER_CAPABLE": str(node.master_capable),
            "VM_CAPABLE": str(node.vm_capable),
        }
        return HookEnv("node-add", "NODE", env, others, [*others, node.uuid])

    def execute(self, plan: NodeAddPlan) -> Json:
        node, paths = plan.node, self.services.paths
        config = self.services.snapshot()
        if config.cluster.modify_etc_hosts and not paths.is_virtual:
            self.rpc.one(config.master(), calls.etc_hosts_modify, "add", node.name, node.primary_ip)
        if node.secondary_ip != node.primary_ip and not self.rpc.one(
            node, calls.node_has_ip_address, node.secondary_ip
        ):
            raise OpExecError(
                f"node {node.name} does not have the secondary address {node.secondary_ip}"
            )
        problem = open_vswitch.problem_of_set_up(self.rpc, config, node)
        if problem is not None:
            raise OpExecError(problem)
        digest = self._certificate_digest(node)
        with self.undo() as undo:
            if not plan.readd:  # one that was there before stays, and can be added again
                undo.before_config("forget_node", node.uuid)
            self.commit(lambda draft: self._store(draft, plan, digest))
            if node.master_candidate:
                self.info("Node will be a master candidate")
            self._furnish(plan)
            undo.settle()  # from now on a crash does not take the node away
        return None

    def _furnish(self, plan: NodeAddPlan) -> None:
        """The node has what all nodes have; what fails is a warning."""
        self.services.distribute()
        config = self.services.snapshot()
        node = config.nodes[plan.node.uuid]
        tells_others = config.cluster.modify_etc_hosts and not self.services.paths.is_virtual
        ancillary.distribute(self.services, config, None if tells_others else [node])
        if plan.readd and not node.master_candidate:
            outcome = self.rpc.ask(node, calls.node_demote_from_mc)
            if not outcome.ok:
                self.warn(f"node {node.name} keeps its configuration file: {outcome.error}")
        if self.op.node_setup:  # who set the node up otherwise sees to its SSH keys, too
            ssh_keys.publish(self.services, node, readd=plan.readd)

    def _certificate_digest(self, node: Node) -> str:
        match self.rpc.one(node, calls.node_crypto_tokens, [("ssl", "get", None)]):
            case [[_, str(digest), *_], *_] if digest:
                return digest
        raise OpExecError(f"node {node.name} has no client certificate; add it with gnt-node add")

    def _store(self, draft: Draft, plan: NodeAddPlan, digest: str) -> None:
        node = plan.node
        if plan.readd:
            draft.update(node)
        else:
            draft.add(node)
        cluster = draft.snapshot.cluster
        certs = dict(cluster.candidate_certs)
        if node.master_candidate:
            certs[node.uuid] = digest
        else:
            certs.pop(node.uuid, None)
        if certs != cluster.candidate_certs:
            draft.update_cluster(replace(cluster, candidate_certs=certs))
