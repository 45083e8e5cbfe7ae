"""A socket by which a test outside steers an opcode: it connects when the opcode may go on.

Its path goes to the job's log, in an entry of a kind of its own (facts/constants.json, ELOG_*).
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ganeti.logic.base import Services

POLL_S: Final = 0.2  # so often it is asked whether the job is to be killed


@contextmanager
def listening(services: Services) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket that only this user reaches, and its path; both are gone afterwards."""
    services.paths.sockets.mkdir(parents=True, exist_ok=True)
    directory = tempfile.mkdtemp(prefix="wake-", dir=services.paths.sockets)
    path = os.path.join(directory, "socket")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
            made.bind(path)
            made.listen(1)
            made.settimeout(POLL_S)
            yield made, path
    finally:
        Path(path).unlink(missing_ok=True)
        os.rmdir(directory)


def is_woken(services: Services, made: socket.socket, limit_s: float) -> bool:
    """Whether somebody connected within the time; JobCanceled when the job is killed meanwhile."""
    end = time.monotonic() + limit_s
    while (left := end - time.monotonic()) > 0:
        made.settimeout(min(left, POLL_S))
        try:
            made.accept()[0].close()
            return True
        except TimeoutError:
            services.wait(0.0)
    return False
