"""OP_INSTANCE_QUERY_DATA: all about instances, down to each device.

Each node is asked once, for all instances together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.locking.names import SHARED
from ganeti.logic import ask, disks, instance_state
from ganeti.logic.base import Held, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import BlockDeviceStatus, MirrorOutcome, RunningInfo
from ganeti.opcodes.instance import OpInstanceQueryData
from ganeti.query.instance_info import InstanceFindings, instance_info
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.serializer import Json

DiskStatuses = Mapping[str, Mapping[str, BlockDeviceStatus]]
"""Node uuid → disk uuid → status."""


@implements(OpInstanceQueryData)
class InstanceQueryData(LogicalUnit[OpInstanceQueryData, tuple[Instance, ...]]):
    """One entry per instance, by name (facts/opcodes.json, result_details)."""

    def _instances(self, config: Snapshot) -> tuple[Instance, ...]:
        if self.op.instances:
            found = [ask.instance(config, name) for name in self.op.instances]
        else:
            found = sorted(config.instances.values(), key=lambda one: one.name)
        return tuple({one.uuid: one for one in found}.values())

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        instances = self._instances(config)
        if self.op.static and not self.op.use_locking:
            return LockRequest()
        nodes = {node.uuid: node for one in instances for node in config.nodes_of(one)}
        networks = {nic.network for one in instances for nic in one.nics if nic.network}
        return LockRequest(
            instances=dict.fromkeys((one.name for one in instances), SHARED),
            groups=dict.fromkeys((node.group for node in nodes.values()), SHARED),
            nodes=dict.fromkeys(nodes, SHARED),
            networks=dict.fromkeys(sorted(networks), SHARED),
        )

    def check(self, config: Snapshot) -> tuple[Instance, ...]:
        return self._instances(config)

    def execute(self, plan: tuple[Instance, ...]) -> Json:
        config = self.services.snapshot()
        if self.op.static:
            return {one.name: instance_info(config, one, None) for one in plan}
        running = self._running(config, plan)
        statuses = self._statuses(config, plan)
        return {
            one.name: instance_info(config, one, _findings(config, one, running, statuses))
            for one in plan
        }

    def _running(
        self, config: Snapshot, instances: Sequence[Instance]
    ) -> dict[str, Mapping[str, RunningInfo]]:
        """Per node uuid what runs there."""
        kinds = sorted({one.hypervisor for one in instances})
        nodes = {one.primary_node: config.nodes[one.primary_node] for one in instances}
        outcomes = self.rpc.all(
            list(nodes.values()),
            calls.all_instances_info,
            [kind.value for kind in kinds],
            {kind.value: ask.cluster_hvparams(config, kind) for kind in kinds},
        )
        self._tell_silent(outcomes)
        return {uuid: outcome.get() for uuid, outcome in outcomes.items() if outcome.ok}

    def _statuses(self, config: Snapshot, instances: Sequence[Instance]) -> DiskStatuses:
        asked: dict[str, list[Disk]] = {}
        for one in instances:
            for disk in disks.on_nodes(config, one.primary_node, config.disks_of(one)):
                asked.setdefault(disk.node.uuid, []).extend(disk.disk.walk())
        work: list[tuple[Node, tuple[list[Disk]]]] = [
            (config.nodes[uuid], (some,)) for uuid, some in asked.items()
        ]
        outcomes = self.rpc.each(work, calls.blockdev_getmirrorstatus_multi) if work else {}
        return {
            uuid: dict(_known(asked[uuid], outcome.get()))
            for uuid, outcome in outcomes.items()
            if outcome.ok
        }

    def _tell_silent(self, outcomes: Mapping[str, Outcome[dict[str, RunningInfo]]]) -> None:
        for outcome in outcomes.values():
            if not outcome.ok and not outcome.offline:
                self.warn(
                    f"node {outcome.node.name} can't tell what runs there, its instances are"
                    f" shown as down: {outcome.error}"
                )


def _known(
    asked: Sequence[Disk], told: Sequence[MirrorOutcome]
) -> Iterator[tuple[str, BlockDeviceStatus]]:
    for disk, (_, status) in zip(asked, told):
        if isinstance(status, BlockDeviceStatus):
            yield disk.uuid, status


def _findings(
    config: Snapshot,
    instance: Instance,
    running: Mapping[str, Mapping[str, RunningInfo]],
    statuses: DiskStatuses,
) -> InstanceFindings:
    primary, *others = (node.uuid for node in config.nodes_of(instance))
    on_secondary: dict[str, BlockDeviceStatus] = {}
    for uuid in others:
        on_secondary.update(statuses.get(uuid, {}))
    return InstanceFindings(
        runs=instance_state.runs(running.get(primary, {}).get(instance.name)),
        on_primary=statuses.get(primary, {}),
        on_secondary=on_secondary,
    )
