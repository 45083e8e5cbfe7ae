"""Calls of the recorded cluster, made again: exit status, streams, layout, columns, labels.

The wording of messages is ours; where the recorded text is an error, the fixed first lines count.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fakes.command_line import PROGRAMS, Shell, program_of
from fakes.luxi_replay import LuxiReplay, RecordedLists
from ganeti.errors import JobLost

MASTER = "node1.example.com"


def records(samples: Path, name: str) -> Iterator[dict[str, Any]]:
    """The records of one file that call a command we have."""
    for line in (samples / "cli" / f"{name}.jsonl").read_text().splitlines():
        record = json.loads(line)
        argv = record["argv"]
        if argv[0] in PROGRAMS and _is_ours(argv) and "Traceback" not in record["stderr"]:
            yield record


def _is_ours(argv: list[str]) -> bool:
    program = program_of(argv[0])
    return len(argv) > 1 and program.aliases.get(argv[1], argv[1]) in program.commands


_FIXED = re.compile(
    r"Error: Command .*|error type: .*|Failure: [^']*|Warning: Queried .*|Usage$|=+$"
    r"|Parameter Error:|[\w-]+: error: |Job \d+ .*failed: "
)


def shape(text: str) -> list[str]:
    """An error text reduced to what is fixed in it."""
    return [found.group() for found in map(_FIXED.match, text.splitlines()) if found]


def masked(text: str) -> str:
    """Without figures, which differ from one moment to the next."""
    return re.sub(r"[0-9]", "9", text)


NOT_CONFIRMED = "Not confirmed, nothing was done: "


def same(record: dict[str, Any], shell: Shell, mask: Callable[[str], str] = str) -> list[str]:
    """What differs between the record and the same call made now."""
    now = shell.run(*record["argv"], stdin=record["stdin"] or "")
    found = []
    if now.status != record["rc"]:
        found.append(f"status {now.status}, recorded {record['rc']}; {now.err}")
    if mask(now.out) != mask(record["stdout"]):
        found.append(f"stdout {now.out!r}, recorded {record['stdout']!r}")
    err = "" if now.err.startswith(NOT_CONFIRMED) else now.err  # the classic says nothing then
    if shape(err) != shape(record["stderr"]) or bool(err) != bool(record["stderr"]):
        found.append(f"stderr {now.err!r}, recorded {record['stderr']!r}")
    return found


def all_the_same(
    samples: Path,
    name: str,
    shell: Shell,
    *,
    but: tuple[str, ...] = (),
    mask: Callable[[str], str] = str,
) -> int:
    """Compare all records of a file, but those of the named commands; how many there were."""
    count = 0
    for record in records(samples, name):
        if record["argv"][1] not in but:
            count += 1
            assert same(record, shell, mask) == [], record["argv"]
    return count


def test_before_a_cluster_is_made_commands_end_as_recorded(samples: Path, tmp_path: Path) -> None:
    assert all_the_same(samples, "00-before-init", Shell(tmp_path), but=("init",)) >= 8


def test_elsewhere_than_on_the_master_commands_end_as_recorded(
    samples: Path, tmp_path: Path
) -> None:
    shell = Shell(tmp_path, hostname="node3.example.com")
    shell.ssconf("master_node", MASTER)
    assert all_the_same(samples, "22-not-master", shell) >= 14


class RecordedJobs:
    """Jobs of the recorded cluster: what is submitted again has the recorded result."""

    def __init__(self, samples: Path) -> None:
        self._samples = samples
        self._finished: dict[int, tuple[str, Any]] = {3: ("success", None)}
        self._logs: dict[int, list[Any]] = {}

    def answers(self) -> dict[str, Any]:
        return {
            "WaitForJobChange": self._wait,
            "QueryJobs": self._job_rows,
            "SubmitJob": self._submit,
        }

    def _wait(self, number: int, *_: Any) -> Any:
        if number not in self._finished:
            raise JobLost("Can't load job file")
        return [[self._finished[number][0]], self._logs.pop(number, [])]

    def _job_rows(self, numbers: list[int], fields: list[str]) -> Any:
        made = []
        for number in numbers:
            status, result = self._finished[number]
            values = {"status": status, "opstatus": [status], "opresult": [result]}
            made.append([values[name] for name in fields])
        return made

    def _submit(self, opcodes: list[dict[str, Any]]) -> int:
        """The job whose recorded input is the same, with its recorded result."""
        wanted = opcodes[0]
        own = set(wanted) - {"reason", "depends", "comment", "priority", "debug_level", "dry_run"}
        own -= {"node_uuid", "node_uuids"}  # the master fills them in
        for path in sorted((self._samples / "state/5-late/queue").glob("job-*")):
            recorded = json.loads(path.read_text())["ops"]
            if not recorded:
                continue
            given, status, result = (recorded[0][key] for key in ("input", "status", "result"))
            if all(_alike(given.get(key), wanted[key]) for key in own):
                number = int(path.name[4:])
                self._finished[number] = (status, result)
                self._logs[number] = recorded[0]["log"]
                return number
        raise AssertionError(f"no recorded job for {wanted}")


def _alike(recorded: Any, given: Any) -> bool:
    """The same, or both say nothing. The master had written names out."""
    if recorded in ([], {}, None) and given in ([], {}, None):
        return True
    written_out = json.dumps(recorded).replace(".example.com", "")
    return written_out == json.dumps(given).replace(".example.com", "")


def lists_of(samples: Path, tmp_path: Path) -> tuple[RecordedLists, Shell]:
    recorded = RecordedLists(samples)
    queries = {"Query": recorded.query, "QueryFields": recorded.query_fields}
    return recorded, Shell(tmp_path, LuxiReplay({**queries, **RecordedJobs(samples).answers()}))


def test_lists_of_instances_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    _, shell = lists_of(samples, tmp_path)
    assert all_the_same(samples, "20-list-instance", shell) >= 60


def test_lists_of_nodes_are_printed_as_recorded_but_for_figures(
    samples: Path, tmp_path: Path
) -> None:
    _, shell = lists_of(samples, tmp_path)
    mask = lambda text: "\n".join(sorted(masked(text).split("\n")))  # noqa: E731
    assert all_the_same(samples, "20-list-node", shell, mask=mask) >= 35


def test_lists_of_groups_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    _, shell = lists_of(samples, tmp_path)
    assert all_the_same(samples, "20-list-group", shell, mask=without_order) >= 25


def test_lists_of_networks_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    _, shell = lists_of(samples, tmp_path)
    assert all_the_same(samples, "20-list-network", shell, mask=without_order) >= 24


def test_lists_of_filters_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    _, shell = lists_of(samples, tmp_path)
    assert all_the_same(samples, "20-list-filter", shell) >= 20


def without_order(text: str) -> str:
    """Lists inside of cells come in the order of a hash."""
    return "\n".join("".join(sorted(re.split(r"([,;|] ?)", line))) for line in text.split("\n"))


def without_later_jobs(text: str) -> str:
    """Jobs were added, and one was archived, between the recordings."""
    return re.sub(r"(?m)^ *1(1[4-9]|[23][0-9]).*\n", "", re.sub(r"(\?\?\n)+", "??\n", text))


def test_lists_of_jobs_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    recorded, shell = lists_of(samples, tmp_path)
    recorded.keep("job", lambda row: row["id"][1] < 114)
    mask = without_later_jobs
    assert all_the_same(samples, "20-list-job", shell, mask=mask) >= 35


# Pages, and other commands that change nothing.


class RecordedMaster(LuxiReplay):
    """Answers as the recorded cluster did when 21-info was made."""

    def __init__(self, samples: Path) -> None:
        self._samples = samples
        recorded = RecordedLists(samples)
        recorded.keep("job", lambda row: row["id"][1] < 114)
        super().__init__(
            {
                **RecordedJobs(samples).answers(),
                "QueryGroups": lambda names, fields, _: self._rows(
                    recorded, names, fields, "group"
                ),
                "QueryNetworks": lambda names, fields, _: self._rows(
                    recorded, names, fields, "network"
                ),
                "QueryFilters": lambda names, fields: [],
                "Query": recorded.query,
                "QueryFields": recorded.query_fields,
                "QueryClusterInfo": self._recorded_call("QueryClusterInfo", []),
                "QueryConfigValues": self._config_values,
                "QueryTags": self._tags,
                "QueryInstances": lambda names, fields, _: (
                    self._console(names, fields, _)
                    if "console" in fields
                    else self._rows(recorded, names, fields, "instance")
                ),
                "QueryNodes": lambda names, fields, _: self._rows(recorded, names, fields),
                "SetDrainFlag": lambda flag: True,
                "SetWatcherPause": self._pause,
            }
        )
        self._pause_until: float | None = None

    def _recorded_call(self, method: str, args: list[Any]) -> Any:
        for line in (self._samples / "luxi/calls.jsonl").read_text().splitlines():
            record = json.loads(line)
            if record["send"] == json.dumps({"method": method, "args": args}):
                return json.loads(record["recv"])["result"]
        raise AssertionError(f"{method} is not recorded")

    def _config_values(self, names: list[str]) -> list[Any]:
        known = {
            "cluster_name": "cluster.example.com",
            "drain_flag": False,
            "watcher_pause": self._pause_until,
        }
        return [known[name] for name in names]

    def _pause(self, until: float | None) -> float | None:
        self._pause_until = until
        return until

    def _tags(self, kind: str, name: str) -> list[str]:
        known = {
            ("cluster", ""): ["cl:one", "second:line", "from:stdin"],
            ("instance", "web1.example.com"): ["web", "prod", "tier:front"],
        }
        return known[kind, name]

    def _console(self, names: list[str], fields: list[str], _: bool) -> list[list[Any]]:
        if names == ["nosuch"]:
            return []
        text = "Console not available for fake hypervisor"
        return [[{"instance": names[0], "kind": "msg", "message": text}, True]]

    def _rows(
        self, recorded: RecordedLists, names: list[str], fields: list[str], kind: str = "node"
    ) -> Any:
        rows = recorded.query(kind, fields, None)["data"]
        key = fields.index("name")
        plain = [[value for _, value in row] for row in rows]
        return [row for row in plain if not names or row[key] in names]


UNLIKE = (
    "verify-disks",  # three jobs whose numbers were given at that time
    "verify",
    "command",
    "copyfile",
)


def test_pages_are_printed_as_recorded(samples: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, RecordedMaster(samples))
    shell.ssconf("master_node", MASTER)
    moving = re.compile(r"(?m)( until) .*\.$|^ +(?:vcpu|spindle)-ratio: .*\n")
    mask = lambda text: moving.sub(r"\1", in_order(text))  # noqa: E731
    assert all_the_same(samples, "21-info", shell, but=UNLIKE, mask=mask) >= 45


def in_order(text: str) -> str:
    """Nodes of an OS come in the order of a hash."""
    parts = text.split("\n\n")
    return (
        "\n\n".join("\n".join(sorted(part.split("\n"))) for part in parts)
        if (text.startswith("OS: "))
        else text
    )
