"""What is asked of which node, over RPC, and what becomes of the answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from fact_tables import facts
from ganeti.config.snapshot import Snapshot
from ganeti.model.config import ConfigDocument
from ganeti.model.report import HypervisorNodeInfo, NodeInfo, RunningInfo, StorageInfo
from ganeti.query.fields import Need
from ganeti.query.live import RpcLive, default_storage
from ganeti.query.sources import NodeReport
from ganeti.rpc.base import Call, Outcome, Target
from ganeti.rpc.client import RpcClient
from ganeti.serializer import decode
from ganeti.types import DiskTemplate, FieldStatus


@dataclass
class FakeRpc:
    """Every online node answers `answer`, but those named in `dead`."""

    answer: Any
    dead: set[str] = field(default_factory=set)
    calls: list[tuple[str, list[str], tuple[Any, ...]]] = field(default_factory=list)

    async def all(
        self, nodes: Sequence[Target], call: Call[..., Any], *args: Any
    ) -> dict[str, Outcome[Any]]:
        self.calls.append((call.name, sorted(node.name for node in nodes), args))
        return {node.uuid: self._outcome(node) for node in nodes}

    def _outcome(self, node: Target) -> Outcome[Any]:
        if node.offline:
            return Outcome(node, None, "Node is marked offline", offline=True)
        if node.name in self.dead:
            return Outcome(node, None, "no answer")
        return Outcome(node, self.answer)


@pytest.fixture
def config() -> Snapshot:
    document = facts("config-data")["example_3_0_two_nodes_one_drbd_instance"]
    return Snapshot.of(decode(ConfigDocument, document, "example"))


def live(rpc: FakeRpc) -> RpcLive:
    return RpcLive(cast(RpcClient, rpc), lambda config, instance: {"instance": instance.name})


def test_a_failure_is_no_data_and_a_marked_node_is_offline(config: Snapshot) -> None:
    first, second = config.nodes.values()
    rpc = FakeRpc({"web1": RunningInfo(memory=1)}, dead={first.name})
    nodes = [first, replace(second, offline=True)]
    told = asyncio.run(live(rpc).running(config, nodes))
    assert told == {first.uuid: FieldStatus.NO_DATA, second.uuid: FieldStatus.OFFLINE}


def test_running_instances_are_asked_of_all_enabled_hypervisors(config: Snapshot) -> None:
    rpc = FakeRpc({})
    asyncio.run(live(rpc).running(config, list(config.nodes.values())))
    ((name, nodes, (kinds, params)),) = rpc.calls
    assert name == "all_instances_info" and len(nodes) == 2
    assert kinds == list(config.cluster.enabled_hypervisors) == list(params)


def test_a_node_is_asked_only_for_what_is_needed(config: Snapshot) -> None:
    info = NodeInfo("boot", (), ())
    for needs, units, specs in (
        ({Need.BOOT}, 0, 0),
        ({Need.HYPERVISOR}, 0, 1),
        ({Need.STORAGE, Need.SPINDLES}, 2, 0),
    ):
        rpc = FakeRpc(info)
        asyncio.run(live(rpc).node_reports(config, list(config.nodes.values()), frozenset(needs)))
        ((name, _, args),) = rpc.calls
        assert (name, len(args[0]), len(args[1])) == ("node_info", units, specs)


def test_parts_of_a_report_are_told_by_their_kind(config: Snapshot) -> None:
    (node, *_) = config.nodes.values()
    group = StorageInfo(type="lvm-vg", name="vg", storage_free=1, storage_size=2)
    spindles = StorageInfo(type="lvm-pv", name="vg", storage_free=3, storage_size=4)
    memory = HypervisorNodeInfo(memory_free=7)
    rpc = FakeRpc(NodeInfo("boot", (spindles, group), (memory,)))
    told = asyncio.run(live(rpc).node_reports(config, [node], frozenset(Need)))
    assert told == {node.uuid: NodeReport("boot", memory, group, spindles)}


@pytest.mark.parametrize(
    ("templates", "kind"),
    [
        ((DiskTemplate.DISKLESS, DiskTemplate.FILE), "file"),
        ((DiskTemplate.DRBD, DiskTemplate.FILE), "lvm-vg"),
        ((DiskTemplate.DISKLESS,), None),
    ],
)
def test_default_storage_is_that_of_the_first_template_with_space(
    config: Snapshot, templates: tuple[DiskTemplate, ...], kind: str | None
) -> None:
    cluster = replace(config.cluster, enabled_disk_templates=templates, volume_group_name="vg")
    unit = default_storage(cluster, exclusive_storage=False)
    assert (unit[0] if unit else None) == kind
