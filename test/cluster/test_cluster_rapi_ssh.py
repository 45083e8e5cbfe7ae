"""The console proxy over a real sshd: keys, quoting, and both ends of the line."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_bed import until
from fakes.console_stand import Stand, end_of, read_until, with_stand
from fakes.consoles import NODE, Guest
from fakes.short_root import short_root
from ganeti.paths import Paths

SSHD = "/usr/sbin/sshd"
SOCAT = "/usr/bin/socat"
WRAPPER = Path(__file__).resolve().parents[2] / "tools" / "kvm-console-wrapper"
CLUSTER = "cluster.example.com"
ODD = 'it\'s "odd" $HOME; `id`'  # a name that each shell on the way must leave alone

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: an sshd that lets root in"),
    *(
        pytest.mark.skipif(not os.path.exists(program), reason=f"needs {program}")
        for program in (SSHD, SOCAT)
    ),
]

SSHD_CONFIG = """\
ListenAddress {address}
Port {port}
HostKey {directory}/host
AuthorizedKeysFile {directory}/user.pub
StrictModes no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
UseDNS no
"""


@dataclass(frozen=True)
class Node:
    """Where an sshd listens that lets in whoever has the agent's key."""

    address: str
    port: int
    directory: Path
    agent: Path

    @property
    def host_key(self) -> str:
        return " ".join((self.directory / "host.pub").read_text().split()[:2])


def free_place() -> tuple[str, int]:
    address = "127.88.0.1"
    with socket.socket() as line:
        line.bind((address, 0))
        return address, int(line.getsockname()[1])


def make_key(path: Path) -> None:
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(argv, check=True, capture_output=True)


def is_open(address: str, port: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex((address, port)) == 0


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    """A node with an sshd of its own; an agent has root's key, as root's home has it elsewhere."""
    with short_root() as directory:
        for name in ("host", "user", "other"):
            make_key(directory / name)
        address, port = free_place()
        config = directory / "sshd_config"
        config.write_text(SSHD_CONFIG.format(address=address, port=port, directory=directory))
        # /run/sshd must be there, and belongs to the machine's own sshd: this one has another /run.
        script = f"mount -t tmpfs run /run && mkdir /run/sshd && exec {SSHD} -D -e -f {config}"
        agent = directory / "agent"
        log = (directory / "log").open("w")
        children = [
            subprocess.Popen(["unshare", "--mount", "sh", "-c", script], stderr=log),
            subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL),
        ]
        try:
            until(lambda: is_open(address, port) or children[0].poll(), "sshd listens")
            if children[0].poll() is not None:
                pytest.skip(f"no sshd of our own: {(directory / 'log').read_text()}")
            until(agent.exists, "the agent listens")
            subprocess.run(
                ["ssh-add", "-q", str(directory / "user")],
                env={**os.environ, "SSH_AUTH_SOCK": str(agent)},
                check=True,
            )
            yield Node(address, port, directory, agent)
        finally:
            for child in children:
                child.terminate()
                child.wait(30)
            log.close()


@dataclass
class Serial:
    """The serial line of a guest: QEMU's end of the socket, which the test has."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@asynccontextmanager
async def serial_socket(path: Path) -> AsyncIterator[Callable[[], Awaitable[Serial]]]:
    """A listening socket; what is given waits for who connects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: asyncio.Queue[Serial] = asyncio.Queue()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await lines.put(Serial(reader, writer))

    server = await asyncio.start_unix_server(connected, str(path))
    try:
        yield lines.get
    finally:
        server.close()


def guest(node: Node, serial: Path) -> Guest:
    """As a KVM instance has it."""
    command = [
        *(sys.executable, str(WRAPPER), SOCAT, ODD, str(serial.with_name("monitor"))),
        *("STDIO,raw,echo=0,escape=0x1d", f"UNIX-CONNECT:{serial}"),
    ]
    return Guest(command, ssh=(node.address, node.port))


def trust(tmp_path: Path, key: str) -> None:
    known = Paths(tmp_path / NODE).known_hosts
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(f"{CLUSTER} {key}\n")


def over_ssh(
    node: Node,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    work: Callable[[Stand, Callable[[], Awaitable[Serial]]], Awaitable[None]],
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", str(node.agent))
    path = node.directory / f"serial-{tmp_path.name[-20:]}"

    async def main(stand: Stand) -> None:
        async with serial_socket(path) as connected:
            stand.master.guests["web"] = guest(node, path)
            await work(stand, connected)

    with_stand(tmp_path, main)


def test_bytes_go_both_ways_unchanged(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = bytes(range(256)) + b"\n~.\n~?\n"  # keys that would end ssh on a terminal

    async def work(stand: Stand, connected: Callable[[], Awaitable[Serial]]) -> None:
        console = await stand.console()
        serial = await connected()
        await console.send_bytes(everything)
        assert await serial.reader.readexactly(len(everything)) == everything
        serial.writer.write(everything)
        assert (await read_until(console, everything)).endswith(everything)

    trust(tmp_path, node.host_key)
    over_ssh(node, tmp_path, monkeypatch, work)


def test_the_node_lets_go_of_the_line_when_the_client_leaves(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand, connected: Callable[[], Awaitable[Serial]]) -> None:
        console = await stand.console()
        serial = await connected()
        await console.close()
        assert await serial.reader.read() == b""  # socat has gone, so another one may connect

    trust(tmp_path, node.host_key)
    over_ssh(node, tmp_path, monkeypatch, work)


def test_the_session_ends_with_the_guest(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand, connected: Callable[[], Awaitable[Serial]]) -> None:
        console = await stand.console()
        serial = await connected()
        serial.writer.write(b"halted\n")
        serial.writer.close()
        assert await end_of(console) == (1000, "the guest's console has ended")

    trust(tmp_path, node.host_key)
    over_ssh(node, tmp_path, monkeypatch, work)


def test_a_node_with_another_key_than_the_clusters_gets_nothing(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(stand: Stand, connected: Callable[[], Awaitable[Serial]]) -> None:
        console = await stand.console()
        waiting = asyncio.ensure_future(connected())
        assert await end_of(console) == (1000, "the guest's console has ended")
        assert not waiting.done()
        waiting.cancel()

    trust(tmp_path, " ".join((node.directory / "other.pub").read_text().split()[:2]))
    over_ssh(node, tmp_path, monkeypatch, work)
