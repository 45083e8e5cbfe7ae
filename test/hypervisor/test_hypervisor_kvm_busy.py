"""Migrations of a guest that changes its memory faster than the link can carry it.

The guest is one boot sector: it touches half a megabyte over and over, and says the alphabet.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from fakes.guest_bed import wait_until
from fakes.guests import a_file_disk, an_instance
from fakes.serial import SerialConsole
from fakes.short_root import short_root
from ganeti.hypervisor import kvm_qmp
from ganeti.hypervisor.base import GuestDisk, HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.model.filled import FilledInstance
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import DiskTemplate, HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"
HOST = "127.86.0.3"
PORT = 18111
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ENOUGH = 100  # letters

pytestmark = pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}")

CODE = bytes.fromhex(
    "fa"  # cli
    "b341"  # mov bl,'A'
    "b90002"  # again: mov cx,0x200
    "be0010"  # sweep: mov si,0x1000
    "8ec6"  # page: mov es,si
    "26fe060000"  # inc byte [es:0]
    "81c60001"  # add si,0x100
    "81fe0090"  # cmp si,0x9000
    "72ef"  # jb page
    "49"  # dec cx
    "75e9"  # jnz sweep
    "bafd03"  # mov dx,0x3fd
    "ec"  # in al,dx
    "a820"  # test al,0x20
    "74de"  # jz again
    "b2f8"  # mov dl,0xf8
    "88d8"  # mov al,bl
    "ee"  # out dx,al
    "fec3"  # inc bl
    "80fb5b"  # cmp bl,'Z'+1
    "72d2"  # jb again
    "b341"  # mov bl,'A'
    "ebce"  # jmp again
)


def may_page_from_afar() -> bool:
    """userfaultfd(2), by which post-copy gets pages, is for root on most machines."""
    allowed = Path("/proc/sys/vm/unprivileged_userfaultfd")
    return os.geteuid() == 0 or (allowed.exists() and allowed.read_text().strip() == "1")


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


def a_guest(**hvparams: Json) -> FilledInstance:
    plain: dict[str, Json] = {
        "kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled", "chipset": "pc",
        "migration_port": PORT, "migration_bandwidth": 2,
        "migration_downtime": 1,  # nothing is ever small enough to be sent in it
    }  # fmt: skip
    return an_instance(
        "web1", hypervisor=HypervisorKind.KVM, memory_mib=32, hvparams=plain | hvparams
    )


def a_disk(place: Path) -> GuestDisk:
    image = place / "disk"
    image.write_bytes(CODE.ljust(510, b"\0") + b"\x55\xaa")
    os.truncate(image, 1 << 20)
    return GuestDisk(a_file_disk("web1", dev_type=DiskTemplate.SHARED_FILE), image)


def heard(console: SerialConsole, letters: int) -> str:
    """What it has said since, so many letters at least."""
    return console.expect(f"[A-Z]{{{letters},}}").group()


def recorded(told: list[str]) -> kvm_qmp.QmpPort:
    """QMP as it is; the names of the commands are noted."""

    def converse(
        socket: Path, commands: Sequence[kvm_qmp.Command], timeout_s: float = 5.0
    ) -> list[Json]:
        told.extend(command.name for command in commands)
        return kvm_qmp.converse(socket, commands, timeout_s)

    return converse


@pytest.mark.skipif(not may_page_from_afar(), reason="needs root for userfaultfd")
def test_a_busy_guest_goes_on_at_its_target_before_all_its_memory_is_there(
    two: tuple[KvmHypervisor, KvmHypervisor], tmp_path: Path
) -> None:
    source, target = two
    told: list[str] = []
    source.qmp = recorded(told)
    guest, disk = a_guest(migration_caps="postcopy-ram"), a_disk(tmp_path)
    source.start(guest, [disk])
    with SerialConsole(source.files("web1").serial) as console:
        before = heard(console, ENOUGH)
        target.accept(guest, source.migration_info(guest), HOST, [disk])
        with SerialConsole(target.files("web1").serial) as there:
            source.migrate("cluster", guest, HOST, True)
            seen = set()

            def is_over() -> bool:
                nonlocal before
                before += waiting(console)
                seen.add(source.migration_status(guest).status)
                return "completed" in seen

            wait_until(is_over, 60.0)
            assert "migrate-start-postcopy" in told
            assert seen <= {"setup", "active", "postcopy-active", "completed"}
            before += waiting(console)
            target.finalize_target(guest, source.migration_info(guest), True)
            source.finalize_source(guest, True, True)
            after = heard(there, ENOUGH)
    said = before + after
    assert said == said_from(said[0], len(said))


def waiting(console: SerialConsole) -> str:
    """What is to be read at once. A line that nobody reads fills up; QEMU would end it twice, as
    the letter on its way goes along with the guest and is sent here, too."""
    said, console.text = console.text, ""
    console.socket.setblocking(False)
    with suppress(BlockingIOError):
        while piece := console.socket.recv(65536):
            said += piece.decode()
    return said


def said_from(letter: str, count: int) -> str:
    """So many letters of the alphabet, over and over."""
    start = ALPHABET.index(letter)
    return (ALPHABET * (count // len(ALPHABET) + 2))[start : start + count]


def test_a_guest_whose_target_dies_goes_on_where_it_is(
    two: tuple[KvmHypervisor, KvmHypervisor], tmp_path: Path
) -> None:
    source, target = two
    guest, disk = a_guest(), a_disk(tmp_path)
    source.start(guest, [disk])
    with SerialConsole(source.files("web1").serial) as console:
        said = heard(console, ENOUGH)
        target.accept(guest, source.migration_info(guest), HOST, [disk])
        source.migrate("cluster", guest, HOST, True)
        wait_until(lambda: (source.migration_status(guest).transferred_ram or 0) > 1 << 20, 60.0)
        target.kill(guest)
        wait_until(lambda: source.migration_status(guest).status == "failed", 60.0)
        source.finalize_source(guest, False, True)
        said += heard(console, ENOUGH)
    assert said == said_from(said[0], len(said))
