"""Long work that outlives noded."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fakes.nodes import a_node
from ganeti.errors import GenericError, OpExecError
from ganeti.node.context import NodeContext, SystemClock
from ganeti.node.task import Tasks, has_members


def tasks_of(root: Path) -> Tasks:
    """As a noded that was just started sees them."""
    settings = a_node(root).settings
    return Tasks(NodeContext(settings=settings, clock=SystemClock()))


def test_a_task_ends_with_code_and_output(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    tasks.start("copy-1", ["sh", "-c", "echo out; echo err >&2; exit 3"])
    state = tasks.wait("copy-1", 20)
    assert (state.running, state.code, state.output) == (False, 3, "out\nerr\n")
    assert state.reason == "exited with exit code 3"


def test_words_of_a_command_are_not_parsed(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    tasks.start("t", ["printf", "%s|", "a b", "$HOME", "`id`"])
    assert tasks.wait("t", 20).output == "a b|$HOME|`id`|"


def test_starting_again_gives_the_same_task(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    first = tasks.start("t", ["sleep", "30"])
    assert tasks_of(tmp_path).start("t", ["other"]).record == first.record
    tasks.cancel("t")


def test_a_restarted_noded_finds_its_tasks_and_their_ends(tmp_path: Path) -> None:
    tasks_of(tmp_path).start("t", ["sh", "-c", "exit 5"], about={"instance": "web1"})
    found = tasks_of(tmp_path).wait("t", 20)
    assert found.code == 5 and found.record.about == {"instance": "web1"}
    assert [state.record.name for state in tasks_of(tmp_path).all()] == ["t"]


def test_a_cancelled_task_leaves_no_process(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    state = tasks.start("t", ["sh", "-c", "sleep 30 & sleep 30"])
    ended = tasks.cancel("t")
    assert ended is not None and not ended.running and ended.reason == "was killed"
    assert not has_members(state.record.pid)


def test_a_task_whose_leader_was_killed_still_counts_as_running(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    pid = tasks.start("t", ["sleep", "30"]).record.pid
    while not _has_child(pid):
        pass
    os.kill(pid, signal.SIGKILL)
    found = tasks.find("t")
    assert found is not None and found.running
    tasks.cancel("t")
    assert not has_members(pid)


def _has_child(pid: int) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text().strip())


def test_cancelling_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    assert tasks_of(tmp_path).cancel("nothing") is None


def test_a_removed_task_is_forgotten(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    tasks.start("t", ["sleep", "30"])
    with pytest.raises(OpExecError, match="is running"):
        tasks.remove("t")
    tasks.cancel("t")
    tasks.remove("t")
    assert tasks.find("t") is None and list(tmp_path.rglob("t.*")) == []


def test_waiting_has_an_end(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    tasks.start("t", ["sleep", "30"])
    assert tasks.wait("t", 0.0).running
    tasks.cancel("t")
    with pytest.raises(OpExecError, match="there is none"):
        tasks.wait("other", 1)


class FailingFiles:
    def replace(self, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_task_without_record_never_runs(tmp_path: Path) -> None:
    settings = a_node(tmp_path).settings
    node = NodeContext(settings=settings, files=FailingFiles())  # type: ignore[arg-type]
    with pytest.raises(OpExecError, match="no record: .*No space left"):
        Tasks(node).start("t", ["touch", str(tmp_path / "done")])
    assert not (tmp_path / "done").exists() and tasks_of(tmp_path).find("t") is None


def test_a_damaged_record_is_told(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path)
    (a_node(tmp_path).paths.tasks / "t.json").write_text("{")
    with pytest.raises(OpExecError, match="task t: its record is damaged"):
        tasks.find("t")


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "x" * 300])
def test_odd_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(GenericError, match="is not a name for a task"):
        tasks_of(tmp_path).find(name)
