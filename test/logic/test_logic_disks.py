"""Disks on two nodes: order of making, tolerance of failures, waiting for mirrors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_drbd_disk, an_instance
from fakes.services import FakeServices, a_cluster
from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError, RemoteError
from ganeti.logic import ask, disks
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.report import BlockDeviceStatus

NODE2, NODE3 = "node2.example.com", "node3.example.com"


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    """web1 with a DRBD disk, primary on node2, secondary on node3; no devices yet."""
    made = FakeServices(a_cluster(), tmp_path)
    disk = a_drbd_disk(1, made.node("node2").uuid, made.node("node3").uuid, 11000, (0, 0))

    def add(draft: Any) -> None:
        draft.update_cluster(replace(draft.snapshot.cluster, highest_used_port=11000))
        draft.add(disk)
        one = an_instance(1, made.node("node2").uuid, disks=(disk.uuid,), disks_active=False)
        draft.add(one)

    made.change(add)
    return made


def web1(config: Snapshot) -> tuple[Instance, tuple[Disk, ...]]:
    found = config.find_instance("web1")
    assert found is not None
    return found, config.disks_of(found)


def make(services: FakeServices) -> None:
    instance, given = web1(services.config)
    disks.create(services, services.config, services.undo, instance, given)


def activate(services: FakeServices, **wishes: bool) -> list[disks.Activated]:
    instance, _ = web1(services.config)
    filled = ask.filled(services.config, instance, target=instance.primary_node)
    return disks.activate(services, services.config, filled, **wishes)


def test_children_are_made_before_the_mirror_on_the_secondary_first(
    services: FakeServices,
) -> None:
    _, (disk,) = web1(services.config)
    make(services)
    made = [
        (node, args[0].uuid, args[3])
        for (_, node), (_, args) in zip(services.rpc.log, services.rpc.arguments)
    ]
    tree = [child.uuid for child in disk.children] + [disk.uuid]
    assert made == [
        *((NODE3, uuid, False) for uuid in tree),
        *((NODE2, uuid, True) for uuid in tree),
    ]
    assert services.undo.names == ["blockdev_remove", "blockdev_remove"]
    args = services.rpc.arguments[-1][1]
    assert args[1:3] == [1024, "web1.example.com"]
    assert args[4] == "originstname+web1.example.com"


def test_each_side_gets_the_addresses_it_needs(services: FakeServices) -> None:
    make(services)
    last = services.rpc.arguments[-1][1][0]
    assert last.dynamic_params["local-ip"] == "192.0.2.2"
    assert last.dynamic_params["remote-ip"] == "192.0.2.3"


def test_activation_prepares_both_sides_before_the_primary_takes_over(
    services: FakeServices,
) -> None:
    make(services)
    services.rpc.log.clear()
    rows = activate(services)
    assert services.rpc.log == [
        ("blockdev_assemble", NODE3),
        ("blockdev_assemble", NODE2),
        ("blockdev_assemble", NODE2),
    ]
    assert [row[:2] for row in rows] == [(NODE2, "disk/0")]
    assert web1(services.config)[0].disks_active


def test_a_dead_secondary_stops_activation_unless_ignored_or_offline(
    services: FakeServices,
) -> None:
    make(services)
    services.rpc.silent = {NODE3}
    with pytest.raises(OpExecError):
        activate(services)
    assert not web1(services.config)[0].disks_active
    activate(services, ignore_secondaries=True)
    services.change_node("node3", offline=True, master_candidate=False)
    activate(services)


def test_without_size_the_mirror_takes_what_its_devices_have(services: FakeServices) -> None:
    make(services)
    activate(services, ignore_size=True)
    assert services.rpc.arguments[-1][1][0].size == 0


def test_deactivation_tolerates_an_offline_secondary_and_if_told_the_primary(
    services: FakeServices,
) -> None:
    make(services)
    instance, _ = web1(services.config)
    services.change_node("node3", offline=True, master_candidate=False)
    disks.deactivate(services, services.config, instance)
    services.rpc.silent = {NODE2}
    with pytest.raises(OpExecError):
        disks.deactivate(services, services.config, instance)
    disks.deactivate(services, services.config, instance, ignore_primary=True)


def test_removal_tolerates_an_offline_secondary_only(services: FakeServices) -> None:
    make(services)
    instance, given = web1(services.config)
    services.change_node("node3", offline=True, master_candidate=False)
    assert disks.remove(services, services.config, instance, given)
    services.rpc.silent = {NODE2}
    assert not disks.remove(services, services.config, instance, given)


# Waiting.


def status(percent: float | None = None, left: float | None = None, **more: bool) -> list:  # type: ignore[type-arg]
    return [
        BlockDeviceStatus(dev_path="/dev/drbd0", sync_percent=percent, estimated_time=left, **more)
    ]


def wait(services: FakeServices, **wishes: bool) -> bool:
    instance, _ = web1(services.config)
    return disks.wait_for_sync(services, services.config, instance, **wishes)


def test_the_wait_is_as_long_as_estimated_and_at_most_a_minute(services: FakeServices) -> None:
    services.rpc.sync = [status(1.0, 500.0), status(50.0, 20.0), status(99.0), status()]
    assert wait(services)
    assert services.waits == [60.0, 20.0, disks.SYNC_POLL_UNKNOWN_S]
    assert "- device disk/0: 50.00% done, 20 s remaining (estimated)" in services.messages


def test_a_mirror_that_stays_degraded_is_given_ten_seconds(services: FakeServices) -> None:
    services.rpc.sync = [status(is_degraded=True)] * 11
    assert not wait(services)
    assert services.waits == [1.0] * 10


def test_a_single_look_does_not_wait_for_a_sync(services: FakeServices) -> None:
    services.rpc.sync = [status(5.0, 500.0, is_degraded=True)]
    assert wait(services, once=True)
    assert services.waits == []


def test_a_node_that_does_not_answer_ten_times_ends_the_wait(services: FakeServices) -> None:
    services.rpc.silent = {NODE2}
    with pytest.raises(RemoteError, match=NODE2):
        wait(services)
    assert services.waits == [6.0] * 9
