"""A master for command-line tests: it answers LUXI requests from tables.

`LuxiReplay.call` has the form of `luxi.client.Client.call`; `served` puts it behind a real socket.
"""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganeti.errors import GenericError, OpPrereqError, ParameterError, encode_error
from ganeti.opcodes import filter as filters

END = b"\x03"
STAMP = [1262304000, 42]  # Fri Jan  1 00:00:00 2010 UTC

Answer = Any
"""A value, an error to raise, or a function of the arguments."""


class Job:
    """A job that was submitted: it has ended when it is asked for."""

    def __init__(self, opcodes: Sequence[Mapping[str, Any]], outcome: Any, log: Sequence[str]):
        self.opcodes = list(opcodes)
        self.status = "error" if isinstance(outcome, Exception) else "success"
        self.results = [
            encode_error(outcome) if isinstance(outcome, Exception) else outcome for _ in opcodes
        ]
        self.log = [[index + 1, STAMP, "message", text] for index, text in enumerate(log)]


class LuxiReplay:
    """Answers by method; jobs get the outcome that stands for their first opcode's OP_ID.

    `calls` collects what was asked. A method without an answer is an error of the test.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer] | None = None,
        outcomes: Mapping[str, Any] | None = None,
        logs: Mapping[str, Sequence[str]] | None = None,
        first_job: int = 1,
    ) -> None:
        self.answers = dict(answers or {})
        self.outcomes = dict(outcomes or {})
        self.logs = dict(logs or {})
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.jobs: dict[int, Job] = {}
        self._next = first_job

    def call(self, method: str, *args: Any) -> Any:
        args = tuple(json.loads(json.dumps(args)))
        self.calls.append((method, args))
        answer = self.answers.get(method, getattr(self, f"_{method}", None))
        assert answer is not None, f"no answer for {method}{args}"
        if isinstance(answer, Exception):
            raise answer
        return answer(*args) if callable(answer) else answer

    def asked(self, method: str) -> list[tuple[Any, ...]]:
        """The arguments of all calls of one method."""
        return [args for name, args in self.calls if name == method]

    def submitted(self) -> list[dict[str, Any]]:
        """The opcodes of all jobs, without what every opcode has."""
        common = ("debug_level", "priority", "depends", "comment", "reason", "dry_run")
        return [
            {name: value for name, value in opcode.items() if name not in common}
            for job in self.jobs.values()
            for opcode in job.opcodes
        ]

    # Jobs.

    def _SubmitJob(self, opcodes: list[dict[str, Any]]) -> int:
        number, self._next = self._next, self._next + 1
        op_id = opcodes[0]["OP_ID"]
        outcome = self.outcomes.get(op_id)
        if callable(outcome):
            outcome = outcome(opcodes[0])
        self.jobs[number] = Job(opcodes, outcome, self.logs.get(op_id, ()))
        return number

    def _SubmitManyJobs(self, jobs: list[list[dict[str, Any]]]) -> list[list[Any]]:
        return [[True, self._SubmitJob(opcodes)] for opcodes in jobs]

    def _WaitForJobChange(
        self, number: int, fields: list[str], known: Any, serial: int | None, timeout_s: int
    ) -> Any:
        job = self.jobs[number]
        return [[job.status], [entry for entry in job.log if entry[0] > (serial or 0)]]

    def _QueryJobs(self, numbers: list[int], fields: list[str]) -> list[Any]:
        return [
            [
                {
                    "status": self.jobs[number].status,
                    "opstatus": [self.jobs[number].status] * len(self.jobs[number].opcodes),
                    "opresult": self.jobs[number].results,
                }[name]
                for name in fields
            ]
            for number in numbers
        ]


class RecordedLists:
    """Answers Query and QueryFields from recorded answers with all fields."""

    def __init__(self, recordings: Path) -> None:
        self._definitions: dict[str, list[dict[str, Any]]] = {}
        self._rows: dict[str, list[dict[str, list[Any]]]] = {}
        for line in (recordings / "luxi/query-fields.jsonl").read_text().splitlines():
            request, answer = _exchange(line)
            if answer["success"] and request["args"][1] is None:
                self._definitions[request["args"][0]] = answer["result"]["fields"]
        for line in (recordings / "luxi/query.jsonl").read_text().splitlines():
            request, answer = _exchange(line)
            kind, fields, _ = request["args"]
            rows = [dict(zip(fields, row)) for row in answer["result"]["data"]]
            if len(fields) > len(self._rows.get(kind, [{}])[0] if self._rows.get(kind) else {}):
                self._rows[kind] = rows

    def keep(self, kind: str, wanted: Callable[[dict[str, list[Any]]], bool]) -> None:
        """Forget the other rows."""
        self._rows[kind] = [row for row in self._rows[kind] if wanted(row)]

    def query_fields(self, kind: str, names: list[str] | None) -> Any:
        known = {field["name"]: field for field in self._definitions[kind]}
        return {"fields": [known.get(name) or unknown(name) for name in names or known]}

    def query(self, kind: str, fields: list[str], condition: Any) -> Any:
        rows = self._chosen(kind, condition)
        known = {field["name"]: field for field in self._definitions[kind]}
        return {
            "fields": [known.get(name) or unknown(name) for name in fields],
            "data": [[row.get(name, [1, None]) for name in fields] for row in rows],
        }

    def _chosen(self, kind: str, condition: Any) -> list[dict[str, Any]]:
        rows = self._rows[kind]
        key = "id" if kind == "job" else "name"
        alternatives = condition[1:] if condition and condition[0] == "|" else [condition]
        if condition and all(one[:2] == ["==", key] for one in alternatives):
            return [self._named(rows, key, wanted) for _, _, wanted in alternatives]
        tree = filters.from_json(condition)

        def cell(row: dict[str, Any]) -> Callable[[str], filters.Cell]:
            def field(name: str) -> filters.Cell:
                if name not in row:
                    raise ParameterError(f"no field {name!r}")
                return filters.Cell(row[name][1], row[name][0] == 0, name == key)

            return field

        return [row for row in rows if filters.matches(tree, cell(row))]

    @staticmethod
    def _named(rows: list[dict[str, Any]], key: str, wanted: Any) -> dict[str, Any]:
        for row in rows:
            name = row[key][1]
            if name == wanted or (key == "name" and name.partition(".")[0] == wanted):
                return row
        if key == "id":
            return {name: [3, None] for name in rows[0]} | {"id": [0, wanted]}
        raise OpPrereqError(f"{wanted} not found", "unknown_entity")


def unknown(name: str) -> dict[str, str]:
    return {"name": name, "title": name, "kind": "unknown", "doc": f"Unknown field {name!r}"}


def _exchange(line: str) -> tuple[dict[str, Any], dict[str, Any]]:
    record = json.loads(line)
    return json.loads(record["send"]), json.loads(record["recv"])


@contextmanager
def served(master: LuxiReplay, path: Path) -> Iterator[LuxiReplay]:
    """The master listens on a socket at `path`."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            pending = b""
            while received := self.request.recv(65536):
                *requests, pending = (pending + received).split(END)
                for request in requests:
                    self.request.sendall(_answer(master, json.loads(request)) + END)

    path.parent.mkdir(parents=True, exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(path), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield master
        finally:
            server.shutdown()
            thread.join()


def _answer(master: LuxiReplay, request: dict[str, Any]) -> bytes:
    try:
        result = master.call(request["method"], *request["args"])
    except GenericError as error:
        return json.dumps({"success": False, "result": encode_error(error)}).encode()
    return json.dumps({"success": True, "result": result}).encode()
