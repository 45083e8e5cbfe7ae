"""OP_CLUSTER_VERIFY: submits the jobs that verify the configuration and each node group."""

from __future__ import annotations

from ganeti.logic.base import GeneratedJobs, QueryUnit
from ganeti.logic.registry import implements
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.cluster import OpClusterVerify, OpClusterVerifyConfig, OpClusterVerifyGroup
from ganeti.utils.text import nice_sort_key


@implements(OpClusterVerify)
class ClusterVerify(QueryUnit[OpClusterVerify]):
    """One job for the configuration, then one per group that waits for it; or one group only."""

    def execute(self, plan: None) -> GeneratedJobs:
        config = self.services.snapshot()
        if self.op.group_name is not None:
            found = config.find_group(self.op.group_name)
            name = found.name if found is not None else self.op.group_name
            return GeneratedJobs([[self._group_job(name, None)]])
        groups = sorted(config.groups.values(), key=lambda group: nice_sort_key(group.name))
        jobs: list[list[Opcode]] = [[self._config_job()]]
        for number, group in enumerate(groups, start=1):
            jobs.append([self._group_job(group.name, -number)])
        return GeneratedJobs(jobs)

    def _config_job(self) -> OpClusterVerifyConfig:
        return OpClusterVerifyConfig(
            debug_simulate_errors=self.op.debug_simulate_errors,
            error_codes=self.op.error_codes,
            ignore_errors=self.op.ignore_errors,
            verbose=self.op.verbose,
        )

    def _group_job(self, name: str, after: int | None) -> OpClusterVerifyGroup:
        return OpClusterVerifyGroup(
            group_name=name,
            depends=None if after is None else [(after, [])],
            debug_simulate_errors=self.op.debug_simulate_errors,
            error_codes=self.op.error_codes,
            skip_checks=self.op.skip_checks,
            ignore_errors=self.op.ignore_errors,
            verbose=self.op.verbose,
            verify_clutter=self.op.verify_clutter,
        )
