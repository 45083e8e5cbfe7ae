"""Real storage for the contract of the storage drivers: directories, loop devices, a provider.

A stand makes disks that do not exist yet; `prepare` does what an administrator has to do before
such a disk can be created (connecting a device that is going to be adopted).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fakes.guests import STORAGE, a_file_disk, allow_storage, an_uuid
from ganeti.model.disk import Disk
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.storage import registry
from ganeti.storage.base import MIB, BlockDevice, StorageHost
from ganeti.types import DiskTemplate
from ganeti.utils.process import run

PROVIDERS = Path(__file__).resolve().parents[2] / "doc/examples/extstorage"
VOLUMES = "/srv/ganeti/volumes"
LOOP = "-loop"
NAMES = [*map(str, registry.kinds()), f"{DiskTemplate.EXT}{LOOP}"]


def why_no_loops() -> str:
    """What is missing for loop devices; "" when they can be made."""
    if os.geteuid() != 0:
        return "needs root, for loop devices"
    if not Path("/dev/loop-control").exists():
        return "needs /dev/loop-control (the kernel module loop)"
    return "" if shutil.which("losetup") else "needs losetup"


def needs_loops(name: str) -> bool:
    return name == DiskTemplate.BLOCKDEV or name.endswith(LOOP)


@contextmanager
def loop_device(file: Path, size_mib: int) -> Iterator[Path]:
    """A loop device of its own, without anything in it."""
    file.touch()
    os.truncate(file, size_mib * MIB)
    argv = ["losetup", "--find", "--show", str(file)]
    made = subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield Path(made)
    finally:
        subprocess.run(["losetup", "--detach", made], check=True)


def install_provider(paths: Paths, name: str = "dir") -> Path:
    """The provider as a node finds it, and its directory of volumes."""
    place = paths.extstorage_search[0] / name
    shutil.copytree(PROVIDERS / "dir", place)
    paths.below(VOLUMES).mkdir(parents=True, exist_ok=True)
    return place


class Stand:
    """One kind of device, and what it needs on a node."""

    def __init__(self, name: str, root: Path, stack: ExitStack) -> None:
        self.kind = DiskTemplate(name.removesuffix(LOOP))
        self.paths = Paths(root)
        self.driver: BlockDevice = registry.make(self.kind, StorageHost(self.paths, run))
        self._params: dict[str, Json] = {}
        self._stack = stack
        self._devices: dict[str, Path] = {}
        if self.kind is DiskTemplate.EXT:
            install_provider(self.paths)
            self._params = {"provider": "dir", "access": "kernelspace"}
            if name.endswith(LOOP):
                self._params["device"] = "loop"
        elif self.driver.capabilities.file_based:
            allow_storage(self.paths)
            self.paths.below(f"{STORAGE}/web1").mkdir(parents=True)

    def disk(self, size_mib: int, number: int = 0) -> Disk:
        """A disk that does not exist."""
        made = a_file_disk("web1", number, size_mib, dev_type=self.kind, params=self._params)
        if self.kind is DiskTemplate.EXT:
            logical_id: tuple[Json, ...] = ("dir", f"{an_uuid(2000 + number)}.ext.disk{number}")
        elif self.kind is DiskTemplate.BLOCKDEV:
            logical_id = ("manual", str(self._devices.get(made.uuid, f"/dev/gnt-{made.uuid}")))
        else:
            logical_id = made.logical_id
        return a_file_disk(
            *("web1", number, size_mib),
            dev_type=self.kind,
            params=self._params,
            logical_id=logical_id,
        )

    def ready(self, size_mib: int, number: int = 0) -> Disk:
        """A disk that can be created."""
        if self.kind is DiskTemplate.BLOCKDEV:
            file = self.paths.root / f"device{number}"
            made = self._stack.enter_context(loop_device(file, size_mib))
            self._devices[an_uuid(1000 + number)] = made
        return self.disk(size_mib, number)

    def created(self, size_mib: int, number: int = 0) -> Disk:
        disk = self.ready(size_mib, number)
        self.driver.create(disk, size_mib)
        self._stack.callback(self.driver.shutdown, disk)
        return disk

    def path(self, disk: Disk) -> Path:
        """Where the assembled disk is."""
        found = self.driver.assemble(disk).path
        assert found is not None
        return found


@contextmanager
def stand(name: str, root: Path) -> Iterator[Stand]:
    with ExitStack() as stack:
        yield Stand(name, root, stack)
