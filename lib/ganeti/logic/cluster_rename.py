"""OP_CLUSTER_RENAME: another name, and with it another address. Source: facts/master.md §A6."""

from __future__ import annotations

from dataclasses import replace

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ancillary, cluster_master_ip
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.cluster import OpClusterRename
from ganeti.serializer import Json
from ganeti.types import IpFamily
from ganeti.utils import hosts, net
from ganeti.utils.files import LocalDisk


def renamed_hosts(text: str, old: str, new: str) -> str:
    """A known_hosts file (sshd(8)) whose lines for one name are for another."""
    lines = []
    for line in text.splitlines():
        names, blank, rest = line.partition(" ")
        changed = ",".join(new if name == old else name for name in names.split(","))
        lines.append(f"{changed}{blank}{rest}\n")
    return "".join(lines)


@implements(OpClusterRename)
class ClusterRename(LogicalUnit[OpClusterRename, hosts.Host]):
    """The plan is the new name and its address; the result is the name."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(cluster=EXCLUSIVE)

    def check(self, config: Snapshot) -> hosts.Host:
        cluster = config.cluster
        family = IpFamily(cluster.primary_ip_family)
        host = hosts.look_up(self.services.paths, self.op.name, family)
        if (host.name, host.ip) == (cluster.cluster_name, cluster.master_ip):
            raise OpPrereqError(
                f"the cluster has the name {host.name} and the address {host.ip} already",
                Code.INVAL,
            )
        if host.ip != cluster.master_ip and net.is_port_open(host.ip, constants.NODED_PORT):
            raise OpPrereqError(
                f"the address {host.ip} of {host.name} is used by another machine",
                Code.NOTUNIQUE,
            )
        return host

    def hooks(self, config: Snapshot, plan: hosts.Host) -> HookEnv:
        env = {"OP_TARGET": config.cluster.cluster_name, "NEW_NAME": plan.name}
        master = [config.cluster.master_node]
        return HookEnv("cluster-rename", "CLUSTER", env, master, list(config.nodes))

    def execute(self, plan: hosts.Host) -> Json:
        config = self.services.snapshot()
        before = config.cluster
        outcome = cluster_master_ip.deactivate(self.services, config, before)
        cluster_master_ip.demand(outcome, "taken down")
        try:
            made = replace(before, cluster_name=plan.name, master_ip=plan.ip)
            self.commit(lambda draft: draft.update_cluster(made))
            self._rename_host_key(before.cluster_name, plan.name)
        finally:
            outcome = cluster_master_ip.activate(self.services, self.services.snapshot())
            if not outcome.ok:
                self.warn(
                    f"the master IP address could not be put up: {outcome.error}; try again with"
                    " gnt-cluster activate-master-ip"
                )
        self.services.distribute()
        return plan.name

    def _rename_host_key(self, old: str, new: str) -> None:
        """Nodes prove themselves under the cluster's name: the file has it, here and there."""
        path = self.services.paths.known_hosts
        if not path.exists():
            return
        LocalDisk().replace(path, renamed_hosts(path.read_text(), old, new).encode())
        ancillary.distribute(self.services, self.services.snapshot())
