"""The fake hypervisor: its files, and the faults that can be asked of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakes.guests import a_node, an_instance
from ganeti.errors import HypervisorError
from ganeti.hypervisor.base import HvHost
from ganeti.hypervisor.fake import FakeHypervisor
from ganeti.model.filled import FilledInstance
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.utils.process import run


class Clock:
    """Jumps when somebody sleeps."""

    def __init__(self) -> None:
        self.time = 0.0

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake(tmp_path: Path, clock: Clock) -> FakeHypervisor:
    host = HvHost(Paths(tmp_path), run, False, sleep=clock.sleep, monotonic=clock.monotonic)
    fake = FakeHypervisor(host)
    fake.directory.mkdir(parents=True)
    return fake


def control(fake: FakeHypervisor, **knobs: Json) -> None:
    (fake.directory / ".control").write_text(json.dumps({"*": knobs}))


def test_the_file_of_an_instance_has_three_lines(fake: FakeHypervisor) -> None:
    fake.start(an_instance("web1", memory_mib=64, vcpus=2), [])
    assert (fake.directory / "web1").read_text() == "0\n64\n2\n"


def test_instances_take_memory_from_the_node(fake: FakeHypervisor, tmp_path: Path) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text("MemTotal: 1048576 kB\nMemAvailable: 524288 kB\n")
    (proc / "cpuinfo").write_text("processor : 0\nprocessor : 1\n")
    fake = FakeHypervisor(HvHost(fake.host.paths, run, False, proc=proc))
    fake.start(an_instance("web1", memory_mib=100), [])
    info = fake.node_info({})
    assert (info.memory_total, info.memory_free, info.cpu_total) == (1024, 412, 2)


def test_an_instance_starts_with_what_is_free_within_its_limits(
    fake: FakeHypervisor, tmp_path: Path
) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text("MemTotal: 262144 kB\nMemAvailable: 102400 kB\n")
    (proc / "cpuinfo").write_text("processor : 0\n")
    fake = FakeHypervisor(HvHost(fake.host.paths, run, False, proc=proc))
    fake.start(an_instance("web1", memory_mib=200, minimum_mib=50), [])
    fake.start(an_instance("web2", memory_mib=200, minimum_mib=80), [])
    found = fake.all_info()
    assert (found["web1"].memory, found["web2"].memory) == (100, 80)


def test_a_start_can_be_made_to_fail(fake: FakeHypervisor) -> None:
    control(fake, fail_start="out of luck")
    with pytest.raises(HypervisorError, match="web1: out of luck"):
        fake.start(an_instance("web1"), [])
    assert fake.running() == []


def test_a_start_can_be_made_slow(fake: FakeHypervisor, clock: Clock) -> None:
    control(fake, start_delay_s=7.5)
    fake.start(an_instance("web1"), [])
    assert clock.time == 7.5


def test_a_guest_that_ignores_requests_ends_after_the_time_it_was_given(
    fake: FakeHypervisor, clock: Clock
) -> None:
    control(fake, ignore_shutdown=True)
    instance = an_instance("web1")
    fake.start(instance, [])
    fake.stop(instance, timeout_s=120.0)
    assert 120.0 <= clock.time < 126.0
    assert fake.running() == []


def test_a_migrated_instance_is_on_its_target_only(fake: FakeHypervisor, tmp_path: Path) -> None:
    target = FakeHypervisor(HvHost(Paths(tmp_path / "other"), run, False))
    instance = an_instance("web1", memory_mib=64)
    fake.start(instance, [])
    info = fake.migration_info(instance)
    target.accept(instance, info, "127.0.0.1", [])
    fake.migrate("cluster", instance, "127.0.0.1", True)
    assert fake.migration_status(instance).status == "completed"
    fake.finalize_source(instance, True, True)
    target.finalize_target(instance, info, True)
    assert (fake.running(), target.running()) == ([], ["web1"])


def test_a_failed_migration_leaves_the_instance_at_home(
    fake: FakeHypervisor, tmp_path: Path
) -> None:
    target = FakeHypervisor(HvHost(Paths(tmp_path / "other"), run, False))
    instance = an_instance("web1")
    fake.start(instance, [])
    control(fake, fail_migrate="no route")
    with pytest.raises(HypervisorError, match="no route"):
        fake.migrate("cluster", instance, "127.0.0.1", True)
    target.finalize_target(instance, "", False)
    fake.finalize_source(instance, False, True)
    assert (fake.running(), target.running()) == (["web1"], [])


def test_the_console_is_a_message(fake: FakeHypervisor) -> None:
    console = fake.console(an_instance("web1"), a_node(), {}, {}, fake.host.paths)
    assert console.to_json() == {
        "instance": "web1", "kind": "msg", "message": "Console not available for fake hypervisor",
    }  # fmt: skip


class Booting(FakeHypervisor):
    """Its guest hears requests from `hears_s` on."""

    hears_s = 0.0

    def ask_shutdown(self, instance: FilledInstance, *, again: bool) -> None:
        self.asked = [*getattr(self, "asked", []), self.host.monotonic()]
        if self.host.monotonic() >= self.hears_s:
            self.kill(instance)


def test_a_guest_that_still_boots_is_asked_again_soon(tmp_path: Path, clock: Clock) -> None:
    host = HvHost(Paths(tmp_path), run, False, sleep=clock.sleep, monotonic=clock.monotonic)
    booting = Booting(host)
    booting.hears_s = 2.7
    booting.start(an_instance("web1"), [])
    booting.stop(an_instance("web1"))
    assert booting.asked == [0, 1, 2, 3]
    booting.hears_s = 100.0
    booting.start(an_instance("web1"), [])
    booting.asked, clock.time = [], 0.0
    booting.stop(an_instance("web1"), timeout_s=12)
    assert booting.asked == [0, 1, 2, 3, 4.5, 7, 10.5] and not booting.is_alive("web1")
