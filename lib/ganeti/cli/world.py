"""What a command sees of its surroundings: streams, clock, files, terminal, master."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import IO, Protocol

from ganeti.errors import Code, ConfigurationError, NoMasterError, OpPrereqError
from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.serializer import Json

TERMINAL = "/dev/tty"


class Master(Protocol):
    """The master daemon, as `luxi.client.Client` offers it."""

    def call(self, method: str, *args: Json) -> Json:
        """The result of one LUXI request; raises what the master raised."""


def connect(paths: Paths) -> Master:
    from ganeti.luxi.client import Client, socket_path

    return Client(socket_path(paths, os.environ))


class World:
    """Everything outside of the program; tests make one of their own."""

    def __init__(
        self,
        paths: Paths,
        *,
        environ: Mapping[str, str] | None = None,
        stdin: IO[str] | None = None,
        stdout: IO[str] | None = None,
        stderr: IO[str] | None = None,
        terminal: str = TERMINAL,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        connect: Callable[[Paths], Master] = connect,
    ) -> None:
        self.paths = paths
        self.environ = os.environ if environ is None else environ
        self.stdin = stdin or sys.stdin
        self.stdout = stdout or sys.stdout
        self.stderr = stderr or sys.stderr
        self.terminal = terminal
        self.now = now
        self.sleep = sleep
        self._connect = connect
        self._master: Master | None = None

    @classmethod
    def real(cls) -> World:
        """The one around this process. OpPrereqError for a half-made virtual cluster."""
        check_virtual(os.environ)
        return cls(Paths.from_environment())

    @property
    def master(self) -> Master:
        """The master daemon; connected when first asked for."""
        if self._master is None:
            self._master = _Explaining(self._connect(self.paths), self)
        return self._master

    @property
    def hostname(self) -> str:
        """Full name of this machine."""
        given = self.environ.get(HOSTNAME_VARIABLE)
        if given:
            return given
        import socket

        return socket.getfqdn()

    def ssconf(self, key: str) -> str:
        """A value of the simple configuration; ConfigurationError when it can't be read."""
        path = self.paths.ssconf(key)
        try:
            return path.read_text().rstrip("\n")
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"{path} does not exist; it does on every node of a cluster"
            ) from error
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error

    def cluster_value(self, key: str) -> str:
        """As `ssconf`, for a command that needs a cluster: OpPrereqError where there is none."""
        if not self.paths.ssconf(key).exists():
            raise OpPrereqError(
                "the cluster is not initialised, or this machine is not part of it", Code.INVAL
            )
        return self.ssconf(key)


class _Explaining:
    """A master that, where none listens, says why that may be."""

    def __init__(self, master: Master, world: World) -> None:
        self._master = master
        self._world = world

    def call(self, method: str, *args: Json) -> Json:
        try:
            return self._master.call(method, *args)
        except NoMasterError:
            _explain_silence(self._world)
            raise


def _explain_silence(world: World) -> None:
    """OpPrereqError if this is no cluster, or not its master; else the daemon is down."""
    master = world.cluster_value("master_node")
    if master != world.hostname:
        raise OpPrereqError(
            f"this is not the master node; run the command on node {master!r}",
            Code.INVAL,
        )


def check_virtual(environ: Mapping[str, str]) -> None:
    """OpPrereqError unless both variables of a virtual cluster are set and good, or none is."""
    root, name = environ.get(ROOT_VARIABLE), environ.get(HOSTNAME_VARIABLE)
    if bool(root) != bool(name):
        raise OpPrereqError(
            f"{ROOT_VARIABLE} and {HOSTNAME_VARIABLE} go together, only one is set", Code.ENVIRON
        )
    if root and (not os.path.isabs(root) or os.path.normpath(root) != root):
        raise OpPrereqError(
            f"{ROOT_VARIABLE} is {root!r}, an absolute path without . and .. is needed",
            Code.ENVIRON,
        )
