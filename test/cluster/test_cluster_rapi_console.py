"""The console proxy with a real guest: its serial line and its VNC, through the daemon; tokens
and the audit log of the same daemon.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.utils.daemons import RAPI
from virtual_cluster import FILE_STORAGE

QEMU = "/usr/bin/qemu-system-x86_64"
OS_DEFINITION = Path(__file__).resolve().parents[2] / "os" / "busybox"
NAME = "vm1.example.com"
BOOT_S = 180.0  # some 5 s on an idle machine

pytestmark = [
    pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}"),
    pytest.mark.timeout(300),
]


def boot_parameters(place: Path) -> str:
    """Kernel and initrd as hvparams; skips where none can be made."""
    argv = [sys.executable, str(OS_DEFINITION / "make-initrd"), str(place)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no initrd can be made here: {made.stderr}")
    return made.stdout.strip()


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Two nodes; on the one that is not the master a guest boots, with a serial line and VNC."""
    with virtual_cluster(2) as bed:
        boot = boot_parameters(bed.cluster.directory / "boot")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=kvm --enabled-disk-templates=file"
            f" --file-storage-dir={FILE_STORAGE}"
            f" -H 'kvm:kvm_path={QEMU},kvm_flag=disabled,{boot}' cluster.example.com"
        )
        bed.ok(f"gnt-node add {bed.cluster.names[1]}")
        bed.ok(
            "gnt-instance add -t file -s 16M -o busybox+default --no-nics --no-name-check"
            f" --no-ip-check --ignore-ipolicy -B memory=128M -n node2"
            f" -H kvm:vnc_bind_address={bed.cluster.address(2)} {NAME}"
        )
        bed.cluster.paths(1).rapi_users.write_text("ops Example1 operator\n")
        bed.stop(RAPI)
        bed.ok("ganeti-rapi --console-proxy --require-authentication")
        yield bed


@pytest.fixture
def token(cluster: ClusterBed) -> str:
    """A new one, which the daemon has read: it notices the change of the file some time later."""
    made = cluster.ok("gnt-cluster token add --user ops --scope instance.console").strip()
    until(lambda: is_accepted(cluster, made), "the daemon knows the token")
    return made


def is_accepted(bed: ClusterBed, token: str) -> bool:
    request = Request(
        f"https://{bed.cluster.address(1)}:5080/version",
        headers={"Authorization": f"Bearer {token}"},
    )
    context = ssl.create_default_context(cafile=str(bed.cluster.paths(1).rapi_pem))
    context.check_hostname = False
    try:
        with urlopen(request, timeout=30, context=context) as answer:
            return bool(answer.status == 200)
    except HTTPError as error:
        assert error.code == 401, error
        return False


def number_of(token: str) -> str:
    return token.split("_")[1]


def with_http(
    bed: ClusterBed, token: str, work: Callable[[ClientSession], Awaitable[None]]
) -> None:
    async def main() -> None:
        base = f"https://{bed.cluster.address(1)}:5080"
        headers = {"Authorization": f"Bearer {token}"}
        async with ClientSession(base, headers=headers) as http, asyncio.timeout(BOOT_S):
            await work(http)

    asyncio.run(main())


async def console(http: ClientSession, kind: str | None = None) -> ClientWebSocketResponse:
    path = f"/2/instances/{NAME}/console-ticket"
    async with http.post(path, json={"kind": kind}, ssl=False) as answer:
        told = await answer.json()
        assert answer.status == 200, told
    return await http.ws_connect(told["path"], ssl=False, protocols=("binary",))


async def expect(line: ClientWebSocketResponse, wanted: bytes) -> None:
    seen = b""
    while wanted not in seen:
        message = await line.receive()
        assert message.type == WSMsgType.BINARY, (message, seen[-500:])
        seen += message.data


async def end_of(line: ClientWebSocketResponse) -> tuple[Any, Any]:
    while (message := await line.receive()).type == WSMsgType.BINARY:
        pass
    return message.data, message.extra


async def status_of(http: ClientSession, path: str) -> int:
    async with http.get(path, ssl=False) as answer:
        return answer.status


def audited(bed: ClusterBed, **wanted: Any) -> list[dict[str, Any]]:
    """Lines of the audit log, which another thread writes: the last may not be whole yet."""
    whole, _, _ = bed.cluster.paths(1).rapi_audit_log.read_text().rpartition("\n")
    rows = [json.loads(line) for line in whole.splitlines()]
    return [row for row in rows if wanted.items() <= row.items()]


def test_the_guests_prompt_comes_through_and_commands_go(cluster: ClusterBed, token: str) -> None:
    async def work(http: ClientSession) -> None:
        line = await console(http)
        await line.send_bytes(b"\n")
        await expect(line, b"# ")
        await line.send_bytes(b"echo sum-$((40 + 2))\n")
        await expect(line, b"sum-42")
        await line.close()

    with_http(cluster, token, work)
    own = {"path": "/2/console", "token": number_of(token)}
    found = until(lambda: audited(cluster, **own), "the session is audited")
    assert found[-1]["user"] == "ops"
    assert found[-1]["query"] == {"ticket": ["<hidden>"]} and found[-1]["duration_s"] > 0


def test_vnc_greets(cluster: ClusterBed, token: str) -> None:
    async def work(http: ClientSession) -> None:
        line = await console(http, "vnc")
        await expect(line, b"RFB 003.008\n")
        await line.send_bytes(b"RFB 003.008\n")
        message = await line.receive()
        assert message.data[0] >= 1  # how many ways to log in there are
        await line.close()

    with_http(cluster, token, work)


def test_a_revoked_token_ends_its_console(cluster: ClusterBed, token: str) -> None:
    async def work(http: ClientSession) -> None:
        line = await console(http)
        assert await status_of(http, "/version") == 200
        revoke = "gnt-cluster token revoke"
        await asyncio.to_thread(cluster.ok, f"{revoke} {number_of(token)}")
        assert (await end_of(line))[0] == 1008
        assert await status_of(http, "/version") == 401

    with_http(cluster, token, work)
    refused = {"token": number_of(token), "status": 401}
    until(lambda: audited(cluster, **refused), "the refused login is audited")
    tokens = [cluster.cluster.paths(node).rapi_tokens for node in (1, 2)]
    assert tokens[0].read_bytes() == tokens[1].read_bytes()
    assert token.split("_", 2)[2].encode() not in tokens[0].read_bytes()


def test_the_console_ends_with_the_guest(cluster: ClusterBed, token: str) -> None:
    async def work(http: ClientSession) -> None:
        line = await console(http)
        stop = f"gnt-instance shutdown --timeout=0 {NAME}"
        await asyncio.to_thread(cluster.ok, stop)
        assert await end_of(line) == (1000, "the guest's console has ended")

    with_http(cluster, token, work)
