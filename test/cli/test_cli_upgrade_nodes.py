"""Reaching nodes without daemons: which there are, what they answer, and that none holds up all."""

from __future__ import annotations

from pathlib import Path

import pytest
from ganeti.cli.upgrade_nodes import AT_ONCE, Answer, Nodes, Shells
from ganeti.cli.world import World
from ganeti.paths import Paths

NAMES = ("node1", "node2", "node3")


def a_world(place: Path) -> World:
    """Virtual nodes beside each other; node1 is the master, node3 is offline."""
    for name in NAMES:
        Paths(place / name).data.mkdir(parents=True)
    paths = Paths(place / "node1")
    for key, value in {
        "master_node": "node1",
        "node_list": "\n".join(NAMES),
        "offline_nodes": "node3",
        "cluster_name": "cluster",
        "ssh_ports": "node1=22\nnode2=2222",
    }.items():
        paths.ssconf(key).write_text(f"{value}\n")
    return World(paths, environ={"GANETI_HOSTNAME": "node1"})


def test_nodes_are_those_of_ssconf(tmp_path: Path) -> None:
    nodes = Nodes(a_world(tmp_path))
    assert (nodes.master, nodes.others, nodes.offline) == ("node1", ["node2"], ["node3"])
    assert nodes.all == ["node2", "node1"]


def test_a_command_runs_as_on_each_node(tmp_path: Path) -> None:
    shells = Shells(a_world(tmp_path))
    found = shells.on(["node1", "node2"], "echo $GANETI_HOSTNAME in $GANETI_ROOTDIR; exit 3")
    for name in ("node1", "node2"):
        assert found[name] == (f"{name} in {tmp_path / name}\n", 3)


def test_more_nodes_than_may_run_at_once_all_answer(tmp_path: Path) -> None:
    world = a_world(tmp_path)
    names = [f"vm{number}" for number in range(AT_ONCE + 3)]
    for name in names:
        (tmp_path / name).mkdir()
    found = Shells(world).on(names, "echo $GANETI_HOSTNAME")
    assert {name: answer.output.strip() for name, answer in found.items()} == {
        name: name for name in names
    }


@pytest.mark.parametrize("command", ["exec sleep 600", "sleep 600; true"])
def test_a_command_that_does_not_end_is_given_up(tmp_path: Path, command: str) -> None:
    found = Shells(a_world(tmp_path)).on(["node2"], command, timeout_s=0.05)
    assert found["node2"].status == 1 and "has not ended after" in found["node2"].problem


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Answer("fine\n", 0), ""),
        (Answer("one\ntwo\n", 1), "two"),
        (Answer("", 255), "can't be reached over SSH"),
        (Answer("", 7), "exit code 7"),
    ],
)
def test_a_problem_has_words(answer: Answer, problem: str) -> None:
    assert answer.problem == problem
