"""The serial console of a guest, as a test reads and types on it."""

from __future__ import annotations

import re
import socket
import time
from pathlib import Path
from types import TracebackType


class SerialConsole:
    """A connection to the socket; what was read since the last match is kept."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.text = ""

    def __enter__(self) -> SerialConsole:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def expect(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        """Read until `pattern` is there; AssertionError with all that was read when it is not."""
        end = time.monotonic() + timeout_s
        while True:
            found = re.search(pattern, self.text)
            if found:
                self.text = self.text[found.end() :]
                return found
            self.socket.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = self.socket.recv(4096)
            except TimeoutError:
                piece = b""
            if not piece:
                raise AssertionError(f"{pattern!r} was not read; read was {self.text!r}")
            self.text += piece.decode("utf-8", "replace").replace("\r", "")

    def send(self, line: str) -> None:
        self.socket.sendall(line.encode() + b"\n")
