"""OP_CLUSTER_SET_PARAMS: change settings of the whole cluster. Source: facts/master.md §A6."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpExecError, OpPrereqError
from ganeti.locking.names import SHARED
from ganeti.logic import cluster_master_ip, param_changes
from ganeti.logic.base import GeneratedJobs, Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.cluster_inherited import changed_inherited
from ganeti.logic.cluster_settings import LVM, changed_settings
from ganeti.logic.communication import missing_connections
from ganeti.logic.registry import implements
from ganeti.logic.roles import change_roles
from ganeti.model.base import EMPTY
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import cluster_hvparams, fill_osparams
from ganeti.model.node import Node
from ganeti.opcodes.cluster import OpClusterSetParams
from ganeti.rpc import calls
from ganeti.serializer import Json

LEAST_VG_MIB: Final = 20480


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """The cluster before and after."""

    before: Cluster
    cluster: Cluster

    @property
    def moves_address(self) -> bool:
        return self.before.master_netdev != self.cluster.master_netdev

    @property
    def changes_netmask(self) -> bool:
        return self.before.master_netmask != self.cluster.master_netmask


def asked_nodes(config: Snapshot) -> list[Node]:
    """Nodes that have a say: online ones that can have instances."""
    return [node for node in config.online_nodes() if node.vm_capable]


@implements(OpClusterSetParams)
class ClusterSetParams(LogicalUnit[OpClusterSetParams, ClusterPlan]):
    """Everything is checked first, on the nodes too; then one change is made."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(instances=SHARED, groups=SHARED, nodes=SHARED)

    def check(self, config: Snapshot) -> ClusterPlan:
        made = changed_settings(config.cluster, config, self.op, self.services.paths)
        made = changed_inherited(made, config, self.op)
        nodes = asked_nodes(config)
        self._check_volume_group(made, nodes)
        self._check_drbd_helper(made, nodes)
        self._check_hypervisors(config.cluster, made, nodes)
        self._check_os_parameters(made, nodes)
        groups = [(group, group) for group in config.groups.values()]
        violating = param_changes.new_violations(config, made, groups)
        if violating:
            self.warn(param_changes.policy_warning(violating))
        return ClusterPlan(config.cluster, made)

    def _check_volume_group(self, cluster: Cluster, nodes: list[Node]) -> None:
        group = cluster.volume_group_name
        enables = self.op.enabled_disk_templates is not None and LVM & set(
            cluster.enabled_disk_templates
        )
        if not group or not (self.op.vg_name or enables):
            return
        for outcome in self.rpc.all(nodes, calls.vg_list).values():
            if not outcome.ok:
                raise OpPrereqError(
                    f"node {outcome.node.name} does not tell its volume groups: {outcome.error}",
                    Code.ENVIRON,
                )
            size = outcome.get().get(group)
            if size is None or size < LEAST_VG_MIB:
                found = "there is none" if size is None else f"it has {size} MiB"
                raise OpPrereqError(
                    f"node {outcome.node.name}: volume group {group} of at least {LEAST_VG_MIB} MiB"
                    f" is needed, {found}",
                    Code.INVAL,
                )

    def _check_drbd_helper(self, cluster: Cluster, nodes: list[Node]) -> None:
        if not self.op.drbd_helper:
            return
        for outcome in self.rpc.all(nodes, calls.drbd_helper).values():
            if not outcome.ok:
                raise OpPrereqError(
                    f"node {outcome.node.name} does not tell its DRBD helper: {outcome.error}",
                    Code.ENVIRON,
                )
            if outcome.get() != self.op.drbd_helper:
                raise OpPrereqError(
                    f"node {outcome.node.name} has the DRBD helper {outcome.get()}, not"
                    f" {self.op.drbd_helper}",
                    Code.ENVIRON,
                )

    def _check_hypervisors(self, before: Cluster, cluster: Cluster, nodes: list[Node]) -> None:
        for kind in cluster.enabled_hypervisors:
            full = cluster_hvparams(cluster, kind)
            new = kind not in before.enabled_hypervisors
            if not new and full == cluster_hvparams(before, kind):
                continue
            outcomes = self.rpc.all(nodes, calls.hypervisor_validate_params, kind.value, full)
            for outcome in outcomes.values():
                if not outcome.offline:
                    outcome.get(f"parameters of hypervisor {kind}")

    def _check_os_parameters(self, cluster: Cluster, nodes: list[Node]) -> None:
        names = {*(self.op.osparams or ()), *(self.op.osparams_private_cluster or ())}
        for name in sorted(names):
            full = fill_osparams(cluster, name, EMPTY)
            if not full:
                continue
            outcomes = self.rpc.all(
                nodes, calls.os_validate, False, name, ["parameters"], full, False
            )
            for outcome in outcomes.values():
                if not outcome.offline:
                    outcome.get(f"parameters of OS {name}")

    def hooks(self, config: Snapshot, plan: ClusterPlan) -> HookEnv:
        master = [config.cluster.master_node]
        env = {
            "OP_TARGET": config.cluster.cluster_name,
            "NEW_VG_NAME": str(self.op.vg_name),
        }
        return HookEnv("cluster-modify", "CLUSTER", env, master, master)

    def execute(self, plan: ClusterPlan) -> Json | GeneratedJobs:
        if plan.moves_address:
            self._deactivate(plan)
        try:
            self._store(plan)
        finally:
            if plan.moves_address:
                self._activate()
        if plan.changes_netmask and not plan.moves_address:
            self._change_netmask(plan)
        jobs = []
        if self.op.instance_communication_network:
            jobs = missing_connections(self.services.snapshot())
        return GeneratedJobs([jobs]) if jobs else None

    def _store(self, plan: ClusterPlan) -> None:
        if self.op.candidate_pool_size is None:
            self.commit(lambda draft: draft.update_cluster(plan.cluster))
            return
        self.config_hook = True
        change_roles(self.services, lambda draft: draft.update_cluster(plan.cluster))

    def _deactivate(self, plan: ClusterPlan) -> None:
        """The address leaves the old device; with force a failure is borne."""
        before = plan.before
        self.feedback(f"Shutting down the master IP address on {before.master_netdev}")
        outcome = cluster_master_ip.deactivate(self.services, self.services.snapshot(), before)
        if outcome.ok:
            return
        text = f"the master IP address can't be shut down: {outcome.error}"
        if not self.op.force:
            raise OpExecError(f"{text}; --force goes on all the same")
        self.warn(text)

    def _activate(self) -> None:
        cluster = self.services.snapshot().cluster
        self.feedback(f"Starting the master IP address on {cluster.master_netdev}")
        outcome = cluster_master_ip.activate(self.services, self.services.snapshot())
        if not outcome.ok:
            self.warn(f"the master IP address can't be started: {outcome.error}")

    def _change_netmask(self, plan: ClusterPlan) -> None:
        cluster = plan.cluster
        outcome = self.rpc.ask(
            self.services.snapshot().master(),
            calls.node_change_master_netmask,
            plan.before.master_netmask,
            cluster.master_netmask,
            cluster.master_ip,
            cluster.master_netdev,
        )
        if not outcome.ok:
            self.warn(f"the netmask of the master IP address stays as it is: {outcome.error}")
