"""Names and addresses of hosts, as a node sees them: by the resolver or a hosts file."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from typing import NamedTuple

from ganeti.errors import Code, OpPrereqError, ResolverError
from ganeti.paths import Paths
from ganeti.types import IpFamily
from ganeti.utils.files import LocalDisk
from ganeti.utils.net import family_of, resolve

HOSTS_MODE = 0o644
_VALID = re.compile(r"[a-z0-9._-]{1,255}")


class Host(NamedTuple):
    """A resolved name."""

    name: str  # full name
    ip: str


def normalize(name: str) -> str:
    """A host name in the form in which names are kept; OpPrereqError INVAL (facts/master.md §C)."""
    made = name.lower().removesuffix(".")
    if not _VALID.fullmatch(made) or ".." in made or made.startswith("."):
        raise OpPrereqError(
            f"{name!r} is not a valid host name",
            Code.INVAL,
            hint="letters, digits, dots, hyphens and underscores may stand in it",
        )
    return made


def look_up(paths: Paths, name: str, family: IpFamily = IpFamily.IPV4) -> Host:
    """Full name and address of a host; ResolverError when it is not known."""
    wanted = normalize(name)
    if paths.is_virtual:
        return _look_up_in_file(paths.etc_hosts, wanted, family)
    ip = resolve(wanted, family)
    canonical = _canonical(wanted, family)
    return Host(canonical or wanted, ip)


def _canonical(name: str, family: IpFamily) -> str | None:
    """The name that the resolver gives the host, when it is the wanted one made longer."""
    flags = socket.AI_CANONNAME
    found = socket.getaddrinfo(name, None, int(family), socket.SOCK_STREAM, 0, flags)
    canonical = found[0][3].lower() if found else ""
    return canonical if canonical == name or canonical.startswith(f"{name}.") else None


def _look_up_in_file(path: Path, wanted: str, family: IpFamily) -> Host:
    for line in _lines(path):
        ip, *names = line.partition("#")[0].split() or [""]
        if not names or family_of(ip) != family:
            continue
        lowered = [name.lower() for name in names]
        if wanted in lowered:
            return Host(lowered[0], ip)
    raise ResolverError(wanted, socket.EAI_NONAME, f"Name or service not known (not in {path})")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        return []


def is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback


def add_host(path: Path, ip: str, name: str) -> None:
    """The hosts file has the line `IP<TAB>fqdn short` for this address."""
    short = name.partition(".")[0]
    words = [name] if short == name else [name, short]
    line = f"{ip}\t{' '.join(words)}"
    lines = _lines(path)
    if any(old.split()[:1] == [ip] for old in lines):
        made = [line if old.split()[:1] == [ip] else old for old in lines]
    else:
        made = [*lines, line]
    if made != lines:
        LocalDisk().replace(path, "".join(f"{one}\n" for one in made).encode(), mode=HOSTS_MODE)


def remove_host(path: Path, name: str) -> None:
    """The name and its short form are on no line; a line without names is gone."""
    gone = {name, name.partition(".")[0]}
    lines, made = _lines(path), []
    for line in lines:
        words = line.partition("#")[0].split()
        if not gone & set(words[1:]):
            made.append(line)
            continue
        left = [word for word in words[1:] if word not in gone]
        if left:
            made.append(f"{words[0]}\t{' '.join(left)}")
    if made != lines:
        LocalDisk().replace(path, "".join(f"{one}\n" for one in made).encode(), mode=HOSTS_MODE)
