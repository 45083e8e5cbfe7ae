"""Running programs: ends, limits, what is reported."""

from __future__ import annotations

import os
import subprocess
import time

import pytest
from ganeti.errors import CommandError
from ganeti.utils import process
from ganeti.utils.process import run


def shell(text: str, **options: object):  # type: ignore[no-untyped-def]
    return run(["sh", "-c", text], **options)  # type: ignore[arg-type]


def test_output_and_exit_code_are_kept_apart() -> None:
    result = shell("echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.code) == ("out\n", "err\n", 3)
    assert result.output == "out\nerr\n"
    assert result.reason == "exited with exit code 3"


def test_a_signal_is_told() -> None:
    result = shell("kill -9 $$")
    assert (result.code, result.signal, result.reason) == (None, 9, "terminated by signal 9")


def test_a_program_out_of_time_gets_term() -> None:
    result = shell("trap 'echo bye; exit 7' TERM; sleep 30 & wait", timeout_s=0.2)
    assert result.reason == "timeout after 0.2 s, exited with exit code 7"
    assert not result.ok


def test_children_of_a_program_out_of_time_end_with_it() -> None:
    result = shell("sleep 30 & echo $!; wait", timeout_s=0.2)
    deadline = time.monotonic() + 5
    while not _has_ended(result.stdout.strip()):
        assert time.monotonic() < deadline


def _has_ended(pid: str) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def test_too_much_output_ends_a_program() -> None:
    result = run(["yes"], output_limit=10_000)
    assert result.reason == "more than 10000 bytes of output, terminated by signal 15"


def test_a_program_gets_its_input() -> None:
    assert run(["cat"], stdin=b"x" * 300_000).stdout == "x" * 300_000


def test_a_program_that_does_not_read_its_input_is_no_error() -> None:
    assert run(["true"], stdin=b"x" * 300_000).ok


def test_without_input_there_is_nothing_to_read() -> None:
    assert run(["cat"]).stdout == ""


def test_language_directory_and_session_are_set() -> None:
    words = shell("echo $LC_ALL; pwd; cut -d' ' -f6 /proc/$$/stat; echo $$").stdout.split()
    assert words[:2] == ["C", "/"] and words[2] == words[3]


def test_a_clean_environment_has_only_what_is_given() -> None:
    assert run(["/usr/bin/env"], env={"A": "1"}, clean_env=True).stdout == "A=1\n"


def test_output_can_go_to_a_descriptor(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with open(tmp_path / "log", "w") as file:
        result = shell("echo a; echo b >&2", stdout=file.fileno(), stderr=file.fileno())
    assert result.output == "" and (tmp_path / "log").read_text() == "a\nb\n"


def test_a_failed_check_tells_command_fate_and_last_lines() -> None:
    with pytest.raises(CommandError) as error:
        shell("seq 100; exit 2").check("volume xenvg/a")
    text = str(error.value)
    assert text.startswith("volume xenvg/a: sh -c 'seq 100; exit 2' exited with exit code 2;")
    assert "\n100" in text and "\n80\n" not in text


def test_a_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(CommandError, match="nosuch can't be started: No such file"):
        run(["nosuch"])


def test_a_lingering_child_does_not_hold_us() -> None:
    result = shell("sleep 1000 & echo $!", timeout_s=0.5)
    os.kill(int(result.stdout), 15)  # ProcessLookupError if it had been waited for
    assert result.ok


class Immortal(subprocess.Popen[bytes]):
    """A program that hangs in the kernel, where no signal reaches it."""

    def wait(self, timeout: float | None = None) -> int:
        raise subprocess.TimeoutExpired(self.args, timeout or 0.0)


def test_a_program_that_can_not_be_ended_does_not_hold_its_caller() -> None:
    child = Immortal(["sleep", "60"], start_new_session=True)
    stopped = process._Watch(child, b"", time.monotonic(), 1000).until_end(0.0)
    assert stopped == f"timeout after 0 s, process {child.pid} hangs in the kernel and goes on"
    os.waitpid(child.pid, 0)
