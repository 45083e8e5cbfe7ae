"""A real guest under QEMU, from its disk to its end, through the functions that noded serves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from fakes.guests import STORAGE, a_file_disk, a_nic, allow_storage, an_instance, short_root
from fakes.serial import SerialConsole
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_qmp
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_process import read_pid
from ganeti.model.filled import FilledInstance
from ganeti.node import disk as disks
from ganeti.node import guest_os, instance, volume
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind

OS_DEFINITION = Path(__file__).resolve().parents[2] / "os" / "busybox"
QEMU = "/usr/bin/qemu-system-x86_64"
READY_S = 90.0  # 3 s on an idle machine


def missing() -> str:
    """What this machine lacks for a guest of its own; "" when nothing."""
    places = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    programs = [QEMU, "busybox", "mkfs.ext4", "debugfs", "modinfo"]
    lacking = [name for name in programs if not shutil.which(name, path=places)]
    if not list(Path("/boot").glob("vmlinuz-*")):
        lacking.append("a kernel in /boot")
    return ", ".join(lacking)


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")


def a_node_context(root: Path) -> NodeContext:
    paths = Paths(root)
    allow_storage(paths)
    place = paths.os_search[0]
    place.mkdir(parents=True, exist_ok=True)
    (place / "busybox").symlink_to(OS_DEFINITION)
    return NodeContext(settings=NodeSettings(paths=paths, hostname="node1.example.com"))


@dataclass
class Bed:
    """A node, the hvparams of a bootable guest, and the instances that were made."""

    node: NodeContext
    boot: dict[str, Json]
    made: list[FilledInstance] = field(default_factory=list)

    def installed(self, name: str = "web1", variant: str = "default") -> FilledInstance:
        """An instance with its OS on its disk."""
        disk = a_file_disk(name)
        made = an_instance(
            name,
            hypervisor=HypervisorKind.KVM,
            memory_mib=128,
            disks=(disk,),
            nics=(a_nic(),),
            os=f"busybox+{variant}",
            hvparams={**self.boot, "kvm_path": QEMU, "kvm_flag": "disabled"},
            osparams={"token": "sesame-4711", "message": "hello"},
        )
        volume.file_storage_dir_create(self.node, f"{STORAGE}/{name}")
        disks.blockdev_create(self.node, disk, 16, name, True, "", False)
        guest_os.instance_os_add(self.node, made, False, 0)
        self.made.append(made)
        return made

    def console(self, made: FilledInstance) -> SerialConsole:
        hypervisor = self.node.hypervisor("kvm")
        assert isinstance(hypervisor, KvmHypervisor)
        return SerialConsole(hypervisor.files(made.name).serial)

    def restarted(self) -> NodeContext:
        """The same node, as a new noded sees it."""
        return NodeContext(settings=self.node.settings)


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    made = subprocess.run(
        [sys.executable, str(OS_DEFINITION / "make-initrd"), str(tmp_path_factory.mktemp("boot"))],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no initrd can be made here: {made.stderr}")
    return dict(pair.split("=", 1) for pair in made.stdout.strip().split(","))


@pytest.fixture
def bed(boot: dict[str, Json]) -> Iterator[Bed]:
    with short_root() as root:
        bed = Bed(a_node_context(root), boot)
        yield bed
        for made in bed.made:
            bed.node.hypervisor("kvm").kill(made)


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


def test_a_running_guest_moves_to_another_node(bed: Bed, boot: dict[str, Json]) -> None:
    with short_root() as root:
        target = a_node_context(root)
        shared = bed.node.paths.below(STORAGE)
        made = bed.installed()
        target.paths.below(STORAGE).parent.mkdir(parents=True, exist_ok=True)
        target.paths.below(STORAGE).symlink_to(shared)
        disk = replace(made.disks_info[0], dev_type=DiskTemplate.SHARED_FILE)
        hvparams = {**made.hvparams, "migration_port": 18102, "migration_bandwidth": 1000}
        made = replace(made, disks_info=(disk,), hvparams=hvparams)
        instance.instance_start(bed.node, made, False, [])
        with bed.console(made) as console:
            console.expect("guest ready", READY_S)
            console.expect("# ")
            console.send("remembered=42")
            console.expect("# ")  # it was read, not only typed
        info = instance.migration_info(bed.node, made)
        instance.accept_instance(target, made, info, "127.0.0.1")
        try:
            instance.instance_migrate(bed.node, "cluster", made, "127.0.0.1", True)
            source = bed.node.hypervisor("kvm")
            for _ in range(600):
                status = instance.instance_get_migration_status(bed.node, made)
                if status.status not in ("setup", "active", "device"):
                    break
                source.host.sleep(0.1)
            assert status.status == "completed"
            instance.instance_finalize_migration_src(bed.node, made, True, True)
            instance.instance_finalize_migration_dst(target, made, info, True)
            assert instance.instance_list(bed.node, ["kvm"], {}) == []
            arrived = target.hypervisor("kvm")
            assert isinstance(arrived, KvmHypervisor)
            with SerialConsole(arrived.files(made.name).serial) as console:
                console.send("echo still $remembered")
                console.expect("\nstill 42\n")
        finally:
            target.hypervisor("kvm").kill(made)


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
