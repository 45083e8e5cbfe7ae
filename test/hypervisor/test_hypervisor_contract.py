"""What every hypervisor does; each driver of this version runs these tests.

The KVM guests here have no kernel and no disk: their firmware finds nothing to start and stays.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.guests import a_node, an_instance
from fakes.short_root import short_root
from ganeti.errors import HypervisorError
from ganeti.hypervisor import registry
from ganeti.hypervisor.base import HvHost, Hypervisor
from ganeti.model.filled import FilledInstance
from ganeti.model.params import defaults
from ganeti.model.params_hv import HV_PARAMS
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"


@dataclass
class Bed:
    """One hypervisor on one node, and its instances."""

    hypervisor: Hypervisor
    host: HvHost
    kind: HypervisorKind
    made: list[FilledInstance] = field(default_factory=list)

    def instance(self, name: str = "web1", **more: Json) -> FilledInstance:
        hvparams: dict[str, Json] = {}
        if self.kind is HypervisorKind.KVM:
            hvparams = {"kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled"}
        instance = an_instance(name, hypervisor=self.kind, hvparams=hvparams, **more)
        self.made.append(instance)
        return instance

    def again(self) -> Hypervisor:
        """A driver as a restarted noded makes it."""
        return registry.make(self.kind, self.host)


@pytest.fixture(params=registry.kinds(), ids=str)
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    if request.param is HypervisorKind.KVM and not os.path.exists(QEMU):
        pytest.skip(f"needs {QEMU}")
    with short_root() as root:
        host = HvHost(Paths(root), run, privileged=False)
        bed = Bed(registry.make(request.param, host), host, request.param)
        yield bed
        for instance in bed.made:
            bed.hypervisor.kill(instance)


def test_started_instance_is_listed_with_its_memory_and_processors(bed: Bed) -> None:
    bed.hypervisor.start(bed.instance("web1", memory_mib=64, vcpus=2), [])
    info = bed.hypervisor.info("web1")
    assert info is not None
    assert (info.memory, info.vcpus, info.state) == (64, 2, 0)
    assert bed.hypervisor.running() == ["web1"]
    assert set(bed.hypervisor.all_info()) == {"web1"}


def test_info_of_an_unknown_instance_is_none(bed: Bed) -> None:
    assert bed.hypervisor.info("nobody") is None
    assert bed.hypervisor.running() == []
    assert bed.hypervisor.all_info() == {}


def test_starting_what_runs_is_refused_and_does_not_touch_it(bed: Bed) -> None:
    instance = bed.instance(memory_mib=64)
    bed.hypervisor.start(instance, [])
    with pytest.raises(HypervisorError, match="web1: runs already"):
        bed.hypervisor.start(instance, [])
    assert bed.hypervisor.is_alive("web1")


def test_a_stopped_instance_is_gone_and_may_be_stopped_again(bed: Bed) -> None:
    instance = bed.instance(memory_mib=64)
    bed.hypervisor.start(instance, [])
    for _ in range(2):
        bed.hypervisor.stop(instance, force=True)
        assert bed.hypervisor.info("web1") is None
    assert bed.hypervisor.running() == []


def test_a_guest_that_does_not_listen_is_ended_when_its_time_is_over(bed: Bed) -> None:
    control = bed.host.paths.run / "fake-hypervisor"
    control.mkdir(parents=True)
    (control / ".control").write_text('{"web1": {"ignore_shutdown": true}}')
    instance = bed.instance(memory_mib=64)
    bed.hypervisor.start(instance, [])
    bed.hypervisor.stop(instance, timeout_s=0.2)
    assert not bed.hypervisor.is_alive("web1")


def test_a_restarted_noded_finds_its_instances(bed: Bed) -> None:
    bed.hypervisor.start(bed.instance("web1", memory_mib=64), [])
    later = bed.again()
    assert later.running() == ["web1"]
    later.stop(bed.made[0], force=True)
    assert bed.hypervisor.running() == []


def test_instances_do_not_touch_each_other(bed: Bed) -> None:
    for name in ("web1", "web10"):
        bed.hypervisor.start(bed.instance(name, memory_mib=64), [])
    bed.hypervisor.stop(bed.made[0], force=True)
    assert bed.hypervisor.running() == ["web10"]


def test_a_rebooted_instance_runs(bed: Bed) -> None:
    instance = bed.instance(memory_mib=64)
    bed.hypervisor.start(instance, [])
    bed.hypervisor.reboot(instance)
    assert bed.hypervisor.is_alive("web1")


def test_what_does_not_run_can_not_be_rebooted(bed: Bed) -> None:
    with pytest.raises(HypervisorError, match="web1: does not run"):
        bed.hypervisor.reboot(bed.instance())


def test_cleanup_of_a_running_instance_touches_nothing(bed: Bed) -> None:
    instance = bed.instance(memory_mib=64)
    bed.hypervisor.start(instance, [])
    bed.hypervisor.cleanup("web1")
    assert bed.hypervisor.info("web1") is not None


def test_the_node_has_memory_and_processors(bed: Bed) -> None:
    info = bed.hypervisor.node_info(bed.instance().hvparams)
    assert info.memory_total and info.memory_free is not None and info.memory_dom0 is not None
    assert 0 < info.memory_free <= info.memory_total
    assert info.cpu_total == info.cpu_dom0 and info.cpu_nodes == info.cpu_sockets == 1


def test_verify_finds_nothing_wrong_on_a_good_node(bed: Bed) -> None:
    params = bed.instance().hvparams
    assert bed.hypervisor.verify(params) is None
    bed.hypervisor.validate_params(params)


def test_a_console_is_told_without_looking_at_the_node(bed: Bed) -> None:
    instance = bed.instance()
    console = type(bed.hypervisor).console(
        instance, a_node(), defaults(HV_PARAMS[bed.kind]), {}, Paths(Path("/"))
    )
    answer = console.to_json()
    assert answer["instance"] == "web1" and answer["kind"] in ("ssh", "vnc", "spice", "msg")
    assert None not in answer.values()


def test_migration_is_supported_as_the_capabilities_say(bed: Bed) -> None:
    instance = bed.instance(memory_mib=64)
    if bed.hypervisor.capabilities.migrate:
        with pytest.raises(HypervisorError, match="does not run"):
            bed.hypervisor.migrate("cluster", instance, "127.0.0.1", True)
    else:
        with pytest.raises(HypervisorError, match="can't migrate"):
            bed.hypervisor.migrate("cluster", instance, "127.0.0.1", True)


@pytest.mark.parametrize("kind", [kind for kind in HypervisorKind if kind not in registry.DRIVERS])
def test_a_hypervisor_without_a_driver_is_refused_with_a_sentence(kind: str) -> None:
    with pytest.raises(HypervisorError, match=f"{kind}: this version has no driver"):
        registry.driver_class(kind)


def test_an_unknown_hypervisor_is_refused_with_the_known_ones() -> None:
    with pytest.raises(HypervisorError, match="'bhyve' is not known.*kvm"):
        registry.driver_class("bhyve")
