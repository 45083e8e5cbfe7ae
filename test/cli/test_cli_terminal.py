"""Questions on a terminal: what is shown, and what answers count."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.command_line import Shell
from fakes.luxi_replay import LuxiReplay
from ganeti.cli.ask import YES_NO, ask, ask_password, confirm_many, wrapped

PROMPT = "y/[n]/?: "


class Person:
    """Someone at a terminal who types one line at each prompt; `shown` is what they saw."""

    def __init__(self, answers: list[str], prompt: bytes) -> None:
        self._answers = answers
        self._prompt = prompt
        self._master, slave = os.openpty()
        self.terminal = os.ttyname(slave)
        self._slave = slave
        self._shown = b""
        self._thread = threading.Thread(target=self._type, daemon=True)
        self._thread.start()

    def _type(self) -> None:
        left = list(self._answers)
        while True:
            try:
                self._shown += os.read(self._master, 4096)
            except OSError:
                return
            if self._shown.endswith(self._prompt) and left:
                os.write(self._master, left.pop(0).encode() + b"\n")

    def leave(self) -> str:
        os.close(self._slave)
        self._thread.join(5)
        os.close(self._master)
        return self._shown.decode().replace("\r\n", "\n")


@contextmanager
def person(*answers: str, prompt: bytes = b"?: ") -> Iterator[Person]:
    yield Person(list(answers), prompt)


@pytest.mark.parametrize(
    ("answers", "wanted"),
    [(["y"], "y"), (["n"], "n"), (["Y"], "y"), (["x", "", "y"], "y"), (["yes", "n"], "y")],
)
def test_one_letter_counts_and_others_ask_again(answers: list[str], wanted: str) -> None:
    with person(*answers) as one:
        assert ask(one.terminal, "Go on?", YES_NO) == wanted
        one.leave()


def test_a_question_mark_explains_the_choices() -> None:
    with person("?", "n") as one:
        ask(one.terminal, "Go on?", YES_NO)
        shown = one.leave()
    assert shown == (
        f"Go on?\n{PROMPT}?\n y - Perform the operation\n n - Do not perform the operation\n\n"
        f"Go on?\n{PROMPT}n\n"
    )


def test_without_a_terminal_the_last_choice_is_taken(tmp_path: Path) -> None:
    assert ask(str(tmp_path / "none"), "Go on?", YES_NO) == "n"


def test_the_end_of_input_is_a_no(tmp_path: Path) -> None:
    with person("\x04") as one:  # end of file at the start of a line
        assert ask(one.terminal, "Go on?", YES_NO) == "n"
        one.leave()


def test_few_objects_are_named_at_once() -> None:
    with person("y") as one:
        assert confirm_many(one.terminal, ["i1", "i2"], "instances", "shutdown")
        shown = one.leave()
    assert shown.endswith(f"Affected instances:\n  i1\n  i2\n{PROMPT}y\n")
    assert "shutdown" in shown and " 2 instances" in shown


def test_many_objects_are_named_on_demand() -> None:
    names = [f"i{index}" for index in range(21)]
    with person("v", "y") as one:
        assert confirm_many(one.terminal, names, "instances", "shutdown")
        shown = one.leave()
    first, second = shown.split("y/v/[n]/?: v\n")
    assert "Affected" not in first
    assert "\n  i20\n" in second and second.endswith(PROMPT + "y\n")


def test_text_is_folded_at_70_columns() -> None:
    lines = wrapped("word " * 40 + "\n  name\n" + "x" * 30).splitlines()
    assert all(len(line) <= 70 for line in lines)
    assert lines[-2:] == ["  name", "x" * 30]


def test_the_question_is_not_on_the_standard_streams(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay())
    with person("y") as one:
        shell.terminal = one.terminal
        ended = shell.run("gnt-instance", "remove", "test1")
        shown = one.leave()
    assert ended == (0, "", "")
    assert "test1" in shown and shown.endswith(PROMPT + "y\n")
    assert len(shell.master.jobs) == 1


def test_a_password_is_typed_unseen() -> None:
    with person("secret1", prompt=b"Password: ") as one:
        assert ask_password(one.terminal, "Password: ") == "secret1"
        assert "secret1" not in one.leave()


def test_without_a_terminal_there_is_no_password(tmp_path: Path) -> None:
    assert ask_password(str(tmp_path / "none"), "Password") is None
