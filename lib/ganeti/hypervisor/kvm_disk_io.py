"""What running guests have read and written, as QEMU counts it. See query-blockstats in
qemu-qmp-ref(7).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_runtime
from ganeti.hypervisor.base import DiskIo
from ganeti.hypervisor.kvm_files import KvmFiles
from ganeti.hypervisor.kvm_qmp import Command, QmpPort
from ganeti.hypervisor.kvm_runtime import Runtime
from ganeti.serializer import Json

log = logging.getLogger(__name__)

BLOCKSTATS: Final = Command("query-blockstats")
GUEST_S: Final = 2.0  # a QEMU that hangs shall not hide the others


def ask_guests(
    guests: Iterable[tuple[str, KvmFiles]],
    qmp: QmpPort,
    now: Callable[[], float],
    limit_s: float,
) -> dict[str, tuple[DiskIo, ...]]:
    """By name of the guest; those that do not tell, or not within the limit for all, are left
    out."""
    until = now() + limit_s
    found = {}
    for name, files in guests:
        left_s = min(GUEST_S, until - now())
        if left_s <= 0:
            log.warning("instance %s: no time is left to ask for its disks", name)
            break
        try:
            runtime = kvm_runtime.load(files.runtime, name)
            (answer,) = qmp(files.qmp, [BLOCKSTATS], left_s)
            found[name] = tuple(read_counters(answer, runtime))
        except HypervisorError as error:
            log.warning("instance %s: its disks: %s", name, error)
    return found


def read_counters(answer: Json, runtime: Runtime) -> Iterator[DiskIo]:
    """One for each disk that has a name in QEMU: those on the board (types of disks that are no
    devices there) have none."""
    stats = {}
    for row in answer if isinstance(answer, list) else ():
        match row:
            case {"node-name": str(node), "stats": dict(counters)}:
                stats[node] = counters
    for index, guest in enumerate(runtime.disks):
        match stats.get(str((guest.disk.hvinfo or {}).get("id"))):
            case {
                "rd_bytes": int(read_bytes),
                "wr_bytes": int(written_bytes),
                "rd_operations": int(reads),
                "wr_operations": int(writes),
            }:
                yield DiskIo(index, read_bytes, written_bytes, reads, writes)
