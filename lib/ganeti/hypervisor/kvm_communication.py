"""The interface between a guest and its node: its tap's name, and how it is connected.

The guest has a link-local address, and finds its node at NODE_ADDRESS. Nothing is forwarded from
there: routers must not (RFC 3927, 2.7), and one guest has no business with another's node.
Source: facts/node-behaviour.md (instance communication NIC), facts/hypervisors.md (tap devices).
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.model.nic import NODE_ADDRESS

if TYPE_CHECKING:
    from ganeti.model.nic import Nic

TAP: Final = "gnt.com."
TABLES: Final = tuple(Path(root, "iproute2") for root in ("/etc", "/usr/share", "/usr/lib"))


def devices() -> list[str]:
    """Names of all network devices."""
    return [name for _, name in socket.if_nameindex()]


def tap_names(taken: Iterable[str]) -> Iterator[str]:
    """Names for a new tap: the number after the highest there is, and those after it, for others
    may make one meanwhile."""
    numbers = [name.removeprefix(TAP) for name in taken if name.startswith(TAP)]
    first = max((int(number) for number in numbers if number.isdecimal()), default=-1) + 1
    return (f"{TAP}{number}" for number in itertools.count(first))


def knows_table(name: str, places: tuple[Path, ...] = TABLES) -> bool:
    """Whether ip(8) finds a routing table of this name or number."""
    if name.isdecimal():
        return True
    files = [
        file
        for place in places
        for file in (place / "rt_tables", *(place / "rt_tables.d").glob("*.conf"))
        if file.is_file()
    ]
    lines = [line for file in files for line in file.read_text(errors="replace").splitlines()]
    return any(line.partition("#")[0].split()[1:2] == [name] for line in lines)


def connect_commands(nic: Nic, interface: str) -> list[list[str]]:
    """The node has its address on the tap, and a route to the guest. The caller sets the rest.

    The route is in the main table, where the node's own answers look.
    """
    return [
        ["ip", "address", "replace", f"{NODE_ADDRESS}/32", "dev", interface],
        ["ip", "route", "replace", str(nic.ip), "proto", "static", "dev", interface],
    ]
