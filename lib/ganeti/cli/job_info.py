"""Pages of gnt-job info. Source: facts/cli-behaviour.md §11."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti.cli.info import Fields
from ganeti.cli.text import job_moment
from ganeti.cli.world import Master
from ganeti.serializer import Json

FIELDS = [
    "id", "status", "ops", "opresult", "opstatus", "oplog", "opstart", "opexec", "opend",
    "received_ts", "start_ts", "end_ts",
]  # fmt: skip

Stamp = Sequence[int] | None
MICROSECONDS = 1_000_000


def pages(master: Master, numbers: Sequence[int]) -> list[Any]:
    """One page for each job, in the order asked for."""
    wanted: Json = ["|", *(["==", "id", number] for number in numbers)]
    answer = master.call("Query", "job", FIELDS, wanted)
    found = {row[0][1]: dict(zip(FIELDS, row)) for row in answer["data"]}
    made: list[Any] = []
    for number in numbers:
        cells = found.get(number)
        if cells is None or cells["status"][0] != 0:
            made.append(f"Job ID {number} not found")
        else:
            made.append(_page({name: value for name, (_, value) in cells.items()}))
    return made


def _page(job: dict[str, Json]) -> Fields:
    received, start, end = job["received_ts"], job["start_ts"], job["end_ts"]
    page = Fields()
    page.add("Job ID", job["id"])
    page.add("Status", job["status"])
    page.add("Received        ", _moment(received, "unknown ({})"))
    page.add("Processing start", _since(start, received))
    page.add("Processing end  ", _since(end, start))
    total = _between(received, end)
    page.add("Total processing time", "N/A" if total is None else f"{total:.6f} seconds")
    names = ("ops", "opresult", "opstatus", "oplog", "opstart", "opexec", "opend")
    page.add("Opcodes", [_opcode(*row) for row in zip(*(job[name] for name in names))])
    return page


def _opcode(
    opcode: dict[str, Json],
    result: Json,
    status: str,
    log: Sequence[Json],
    start: Stamp,
    execution: Stamp,
    end: Stamp,
) -> Fields:
    page = Fields()
    page.add("Opcode", opcode["OP_ID"])
    page.add("Status", status)
    page.add("Processing start", _moment(start))
    page.add("Execution start ", _moment(execution))
    page.add("Processing end  ", _moment(end))
    page.add("Input fields", opcode)
    page.add("Result", result)
    page.add("Execution log", [_log_entry(*entry) for entry in log])
    return page


def _log_entry(serial: int, stamp: Stamp, kind: str, content: Json) -> Fields:
    return Fields([("Time", _moment(stamp)), ("Content", (serial, kind, content))])


def _moment(stamp: Stamp, absent: str = "N/A") -> str:
    return job_moment(stamp) if stamp else absent.format(stamp)


def _since(stamp: Stamp, before: Stamp) -> str:
    """The time, and how long after `before` that was."""
    delta = _between(before, stamp)
    text = _moment(stamp, "unknown ({})")
    return text if delta is None else f"{text} (delta {delta:.6f}s)"


def _between(first: Stamp, last: Stamp) -> float | None:
    if not first or not last:
        return None
    return last[0] - first[0] + (last[1] - first[1]) / MICROSECONDS
