"""Running a gnt-* program inside the test, with its surroundings replaced."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ganeti.cli.world import World
from ganeti.errors import NoMasterError
from ganeti.paths import Paths

PROGRAMS = (
    "gnt-cluster", "gnt-node", "gnt-instance", "gnt-job", "gnt-os", "gnt-debug", "gnt-group",
    "gnt-network", "gnt-filter", "gnt-storage",
)  # fmt: skip
NOW = 1262304000.0

# Recordings and vectors have times in UTC.
os.environ["TZ"] = "UTC"
time.tzset()


class Ended(NamedTuple):
    """What a call left."""

    status: int
    out: str
    err: str


class NoMaster:
    """Nothing listens."""

    def __init__(self, path: str = "/var/run/ganeti/socket/ganeti-query") -> None:
        self._path = path

    def call(self, method: str, *args: Any) -> Any:
        raise NoMasterError(self._path)


class Shell:
    """A machine on which commands are called."""

    def __init__(self, root: Path, master: Any = None, hostname: str = "node1.example.com") -> None:
        self.paths = Paths(root)
        self.paths.log.mkdir(parents=True, exist_ok=True)
        self.paths.data.mkdir(parents=True, exist_ok=True)
        self.master = master or NoMaster()
        self.environ = {"GANETI_HOSTNAME": hostname}
        self.terminal = str(root / "no-terminal")
        self.slept: list[float] = []

    def ssconf(self, key: str, value: str) -> None:
        self.paths.ssconf(key).write_text(value + "\n")

    def run(self, *argv: str, stdin: str = "", environ: Mapping[str, str] | None = None) -> Ended:
        return self.run_program(program_of(argv[0]), *argv[1:], stdin=stdin, environ=environ)

    def run_program(
        self, program: Any, *argv: str, stdin: str = "", environ: Mapping[str, str] | None = None
    ) -> Ended:
        """The same with a program that is not installed."""
        out, err = io.StringIO(), io.StringIO()
        world = World(
            self.paths,
            environ={**self.environ, **(environ or {})},
            stdin=io.StringIO(stdin),
            stdout=out,
            stderr=err,
            terminal=self.terminal,
            now=lambda: NOW,
            sleep=self.slept.append,
            connect=lambda paths: self.master,
        )
        status = program.run(argv, world)
        return Ended(status, out.getvalue(), err.getvalue())


def program_of(name: str) -> Any:
    return import_module("ganeti.cli." + name.replace("-", "_")).PROGRAM
