"""OP_INSTANCE_MIGRATE: a running instance goes to another node. Rules: facts/master.md D3."""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic import ask, instance_state, relocation
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.failover_steps import Failover, fail_over
from ganeti.logic.migrate_steps import Migration, migrate
from ganeti.logic.migration_cleanup import clean_up, plan_cleanup
from ganeti.logic.move_hooks import move_env
from ganeti.logic.registry import implements
from ganeti.logic.relocation import Way
from ganeti.model.inherit import fill_beparams, fill_hvparams
from ganeti.model.instance import Instance
from ganeti.opcodes.instance import OpInstanceMigrate
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import AdminState, MigrationMode

SHUTDOWN_TIMEOUT_S = 120  # of a failover that takes the migration's place


@dataclass(frozen=True, slots=True, kw_only=True)
class MigratePlan:
    """The way, and how: exactly one of cleanup, failover and migration."""

    way: Way
    live: bool
    cleanup: bool = False
    failover: bool = False
    balloon_mib: int | None = None


@implements(OpInstanceMigrate)
class InstanceMigrate(LogicalUnit[OpInstanceMigrate, MigratePlan]):
    """Move a running instance; whatever fails, it runs in one place, and the error names it."""

    def arguments(self) -> None:
        relocation.check_choice(self.op)
        if self.op.mode is not None and self.op.live is not None:
            raise OpPrereqError("give either a migration mode or the old flag live", Code.INVAL)

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return relocation.locks(config, self.op)

    def check(self, config: Snapshot) -> MigratePlan:
        op, services = self.op, self.services
        if op.cleanup:
            way = plan_cleanup(services, config, op)
            return MigratePlan(way=way, live=self._is_live(config, way.instance), cleanup=True)
        way = relocation.find_way(services, config, op, "migration")
        instance = way.instance
        live = self._is_live(config, instance)
        failover = self._falls_back(config, instance)
        starts = relocation.will_run(instance)
        relocation.check_way(services, config, way, ignore_ipolicy=op.ignore_ipolicy, starts=starts)
        if not failover:
            failover = self._is_not_migratable(config, way)
        if failover:
            return MigratePlan(way=way, live=live, failover=True)
        self._refuse_second(config, way)
        return MigratePlan(way=way, live=live, balloon_mib=self._balloon(config, way))

    def _is_live(self, config: Snapshot, instance: Instance) -> bool:
        """As it is said, else as the hypervisor parameter says."""
        if self.op.live is not None:
            return self.op.live
        mode = self.op.mode
        if mode is None:
            full = fill_hvparams(
                config.cluster, instance.hypervisor, instance.os, instance.hvparams
            )
            return bool(full.get("migration_mode", MigrationMode.LIVE) == MigrationMode.LIVE)
        return mode is MigrationMode.LIVE

    def _falls_back(self, config: Snapshot, instance: Instance) -> bool:
        """Whether it must be a failover; STATE when that is not allowed."""
        if fill_beparams(config.cluster, instance.beparams)["always_failover"]:
            self.info(f"instance {instance.name} is to fail over where a migration is asked for")
            return True
        if instance.admin_state is AdminState.UP:
            return False
        if not self.op.allow_failover:
            ask.admin_state(instance, (AdminState.UP,), "a migration")
        self.info(f"instance {instance.name} is not running, it fails over")
        return True

    def _is_not_migratable(self, config: Snapshot, way: Way) -> bool:
        """Whether the source can't migrate it, so that it fails over; STATE if not allowed."""
        filled = ask.filled(config, way.instance, target=way.source.uuid)
        outcome = self.rpc.ask(way.source, calls.instance_migratable, filled)
        if outcome.ok:
            return False
        if not self.op.allow_failover:
            raise OpPrereqError(
                f"instance {filled.name} can't be migrated: {outcome.error}",
                Code.STATE,
                hint="gnt-instance failover, or --allow-failover",
            )
        self.info(f"Can't migrate, it fails over: {outcome.error}")
        return True

    def _refuse_second(self, config: Snapshot, way: Way) -> None:
        """STATE when one of this name runs on the target already: giving up would end it."""
        kind = way.instance.hypervisor
        outcome = self.rpc.ask(
            way.target,
            calls.instance_info,
            way.instance.name,
            kind.value,
            ask.cluster_hvparams(config, kind),
        )
        if outcome.ok and instance_state.runs(outcome.get()):
            raise OpPrereqError(
                f"instance {way.instance.name} runs on node {way.target.name}, too",
                Code.STATE,
                hint="gnt-instance migrate --cleanup looks where it belongs",
            )

    def _balloon(self, config: Snapshot, way: Way) -> int | None:
        """Memory to shrink to, when the target has less than is in use; NORES if forbidden."""
        instance, kind = way.instance, way.instance.hypervisor
        found = instance_state.info(self.rpc, config, instance)
        if found is None:
            return None
        free = ask.memory(
            self.rpc, way.target, kind, ask.cluster_hvparams(config, kind), 0, instance.name
        )
        if free >= found.memory:
            return None
        if not self.op.allow_runtime_changes:
            raise OpPrereqError(
                f"node {way.target.name}: {free} MiB free, instance {instance.name} uses"
                f" {found.memory} MiB and may not shrink",
                Code.NORES,
                hint="leave out --no-runtime-changes, or use another node",
            )
        return max(free, int(fill_beparams(config.cluster, instance.beparams)["minmem"]))

    def hooks(self, config: Snapshot, plan: MigratePlan) -> HookEnv:
        env, nodes = move_env(config, plan.way)
        env |= {
            "MIGRATE_LIVE": str(plan.live),
            "MIGRATE_CLEANUP": str(self.op.cleanup),
            "ALLOW_RUNTIME_CHANGES": str(self.op.allow_runtime_changes),
        }
        return HookEnv("instance-migrate", "INSTANCE", env, nodes, nodes)

    def execute(self, plan: MigratePlan) -> Json:
        if plan.cleanup:
            clean_up(self.services, plan.way.instance)
        elif plan.failover:
            fail_over(
                self.services,
                Failover(
                    way=plan.way,
                    shutdown_timeout_s=SHUTDOWN_TIMEOUT_S,
                    ignore_consistency=False,
                    reason=self.op.reason or (),
                ),
            )
        else:
            migrate(
                self.services,
                Migration(
                    way=plan.way,
                    live=plan.live,
                    balloon_mib=plan.balloon_mib,
                    ignore_versions=self.op.ignore_hvversions,
                ),
            )
        return None
