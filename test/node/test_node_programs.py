"""Hooks, allocators, out-of-band programs, restricted commands, the master's address."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.nodes import JumpingClock, a_node
from ganeti.errors import CommandError, OpExecError
from ganeti.node import hook, master_ip, program
from ganeti.node.context import NodeContext
from ganeti.utils.process import Result, run


def a_script(place: Path, text: str, mode: int = 0o755) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(mode)
    return place


def test_hooks_run_in_order_and_others_are_skipped(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    folder = node.paths.hooks / "node-add-pre.d"
    a_script(folder / "20-bad", "echo no; echo reason >&2; exit 1")
    a_script(folder / "10-good", "echo $GANETI_X $HOME; pwd; cat")
    a_script(folder / "30-not-executable", "", 0o644)
    a_script(folder / "40.bad-name", "")
    a_script(folder / ".hidden", "")
    (folder / "50-directory").mkdir()
    assert hook.hooks_runner(node, "node-add", "pre", {"GANETI_X": "1"}) == [
        ("node-add-pre.d/10-good", 2, "1\n/"),
        ("node-add-pre.d/20-bad", 1, "no\nreason"),
        ("node-add-pre.d/30-not-executable", 0, ""),
        ("node-add-pre.d/40.bad-name", 0, ""),
        ("node-add-pre.d/50-directory", 0, ""),
    ]


def test_a_script_that_can_not_start_is_a_failed_hook(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    place = a_script(node.paths.hooks / "node-add-post.d/x", "")
    place.write_text("#!/nosuch/interpreter\n")
    ((name, status, output),) = hook.hooks_runner(node, "node-add", "post", {})
    assert status == 1 and "can't be started" in output


def test_a_missing_hook_directory_holds_nothing(tmp_path: Path) -> None:
    assert hook.hooks_runner(a_node(tmp_path), "nosuch-path", "pre", {}) == []


@pytest.mark.parametrize(("path", "phase"), [("node-add", "wrong"), ("../x", "pre"), ("", "pre")])
def test_wrong_phases_and_paths_are_refused(tmp_path: Path, path: str, phase: str) -> None:
    with pytest.raises(OpExecError, match="hooks p"):
        hook.hooks_runner(a_node(tmp_path), path, phase, {})


def test_an_allocator_gets_the_request_as_a_file_and_its_options(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    a_script(node.paths.allocator_search[-1] / "mine", 'cat "$1"; shift; echo " $@"')
    text = program.iallocator_runner(node, "mine", '{"a": 1}', {"k": "v", "flag": None})
    assert text == '{"a": 1} --flag --k=v\n'


@pytest.mark.parametrize("name", ["nosuch", "../mine", ""])
def test_an_unknown_allocator_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(OpExecError, match="is not in the search path"):
        program.iallocator_runner(a_node(tmp_path), name, "{}", {})


def test_a_failing_allocator_is_told_with_its_output(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    a_script(node.paths.allocator_search[0] / "mine", "echo no request >&2; exit 1")
    with pytest.raises(OpExecError, match="'mine': exited with exit code 1; .*no request"):
        program.iallocator_runner(node, "mine", "{}", {})


def test_a_hanging_allocator_is_ended_before_the_call_is_and_told(tmp_path: Path) -> None:
    limits = []

    def hang(argv: Sequence[str], *, timeout_s: float | None = None, **_: Any) -> Result:
        limits.append(timeout_s)
        return run(argv, timeout_s=0.0)

    node = a_node(tmp_path)
    node.run = hang
    a_script(node.paths.allocator_search[0] / "mine", "exec sleep 1000")
    with pytest.raises(OpExecError, match="'mine': timeout after .*, terminated by signal .*; no"):
        program.iallocator_runner(node, "mine", "{}", {})
    assert limits == [program.ALLOCATOR_S] and program.ALLOCATOR_S < 900


def test_an_oob_program_answers_json_or_nothing(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    a_script(tmp_path / "oob", 'case $1 in power-status) echo "{\\"powered\\": true}";; esac')
    assert program.run_oob(node, "/oob", "power-status", "n2", 60) == {"powered": True}
    assert program.run_oob(node, "/oob", "power-on", "n2", 60) is None
    a_script(tmp_path / "oob", "echo no json")
    with pytest.raises(OpExecError, match="is not JSON"):
        program.run_oob(node, "/oob", "health", "n2", 60)
    a_script(tmp_path / "oob", "exit 4")
    with pytest.raises(CommandError, match="health of node n2: .* exited with exit code 4"):
        program.run_oob(node, "/oob", "health", "n2", 60)


def restricted(node: NodeContext, name: str) -> str:
    (node.paths.conf / "restricted-commands").mkdir(parents=True, exist_ok=True)
    (node.paths.conf / "restricted-commands").chmod(0o755)
    return program.restricted_command(node, name)


def test_a_restricted_command_runs_without_environment(tmp_path: Path) -> None:
    node = a_node(tmp_path, restricted_commands=True)
    a_script(node.paths.conf / "restricted-commands/show", "echo out; echo err >&2; echo $HOME")
    assert restricted(node, "show") == "out\n\nerr\n"


@pytest.mark.parametrize("case", ["disabled", "name", "absent", "mode", "link", "fails"])
def test_every_refusal_looks_the_same_and_takes_ten_seconds(tmp_path: Path, case: str) -> None:
    node = a_node(tmp_path, restricted_commands=case != "disabled")
    place = a_script(
        node.paths.conf / "restricted-commands/show",
        "exit 1" if case == "fails" else "echo out",
        0o777 if case == "mode" else 0o755,
    )
    name = {"name": "../show", "absent": "other"}.get(case, "show")
    if case == "link":
        place.rename(tmp_path / "elsewhere")
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OpExecError) as error:
        restricted(node, name)
    assert str(error.value) == f"Executing command {name!r} failed"
    assert isinstance(node.clock, JumpingClock) and node.clock.slept == [10.0]


class Recorder:
    """Runs nothing, writes down what it was asked to run."""

    def __init__(self) -> None:
        self.argvs: list[list[str]] = []

    def __call__(self, argv: Sequence[str], **_: object) -> Result:
        self.argvs.append(list(argv))
        return Result(tuple(argv), 0, None, "", "")


PARAMS = {"uuid": "u", "ip": "192.0.2.250", "netmask": 24, "netdev": "eth0", "ip_family": 2}


def a_real_node(tmp_path: Path) -> tuple[NodeContext, Recorder]:
    """A node that is not virtual; nothing is run and no file is touched."""
    node = a_node(tmp_path)
    from dataclasses import replace

    from ganeti.paths import Paths

    recorder = Recorder()
    real = NodeContext(settings=replace(node.settings, paths=Paths("/")), run=recorder)
    return real, recorder


def test_a_virtual_node_leaves_the_master_address_alone(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    recorder = node.run = Recorder()
    master_ip.node_activate_master_ip(node, PARAMS, False)
    master_ip.node_deactivate_master_ip(node, PARAMS, False)
    master_ip.node_change_master_netmask(node, 24, 25, "192.0.2.250", "eth0")
    assert recorder.argvs == []


def test_an_address_that_is_here_is_not_added_again(tmp_path: Path) -> None:
    node, recorder = a_real_node(tmp_path)
    master_ip.node_activate_master_ip(node, {**PARAMS, "ip": "127.0.0.1"}, False)
    master_ip.node_deactivate_master_ip(node, PARAMS, False)
    assert recorder.argvs == []


def test_an_address_that_is_here_can_be_taken_away(tmp_path: Path) -> None:
    node, recorder = a_real_node(tmp_path)
    master_ip.node_deactivate_master_ip(node, {**PARAMS, "ip": "127.0.0.1"}, False)
    assert recorder.argvs == [["ip", "address", "del", "127.0.0.1/24", "dev", "eth0"]]


def test_commands_for_the_master_address_are_those_of_the_facts() -> None:
    assert master_ip.activate_argvs("192.0.2.250", 24, "eth0") == [
        "ip address add 192.0.2.250/24 dev eth0 label eth0:0 preferred_lft 0".split()
    ]
    assert master_ip.announce_argv("192.0.2.250", "eth0") == (
        "arping -q -U -c 3 -I eth0 -s 192.0.2.250 192.0.2.250".split()
    )
    assert master_ip.announce_argv("2001:db8::1", "eth0") == (
        "ndisc6 -q -r 3 2001:db8::1 eth0".split()
    )
