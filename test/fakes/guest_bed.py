"""A node with a real guest: its disk is made, its OS installed, QEMU runs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.guests import STORAGE, a_file_disk, a_nic, allow_storage, an_instance
from fakes.serial import SerialConsole
from fakes.short_root import short_root
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.model.filled import FilledInstance
from ganeti.node import disk as disks
from ganeti.node import guest_os, instance, volume
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind

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

    def kvm(self) -> KvmHypervisor:
        return kvm_of(self.node)


def kvm_of(node: NodeContext) -> KvmHypervisor:
    hypervisor = node.hypervisor("kvm")
    assert isinstance(hypervisor, KvmHypervisor)
    return hypervisor


def make_boot(place: Path) -> dict[str, Json]:
    """Kernel and initrd for a direct boot, as hvparams; skips where none can be made."""
    made = subprocess.run(
        [sys.executable, str(OS_DEFINITION / "make-initrd"), str(place)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no initrd can be made here: {made.stderr}")
    return dict(pair.split("=", 1) for pair in made.stdout.strip().split(","))


def node_bed(boot: dict[str, Json]) -> Iterator[Bed]:
    """Body of a fixture; whatever was made is ended."""
    with short_root() as root:
        bed = Bed(a_node_context(root), boot)
        yield bed
        for made in bed.made:
            bed.node.hypervisor("kvm").kill(made)


@contextmanager
def moved(bed: Bed, made: FilledInstance) -> Iterator[tuple[NodeContext, SerialConsole]]:
    """The running guest has moved live to a second node: that node, and the guest's console."""
    with short_root() as root:
        target = a_node_context(root)
        target.paths.below(STORAGE).parent.mkdir(parents=True, exist_ok=True)
        target.paths.below(STORAGE).symlink_to(bed.node.paths.below(STORAGE))
        info = instance.migration_info(bed.node, made)
        instance.accept_instance(target, made, info, "127.0.0.1")
        try:
            instance.instance_migrate(bed.node, "cluster", made, "127.0.0.1", True)
            assert end_of_migration(bed.node, made) == "completed"
            instance.instance_finalize_migration_src(bed.node, made, True, True)
            instance.instance_finalize_migration_dst(target, made, info, True)
            with SerialConsole(kvm_of(target).files(made.name).serial) as console:
                yield target, console
        finally:
            target.hypervisor("kvm").kill(made)


def end_of_migration(node: NodeContext, made: FilledInstance) -> str:
    """How the move that was begun has ended."""
    for _ in range(600):
        status = instance.instance_get_migration_status(node, made).status
        if status not in ("setup", "active", "device", "postcopy-active"):
            break
        node.hypervisor("kvm").host.sleep(0.05)
    return status


def wait_until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Another process is at work; AssertionError when the condition does not come."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it has not come"
        time.sleep(0.02)
