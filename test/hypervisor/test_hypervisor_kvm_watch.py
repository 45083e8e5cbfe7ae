"""Which end of a guest is its user's doing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from fakes.short_root import short_root
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.hypervisor.kvm_watch import ShutdownWatch, Story
from ganeti.paths import Paths
from ganeti.serializer import Json

OFF: Json = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}
KILLED: Json = {"event": "SHUTDOWN", "data": {"guest": False, "reason": "host-signal"}}
REBOOT: Json = {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-reset"}}


@pytest.mark.parametrize(
    ("events", "is_users"),
    [
        ([OFF], True),
        (["POWERDOWN", OFF], False),
        (["STOP", OFF], False),
        (["STOP", "RESUME", OFF], True),
        (["NIC_RX_FILTER_CHANGED", OFF], True),
        ([KILLED], False),
        ([REBOOT], False),
        (["POWERDOWN"], False),
    ],
)
def test_a_guest_that_was_not_asked_was_shut_down_by_its_user(
    events: list[Json], is_users: bool
) -> None:
    story = Story()
    rows = [{"event": event} if isinstance(event, str) else event for event in events]
    assert any([story.is_user_shutdown(row) for row in rows]) is is_users


def test_every_guest_is_followed_and_the_watch_ends_when_there_is_none() -> None:
    async def play(root: Path) -> KvmDirectories:
        directories = KvmDirectories.of(Paths(root))
        directories.make()
        (directories.control / "dead.kvmd").touch()

        async def qemu(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b'{"QMP": {}}\r\n')
            assert json.loads(await reader.readline()) == {"execute": "qmp_capabilities"}
            for row in ({"return": {}}, OFF):
                writer.write(json.dumps(row).encode() + b"\r\n")
            writer.close()
            server.close()
            socket.unlink()

        socket = directories.files("web1").kvmd
        server = await asyncio.start_unix_server(qemu, socket)
        await ShutdownWatch(directories, idle_s=0.6).run()
        return directories

    with short_root() as root:
        directories = asyncio.run(asyncio.wait_for(play(root), 20))
        found = {path.name for path in directories.control.glob("*.shutdown")}
        assert found == {"web1.shutdown"}
