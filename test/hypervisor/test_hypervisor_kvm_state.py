"""UEFI variables and the TPM of a guest, which is no more than its firmware: where they are."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.guest_bed import wait_until
from fakes.guests import a_file_disk, an_instance
from fakes.short_root import short_root
from ganeti.hypervisor.base import GuestDisk, HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_firmware import DESCRIPTORS, known
from ganeti.model.filled import FilledInstance
from ganeti.paths import Paths
from ganeti.storage import guest_state
from ganeti.types import DiskTemplate, HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"
HOST = "127.86.0.2"
PORT = 18110
VARIABLES = "uefi-variables"

pytestmark = [
    pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}"),
    pytest.mark.skipif(not list(known(DESCRIPTORS)), reason="needs UEFI firmware (ovmf)"),
    pytest.mark.skipif(not shutil.which("swtpm"), reason="needs swtpm"),
]


@pytest.fixture
def two() -> Iterator[tuple[KvmHypervisor, KvmHypervisor]]:
    """The drivers of two nodes."""
    with short_root() as first, short_root() as second:
        drivers = [
            KvmHypervisor(HvHost(Paths(root), run, privileged=False)) for root in (first, second)
        ]
        yield drivers[0], drivers[1]
        for driver in drivers:
            if driver.is_alive("web1"):
                driver.kill(a_guest())
            driver.cleanup("web1")


def a_guest() -> FilledInstance:
    return an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        memory_mib=64,
        hvparams={
            "kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled", "chipset": "q35",
            "firmware": "uefi", "tpm": True, "migration_port": PORT, "migration_bandwidth": 1000,
            "migration_downtime": 1000,
        },
    )  # fmt: skip


def move(source: KvmHypervisor, target: KvmHypervisor, guest: FilledInstance) -> None:
    info = source.migration_info(guest)
    target.accept(guest, info, HOST, [])
    source.migrate("cluster", guest, HOST, True)
    wait_until(lambda: source.migration_status(guest).status == "completed", 120.0)
    target.finalize_target(guest, info, True)
    source.finalize_source(guest, True, True)


def on(driver: KvmHypervisor, guest: FilledInstance) -> Path:
    return guest_state.on_node(driver.host.paths, guest.uuid)


def test_state_on_a_node_goes_with_a_live_migration_and_is_not_left(
    two: tuple[KvmHypervisor, KvmHypervisor],
) -> None:
    first, second = two
    guest = a_guest()
    first.start(guest, [])
    assert {path.name for path in on(first, guest).iterdir()} == {VARIABLES, "tpm", "tpm-1"}
    move(first, second, guest)
    assert not on(first, guest).exists()
    assert (on(second, guest) / VARIABLES).stat().st_size > 0
    assert list((on(second, guest) / "tpm").iterdir())
    move(second, first, guest)
    assert not on(second, guest).exists()
    assert (on(first, guest) / VARIABLES).stat().st_size > 0


def test_state_beside_a_shared_disk_is_that_of_the_next_node_after_a_failover(
    two: tuple[KvmHypervisor, KvmHypervisor], tmp_path: Path
) -> None:
    first, second = two
    image = tmp_path / "disk"
    image.touch()
    os.truncate(image, 1 << 20)
    disk = GuestDisk(a_file_disk("web1", dev_type=DiskTemplate.SHARED_FILE), image)
    guest = a_guest()
    first.start(guest, [disk])
    state = guest_state.beside(image)
    first.kill(guest)
    first.cleanup("web1")
    variables = (state / VARIABLES).read_bytes()
    (state / VARIABLES).write_bytes(variables[:-4] + b"mine")
    (state / "tpm/note").write_text("also mine")
    second.start(guest, [disk], paused=True)
    assert (state / VARIABLES).read_bytes()[-4:] == b"mine"
    assert (state / "tpm/note").read_text() == "also mine"
    assert not on(second, guest).exists()
