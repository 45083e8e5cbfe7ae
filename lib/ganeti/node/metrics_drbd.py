"""Figures of DRBD from /proc/drbd, for monitoring. Source: facts/storage.md §3.

DRBD 8; of version 9 the file tells no minors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.utils.openmetrics import Family, Sample

KIB = 1024

STATE = Family(
    "ganeti_noded_drbd_state",
    "gauge",
    "1 for the states that a DRBD minor has here: of its connection, its role, its disk",
)
BEHIND = Family(
    "ganeti_noded_drbd_out_of_sync_bytes", "gauge", "What a DRBD minor and its peer differ in"
)
NETWORK = Family(
    "ganeti_noded_drbd_network_bytes", "counter", "What a DRBD minor has sent and received"
)
DISK = Family(
    "ganeti_noded_drbd_disk_bytes", "counter", "What a DRBD minor has read and written here"
)
FAMILIES: Final = (STATE, BEHIND, NETWORK, DISK)

_MINOR: Final = re.compile(r"^ *(\d+): cs:(\w+)(?: (?:ro|st):(\w+)/\w+ ds:(\w+)/\w+)?")
_COUNTER: Final = re.compile(r"\b(ns|nr|dw|dr|oos):(\d+)")  # KiB
_WHERE: Final = {
    "ns": (NETWORK, "sent"),
    "nr": (NETWORK, "received"),
    "dw": (DISK, "written"),
    "dr": (DISK, "read"),
}


@dataclass(frozen=True, slots=True)
class Minor:
    """One device. `counters` as they are named there, in KiB."""

    number: int
    connection: str
    role: str
    disk: str
    counters: Mapping[str, int]


def parse_minors(text: str) -> Iterator[Minor]:
    """Those that are configured; the lines after that of a minor belong to it."""
    begun: re.Match[str] | None = None
    counters: dict[str, int] = {}
    for line in [*text.splitlines(), " 0: cs:Unconfigured"]:
        found = _MINOR.match(line)
        if found and begun:
            yield Minor(int(begun[1]), begun[2], begun[3], begun[4], counters)
        if found:
            begun, counters = (found if found[3] else None), {}
        counters |= {name: int(value) for name, value in _COUNTER.findall(line)}


def drbd_samples(proc: Path) -> Iterator[tuple[Family, Sample]]:
    """None when the module is not loaded."""
    try:
        text = (proc / "drbd").read_text(errors="replace")
    except OSError:
        return
    for minor in parse_minors(text):
        own = {"minor": str(minor.number)}
        states = {"connection": minor.connection, "role": minor.role, "disk": minor.disk}
        yield STATE, ("", {**own, **states}, 1)
        for name, value in minor.counters.items():
            if name == "oos":
                yield BEHIND, ("", own, value * KIB)
            else:
                family, direction = _WHERE[name]
                yield family, ("_total", {**own, "direction": direction}, value * KIB)
