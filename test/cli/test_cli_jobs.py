"""Jobs: submitted, followed, failed; one by one and in sets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.command_line import NOW, Shell
from fakes.luxi_replay import LuxiReplay
from ganeti.cli.progress import Follower, failure_of, log_line
from ganeti.errors import GenericError, JobCanceled, JobLost, OpExecError, OpPrereqError

VECTORS = facts("cli-examples")["v3"]
NOW_NS = int(NOW * 1_000_000_000)


def changes(*answers: Any) -> Any:
    """Answers to WaitForJobChange, one after the other."""
    left = iter(answers)
    return lambda *_: next(left)


def followed(master: LuxiReplay, **how: Any) -> tuple[list[str], list[str], Any]:
    """What was printed on either stream while following job 1, and its results or error."""
    out: list[str] = []
    err: list[str] = []
    try:
        end: Any = Follower(master, out.append, err.append).follow(1, **how)
    except GenericError as error:
        end = error
    return out, err, end


def test_log_lines_and_notices_are_those_of_the_vector() -> None:
    stamp = [1262304000, 42]
    master = LuxiReplay(
        {
            "WaitForJobChange": changes(
                [["queued"], []],
                "nochange",
                "nochange",
                [["waiting"], []],
                "nochange",
                [["running"], [[1, stamp, "message", "* step one"]]],
                "nochange",
                [["success"], [[2, stamp, "other", ["a", 1]]]],
            ),
            "QueryJobs": [["success", ["success"], [7]]],
        }
    )
    out, err, end = followed(master)
    vector = VECTORS["job_progress"]
    assert out[0] == vector["stdout_lines"][0]
    assert out[1] == "Fri Jan  1 00:00:00 2010 ['a', 1]"
    assert err == vector["stderr_lines"]
    assert end == [7]


def test_the_next_poll_tells_what_is_known() -> None:
    entry = [4, [0, 0], "message", "x"]
    master = LuxiReplay(
        {
            "WaitForJobChange": changes([["running"], [entry]], [["success"], []]),
            "QueryJobs": [["success", ["success"], [None]]],
        }
    )
    followed(master)
    asked = [args[:4] for args in master.asked("WaitForJobChange")]
    assert asked == [(1, ["status"], None, None), (1, ["status"], ["running"], 4)]


def test_quietly_no_log_is_printed() -> None:
    entry = [1, [0, 0], "message", "x"]
    master = LuxiReplay(
        {
            "WaitForJobChange": changes([["success"], [entry]]),
            "QueryJobs": [["success", ["success"], [None]]],
        }
    )
    assert followed(master, quiet=True) == ([], [], [None])


@pytest.mark.parametrize("vector", VECTORS["safe_encode"], ids=lambda v: v["out"])
def test_messages_are_printed_in_ascii(vector: dict[str, str]) -> None:
    line = log_line([1, [1262304000, 42], "message", vector["in"]])
    assert line == "Fri Jan  1 00:00:00 2010 " + vector["out"]


def test_an_unknown_job_is_lost() -> None:
    assert isinstance(followed(LuxiReplay({"WaitForJobChange": lambda *_: None}))[2], JobLost)
    gone = LuxiReplay(
        {"WaitForJobChange": lambda *_: [["success"], []], "QueryJobs": [[None, None, None]]}
    )
    assert isinstance(followed(gone)[2], JobLost)


@pytest.mark.parametrize(
    ("status", "states", "results", "kind", "text"),
    [
        ("canceled", ["canceled"], ["x"], JobCanceled, "Job was canceled"),
        ("error", ["error"], [["OpPrereqError", ["M", "wrong_state"]]], OpPrereqError, "M"),
        ("error", ["error"], ["text"], OpExecError, "text"),
        ("error", ["success", "error"], [1, "no"], OpExecError, "partial failure (opcode 1): no"),
        ("error", ["success", "error"], [1, ["OpExecError", ["no"]]], OpExecError, "no"),
    ],
)
def test_a_job_fails_with_the_error_of_its_opcode(
    status: str, states: list[str], results: list[Any], kind: type[Exception], text: str
) -> None:
    error = failure_of(status, states, results)
    assert type(error) is kind
    assert str(error) == text


# One job.


def test_an_opcode_carries_the_common_options_and_the_reason_trail(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay(outcomes={"OP_TEST_DELAY": None}))
    words = ["delay", "-d", "--priority=low", "--dry-run", "--reason=tests", "0.5"]
    assert shell.run("gnt-debug", *words).status == 0
    (opcode,) = shell.master.jobs[1].opcodes
    assert opcode["reason"] == [
        ["gnt:user", "tests", NOW_NS],
        ["gnt:client:gnt-debug", "delay", NOW_NS],
    ]
    assert (opcode["priority"], opcode["dry_run"], opcode["debug_level"]) == (10, True, 1)
    assert opcode["duration"] == 0.5


def test_submit_prints_the_number_and_does_not_wait(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay(first_job=486))
    ended = shell.run("gnt-debug", "delay", "--submit", "--print-jobid", "1")
    assert ended == (0, "486\n", "JobID: 486\n")
    assert shell.master.asked("WaitForJobChange") == []


def test_print_jobid_comes_before_the_log(tmp_path: Path) -> None:
    logs = {"OP_TEST_DELAY": ["  - INFO: dry-run"]}
    shell = Shell(tmp_path, LuxiReplay(logs=logs, first_job=9))
    ended = shell.run("gnt-debug", "delay", "--print-jobid", "1")
    assert ended == (0, "9\nFri Jan  1 00:00:00 2010   - INFO: dry-run\n", "")


def test_a_failed_job_ends_with_its_error(tmp_path: Path) -> None:
    outcomes = {"OP_TAGS_SET": OpPrereqError("MSG", "unknown_entity")}
    ended = Shell(tmp_path, LuxiReplay(outcomes=outcomes)).run("gnt-node", "add-tags", "n", "t")
    assert (ended.status, ended.out) == (1, "")
    assert ended.err.splitlines()[1] == "error type: unknown_entity, error details:"


# Several jobs.

ROWS = [["i1"], ["i2"], ["i3"]]


def startup(shell: Shell, *words: str) -> Any:
    return shell.run("gnt-instance", "startup", *words)


def three(tmp_path: Path, **answers: Any) -> Shell:
    """A cluster with three instances; the third can't be submitted, the second fails."""

    def outcome(opcode: dict[str, Any]) -> Any:
        return OpExecError("text") if opcode["instance_name"] == "i2" else None

    master = LuxiReplay(
        {"QueryInstances": lambda *_: ROWS, **answers}, outcomes={"OP_INSTANCE_STARTUP": outcome}
    )
    submit = master._SubmitManyJobs
    master.answers["SubmitManyJobs"] = lambda jobs: [*submit(jobs[:2]), [False, "queue full"]]
    return Shell(tmp_path, master)


def test_a_set_is_waited_for_like_the_vector(tmp_path: Path) -> None:
    ended = startup(three(tmp_path), "--all", "--force-multiple")
    vector = VECTORS["job_set_wait"]
    assert ended.status == 1
    assert ended.out.splitlines() == vector["stdout_lines"]
    assert ended.err.splitlines() == vector["stderr_lines"]


def test_a_set_is_submitted_like_the_vector(tmp_path: Path) -> None:
    ended = startup(three(tmp_path), "--all", "--force-multiple", "--submit")
    vector = VECTORS["job_set_submit"]
    assert ended.status == 1
    assert ended.out.splitlines() == vector["stdout_lines"]
    assert ended.err.splitlines() == vector["stderr_lines"]


def test_of_a_set_what_runs_or_ended_is_followed_first(tmp_path: Path) -> None:
    states = {1: "queued", 2: "running"}
    shell = three(tmp_path)
    finished = shell.master._QueryJobs

    def query(numbers: list[int], fields: list[str]) -> Any:
        if fields == ["status"]:
            return [[states[number]] for number in numbers]
        return finished(numbers, fields)

    shell.master.answers["QueryJobs"] = query
    ended = startup(shell, "--all", "--force-multiple")
    waits = [line for line in ended.out.splitlines() if line.startswith("Waiting")]
    assert waits == ["Waiting for job 2 for i2 ...", "Waiting for job 1 for i1 ..."]


def test_a_job_that_vanished_from_a_set_is_told(tmp_path: Path) -> None:
    def lost(*_: Any) -> Any:
        raise JobLost("gone")

    shell = three(tmp_path, WaitForJobChange=lost)
    ended = startup(shell, "--all", "--force-multiple")
    assert ended.status == 1
    assert "Job 1 for i1 is no longer there" in ended.err


# gnt-job.


def test_jobs_are_canceled_and_the_answers_printed(tmp_path: Path) -> None:
    answers = {7: [True, "good"], 8: [False, "bad"]}
    shell = Shell(tmp_path, LuxiReplay({"CancelJob": lambda number, kill: answers[number]}))
    assert shell.run("gnt-job", "cancel", "7") == (0, "good\n", "")
    assert shell.run("gnt-job", "cancel", "7", "8") == (1, "good\nbad\n", "")
    assert shell.master.asked("CancelJob")[0] == (7, False)
    assert shell.run("gnt-job", "cancel", "--kill", "--yes-do-it", "7").status == 0
    assert shell.master.asked("CancelJob")[-1] == (7, True)


@pytest.mark.parametrize(
    "words", [["cancel"], ["cancel", "--pending", "7"], ["cancel", "--kill", "7"], ["cancel", "x"]]
)
def test_wrong_ways_to_cancel_are_input_errors(words: list[str], tmp_path: Path) -> None:
    ended = Shell(tmp_path, LuxiReplay()).run("gnt-job", *words)
    assert ended.status == 1
    assert "error type: wrong_input" in ended.err


def selected(tmp_path: Path, numbers: list[int]) -> Shell:
    fields = [
        {"name": n, "title": n, "kind": "text", "doc": ""} for n in ("id", "status", "summary")
    ]
    data = [[[0, number], [0, "queued"], [0, ["X"]]] for number in numbers]
    answers = {
        "Query": lambda *_: {"fields": fields, "data": data},
        "CancelJob": lambda *_: [True, "done"],
        "ChangeJobPriority": lambda *_: [True, "done"],
    }
    return Shell(tmp_path, LuxiReplay(answers))


def test_jobs_selected_by_state_need_a_yes(tmp_path: Path) -> None:
    ended = selected(tmp_path, [3, 4]).run("gnt-job", "cancel", "--queued")
    assert ended.status == 13
    assert ended.out.splitlines() == ["id status summary", "3  queued X", "4  queued X"]


def test_with_force_selected_jobs_are_canceled_at_once(tmp_path: Path) -> None:
    shell = selected(tmp_path, [3, 4])
    assert shell.run("gnt-job", "cancel", "--pending", "-f") == (0, "done\ndone\n", "")
    (asked,) = shell.master.asked("Query")
    states = ["canceling", "queued", "waiting"]
    assert asked[2] == ["|", *(["==", "status", state] for state in states)]


def test_no_job_in_the_state_is_an_error(tmp_path: Path) -> None:
    ended = selected(tmp_path, []).run("gnt-job", "cancel", "--waiting")
    assert ended.status == 1 and "error type: wrong_state" in ended.err


def test_a_priority_is_sent_as_a_number(tmp_path: Path) -> None:
    shell = selected(tmp_path, [])
    assert shell.run("gnt-job", "change-priority", "--priority=high", "5").status == 0
    assert shell.master.asked("ChangeJobPriority") == [(5, -10)]
    assert shell.run("gnt-job", "change-priority", "5").status == 1


def test_archiving_tells_what_was_refused(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"ArchiveJob": lambda number: number == 1}))
    assert shell.run("gnt-job", "archive", "1") == (0, "", "")
    ended = shell.run("gnt-job", "archive", "1", "2")
    assert (ended.status, ended.out) == (1, "") and "Job 2" in ended.err


def test_autoarchive_takes_ages_and_all(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"AutoArchiveJobs": lambda *_: [2, 1]}))
    wanted = (0, "Archived 2 jobs, 1 unchecked left\n", "")
    assert shell.run("gnt-job", "autoarchive", "2d") == wanted
    assert shell.run("gnt-job", "autoarchive", "all") == wanted
    assert [args[0] for args in shell.master.asked("AutoArchiveJobs")] == [172800, -1]


def test_watch_ends_with_the_jobs_error(tmp_path: Path) -> None:
    master = LuxiReplay(outcomes={"OP_TEST_DELAY": OpExecError("MSG")})
    shell = Shell(tmp_path, master)
    shell.run("gnt-debug", "delay", "--submit", "1")
    ended = shell.run("gnt-job", "watch", "1")
    assert ended.status == 1
    assert ended.out == "Output from job 1 follows\n-------------------------\n"
    assert ended.err == "Job 1 failed: Failure: command execution error:\nMSG\n"
    assert shell.run("gnt-job", "wait", "1") == (1, "", ended.err)


# gnt-debug submit-job.


def test_jobs_from_files_are_submitted_as_often_as_wanted(tmp_path: Path) -> None:
    path = tmp_path / "ops.json"
    path.write_text('[{"OP_ID": "OP_TEST_DELAY", "duration": 1}]')
    shell = Shell(tmp_path, LuxiReplay(outcomes={"OP_TEST_DELAY": OpExecError("MSG")}))
    ended = shell.run(
        "gnt-debug", "submit-job", "--op-repeat=2", "--job-repeat=2", "--timing-stats", str(path)
    )
    assert ended.status == 0
    assert [len(job.opcodes) for job in shell.master.jobs.values()] == [2, 2]
    assert f"Waiting for job 1 for file {path}/0 ..." in ended.out
    assert f"Job 2 for file {path}/1 has failed: Failure: command exec" in ended.err
    assert len(shell.master.asked("SubmitManyJobs")) == 1
    shell.run("gnt-debug", "submit-job", "--each", str(path), str(path))
    assert len(shell.master.asked("SubmitJob")) == 2


@pytest.mark.parametrize("text", ["{}", "[", '[{"OP_ID": "OP_NO"}]', None])
def test_files_that_hold_no_opcodes_are_refused(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "ops.json"
    if text is not None:
        path.write_text(text)
    ended = Shell(tmp_path, LuxiReplay()).run("gnt-debug", "submit-job", str(path))
    assert ended.status == 1 and "Unhandled exception" not in ended.err


def test_locks_are_listed_again_after_the_interval(tmp_path: Path) -> None:
    fields = [{"name": n, "title": n, "kind": "text", "doc": ""} for n in ("name", "mode")]
    extra = [{"name": n, "title": n, "kind": "other", "doc": ""} for n in ("owner", "pending")]
    data = [[[0, "cluster/BGL"], [0, "shared"], [0, ["job1"]], [0, [["exclusive", ["job2"]]]]]]
    left = iter([{"fields": fields + extra, "data": data}] * 2)

    def query(*_: Any) -> Any:
        try:
            return next(left)
        except StopIteration:
            raise KeyboardInterrupt from None

    shell = Shell(tmp_path, LuxiReplay({"Query": query}))
    ended = shell.run("gnt-debug", "locks", "--interval=3")
    table = "name        mode   owner pending\ncluster/BGL shared job1  exclusive:job2\n"
    assert ended.out == f"{table}\n{table}\n"
    assert shell.slept == [3, 3]
    assert shell.run("gnt-debug", "locks", "--interval=0").status == 1
