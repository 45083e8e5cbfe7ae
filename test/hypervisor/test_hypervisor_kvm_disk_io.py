"""Counters of the disks of guests, as QEMU tells them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.guests import a_file_disk, a_nic
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_disk_io, kvm_runtime
from ganeti.hypervisor.base import DiskIo, GuestDisk
from ganeti.hypervisor.kvm_devices import place_devices
from ganeti.hypervisor.kvm_disk_io import ask_guests, read_counters
from ganeti.hypervisor.kvm_files import KvmDirectories, KvmFiles
from ganeti.hypervisor.kvm_qmp import Command
from ganeti.hypervisor.kvm_runtime import Runtime
from ganeti.paths import Paths
from ganeti.serializer import Json

HVPARAMS: dict[str, Json] = {"disk_type": "paravirtual", "nic_type": "paravirtual"}


def a_runtime(disks: int) -> Runtime:
    own = [GuestDisk(a_file_disk("web1", number), Path(f"/d{number}")) for number in range(disks)]
    _, placed = place_devices([a_nic()], own, HVPARAMS)
    return Runtime((), (), HVPARAMS, placed)


def node_name(runtime: Runtime, index: int) -> str:
    return str((runtime.disks[index].disk.hvinfo or {})["id"])


def row(node: str, factor: int) -> Json:
    """As QEMU 7.2 tells it; it has some twenty counters more."""
    stats = {"rd_bytes": 512, "wr_bytes": 1024, "rd_operations": 1, "wr_operations": 2}
    counters = {name: value * factor for name, value in stats.items()}
    return {"device": "", "node-name": node, "stats": {**counters, "flush_operations": 7}}


def test_counters_are_those_of_the_disk_of_that_number() -> None:
    runtime = a_runtime(2)
    answer = [row("floppy1", 9), row(node_name(runtime, 1), 2), row(node_name(runtime, 0), 1)]
    assert list(read_counters(answer, runtime)) == [
        DiskIo(0, 512, 1024, 1, 2),
        DiskIo(1, 1024, 2048, 2, 4),
    ]


@pytest.mark.parametrize("answer", [None, [], {}, [{}], [{"node-name": "x", "stats": 5}]])
def test_an_answer_of_another_form_counts_nothing(answer: Json) -> None:
    assert list(read_counters(answer, a_runtime(1))) == []


class Guests:
    """QEMUs, of which each takes so many seconds to answer; `hung` ones never do."""

    def __init__(self, root: Path, names: Sequence[str], hung: Sequence[str] = ()) -> None:
        directories = KvmDirectories.of(Paths(root))
        self.files: dict[str, KvmFiles] = {name: directories.files(name) for name in names}
        self.hung = {self.files[name].qmp for name in hung}
        self.now = 100.0
        self.asked = 0
        for name, files in self.files.items():
            files.runtime.parent.mkdir(parents=True, exist_ok=True)
            kvm_runtime.save(files.runtime, a_runtime(1))
            assert name in str(files.qmp)

    def qmp(self, socket: Path, commands: Sequence[Command], timeout_s: float = 5.0) -> list[Json]:
        assert list(commands) == [kvm_disk_io.BLOCKSTATS]
        self.asked += 1
        if socket in self.hung:
            self.now += timeout_s
            raise HypervisorError(f"QMP socket {socket.name}: no answer within {timeout_s:g} s")
        return [[row(node_name(a_runtime(1), 0), 1)]]

    def ask(self, limit_s: float) -> set[str]:
        return set(ask_guests(self.files.items(), self.qmp, lambda: self.now, limit_s))


def test_a_guest_that_hangs_does_not_hide_the_others(tmp_path: Path) -> None:
    guests = Guests(tmp_path, ["a", "b", "c"], hung=["b"])
    assert guests.ask(limit_s=5.0) == {"a", "c"}
    assert guests.now == 100.0 + kvm_disk_io.GUEST_S


def test_the_time_for_all_guests_is_bounded(tmp_path: Path) -> None:
    names = [f"guest{number}" for number in range(20)]
    guests = Guests(tmp_path, names, hung=names)
    assert guests.ask(limit_s=5.0) == set()
    assert guests.now == 105.0 and guests.asked == 3


def test_a_guest_whose_start_is_not_known_is_left_out(tmp_path: Path) -> None:
    guests = Guests(tmp_path, ["a", "b"])
    guests.files["a"].runtime.unlink()
    assert guests.ask(limit_s=5.0) == {"b"}
