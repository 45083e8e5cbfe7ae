"""One end of a transfer as a command line: socat with TLS, a compression program and dd in a pipe.

Pure. Source of the form and of all values: facts/node-behaviour.md §4, facts/constants.json
(impexp, instance_modes); socat(1), dd(1).
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from ganeti.errors import GenericError
from ganeti.http.tls import CIPHERS

IMPORT: Final = "import"
EXPORT: Final = "export"
NO_COMPRESSION: Final = "none"
MAGIC: Final = re.compile(r"[-_.a-zA-Z0-9]{5,100}")
TOOL: Final = re.compile(r"[-_.a-zA-Z0-9]{1,40}")
HOST: Final = re.compile(r"[a-zA-Z0-9.:-]{1,255}")
BUFFER: Final = 1048576
SIZE_FROM_SCRIPT: Final = "fd"  # in place of an expected size
ATTEMPT_S: Final = 20  # of one connection attempt
RETRY_S: Final = 1
SHELL: Final = ("bash", "-o", "errexit", "-o", "pipefail", "-c")
_SPECIAL: Final = re.compile(r"([\\,!\"'])")

PACK: Final = {
    "gzip": ("gzip", "-1", "-c"),
    "gzip-fast": ("gzip", "-1", "-c"),
    "gzip-slow": ("gzip", "-c"),
    "lzop": ("lzop", "-c"),
}
"""The tools whose command is not just their name."""
PROGRAMS: Final = {"gzip-fast": "gzip", "gzip-slow": "gzip"}


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One end of a transfer. Paths are those of files with a key, a certificate, an authority.

    `prefix` and `suffix` are shell text around our dd: "COMMAND |" and "| COMMAND".
    `peer_name`: the common name that the receiver's certificate must bear.
    """

    mode: str
    key: str
    cert: str
    ca: str
    host: str = ""
    port: int = 0
    bind: str = ""
    ipv6: bool = False
    compress: str = "gzip"
    magic: str = ""
    prefix: str = ""
    suffix: str = ""
    connect_retries: int = 0
    peer_name: str = ""


@dataclass(frozen=True, slots=True)
class Descriptors:
    """Where the parts of the command report: socat's log, dd's statistics, dd's process id."""

    socat: int
    dd: int
    dd_pid: int


def check(end: End) -> None:
    """GenericError when it can't be made a command."""
    if end.mode not in (IMPORT, EXPORT):
        raise GenericError(f"mode {end.mode!r} is neither {IMPORT} nor {EXPORT}")
    if end.magic and MAGIC.fullmatch(end.magic) is None:
        raise GenericError(f"magic {end.magic!r}: 5 to 100 letters, digits, '-', '_' or '.'")
    if end.compress != NO_COMPRESSION and TOOL.fullmatch(end.compress) is None:
        raise GenericError(f"compression tool {end.compress!r} is no name of a program")
    if end.host and HOST.fullmatch(end.host) is None:
        raise GenericError(f"host {end.host!r} is neither an address nor a name")
    if end.mode == EXPORT and not (end.host and 0 < end.port < 65536):
        raise GenericError("an export needs the host and the port of the receiver")


def program_of(tool: str) -> str:
    """The program that has to be on the node for this way to compress."""
    return PROGRAMS.get(tool, tool)


def pack_argv(tool: str) -> list[str]:
    return list(PACK.get(tool, (tool,)))


def unpack_argv(tool: str) -> list[str]:
    return [program_of(tool), "-d", *(["-c"] if tool in PACK else [])]


def socat_argv(end: End) -> list[str]:
    """socat as server for an import, as client for an export."""
    common = ["socat", "-ls", "-d", "-d", f"-b{BUFFER}", "-u"]
    if end.mode == IMPORT:
        bind = [f"bind={_address(end.bind)}"] if end.bind else []
        return [*common, _joined(f"OPENSSL-LISTEN:{end.port}", bind, _SERVER, _tls(end)), "stdout"]
    client = [f"connect-timeout={ATTEMPT_S}", f"retry={end.connect_retries}"]
    name = [f"openssl-commonname={_escaped(end.peer_name)}"] if end.peer_name else []
    where = f"OPENSSL:{_address(end.host)}:{end.port}"
    return [*common, "stdin", _joined(where, client, _INTERVAL, _tls(end), name)]


_SERVER: Final = ["reuseaddr", "forever", "intervall=0.01"]
_INTERVAL: Final = [f"intervall={RETRY_S}"]


def _tls(end: End) -> list[str]:
    return [
        *("keepalive", "keepidle=60", "keepintvl=10", "keepcnt=5"),
        *("verify=1", f"cipher={CIPHERS}", "compress=none"),
        *(f"key={_escaped(end.key)}", f"cert={_escaped(end.cert)}", f"cafile={_escaped(end.ca)}"),
        "pf=ipv6" if end.ipv6 else "pf=ipv4",
    ]


def _joined(where: str, *options: list[str]) -> str:
    return ",".join([where, *(option for some in options for option in some)])


def _address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def shell_argv(end: End, report: Descriptors) -> list[str]:
    """The whole pipe. It ends with 0 only when every part of it did."""
    return [*SHELL, _receive(end, report) if end.mode == IMPORT else _send(end, report)]


def _receive(end: End, report: Descriptors) -> str:
    inner = f"{_dd(report)} {end.suffix}".strip()
    if end.compress != NO_COMPRESSION:
        inner = f"{shlex.join(unpack_argv(end.compress))} | {inner}"
    if end.magic:
        inner = f"{{ {_check_magic(end.magic)}; {inner}; }}"
    return f"{shlex.join(socat_argv(end))} 2>&{report.socat} | {inner}"


def _send(end: End, report: Descriptors) -> str:
    inner = f"{end.prefix} {_dd(report)}".strip()
    if end.compress != NO_COMPRESSION:
        inner = f"{inner} | {shlex.join(pack_argv(end.compress))}"
    if end.magic:
        inner = f"{{ printf %s {shlex.quote(_mark(end.magic))}; {inner}; }}"
    return f"{inner} | {shlex.join(socat_argv(end))} 2>&{report.socat}"


def _dd(report: Descriptors) -> str:
    """It tells its process id first, so that it can be asked how far it is."""
    return f"( echo $BASHPID >&{report.dd_pid}; exec dd bs={BUFFER} 2>&{report.dd} )"


def _mark(magic: str) -> str:
    return f"M={magic}"


def _check_magic(magic: str) -> str:
    """Exactly as many bytes are read; what follows is for the next command."""
    mark = _mark(magic)
    read = f"magic=$(dd bs={len(mark)} count=1 iflag=fullblock status=none)"
    wrong = "the sender gave another magic, it belongs to another transfer"
    return (
        f'{read}; [ -n "$magic" ] || {{ echo "nothing was received" >&2; exit 1; }};'
        f' [ "$magic" = {shlex.quote(mark)} ] || {{ echo {shlex.quote(wrong)} >&2; exit 1; }}'
    )


# What the parts say.

_SOCAT_LINE: Final = re.compile(
    r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d(?:\.\d+)? socat\[\d+\] ([A-Z]) (.*)"
)
_LISTENING: Final = re.compile(r"listening on AF=\d+ .*:(\d+)")
_CONNECTED: Final = "starting data transfer loop with FDs "
_DD_BYTES: Final = re.compile(r"(\d+) bytes?\b.* copied,")


@dataclass(frozen=True, slots=True)
class SocatLine:
    """A line of socat's log. `text` is empty when it is not for people."""

    port: int | None = None
    connected: bool = False
    text: str = ""


def parse_socat(line: str) -> SocatLine:
    """Notices carry port and connection; warnings and errors are for people."""
    found = _SOCAT_LINE.fullmatch(line.strip())
    if found is None:
        return SocatLine(text=line.strip())
    level, said = found.groups()
    if level not in "NID":
        return SocatLine(text=f"socat: {said}")
    port = _LISTENING.fullmatch(said)
    if port:
        return SocatLine(port=int(port[1]))
    return SocatLine(connected=said.startswith(_CONNECTED))


def parse_dd(line: str) -> int | None:
    """Bytes that dd has copied so far; None for its other lines."""
    found = _DD_BYTES.match(line)
    return int(found[1]) if found else None


def is_dd_count(line: str) -> bool:
    """Whether it is one of the lines about records, which say nothing to people."""
    return re.fullmatch(r"\d+\+\d+ records (in|out)", line.strip()) is not None
