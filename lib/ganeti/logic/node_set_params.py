"""OP_NODE_SET_PARAMS: role, capabilities, addresses and parameters of a node.

Roles and their transitions: facts/master.md §A4. At most one of master_candidate, drained and
offline is set; setting one clears the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED, Mode
from ganeti.logic import ask
from ganeti.logic import param_changes as changes
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.candidates import becomes_candidate
from ganeti.logic.node_address import check_secondary_ip, mirrored_instances
from ganeti.logic.registry import implements
from ganeti.logic.roles import change_roles, demotes_too_many
from ganeti.model.base import EMPTY
from ganeti.model.inherit import fill_ndparams
from ganeti.model.node import Node
from ganeti.opcodes.node import OpNodeSetParams
from ganeti.rpc import calls
from ganeti.serializer import Json

ROLES: Final = ("master_candidate", "drained", "offline")
CAPABILITIES: Final = ("master_capable", "vm_capable")


@dataclass(frozen=True, slots=True)
class NodePlan:
    """The node before and after.

    `wanted` are the flags that the request comes to, once those that are no change are left out
    and promotion or demotion of its own is added; None: left as it is.
    """

    before: Node
    node: Node
    wanted: dict[str, bool | None]

    @property
    def changes_role(self) -> bool:
        return any(getattr(self.before, flag) != getattr(self.node, flag) for flag in ROLES)

    @property
    def is_demoted(self) -> bool:
        """It was a candidate, is none, and can be told so."""
        return self.before.master_candidate and not (
            self.node.master_candidate or self.node.offline
        )


def _given(value: bool | None, now: bool) -> bool:
    return now if value is None else value


def _role(node: Node) -> str | None:
    """The flag that is set; None for a regular node."""
    return next((flag for flag in ROLES if getattr(node, flag)), None)


def new_role(node: Node, wanted: dict[str, bool | None]) -> str | None:
    """The role after a request: a flag that is set, or none, or the one it has."""
    for flag in ROLES:
        if wanted[flag]:
            return flag
    if any(wanted[flag] is False for flag in ROLES):
        return None
    return _role(node)


@implements(OpNodeSetParams)
class NodeSetParams(LogicalUnit[OpNodeSetParams, NodePlan]):
    """Change a node; with auto_promote others take over as master candidates."""

    def arguments(self) -> None:
        op = self.op
        flags = [getattr(op, flag) for flag in (*ROLES, *CAPABILITIES)]
        others = (op.secondary_ip, op.ndparams, op.hv_state, op.disk_state, op.powered)
        if all(value is None for value in (*flags, *others)):
            raise OpPrereqError("nothing is to be changed", Code.INVAL)
        if flags.count(True) > 1:
            raise OpPrereqError(
                "a node can be put into one state at a time only",
                Code.INVAL,
                hint="use one command for each",
            )

    @property
    def _might_demote(self) -> bool:
        op = self.op
        return bool(
            op.offline or op.drained or op.master_candidate is False or op.master_capable is False
        )

    @property
    def _promotes_others(self) -> bool:
        return self.op.auto_promote and self._might_demote

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        node = ask.node(config, self.op.node_name)
        nodes: Any = EXCLUSIVE if self._promotes_others else {node.uuid: EXCLUSIVE}
        instances: dict[str, Mode] = {}
        if self.op.secondary_ip is not None:
            names = [instance.name for instance in mirrored_instances(config, node)]
            instances = dict.fromkeys(names, SHARED)
        return LockRequest(nodes=nodes, node_res=nodes, instances=instances)

    def check(self, config: Snapshot) -> NodePlan:
        node = ask.node(config, self.op.node_name)
        self._check_flags(config, node)
        wanted = self._real_changes(node)
        self._check_power(config, node, wanted)
        self._promote_or_demote_itself(config, node, wanted)
        role = new_role(node, wanted)
        if _role(node) == "offline" and role != "offline":
            self._check_is_back(node)
        made = replace(
            node,
            master_candidate=role == "master_candidate",
            drained=role == "drained",
            offline=role == "offline",
            master_capable=_given(wanted["master_capable"], node.master_capable),
            vm_capable=_given(wanted["vm_capable"], node.vm_capable),
            powered=_given(self.op.powered, node.powered),
        )
        if self.op.secondary_ip is not None:
            made = check_secondary_ip(self, config, made, self.op.secondary_ip)
        return NodePlan(node, self._with_params(made), wanted)

    def _check_flags(self, config: Snapshot, node: Node) -> None:
        op, is_master = self.op, node.uuid == config.cluster.master_node
        if is_master and any(getattr(op, flag) is not None for flag in ROLES):
            raise OpPrereqError(
                f"node {node.name} is the master, and that role moves by a failover only",
                Code.INVAL,
                hint="gnt-cluster master-failover on another candidate",
            )
        if op.master_candidate and not node.master_capable:
            raise OpPrereqError(
                f"node {node.name} is not master_capable and can't become master candidate",
                Code.STATE,
            )
        if op.vm_capable is False:
            held = config.primary_instances(node.uuid) + config.secondary_instances(node.uuid)
            if held:
                raise OpPrereqError(
                    f"node {node.name} hosts instances, such as {held[0].name}, and must stay"
                    " vm_capable",
                    Code.STATE,
                )
        if op.master_capable is False and is_master:
            raise OpPrereqError(
                f"node {node.name} is the master and must stay master_capable", Code.STATE
            )
        loses = node.master_candidate and self._might_demote and not op.auto_promote
        if loses and demotes_too_many(config, node):
            raise OpPrereqError(
                f"without node {node.name} there would not be enough master candidates",
                Code.STATE,
                hint="--auto-promote lets other nodes become candidates",
            )

    def _real_changes(self, node: Node) -> dict[str, bool | None]:
        """The flags of the request, without those that ask for what is so already."""
        wanted: dict[str, bool | None] = {
            flag: getattr(self.op, flag) for flag in (*ROLES, *CAPABILITIES)
        }
        for flag in ROLES:
            if wanted[flag] is False and not getattr(node, flag):
                self.info(f"Ignoring request to unset flag {flag}, already unset")
                wanted[flag] = None
        return wanted

    def _check_power(self, config: Snapshot, node: Node, wanted: dict[str, bool | None]) -> None:
        params = fill_ndparams(config.cluster, config.group_of(node), node)
        if not params["oob_program"]:
            if self.op.powered is not None:
                raise OpPrereqError(
                    f"node {node.name} has no out-of-band program, so its power state can't be set",
                    Code.STATE,
                )
        elif wanted["offline"] is False and not (node.powered or self.op.powered):
            raise OpPrereqError(
                f"node {node.name} is powered off and stays offline",
                Code.STATE,
                hint="gnt-node power on first",
            )

    def _promote_or_demote_itself(
        self, config: Snapshot, node: Node, wanted: dict[str, bool | None]
    ) -> None:
        becomes_capable = bool(wanted["master_capable"]) and not node.master_capable
        if wanted["drained"] is False or wanted["offline"] is False or becomes_capable:
            capable = node.master_capable if wanted["master_capable"] is None else True
            stays = new_role(node, {**wanted, "master_candidate": None})
            free = stays is None and wanted["master_candidate"] is None
            if free and becomes_candidate(
                config, capable and wanted["master_capable"] is not False, [node.uuid]
            ):
                self.info("Auto-promoting node to master candidate")
                wanted["master_candidate"] = True
        if wanted["master_capable"] is False and node.master_candidate:
            self.info("Demoting from master candidate")
            wanted["master_candidate"] = False

    def _check_is_back(self, node: Node) -> None:
        outcome = self.rpc.ask(node, calls.version)
        if outcome.error is not None:
            raise OpPrereqError(
                f"node {node.name} is to come back and does not answer: {outcome.error}",
                Code.STATE,
                hint="gnt-node add --readd sets it up again",
            )
        self.warn(
            f"node {node.name} comes back without being set up again; gnt-node add --readd is the"
            " safe way, use it if the node may have changed meanwhile"
        )

    def _with_params(self, node: Node) -> Node:
        op = self.op
        return replace(
            node,
            ndparams=changes.changed_ndparams(node.ndparams, op.ndparams or EMPTY, of_a_node=True),
            hv_state_static=changes.changed_hv_state(node.hv_state_static, op.hv_state or EMPTY),
            disk_state_static=changes.changed_disk_state(
                node.disk_state_static, op.disk_state or EMPTY
            ),
        )

    def hooks(self, config: Snapshot, plan: NodePlan) -> HookEnv:
        env = {"OP_TARGET": plan.node.name}
        env |= {flag.upper(): str(plan.wanted[flag]) for flag in (*ROLES, *CAPABILITIES)}
        nodes = [config.cluster.master_node, plan.node.uuid]
        return HookEnv("node-modify", "NODE", env, nodes, nodes)

    def execute(self, plan: NodePlan) -> Json:
        if not plan.changes_role:
            self.commit(lambda draft: draft.update(plan.node))
            return list(_told(plan))
        self.config_hook = True
        change_roles(
            self.services,
            lambda draft: draft.update(plan.node),
            promote=self._promotes_others,
            without=[plan.node.uuid],
        )
        if plan.is_demoted:
            outcome = self.rpc.ask(plan.node, calls.node_demote_from_mc)
            if not outcome.ok:
                self.warn(f"node {plan.node.name} keeps its configuration file: {outcome.error}")
        self.services.distribute()
        return list(_told(plan))


def _told(plan: NodePlan) -> Iterable[list[str]]:
    """Rows of [what, new value]: capabilities that were given, and flags that changed."""
    for flag in CAPABILITIES:
        if plan.wanted[flag] is not None:
            yield [flag, str(plan.wanted[flag])]
    for flag in ROLES:
        now = getattr(plan.node, flag)
        if getattr(plan.before, flag) != now:
            yield [flag, str(now)]
    if plan.before.secondary_ip != plan.node.secondary_ip:
        yield ["secondary_ip", plan.node.secondary_ip]
    if plan.before.powered != plan.node.powered:
        yield ["powered", str(plan.node.powered)]
