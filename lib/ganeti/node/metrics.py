"""Figures of one node for monitoring: its guests, its space for disks, its memory, its DRBD.

noded shows them at /metrics on a port of their own, when its option --metrics says which: plain
HTTP, nothing can be changed there, and no more is told than the remote API tells who may read.
"""

from __future__ import annotations

import asyncio
import logging
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from aiohttp import web

from ganeti.errors import GenericError
from ganeti.http.listener import Limits, Listener, send_whole
from ganeti.hypervisor.base import DiskIo
from ganeti.model.report import HypervisorNodeInfo, RunningInfo
from ganeti.node import metrics_drbd
from ganeti.node.context import NodeContext
from ganeti.node.info import storage_info
from ganeti.serializer import Json
from ganeti.utils.offload import in_thread
from ganeti.utils.openmetrics import CONTENT_TYPE, Family, Sample, render
from ganeti.version import RELEASE

logger = logging.getLogger(__name__)

MIB = 1024 * 1024
KEPT_S = 10.0  # figures are looked up again after so long, however often somebody asks
DISK_IO_S = 5.0  # for all guests to tell of their disks
LIMITS = Limits(
    first_request_s=5.0, body_bytes=0, line_bytes=1024, field_bytes=2048, connections=20
)
PATH = "/metrics"

INFO = Family("ganeti_noded", "info", "Version of the node daemon, and its node")
MEMORY = Family(
    "ganeti_noded_memory_bytes", "gauge", "Memory of the node: total, used by itself (node), free"
)
CPUS = Family("ganeti_noded_cpus", "gauge", "Logical processors of the node")
GUESTS = Family("ganeti_noded_guests", "gauge", "Instances that run here, by hypervisor")
GUEST_MEMORY = Family("ganeti_noded_guest_memory_bytes", "gauge", "Memory of a running instance")
GUEST_CPUS = Family("ganeti_noded_guest_vcpus", "gauge", "Virtual processors of an instance")
GUEST_CPU_TIME = Family(
    "ganeti_noded_guest_cpu_seconds", "counter", "Processor time that an instance has used"
)
GUEST_DISK_BYTES = Family(
    "ganeti_noded_guest_disk_bytes",
    "counter",
    "What an instance has read and written, by number of the disk",
)
GUEST_DISK_OPERATIONS = Family(
    "ganeti_noded_guest_disk_operations",
    "counter",
    "How often an instance has read and written, by number of the disk",
)
STORAGE = Family(
    "ganeti_noded_storage_bytes",
    "gauge",
    "Space of the file systems for the disks of instances: total, free",
)
FAULTS = Family(
    "ganeti_noded_faults", "gauge", "1 for a hypervisor that could not tell what runs on it"
)
FAMILIES: Final = (
    *(INFO, MEMORY, CPUS, GUESTS, GUEST_MEMORY, GUEST_CPUS, GUEST_CPU_TIME),
    *(GUEST_DISK_BYTES, GUEST_DISK_OPERATIONS, STORAGE, FAULTS),
    *metrics_drbd.FAMILIES,
)
STORAGE_KEYS: Final = {
    "file": "file_storage_dir",
    "sharedfile": "shared_file_storage_dir",
    "gluster": "gluster_storage_dir",
}
"""Type of storage → where ssconf says that it is."""


class MetricsServer(Listener):
    """Answers GET /metrics. `figures` is called in a worker and may block."""

    def __init__(
        self, figures: Callable[[], list[Json]], *, kept_s: float = KEPT_S, limits: Limits = LIMITS
    ) -> None:
        super().__init__(tls=None, limits=limits)
        self._figures = figures
        self._kept_s = kept_s
        self._text = b""
        self._made_at: float | None = None
        self._making = asyncio.Lock()

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        response = await self._response(raw)
        await send_whole(raw, response, self.limits)
        return response

    async def _response(self, raw: web.BaseRequest) -> web.Response:
        if raw.path != PATH:
            return web.Response(status=404, text=f"there is nothing here but {PATH}\n")
        if raw.method != "GET":
            return web.Response(status=405, text="only GET is possible\n", headers={"Allow": "GET"})
        response = web.Response(body=await self._current())
        response.headers["Content-Type"] = CONTENT_TYPE
        return response

    async def _current(self) -> bytes:
        """One look at the node for all who ask within KEPT_S."""
        loop = asyncio.get_running_loop()
        async with self._making:
            if self._made_at is None or loop.time() >= self._made_at + self._kept_s:
                self._text = await in_thread(lambda: render(self._figures()))
                self._made_at = loop.time()
            return self._text


def node_figures(node: NodeContext, proc: Path = Path("/proc")) -> list[Json]:
    """All families with their samples. What can't be told is left out, and logged."""
    found: dict[Family, list[Sample]] = {family: [] for family in FAMILIES}
    found[INFO] = [("_info", {"version": RELEASE, "node": node.settings.hostname}, 1)]
    kinds = node.ssconf("hypervisor_list").split()
    for number, kind in enumerate(kinds):
        try:
            if number == 0:  # they would all tell the same of the node
                _add_node(found, node.hypervisor(kind).node_info({}))
            _add_guests(found, kind, node.hypervisor(kind).all_info())
            _add_guest_disks(found, kind, node.hypervisor(kind).disk_io(DISK_IO_S))
            found[FAULTS].append(("", {"hypervisor": kind}, 0))
        except (GenericError, OSError) as error:
            logger.warning("metrics: hypervisor %s: %s", kind, error)
            found[FAULTS].append(("", {"hypervisor": kind}, 1))
    for kind, key in STORAGE_KEYS.items():
        _add_storage(found, node, kind, node.ssconf(key))
    for family, sample in metrics_drbd.drbd_samples(proc):
        found[family].append(sample)
    return [family.shown(samples) for family, samples in found.items()]


def _add_node(found: dict[Family, list[Sample]], info: HypervisorNodeInfo) -> None:
    memory = {
        "total": info.memory_total,
        "node": info.memory_dom0,
        "free": info.memory_free,
    }
    found[MEMORY] += [
        ("", {"kind": kind}, value * MIB) for kind, value in memory.items() if value is not None
    ]
    if info.cpu_total is not None:
        found[CPUS].append(("", {}, info.cpu_total))


def _add_guests(
    found: dict[Family, list[Sample]], kind: str, guests: dict[str, RunningInfo]
) -> None:
    found[GUESTS].append(("", {"hypervisor": kind}, len(guests)))
    for name, info in sorted(guests.items()):
        labels = {"instance": name, "hypervisor": kind}
        found[GUEST_MEMORY].append(("", labels, info.memory * MIB))
        found[GUEST_CPU_TIME].append(("_total", labels, info.time))
        if info.vcpus is not None:
            found[GUEST_CPUS].append(("", labels, info.vcpus))


def _add_guest_disks(
    found: dict[Family, list[Sample]], kind: str, guests: Mapping[str, Sequence[DiskIo]]
) -> None:
    for name, disks in sorted(guests.items()):
        for disk in disks:
            labels = {"instance": name, "hypervisor": kind, "disk": str(disk.index)}
            for direction, size, count in (
                ("read", disk.read_bytes, disk.reads),
                ("written", disk.written_bytes, disk.writes),
            ):
                own = {**labels, "direction": direction}
                found[GUEST_DISK_BYTES].append(("_total", own, size))
                found[GUEST_DISK_OPERATIONS].append(("_total", own, count))


def _add_storage(
    found: dict[Family, list[Sample]], node: NodeContext, kind: str, directory: str
) -> None:
    if not directory:
        return
    unit = storage_info(node, kind, directory)
    for word, value in (("total", unit.storage_size), ("free", unit.storage_free)):
        if value is not None:
            labels = {"type": kind, "name": directory, "kind": word}
            found[STORAGE].append(("", labels, value * MIB))


def read_place(text: str) -> tuple[str | None, int]:
    """Address and port of `PORT`, `ADDRESS:PORT` or `[ADDRESS]:PORT`.

    ArgumentTypeError if it is none.
    """
    address, _, digits = text.rpartition(":")
    port = int(digits) if digits.isdecimal() else 0
    if not 0 < port < 65536:
        raise ArgumentTypeError(f"'{text}' is not [ADDRESS:]PORT with a port in 1..65535")
    return address.removeprefix("[").removesuffix("]") or None, port
