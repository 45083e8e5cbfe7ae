"""The frame of the programs: usage, help, argument counts, environment, errors, log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.command_line import PROGRAMS, Shell, program_of
from fakes.luxi_replay import LuxiReplay
from ganeti import errors
from ganeti.cli.failure import JobSubmitted, describe
from ganeti.cli.info import Fields, page
from ganeti.cli.world import World, check_virtual
from ganeti.paths import Paths
from ganeti.version import RELEASE

VECTORS = facts("cli-examples")["v3"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_command_the_usage_page_is_printed(name: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    none, wrong, help = shell.run(name), shell.run(name, "nosuch"), shell.run(name, "--help")
    assert (none.status, wrong.status, help.status) == (1, 1, 0)
    assert none.out == wrong.out == help.out
    assert none.err == wrong.err == help.err == ""
    lines = none.out.split("\n")
    assert lines[0] == f"Usage: {name} {{command}} [options...] [argument...]"
    assert lines[2:4] == ["", "Commands:"] and lines[-2:] == ["", ""]
    rows = [line for line in lines[4:-2] if not line.startswith("   ")]
    names = [row.split()[0] for row in rows]
    assert names == sorted(program_of(name).commands)
    assert all(len(line) < 80 for line in lines)
    assert len({row.index(" - ") for row in rows}) == 1


def test_the_version_is_one_line(tmp_path: Path) -> None:
    ended = Shell(tmp_path).run("gnt-node", "--version")
    assert ended.status == 0
    assert ended.out.startswith("gnt-node (ganeti ") and ended.out.endswith(f") {RELEASE}\n")


def test_help_of_a_command_is_titled_and_names_the_long_option_first(tmp_path: Path) -> None:
    ended = Shell(tmp_path).run("gnt-node", "list", "--help")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith("Usage\n=====\n  gnt-node list [<node>...]\n")
    assert "\nOptions\n=======\n--debug, -d " in ended.out


@pytest.mark.parametrize(
    ("argv", "wanted"),
    [
        ("gnt-cluster info x", "Error: Command info expects no arguments"),
        ("gnt-cluster init", "Error: Command init expects 1 argument(s)"),
        ("gnt-cluster watcher", "Error: Command watcher expects at least 1 argument(s)"),
        ("gnt-cluster watcher info a b", "Error: Command watcher expects only 2 argument(s)"),
        ("gnt-job archive", "Error: Command archive expects at least 1 argument(s)"),
        ("gnt-instance start", None),
    ],
)
def test_arguments_are_counted(argv: str, wanted: str | None, tmp_path: Path) -> None:
    ended = Shell(tmp_path).run(*argv.split())
    assert ended.status == 1
    if wanted:
        assert (ended.out, ended.err) == ("", wanted + "\n")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["list", "--nosuch"], "no such option: --nosuch"),
        (["list", "--units=x"], "option --units: invalid choice: 'x' (choose from "),
        (["list", "-o"], "-o option requires 1 argument"),
        (["list", "--no"], None),
        (["startup", "--tags=web"], "--tags option does not take a value"),
        (["shutdown", "--timeout=x", "i"], "option --timeout: invalid integer value: 'x'"),
        (["add", "-s", "10x", "i"], "option -s: "),
        (["add", "-s", "1.2.3", "i"], "option -s: "),
        (["add", "-t", "x", "i"], "option -t: invalid choice: 'x' (choose from 'blockdev', "),
        (["reboot", "-t", "x", "i"], "option -t: invalid choice: 'x' (choose from 'soft', 'hard'"),
    ],
)
def test_wrong_options_end_with_2(words: list[str], problem: str | None, tmp_path: Path) -> None:
    ended = Shell(tmp_path, answering([])).run("gnt-instance", *words)
    if problem is None:  # an abbreviation
        assert ended.status == 0
        return
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith(f"Usage\n=====\n  gnt-instance {words[0]} ")
    assert f"\n\ngnt-instance: error: {problem}" in ended.err


def answering(rows: list[Any]) -> LuxiReplay:
    """A master whose lists have these rows."""

    def query(kind: str, fields: list[str], _: Any) -> Any:
        titles = [{"name": n, "title": n, "kind": "text", "doc": ""} for n in fields]
        return {"fields": titles, "data": rows}

    return LuxiReplay({"Query": query})


def test_what_follows_the_first_argument_is_an_argument(tmp_path: Path) -> None:
    master = answering([])
    Shell(tmp_path, master).run("gnt-instance", "list", "a", "--roman")
    (asked,) = master.asked("Query")
    assert asked[2] == ["|", ["==", "name", "a"], ["==", "name", "--roman"]]


def test_a_wrong_yes_or_no_is_a_parameter_error(tmp_path: Path) -> None:
    ended = Shell(tmp_path).run("gnt-node", "add", "--master-capable=1", "n")
    assert ended.status == 1
    assert ended.err == (
        "Failure: unknown/wrong parameter name '--master-capable: '1' is not yes or no'\n"
    )


def test_a_value_that_is_no_json_is_a_prerequisite_error_that_names_the_option(
    tmp_path: Path,
) -> None:
    ended = Shell(tmp_path).run("gnt-filter", "add", "--predicates", "{")
    assert ended.status == 1
    assert "error type: wrong_input" in ended.err
    assert "\n--predicates: the value is not JSON: " in ended.err


def test_a_variable_gives_options_that_the_users_own_override(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answering([]))
    given = {"GNT_INSTANCE_LIST": "-o 'name,os' --no-headers"}
    assert shell.run("gnt-instance", "list", environ=given).out == ""
    assert shell.run("gnt-instance", "list", "-o", "uuid", environ=given).status == 0
    assert [args[1] for args in shell.master.asked("Query")] == [["name", "os"], ["uuid"]]


def test_a_variable_of_a_command_without_defaults_is_ignored(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answering([]))
    assert shell.run("gnt-job", "list", environ={"GNT_JOB_LIST": "--nosuch"}).status == 0


@pytest.mark.parametrize(
    "environ",
    [
        {"GANETI_ROOTDIR": "/x"},
        {"GANETI_HOSTNAME": "n"},
        {"GANETI_ROOTDIR": "x", "GANETI_HOSTNAME": "n"},
        {"GANETI_ROOTDIR": "/x/../y", "GANETI_HOSTNAME": "n"},
    ],
)
def test_half_a_virtual_cluster_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(errors.OpPrereqError):
        check_virtual(environ)


def test_a_virtual_cluster_or_none_is_fine() -> None:
    check_virtual({})
    check_virtual({"GANETI_ROOTDIR": "/x/y", "GANETI_HOSTNAME": "n"})


ERRORS: dict[str, Exception] = {
    "prerequisite, class": errors.OpPrereqError("MSG", "wrong_input"),
    "prerequisite, no class": errors.OpPrereqError("MSG"),
    "execution": errors.OpExecError("MSG"),
    "hooks veto": errors.HooksAbort([["n1", "s1", "boom"], ["n2", "s2", ""]]),
    "hooks failure": errors.HooksFailure("MSG"),
    "resolver": errors.ResolverError("h.example.com", -2, "no"),
    "tag": errors.TagError("MSG"),
    "type enforcement": errors.TypeEnforcementError("MSG"),
    "parameter": errors.ParameterError("MSG"),
    "configuration": errors.ConfigurationError("MSG"),
    "job lost": errors.JobLost("MSG"),
    "other": errors.GenericError("MSG"),
    "submitted": JobSubmitted(5),
}


@pytest.mark.parametrize("vector", VECTORS["errors"], ids=lambda v: v["kind"])
def test_an_error_has_its_fixed_form(vector: dict[str, Any]) -> None:
    wanted = "\n".join(vector["text_lines"]) if "text_lines" in vector else vector["text"]
    assert describe(ERRORS[vector["kind"]]) == (vector["exit"], wanted)


@pytest.mark.parametrize(
    ("error", "start"),
    [
        (errors.JobQueueDrainError(), "Failure: the job queue is marked for drain"),
        (errors.JobQueueFull(), "Failure: the job queue is full"),
        (errors.NoMasterError("/run/ganeti-query"), "Cannot communicate with the master daemon.\n"),
        (errors.NoMasterError("/x/other"), "Cannot communicate with socket '/x/other'.\n"),
        (
            errors.RequestError("x"),
            "Unhandled protocol error while talking to the master daemon:\nx",
        ),
        (errors.JobCanceled("Job was canceled"), "Unhandled Ganeti error: Job was canceled"),
        (ValueError("x"), "Unhandled exception: x"),
        (
            errors.QueryFilterParseError("M", ["(((", "   ^", "D"]),
            "Error while parsing query filter: M\n(((\n   ^\nD",
        ),
    ],
)
def test_other_errors_begin_as_scripts_expect(error: Exception, start: str) -> None:
    status, text = describe(error)
    assert status == 1
    assert text.startswith(start)


def test_every_error_class_has_a_text() -> None:
    for cls in set(errors.GenericError.registry.values()):
        error = cls.__new__(cls)
        error.args = ([],) if cls is errors.HooksAbort else ("a", "b", "c")
        assert describe(error)[1]


def test_on_the_master_a_missing_daemon_is_told(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.ssconf("master_node", "node1.example.com")
    ended = shell.run("gnt-instance", "list")
    assert ended.status == 1
    assert ended.err.startswith("Cannot communicate with the master daemon.\n")


class Pipe:
    """A stream whose reader is gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError

    def flush(self) -> None:
        raise BrokenPipeError


def test_a_broken_pipe_ends_quietly_with_1(tmp_path: Path) -> None:
    world = World(Paths(tmp_path), stdout=Pipe(), stderr=Pipe(), environ={})  # type: ignore[arg-type]
    assert program_of("gnt-node").run([], world) == 1


def test_an_interrupt_says_that_jobs_go_on(tmp_path: Path) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    ended = Shell(tmp_path, LuxiReplay({"Query": interrupted})).run("gnt-job", "list")
    assert ended.status == 1
    assert "jobs" in ended.err and len(ended.err.splitlines()) == 1


def test_calls_and_their_errors_are_logged(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("gnt-instance", "list", "--no-headers", "a b")
    log = shell.paths.commands_log.read_text()
    assert "gnt-instance list pid=" in log
    assert "--no-headers 'a b'" in log
    assert "Traceback" in log and "QueryFilterParseError" in log


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    shell = Shell(tmp_path, answering([]))
    shell.paths.commands_log.mkdir()
    assert shell.run("gnt-instance", "list").status == 0


def test_secrets_are_not_logged(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.run("gnt-instance", "add", "--os-parameters-secret", "k=hush", "-t", "diskless", "i")
    assert "hush" not in shell.paths.commands_log.read_text()


def test_a_page_is_laid_out_like_the_vector() -> None:
    (mapping, two) = VECTORS["structured_info"]
    made = Fields(
        [
            ("A", "x"),
            ("B", {"k2": 1, "k1": 2}),
            ("C", [Fields([("n", 1), ("m", 2)]), Fields([("n", 3)])]),
            ("D", []),
            ("E", (1, "a", 2)),
            ("F", ["x", "y"]),
            ("G", {}),
            ("H", None),
        ]
    )
    assert page(made).splitlines() == mapping["text_lines"]
    assert (
        page([Fields([("Name", "a")]), Fields([("Name", "b")])]).splitlines() == two["text_lines"]
    )


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("", []),
        ("+", []),
        ("name,,colour", ["Queried for unknown fields colour\n"]),
    ],
)
def test_a_field_without_a_name_is_told_in_a_sentence(
    tmp_path: Path, output: str, told: list[str]
) -> None:
    def query(kind: str, fields: list[str], _: Any) -> Any:
        kinds = [{"name": n, "title": n, "doc": "", "kind": "text"} for n in fields]
        for one in kinds:
            one["kind"] = "unknown" if one["name"] in ("", "colour") else "text"
        return {"fields": kinds, "data": []}

    shell = Shell(tmp_path, LuxiReplay({"Query": query}))
    ended = shell.run("gnt-instance", "list", "-o", output)
    sentence = (
        "Queried for a field without a name: write them as NAME,NAME;"
        " gnt-instance list-fields shows all\n"
    )
    assert ended.status == 14
    assert ended.err == "".join(f"Warning: {line}" for line in [*told, sentence])
