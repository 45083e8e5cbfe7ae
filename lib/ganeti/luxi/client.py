"""The blocking LUXI client of command lines and small daemons. Source: facts/luxi.json.

It must load fast: no asyncio, no opcode module; pathlib alone costs 5 ms.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ganeti.constants import LUXI_CONNECT_TIMEOUT_S, LUXI_READ_TIMEOUT_S, LUXI_WAIT_TIMEOUT_S
from ganeti.errors import (
    ConnectionClosedError,
    LuxiPermissionError,
    LuxiTimeoutError,
    NoMasterError,
    ProtocolError,
)
from ganeti.luxi import protocol
from ganeti.luxi.address import address_of
from ganeti.luxi.protocol import LUXI_VERSION, Splitter
from ganeti.opcodes.base import Opcode
from ganeti.serializer import Json

if TYPE_CHECKING:
    from pathlib import Path

    from ganeti.paths import Paths

OVERRIDE_VARIABLE = "FORCE_LUXI_SOCKET"
READ_BYTES = 64 * 1024
CONNECT_PAUSE_S = 1.0  # between two tries while the master daemon starts
RECONNECTS = 15
RECONNECT_PAUSE_S = 5.0  # times the number of the try

READ_ONLY = frozenset(
    {
        "Query",
        "QueryClusterInfo",
        "QueryConfigSerial",
        "QueryConfigValues",
        "QueryExports",
        "QueryFields",
        "QueryFilters",
        "QueryGroups",
        "QueryInstances",
        "QueryJobs",
        "QueryMetrics",
        "QueryNetworks",
        "QueryNodes",
        "QueryObjects",
        "QueryTags",
        "WaitForEvents",
        "WaitForJobChange",
    }
)
"""Methods that may be called again when the connection broke."""

JobSpec = Sequence[Opcode | Mapping[str, Json]]


def socket_path(paths: Paths, environ: Mapping[str, str]) -> str:
    """The socket to use: `FORCE_LUXI_SOCKET` (master, query or a path) or the query socket."""
    forced = environ.get(OVERRIDE_VARIABLE, "")
    if forced in ("", "query"):
        return str(paths.query_socket)
    if forced == "master":
        return str(paths.master_socket)
    return forced


class Client:
    """A connection to the master daemon, made at the first call.

    `where` is the socket, or the paths of a node. `on_master` tells whether this node is the
    master: then a missing daemon is waited for, as it may be starting. A broken connection is made
    anew for methods that only read; others raise, since nobody knows whether they were done.

    Raises NoMasterError, LuxiPermissionError, LuxiTimeoutError, ConnectionClosedError,
    ProtocolError; and whatever error the master answers.
    """

    def __init__(
        self,
        where: Paths | Path | str,
        *,
        on_master: Callable[[], bool] = lambda: False,
        connect_timeout_s: float = LUXI_CONNECT_TIMEOUT_S,
        read_timeout_s: float = LUXI_READ_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not isinstance(where, (str, os.PathLike)):
            where = where.query_socket
        self.path = os.fspath(where)
        self._on_master = on_master
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._clock = clock
        self._sleep = sleep
        self._socket: socket.socket | None = None
        self._splitter = Splitter()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def connect(self) -> None:
        """Connect now and not at the first call, to find out whether a master is there."""
        self._connected()

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, method: str, *args: Json) -> Json:
        """The result of a method; raises the error that the master answers."""
        request = protocol.encode_request(method, list(args), LUXI_VERSION)
        answer = self._exchange(request, RECONNECTS if method in READ_ONLY else 0)
        try:
            return protocol.decode_answer(answer, version=LUXI_VERSION)
        except ProtocolError:
            self.close()  # the master does the same after a request that it can't understand
            raise

    def _exchange(self, request: bytes, retries: int) -> bytes:
        """Send the request, wait for the answer; again on a new connection when one breaks.

        The first connection of a client is not tried again here: `_connect` knows when to wait.
        """
        had_connection = self._socket is not None
        tries = 0
        while True:
            try:
                connection = self._connected()
                had_connection = True
                self._send(connection, request)
                return self._receive(connection)
            except (ConnectionClosedError, NoMasterError):
                self.close()
                tries += 1
                if tries > retries or not had_connection:
                    raise
                self._sleep(RECONNECT_PAUSE_S * tries)
            except BaseException:
                self.close()  # an answer that comes later must not be taken for the next one
                raise

    # The connection.

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._socket = self._connect()
            self._splitter = Splitter()
        return self._socket

    def _connect(self) -> socket.socket:
        until = self._clock() + self._connect_timeout_s
        while True:
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                fresh.settimeout(self._connect_timeout_s)
                with address_of(self.path) as name:
                    fresh.connect(name)
            except OSError as error:
                fresh.close()
                self._bear(error, until)
            else:
                fresh.settimeout(self._read_timeout_s)
                return fresh

    def _bear(self, error: OSError, until: float) -> None:
        """Pause before another try, or raise what a failed connect means."""
        late = self._clock() >= until
        place = self.path
        if isinstance(error, TimeoutError) or error.errno == errno.EAGAIN:
            if late or isinstance(error, TimeoutError):
                raise LuxiTimeoutError(f"connecting to {place} timed out") from error
        elif error.errno in (errno.EPERM, errno.EACCES):
            raise LuxiPermissionError(place) from error
        elif error.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
            if late or not self._on_master():
                raise NoMasterError(place) from error
        else:
            raise ProtocolError(f"can't connect to {place}: {error.strerror}") from error
        self._sleep(CONNECT_PAUSE_S)

    def _send(self, connection: socket.socket, request: bytes) -> None:
        try:
            connection.sendall(request)
        except TimeoutError as error:
            raise LuxiTimeoutError("sending to the master timed out") from error
        except OSError as error:
            # It may have refused an earlier part and closed: its answer tells why.
            if error.errno != errno.EPIPE:
                raise ConnectionClosedError(f"sending to the master: {error.strerror}") from error

    def _receive(self, connection: socket.socket) -> bytes:
        until = self._clock() + 2 * self._read_timeout_s
        while True:
            try:
                received = connection.recv(READ_BYTES)
            except TimeoutError as error:
                raise LuxiTimeoutError("the master did not answer in time") from error
            except OSError as error:
                raise ConnectionClosedError(f"reading from the master: {error}") from error
            if not received:
                raise ConnectionClosedError("the master closed the connection")
            for message in self._splitter.feed(received):
                return message
            if self._clock() >= until:
                raise LuxiTimeoutError("the master's answer took too long to arrive")

    # Jobs.

    def submit_job(self, job: JobSpec) -> int:
        """The number of the new job."""
        return int(self.call("SubmitJob", _job(job)))

    def submit_job_to_drained_queue(self, job: JobSpec) -> int:
        return int(self.call("SubmitJobToDrainedQueue", _job(job)))

    def submit_many_jobs(self, jobs: Sequence[JobSpec]) -> list[tuple[bool, int | str]]:
        """Per job (True, its number) or (False, why not)."""
        return [(ok, it) for ok, it in self.call("SubmitManyJobs", [_job(job) for job in jobs])]

    def wait_for_job_change(
        self,
        job: int,
        fields: Sequence[str],
        previous: Sequence[Json] | None,
        log_serial: int | None,
        timeout_s: float = LUXI_WAIT_TIMEOUT_S,
    ) -> tuple[list[Json], list[Json]] | None:
        """(values of the fields, new log entries), or None when nothing changed in time.

        JobLost when there is no such job.
        """
        timeout_s = min(timeout_s, LUXI_WAIT_TIMEOUT_S)
        info = None if previous is None else list(previous)
        answer = self.call("WaitForJobChange", job, list(fields), info, log_serial, timeout_s)
        if not isinstance(answer, list):
            return None
        values, log = answer
        return None if values == info and not log else (values, log)

    def cancel_job(self, job: int, *, kill: bool = False) -> tuple[bool, str]:
        done, text = self.call("CancelJob", job, kill)
        return done, text

    def archive_job(self, job: int) -> bool:
        return bool(self.call("ArchiveJob", job))

    def auto_archive_jobs(self, age_s: int) -> tuple[int, int]:
        """(archived, not looked at for want of time); age -1 means all that have ended."""
        archived, left = self.call("AutoArchiveJobs", age_s, LUXI_WAIT_TIMEOUT_S)
        return archived, left

    def change_job_priority(self, job: int, priority: int) -> tuple[bool, str]:
        done, text = self.call("ChangeJobPriority", job, priority)
        return done, text

    def set_drain_flag(self, drained: bool) -> None:
        self.call("SetDrainFlag", drained)

    def set_watcher_pause(self, until: float | None) -> float | None:
        """Unix time at which the watcher may work again; None: now."""
        value: float | None = self.call("SetWatcherPause", until)
        return value

    # Lists.

    def query(self, what: str, fields: Sequence[str], qfilter: Json = None) -> dict[str, Json]:
        """`{"fields": definitions, "data": rows of [status, value]}`."""
        return _object(self.call("Query", what, list(fields), qfilter))

    def query_fields(self, what: str, fields: Sequence[str] | None = None) -> dict[str, Json]:
        return _object(self.call("QueryFields", what, None if fields is None else list(fields)))

    def query_jobs(self, jobs: Sequence[int] | None, fields: Sequence[str]) -> list[list[Json]]:
        return _rows(self.call("QueryJobs", None if jobs is None else list(jobs), list(fields)))

    def query_instances(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Json]]:
        return _rows(self.call("QueryInstances", list(names), list(fields), False))

    def query_nodes(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Json]]:
        return _rows(self.call("QueryNodes", list(names), list(fields), False))

    def query_groups(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Json]]:
        return _rows(self.call("QueryGroups", list(names), list(fields), False))

    def query_networks(self, names: Sequence[str], fields: Sequence[str]) -> list[list[Json]]:
        return _rows(self.call("QueryNetworks", list(names), list(fields), False))

    def query_exports(self, nodes: Sequence[str]) -> list[list[Json]]:
        """Rows of [node, export]; an export of None: the node has none."""
        return _rows(self.call("QueryExports", list(nodes), False))

    def query_cluster_info(self) -> dict[str, Json]:
        return _object(self.call("QueryClusterInfo"))

    def query_config_values(self, fields: Sequence[str]) -> list[Json]:
        values: list[Json] = self.call("QueryConfigValues", list(fields))
        return values

    def query_tags(self, kind: str, name: str = "") -> list[str]:
        tags: list[str] = self.call("QueryTags", kind, name)
        return tags

    # Job filters.

    def query_filters(self, uuids: Sequence[str] | None, fields: Sequence[str]) -> list[list[Json]]:
        return _rows(
            self.call("QueryFilters", None if uuids is None else list(uuids), list(fields))
        )

    def replace_filter(
        self, uuid: str | None, priority: int, predicates: Json, action: Json, reason: Json
    ) -> str:
        """The uuid of the rule; None as uuid adds one."""
        return str(self.call("ReplaceFilter", uuid, priority, predicates, action, reason))

    def delete_filter(self, uuid: str) -> None:
        self.call("DeleteFilter", uuid)


def _job(job: JobSpec) -> list[Mapping[str, Json]]:
    return [op.to_json() if isinstance(op, Opcode) else op for op in job]


def _rows(value: Any) -> list[list[Json]]:
    rows: list[list[Json]] = value
    return rows


def _object(value: Any) -> dict[str, Json]:
    made: dict[str, Json] = value
    return made
