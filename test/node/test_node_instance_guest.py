"""A real guest under QEMU, from its disk to its end, through the functions that noded serves."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from fakes.guest_bed import READY_S, Bed, missing, moved, wait_until
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_qmp
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_process import read_pid
from ganeti.node import disk as disks
from ganeti.node import guest_os, instance, kvm_daemon
from ganeti.node.metrics import node_figures
from ganeti.types import DiskTemplate
from ganeti.utils import daemons
from ganeti.utils.openmetrics import render

pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")


def test_a_guest_boots_from_its_disk_keeps_its_data_and_stops_when_asked(bed: Bed) -> None:
    made = bed.installed()
    instance.instance_start(bed.node, made, False, [("test", "why", 1)])
    with bed.console(made) as console:
        console.expect("guest token: sesame-4711\n", READY_S)
        console.expect("guest boots: 1\n")
        console.expect("guest name: web1\n")
        console.expect("guest message: hello\n")
        console.expect("# ")
        console.send("ping")
        console.expect("\npong\n")

    instance.instance_reboot(bed.node, made, "soft", 120, [])
    with bed.console(made) as console:
        console.expect("guest boots: 2\n", READY_S)
        console.expect("guest ready")
        stopped = instance.instance_shutdown(bed.node, made, 60, [("test", "enough", 2)])
        assert stopped is None
        console.expect("guest stops")
    assert instance.instance_info(bed.node, made.name, "kvm", {}) is None
    assert not list(bed.node.paths.disk_links.iterdir())
    reason = bed.node.paths.run / "instance-reason/web1"
    assert reason.read_text() == '[["test","enough",2]]'


def test_a_new_noded_finds_the_guest_and_a_killed_one_is_noticed(bed: Bed) -> None:
    made = bed.installed()
    instance.instance_start(bed.node, made, False, [])
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        later = bed.restarted()
        info = instance.instance_info(later, made.name, "kvm", {})
        assert info is not None and (info.memory, info.vcpus, info.state) == (128, 1, 0)
        assert instance.instance_list(later, ["kvm", "fake"], {}) == ["web1"]
        instance.instance_start(later, made, False, [])  # runs already: nothing happens
        console.send("ping")
        console.expect("\npong\n")
    hypervisor = later.hypervisor("kvm")
    assert isinstance(hypervisor, KvmHypervisor)
    pid = read_pid(hypervisor.files(made.name).pid)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    assert hypervisor.wait_gone(made.name, 10.0)
    assert instance.all_instances_info(later, ["kvm"], {"kvm": {}}) == {}
    # What the dead one left does not hinder the next start.
    instance.instance_start(later, made, False, [])
    with bed.console(made) as console:
        console.expect("guest boots: 2\n", READY_S)


def test_a_guest_that_ignores_the_power_button_is_ended_after_its_time(bed: Bed) -> None:
    made = bed.installed(variant="stubborn")
    instance.instance_start(bed.node, made, False, [])
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        instance.instance_shutdown(bed.node, made, 1, [])
        assert "guest stops" not in console.text
    assert instance.instance_list(bed.node, ["kvm"], {}) == []


def test_a_renamed_guest_knows_its_name_and_a_paused_one_waits(bed: Bed) -> None:
    made = bed.installed()
    renamed = replace(made, name="web2")
    bed.made.append(renamed)
    guest_os.instance_run_rename(bed.node, renamed, "web1", 0)
    instance.instance_start(bed.node, renamed, True, [])
    with bed.console(renamed) as console:
        hypervisor = bed.node.hypervisor("kvm")
        assert isinstance(hypervisor, KvmHypervisor)
        files = hypervisor.files("web2")
        (status,) = hypervisor.qmp(files.qmp, [kvm_qmp.STATUS])
        assert status["running"] is False
        hypervisor.qmp(files.qmp, [kvm_qmp.CONTINUE])
        console.expect("guest name: web2\n", READY_S)


def test_a_running_guest_moves_to_another_node(bed: Bed) -> None:
    made = bed.installed()
    disk = replace(made.disks_info[0], dev_type=DiskTemplate.SHARED_FILE)
    hvparams = {**made.hvparams, "migration_port": 18102, "migration_bandwidth": 1000}
    made = replace(made, disks_info=(disk,), hvparams=hvparams)
    instance.instance_start(bed.node, made, False, [])
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        console.expect("# ")
        console.send("remembered=42")
        console.expect("# ")  # it was read, not only typed
    with moved(bed, made) as (_, console):
        assert instance.instance_list(bed.node, ["kvm"], {}) == []
        console.send("echo still $remembered")
        console.expect("\nstill 42\n")


def test_a_disk_that_is_not_there_leaves_no_instance_and_no_link(bed: Bed) -> None:
    made = bed.installed()
    disks.blockdev_remove(bed.node, made.disks_info[0])
    with pytest.raises(Exception, match="no such file"):
        instance.instance_start(bed.node, made, False, [])
    assert instance.instance_list(bed.node, ["kvm"], {}) == []
    assert not bed.node.paths.disk_links.exists() or not os.listdir(bed.node.paths.disk_links)


def test_a_command_line_that_qemu_refuses_leaves_nothing(bed: Bed) -> None:
    made = bed.installed()
    broken = replace(made, hvparams={**made.hvparams, "kvm_extra": "-nosuchoption"})
    with pytest.raises(HypervisorError, match="nosuchoption"):
        instance.instance_start(bed.node, broken, False, [])
    hypervisor = bed.node.hypervisor("kvm")
    assert isinstance(hypervisor, KvmHypervisor)
    assert not any(path.exists() for path in hypervisor.files("web1").sockets)
    assert not hypervisor.files("web1").runtime.exists()
    assert not os.listdir(bed.node.paths.disk_links)


def test_a_shutdown_by_the_user_is_told_from_one_that_was_asked_for(bed: Bed) -> None:
    made = bed.installed()
    made = replace(made, hvparams={**made.hvparams, "user_shutdown": True})
    flag = bed.kvm().files("web1").shutdown_flag
    instance.instance_start(bed.node, made, True, [])
    assert daemons.running_pid(bed.node.paths, "ganeti-kvmd") is None  # the cluster forbids it
    instance.instance_shutdown(bed.node, made, 0, [])
    bed.node.paths.data.mkdir(parents=True, exist_ok=True)
    bed.node.paths.ssconf("enabled_user_shutdown").write_text("True\n")
    try:
        instance.instance_start(bed.node, made, False, [])
        assert daemons.running_pid(bed.node.paths, "ganeti-kvmd") is not None
        with bed.console(made) as console:
            console.expect("guest ready", READY_S)
            console.expect("# ")
            console.send("poweroff -f")
            assert bed.kvm().wait_gone("web1", 30.0)
        wait_until(flag.exists)
        info = instance.instance_info(bed.node, "web1", "kvm", {})
        assert info is not None and (info.memory, info.vcpus, info.state) == (0, 0, 1)

        instance.instance_start(bed.node, made, False, [])
        with bed.console(made) as console:
            console.expect("guest ready", READY_S)
            assert not flag.exists()
            instance.instance_shutdown(bed.node, made, 60, [])
        assert instance.instance_info(bed.node, "web1", "kvm", {}) is None
    finally:
        kvm_daemon.node_ensure_daemon(bed.node, "ganeti-kvmd", False)
    assert daemons.running_pid(bed.node.paths, "ganeti-kvmd") is None


def test_what_a_guest_does_with_its_disk_is_counted(bed: Bed) -> None:
    made = bed.installed()
    instance.instance_start(bed.node, made, False, [])
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        hypervisor = bed.node.hypervisor("kvm")
        (counted,) = hypervisor.disk_io(20.0)[made.name]
        assert counted.index == 0
        assert counted.reads > 0 and counted.read_bytes >= 512
        assert counted.writes > 0 and counted.written_bytes >= 512  # it counts its boots there
        assert hypervisor.disk_io(0.0) == {}
        bed.node.paths.ssconf("hypervisor_list").parent.mkdir(parents=True, exist_ok=True)
        bed.node.paths.ssconf("hypervisor_list").write_text("kvm\n")
        text = render(node_figures(bed.node)).decode()
        labels = f'direction="read",disk="0",hypervisor="kvm",instance="{made.name}"'
        assert f"ganeti_noded_guest_disk_bytes_total{{{labels}}} " in text, text
