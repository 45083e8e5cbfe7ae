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


def with_host(text: str, ip: str, name: str) -> str:
    """A hosts file with the line `IP<TAB>fqdn short`: in place of those of the address, or at the
    end (facts/node-behaviour.md §13)."""
    short = name.partition(".")[0]
    line = "\t".join([ip, name if short == name else f"{name} {short}"])
    lines = text.splitlines()
    at = [index for index, old in enumerate(lines) if old.split("#")[0].split()[:1] == [ip]]
    kept = [old for index, old in enumerate(lines) if index not in at[1:]]
    if at:
        kept[at[0]] = line
    else:
        kept.append(line)
    return "\n".join(kept) + "\n"


def without_host(text: str, name: str) -> str:
    """The name and its short form stand in no line; lines without names are gone."""
    gone = {name, name.partition(".")[0]}
    kept = []
    for line in text.splitlines():
        words, sign, comment = line.partition("#")
        fields = words.split()
        if not gone.intersection(fields[1:]):
            kept.append(line)
            continue
        names = [field for field in fields[1:] if field not in gone]
        if names:
            rest = f" #{comment}" if sign else ""
            kept.append(f"{fields[0]}\t{' '.join(names)}{rest}")
    return "".join(line + "\n" for line in kept)


def add_host(path: Path, ip: str, name: str) -> None:
    """The hosts file has the line of this address."""
    text = "".join(f"{line}\n" for line in _lines(path))
    changed = with_host(text, ip, name)
    if changed != text:
        LocalDisk().replace(path, changed.encode(), mode=HOSTS_MODE)
