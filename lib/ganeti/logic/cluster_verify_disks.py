"""OP_CLUSTER_VERIFY_DISKS: submits a job for each node group, or for one."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED
from ganeti.logic import ask
from ganeti.logic.base import GeneratedJobs, Held, LockRequest, QueryUnit
from ganeti.logic.registry import implements
from ganeti.model.group import NodeGroup
from ganeti.opcodes.cluster import OpClusterVerifyDisks
from ganeti.opcodes.group import OpGroupVerifyDisks
from ganeti.types import DiskTemplate
from ganeti.utils.text import nice_sort_key


@implements(OpClusterVerifyDisks)
class ClusterVerifyDisks(QueryUnit[OpClusterVerifyDisks]):
    """Providers of external storage look after their disks themselves."""

    def _groups(self, config: Snapshot) -> list[NodeGroup]:
        if self.op.group_name is not None:
            return [ask.group(config, self.op.group_name)]
        return sorted(config.groups.values(), key=lambda group: nice_sort_key(group.name))

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        groups = self._groups(config)
        if self.op.group_name is None:
            return LockRequest(groups=SHARED)
        return LockRequest(groups={group.uuid: SHARED for group in groups})

    def execute(self, plan: None) -> GeneratedJobs:
        config = self.services.snapshot()
        groups = self._groups(config)
        if set(config.cluster.enabled_disk_templates) == {DiskTemplate.EXT}:
            return GeneratedJobs([])
        return GeneratedJobs(
            [
                [
                    OpGroupVerifyDisks(
                        group_name=group.uuid,
                        is_strict=self.op.is_strict,
                        comment=f"Submitted by {self.op.OP_ID}",
                    )
                ]
                for group in groups
            ]
        )
