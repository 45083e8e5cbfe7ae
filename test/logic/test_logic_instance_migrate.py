"""Live migration, and cleaning up after one."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import NAME, a_bed, home_of, hook_values, refused, runs_on, web1
from fakes.more_calls import INCOMING, SENT
from fakes.services import FakeServices, run_unit
from ganeti.errors import GenericError, OpExecError
from ganeti.opcodes.instance import OpInstanceMigrate
from ganeti.types import AdminState, DiskTemplate, MigrationMode


def migrate(**values: Any) -> OpInstanceMigrate:
    return OpInstanceMigrate(instance_name="web1", **{"target_node": "node3", **values})


def bed(root: Path, template: DiskTemplate = DiskTemplate.SHARED_FILE) -> FakeServices:
    return a_bed(root, template, disks=0 if template is DiskTemplate.DISKLESS else 1, up=True)


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return bed(tmp_path)


def test_the_calls_come_in_the_order_of_the_facts(services: FakeServices) -> None:
    run_unit(services, migrate())
    first = services.rpc.log.index(("blockdev_find", "node3.example.com"))
    assert [(name, node.partition(".")[0]) for name, node in services.rpc.log[first:]] == [
        ("blockdev_find", "node3"),
        ("migration_info", "node2"),
        ("blockdev_open", "node2"),
        ("blockdev_open", "node3"),
        ("accept_instance", "node3"),
        ("instance_migrate", "node2"),
        ("instance_get_migration_status", "node2"),
        ("instance_get_migration_status", "node2"),
        ("instance_finalize_migration_dst", "node3"),
        ("instance_finalize_migration_src", "node2"),
        ("blockdev_close", "node2"),
        ("blockdev_open", "node3"),
        ("blockdev_shutdown", "node2"),
    ]
    assert (home_of(services), runs_on(services)) == ("node3", ["node3"])
    assert "* memory transfer progress: 50.00 %" in services.messages
    assert services.waits == [0.05]


def test_a_long_migration_is_asked_for_every_second(services: FakeServices) -> None:
    services.rpc.migration = ("active",) * 100 + ("completed",)
    run_unit(services, migrate())
    assert services.waits[-1] == max(services.waits) == 1.0
    assert sum("progress" in line for line in services.messages) == 4


def test_it_goes_to_the_address_for_replication(services: FakeServices) -> None:
    services.change_node("node3", secondary_ip="198.51.100.3")
    run_unit(services, migrate())
    assert services.rpc.sent("accept_instance")[2] == "198.51.100.3"
    assert services.rpc.sent("instance_migrate")[2:] == ["198.51.100.3", True]


@pytest.mark.parametrize(
    ("values", "live"),
    [({"mode": MigrationMode.NON_LIVE}, False), ({"live": False}, False), ({"live": True}, True)],
)
def test_it_may_be_frozen_meanwhile(services: FakeServices, values: Any, live: bool) -> None:
    ran = run_unit(services, migrate(**values))
    assert services.rpc.sent("instance_migrate")[3] is live
    assert hook_values(ran, "MIGRATE_LIVE") == [str(live)]


def test_hooks_are_told_how(services: FakeServices) -> None:
    ran = run_unit(services, migrate(allow_runtime_changes=False))
    wanted = ("OLD_PRIMARY", "NEW_PRIMARY", "MIGRATE_CLEANUP", "ALLOW_RUNTIME_CHANGES")
    assert hook_values(ran, *wanted) == [
        "node2.example.com", "node3.example.com", "False", "False",
    ]  # fmt: skip
    assert ran.before is not None
    nodes = [services.node(name).uuid for name in ("node1", "node2", "node3")]
    assert list(ran.before.pre_nodes) == list(ran.before.post_nodes) == nodes


def test_a_diskless_instance_needs_no_disks_opened(tmp_path: Path) -> None:
    services = bed(tmp_path, DiskTemplate.DISKLESS)
    run_unit(services, migrate())
    assert runs_on(services) == ["node3"]
    assert not any(name.startswith("blockdev") for name in services.rpc.names)


# Refusals and fallbacks.


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"mode": MigrationMode.LIVE, "live": True}, "wrong_input"),
        ({"iallocator": "hail"}, "wrong_input"),
        ({"target_node": "node2"}, "wrong_state"),
        ({"target_node": "node9"}, "unknown_entity"),
    ],
)
def test_what_makes_no_sense_is_refused(services: FakeServices, values: Any, code: str) -> None:
    assert refused(services, migrate(**values)) == code


def test_disks_on_one_node_only_allow_no_migration(tmp_path: Path) -> None:
    assert refused(bed(tmp_path, DiskTemplate.FILE), migrate()) == "wrong_state"


def test_what_does_not_run_fails_over_if_that_is_allowed(services: FakeServices) -> None:
    services.place("node2").running.clear()
    assert refused(services, migrate()) == "wrong_state"
    run_unit(services, migrate(allow_failover=True))
    assert "instance_start" in services.rpc.names
    assert runs_on(services) == ["node3"]


def test_a_second_one_on_the_target_is_never_touched(services: FakeServices) -> None:
    services.place("node3").running[NAME] = services.place("node2").running[NAME]
    assert refused(services, migrate()) == "wrong_state"
    assert runs_on(services) == ["node2", "node3"]


def test_a_stopped_instance_fails_over_if_that_is_allowed(tmp_path: Path) -> None:
    services = a_bed(tmp_path, DiskTemplate.SHARED_FILE)
    assert refused(services, migrate()) == "wrong_state"
    run_unit(services, migrate(allow_failover=True))
    assert (home_of(services), runs_on(services)) == ("node3", [])


def test_an_instance_may_always_fail_over(services: FakeServices) -> None:
    services.change_instance(NAME, beparams={"always_failover": True})
    run_unit(services, migrate())
    assert "instance_migrate" not in services.rpc.names
    assert runs_on(services) == ["node3"]


def test_memory_shrinks_to_what_the_target_has(services: FakeServices) -> None:
    services.change_instance(NAME, beparams={"minmem": 64})
    services.place("node3").memory_mib = 100
    assert refused(services, migrate(allow_runtime_changes=False)) == "insufficient_resources"
    run_unit(services, migrate())
    assert services.rpc.sent("instance_balloon_memory")[1] == 100
    services.place("node2").memory_mib = 10
    assert refused(services, migrate(target_node="node2")) == "insufficient_resources"


def test_other_versions_of_the_hypervisor_must_be_accepted(services: FakeServices) -> None:
    plain = services.rpc.node_info

    def node_info(place: Any, units: Any, specs: Any) -> Any:
        info = plain(place, units, specs)
        version = [8, 0, 0] if place is services.place("node2") else [7, 2, 0]
        return info._replace(hypervisors=(replace(info.hypervisors[0], hv_version=version),))

    services.rpc.node_info = node_info  # type: ignore[method-assign]
    with pytest.raises(OpExecError, match="version"):
        run_unit(services, migrate())
    run_unit(services, migrate(ignore_hvversions=True))
    assert runs_on(services) == ["node3"]


# Faults.


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_a_migration_that_fails_goes_on_at_the_source(services: FakeServices, status: str) -> None:
    services.rpc.migration = ("active", status)
    with pytest.raises(OpExecError, match="goes on running on node node2"):
        run_unit(services, migrate())
    assert (home_of(services), runs_on(services)) == ("node2", ["node2"])
    assert NAME not in services.place("node3").running


def test_a_migration_that_stands_still_goes_on_at_the_source(services: FakeServices) -> None:
    services.rpc.migration, services.rpc.stalled = ("active",), True
    with pytest.raises(OpExecError, match="nothing could be sent.*running on node node2"):
        run_unit(services, migrate())
    assert (home_of(services), runs_on(services)) == ("node2", ["node2"])
    assert 14.0 <= sum(services.waits) < 17.0


def test_a_target_that_dies_leaves_it_at_the_source(services: FakeServices) -> None:
    services.rpc.migration = ("active", "failed")
    status = services.rpc.instance_get_migration_status

    def dies(place: Any, instance: Any) -> Any:
        services.rpc.silent.add("node3.example.com")
        services.place("node3").running.clear()
        return status(place, instance)

    services.rpc.instance_get_migration_status = dies  # type: ignore[method-assign]
    with pytest.raises(OpExecError, match="goes on running on node node2"):
        run_unit(services, migrate())
    assert (home_of(services), runs_on(services)) == ("node2", ["node2"])


def test_a_source_that_is_cut_off_is_left_alone(services: FakeServices) -> None:
    status = services.rpc.instance_get_migration_status

    def cut(place: Any, instance: Any) -> Any:
        services.rpc.silent.add("node2.example.com")
        return status(place, instance)

    services.rpc.instance_get_migration_status = cut  # type: ignore[method-assign]
    with pytest.raises(OpExecError, match="migrate --cleanup"):
        run_unit(services, migrate())
    assert "instance_finalize_migration_dst" not in services.rpc.names
    services.rpc.silent.clear()
    del services.rpc.instance_get_migration_status
    run_unit(services, migrate(cleanup=True, target_node=None))
    assert runs_on(services) == [home_of(services)]


def test_a_target_cut_off_after_all_was_sent_has_it(services: FakeServices) -> None:
    services.rpc.failures["instance_finalize_migration_dst"] = "connection lost"
    info = services.rpc.instance_info

    def cut(place: Any, *args: Any) -> Any:
        if place is services.place("node3"):
            raise OpExecError("connection lost")
        return info(place, *args)

    services.rpc.instance_info = cut  # type: ignore[method-assign]
    with pytest.raises(OpExecError, match="runs on node node3.*does not answer"):
        run_unit(services, migrate())
    assert (home_of(services), runs_on(services)) == ("node3", ["node3"])
    assert NAME not in services.place("node2").running


def test_a_guest_that_did_not_arrive_goes_on_at_the_source(services: FakeServices) -> None:
    services.rpc.failures["instance_finalize_migration_dst"] = "has not arrived"
    info = services.rpc.instance_info

    def lost(place: Any, *args: Any) -> Any:
        return None if place is services.place("node3") else info(place, *args)

    services.rpc.instance_info = lost  # type: ignore[method-assign]
    with pytest.raises(OpExecError, match="did not arrive"):
        run_unit(services, migrate())
    assert home_of(services) == "node2"
    assert "node2" in runs_on(services)


@pytest.mark.parametrize("template", [DiskTemplate.SHARED_FILE, DiskTemplate.DISKLESS])
def test_whatever_fails_it_runs_in_one_place_and_is_recorded_there(
    tmp_path: Path, template: DiskTemplate
) -> None:
    for nth in itertools.count(1):
        services = bed(tmp_path / str(nth), template)
        services.rpc.fail_at = nth
        error = ""
        try:
            run_unit(services, migrate())
        except GenericError as caught:
            error = str(caught)
        assert runs_on(services) == [home_of(services)], f"call {nth}: {error}"
        assert web1(services).admin_state is AdminState.UP
        if not error and len(services.rpc.log) < nth:
            return


# Cleaning up.


def cleanup(**values: Any) -> OpInstanceMigrate:
    return migrate(**{"cleanup": True, "target_node": None, **values})


def test_cleanup_confirms_an_instance_on_its_node(services: FakeServices) -> None:
    ran = run_unit(services, cleanup())
    assert home_of(services) == "node2"
    assert "* instance running on: node2.example.com" in services.messages
    assert hook_values(ran, "MIGRATE_CLEANUP") == ["True"]


def test_cleanup_records_the_node_where_it_is(services: FakeServices) -> None:
    services.place("node3").running = services.place("node2").running
    services.place("node2").running = {}
    run_unit(services, cleanup())
    assert (home_of(services), runs_on(services)) == ("node3", ["node3"])


def both(services: FakeServices, state: str, other: str, status: str) -> None:
    """The master was restarted when the migration was so far."""
    source, target = services.place("node2"), services.place("node3")
    info = source.running[NAME]
    source.running[NAME] = replace(info, state=0 if state == "" else state)
    target.running[NAME] = replace(info, state=0 if other == "" else other)
    source.migration = [status]


def test_cleanup_finishes_a_migration_that_has_ended(services: FakeServices) -> None:
    both(services, SENT, "", "completed")
    run_unit(services, cleanup())
    assert (home_of(services), runs_on(services)) == ("node3", ["node3"])
    assert NAME not in services.place("node2").running


def test_cleanup_gives_up_a_migration_that_has_not_ended(services: FakeServices) -> None:
    both(services, "", INCOMING, "active")
    run_unit(services, cleanup())
    assert (home_of(services), runs_on(services)) == ("node2", ["node2"])
    assert NAME not in services.place("node3").running


def test_cleanup_does_not_choose_between_two_that_run(services: FakeServices) -> None:
    both(services, "", "", "completed")
    services.place("node2").migration = []
    with pytest.raises(OpExecError, match="stop one by hand"):
        run_unit(services, cleanup())
    assert runs_on(services) == ["node2", "node3"]


def test_cleanup_tells_that_it_does_not_run(services: FakeServices) -> None:
    services.place("node2").running = {}
    with pytest.raises(OpExecError, match="does not run anywhere"):
        run_unit(services, cleanup())


def test_cleanup_wants_an_answer_of_every_node(services: FakeServices) -> None:
    services.rpc.silent.add("node1.example.com")
    with pytest.raises(OpExecError, match="node1"):
        run_unit(services, cleanup())
