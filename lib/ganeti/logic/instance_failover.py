"""OP_INSTANCE_FAILOVER: to another node, with a stop between. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.logic import relocation
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.failover_steps import Failover, fail_over
from ganeti.logic.migration_cleanup import clean_up, plan_cleanup
from ganeti.logic.move_hooks import move_env
from ganeti.logic.registry import implements
from ganeti.logic.relocation import Way
from ganeti.opcodes.instance import OpInstanceFailover
from ganeti.serializer import Json


@dataclass(frozen=True, slots=True)
class FailoverPlan:
    """The way; with `cleanup` only what the wreck of an earlier try asks for."""

    way: Way
    cleanup: bool


@implements(OpInstanceFailover)
class InstanceFailover(LogicalUnit[OpInstanceFailover, FailoverPlan]):
    """Stop an instance on its node and start it on another that has or sees its disks."""

    def arguments(self) -> None:
        relocation.check_choice(self.op)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return relocation.locks(config, self.op)

    def check(self, config: Snapshot) -> FailoverPlan:
        op = self.op
        if op.cleanup:
            return FailoverPlan(plan_cleanup(self.services, config, op), True)
        way = relocation.find_way(self.services, config, op, "failover")
        relocation.check_way(
            self.services,
            config,
            way,
            ignore_ipolicy=op.ignore_ipolicy,
            starts=relocation.will_run(way.instance),
        )
        return FailoverPlan(way, False)

    def hooks(self, config: Snapshot, plan: FailoverPlan) -> HookEnv:
        env, nodes = move_env(config, plan.way)
        env |= {
            "IGNORE_CONSISTENCY": str(self.op.ignore_consistency),
            "SHUTDOWN_TIMEOUT": str(self.op.shutdown_timeout),
            "FAILOVER_CLEANUP": str(self.op.cleanup),
        }
        old, master = plan.way.source.uuid, config.cluster.master_node
        pre = [uuid for uuid in nodes if uuid != old or uuid == master]  # it may be dead
        return HookEnv("instance-failover", "INSTANCE", env, pre, list(dict.fromkeys([*pre, old])))

    def execute(self, plan: FailoverPlan) -> Json:
        if plan.cleanup:
            clean_up(self.services, plan.way.instance)
            return None
        todo = Failover(
            way=plan.way,
            shutdown_timeout_s=self.op.shutdown_timeout,
            ignore_consistency=self.op.ignore_consistency,
            reason=self.op.reason or (),
        )
        fail_over(self.services, todo)
        return None
