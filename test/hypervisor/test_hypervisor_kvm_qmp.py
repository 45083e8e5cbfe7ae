"""Conversations with QEMU's machine protocol, held with a QEMU of a few lines."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ganeti.errors import HypervisorError
from ganeti.hypervisor.kvm_qmp import NEGOTIATIONS, Command, converse
from ganeti.serializer import Json

GREETING = {"QMP": {"version": {"qemu": {"major": 7}, "package": ""}, "capabilities": []}}
EVENT = {"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 0}}


def wire(what: Json) -> bytes:
    return json.dumps(what).encode() + b"\r\n"


@contextmanager
def qemu(place: Path, hasty: int) -> Iterator[list[str]]:
    """Answers commands with nothing; on the first `hasty` connections an event comes before the
    answer to the first. Yields the commands that were given."""
    asked: list[str] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()

    def answer(line: socket.socket, is_hasty: bool) -> None:
        line.sendall(wire(GREETING))
        while text := line.recv(4096):  # a request each, as the client waits for its answer
            request = json.loads(text)
            asked.append(request["execute"])
            own = {"id": request["id"]} if "id" in request else {}
            line.sendall((wire(EVENT) if is_hasty else b"") + wire({"return": {}, **own}))

    def serve() -> None:
        number = 0
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            number += 1
            with line, suppress(OSError):  # the client has hung up
                answer(line, number <= hasty)

    server = threading.Thread(target=serve, daemon=True)
    server.start()
    try:
        yield asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join(5)


def test_an_event_in_the_middle_of_the_negotiation_does_no_harm(short_directory: Path) -> None:
    with qemu(short_directory / "q", hasty=NEGOTIATIONS - 1) as asked:
        assert converse(short_directory / "q", [Command("cont")]) == [{}]
    assert asked == ["qmp_capabilities"] * NEGOTIATIONS + ["cont"]


def test_a_program_that_speaks_another_protocol_is_an_error(short_directory: Path) -> None:
    with (
        qemu(short_directory / "q", hasty=99) as asked,
        pytest.raises(HypervisorError, match="Negotiation failed"),
    ):
        converse(short_directory / "q", [Command("cont")])
    assert set(asked) == {"qmp_capabilities"}


@pytest.fixture
def short_directory(tmp_path: Path) -> Path:
    """Paths of sockets are short."""
    assert len(str(tmp_path)) < 90
    return tmp_path
