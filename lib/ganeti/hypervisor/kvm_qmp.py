"""Talking to QEMU's machine protocol (QMP), from blocking code.

One conversation is one connection: the socket serves a single client, so nobody keeps it, and a
restarted noded or a second driver always gets through. The library is asyncio; each conversation
has a short loop of its own in the calling worker. See qemu-qmp-ref(7).
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from ganeti.errors import HypervisorError
from ganeti.serializer import Json

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

QMP_TIMEOUT_S: Final = 5.0
NEGOTIATIONS: Final = 3


@dataclass(frozen=True, slots=True)
class Ending:
    """The events that tell the end of what a command has begun, for one device."""

    device: str
    good: str
    bad: str


@dataclass(frozen=True, slots=True)
class Command:
    """One QMP command. `optional`: an error of it is None as answer, not a failure.

    `fd` is sent along (SCM_RIGHTS; the sender keeps its own). With an `ending` the conversation
    goes on when one of its events has come; the bad one is a failure.
    """

    name: str
    arguments: Mapping[str, Json] = field(default_factory=dict)
    optional: bool = False
    fd: int | None = None
    ending: Ending | None = None


class QmpPort(Protocol):
    """What the driver needs of QMP; `converse` below, or a fake."""

    def __call__(
        self, socket: Path, commands: Sequence[Command], timeout_s: float = QMP_TIMEOUT_S
    ) -> list[Json]: ...


def converse(
    socket: Path, commands: Sequence[Command], timeout_s: float = QMP_TIMEOUT_S
) -> list[Json]:
    """The answers to `commands`, given one after the other on one connection.

    HypervisorError when QEMU can't be reached, does not answer within `timeout_s` (for all of it)
    or refuses a command that is not optional; the commands before it were executed.
    """
    return _in_own_loop(_conversation(socket, commands), socket, timeout_s)


def _in_own_loop(
    work: Coroutine[Any, Any, list[Json]], socket: Path, timeout_s: float
) -> list[Json]:
    async def limited() -> list[Json]:
        return await asyncio.wait_for(work, timeout_s)

    try:
        return asyncio.run(limited())
    except TimeoutError as error:
        raise HypervisorError(
            f"QMP socket {socket.name}: no answer within {timeout_s:g} s"
        ) from error


async def _connect(client: QMPClient, socket: Path) -> None:
    """Again when the negotiation fails: an event of QEMU, sent at the wrong moment, has come
    before its answer, which the client takes for a breach of the protocol."""
    from qemu.qmp import ConnectError
    from qemu.qmp.qmp_client import NegotiationError

    for left in reversed(range(NEGOTIATIONS)):
        try:
            await client.connect(str(socket))
            return
        except ConnectError as error:
            if not left or not isinstance(error.exc, NegotiationError):
                raise


async def _conversation(socket: Path, commands: Sequence[Command]) -> list[Json]:
    from qemu.qmp import QMPClient
    from qemu.qmp.error import QMPError
    from qemu.qmp.qmp_client import ExecuteError

    client = QMPClient(socket.name)
    client.logger.setLevel("CRITICAL")  # what it logs, it also raises
    answers: list[Json] = []
    try:
        await _connect(client, socket)
        try:
            for command in commands:
                try:
                    answers.append(await _execute(client, command))
                except ExecuteError as error:
                    if not command.optional:
                        raise HypervisorError(
                            f"QMP socket {socket.name}: {command.name}: {error}"
                        ) from error
                    answers.append(None)
        finally:
            await client.disconnect()
    except QMPError as error:
        raise HypervisorError(f"QMP socket {socket.name}: {error}") from error
    except (OSError, EOFError) as error:
        # QEMU hangs up at once after "quit", which is no failure of the conversation.
        if len(answers) < len(commands):
            raise HypervisorError(f"QMP socket {socket.name}: {error}") from error
    return answers


async def _execute(client: QMPClient, command: Command) -> Json:
    if command.fd is not None:
        client.send_fd_scm(command.fd)
    if command.ending is None:
        return await client.execute(command.name, dict(command.arguments))
    ending = command.ending
    with client.listener((ending.good, ending.bad)) as events:
        answer = await client.execute(command.name, dict(command.arguments))
        async for event in events:
            data = event.get("data")
            if isinstance(data, dict) and data.get("device") == ending.device:
                if event["event"] == ending.bad:
                    raise HypervisorError(f"{command.name} {ending.device}: the guest refuses")
                break
    return answer


# The words of QMP that the driver uses.

STATUS: Final = Command("query-status")
POWERDOWN: Final = Command("system_powerdown")
CONTINUE: Final = Command("cont")
CPUS: Final = Command("query-cpus-fast", optional=True)
BALLOON: Final = Command("query-balloon", optional=True)


def set_balloon(memory_mib: int) -> Command:
    return Command("balloon", {"value": memory_mib << 20})


def set_password(protocol: str, password: str) -> Command:
    return Command("set_password", {"protocol": protocol, "password": password})


def vcpus_of(answer: Json) -> int | None:
    """Number of processors in the answer to query-cpus-fast."""
    return len(answer) if isinstance(answer, list) and answer else None


def memory_of(answer: Json) -> int | None:
    """MiB in the answer to query-balloon; None when the guest has no balloon."""
    match answer:
        case {"actual": int(actual)}:
            return actual >> 20
    return None


def threads_of(answer: Json) -> list[int]:
    """Host thread of each virtual processor, in their order, from query-cpus-fast."""
    if not isinstance(answer, list):
        return []
    rows = sorted(answer, key=lambda row: int(row.get("cpu-index", 0)))
    return [int(row["thread-id"]) for row in rows if "thread-id" in row]
