"""Retry, addresses, log lines, watched files, pid files."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fakes.nodes import JumpingClock
from ganeti.errors import IPAddressError, OpExecError, ResolverError
from ganeti.paths import Paths
from ganeti.types import IpFamily
from ganeti.utils import daemons, log, net
from ganeti.utils.daemonize import PidFile
from ganeti.utils.offload import in_thread
from ganeti.utils.retry import Pace, RetryTimeout, TryAgain, retry
from ganeti.utils.watch import FileWatch


def test_retry_gives_the_first_result() -> None:
    clock = JumpingClock()
    left = [TryAgain("1"), TryAgain("2")]

    def attempt() -> str:
        if left:
            raise left.pop()
        return "done"

    found = retry(attempt, timeout_s=10, what="x", now=clock.now, sleep=clock.sleep)
    assert found == "done" and clock.slept == pytest.approx([0.1, 0.15])


def test_retry_ends_in_time_and_tells_the_last_reason() -> None:
    clock = JumpingClock()

    def attempt() -> None:
        raise TryAgain("device is busy")

    with pytest.raises(RetryTimeout, match="removing: not so after 3 s .*: device is busy"):
        retry(attempt, timeout_s=3, what="removing", now=clock.now, sleep=clock.sleep)
    assert sum(clock.slept) == pytest.approx(3)


def test_retry_lets_other_errors_through() -> None:
    clock = JumpingClock()
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 // 0, timeout_s=3, what="x", now=clock.now, sleep=clock.sleep)


def test_pauses_grow_up_to_the_longest() -> None:
    assert Pace(1, 2, 5).after(1) == 1 and Pace(1, 2, 5).after(1000) == 5


def test_own_addresses_are_told_from_others() -> None:
    assert net.is_own_address("127.0.0.1") and not net.is_own_address("192.0.2.77")
    with pytest.raises(IPAddressError, match="'host' is not an IP address"):
        net.is_own_address("host")
    assert net.family_of("::1") == IpFamily.IPV6


def test_a_port_is_open_or_the_reason_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert net.is_port_open("127.0.0.1", port, source="127.0.0.1")
    assert net.connect_error("127.0.0.1", port) == "Connection refused"


def test_a_host_without_address_is_an_error() -> None:
    assert net.resolve("127.0.0.1") == "127.0.0.1"
    with pytest.raises(ResolverError, match="can't resolve host name 'no such host'"):
        net.resolve("no such host")


def test_a_virtual_node_has_its_name_from_the_environment() -> None:
    assert net.own_name({"GANETI_HOSTNAME": "n1.example.com"}) == "n1.example.com"
    assert net.any_address("10\n") == "::" and net.any_address("") == "0.0.0.0"
    assert net.service_port("no-such-service", 1811) == 1811


def test_log_lines_name_program_and_job_and_go_to_a_new_file_when_asked(tmp_path: Path) -> None:
    place = tmp_path / "node-daemon.log"
    lines = log.set_up("ganeti-noded", place)
    try:
        log.JOB.set("job 17")
        logging.getLogger("ganeti.test").info("first\nforged line")
        place.rename(tmp_path / "old.log")
        lines.reopen()
        logging.getLogger("ganeti.test").info("second")
    finally:
        log.JOB.set("")
        lines.close()
    (first,) = (tmp_path / "old.log").read_text().splitlines()
    assert "ganeti-noded pid=" in first and "INFO job 17: first\\nforged line" in first
    assert "second" in place.read_text()
    assert place.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("inotify", [True, False])
def test_a_changed_file_is_noticed(tmp_path: Path, inotify: bool) -> None:
    place = tmp_path / "users"
    place.write_text("a")

    async def work() -> list[Path]:
        seen: list[Path] = []
        noticed = asyncio.Event()

        def changed(path: Path) -> None:
            seen.append(path)
            noticed.set()

        watch = FileWatch([place, tmp_path / "absent"], changed, poll_s=0.02, inotify=inotify)
        watch.start()
        assert watch.uses_inotify == inotify
        for change in ("replace", "remove", "make"):
            noticed.clear()
            if change == "replace":
                (tmp_path / "new").write_text("longer")
                os.rename(tmp_path / "new", place)
            elif change == "remove":
                place.unlink()
            else:
                place.write_text("again")
            async with asyncio.timeout(5):
                await noticed.wait()
        watch.stop()
        return seen

    assert set(asyncio.run(work())) == {place}


def test_a_pid_file_is_held_by_one_and_gone_afterwards(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    place = paths.pid_file("ganeti-x")
    with PidFile(place):
        assert place.read_text() == f"{os.getpid()}\n"
        code = (
            "import sys; from pathlib import Path; from ganeti.utils.daemonize import PidFile\n"
            "PidFile(Path(sys.argv[1])).__enter__()"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(place)], capture_output=True, text=True
        )
        assert f"is held by process {os.getpid()}" in other.stderr
    assert not place.exists() and daemons.running_pid(paths, "ganeti-x") is None


def test_a_pid_file_left_by_a_crash_is_taken_over(tmp_path: Path) -> None:
    place = tmp_path / "x.pid"
    place.write_text("99999 and more\n")
    with PidFile(place):
        assert place.read_text() == f"{os.getpid()}\n"


def test_asking_for_a_daemon_never_keeps_one_from_starting(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    place = paths.pid_file("ganeti-x")
    place.parent.mkdir(parents=True)
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            place.touch()  # as a crash leaves it: a file, no lock
            daemons.running_pid(paths, "ganeti-x")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(500):
            with PidFile(place):
                pass
    finally:
        ended.set()
        asking.join()


IGNORES_TERM = """
import signal, sys
from pathlib import Path
from ganeti.utils.daemonize import PidFile
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with PidFile(Path(sys.argv[1])):
    print("ready", flush=True)
    signal.pause()
"""


def test_a_daemon_that_ignores_term_is_killed(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    argv = [sys.executable, "-c", IGNORES_TERM, str(paths.pid_file("ganeti-x"))]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        assert daemons.running_pid(paths, "ganeti-x") == child.pid
        assert daemons.stop(paths, "ganeti-x", patience_s=0.05)
        assert child.wait(10) == -signal.SIGKILL
    assert not daemons.stop(paths, "ganeti-x")


def test_cancelled_work_in_a_thread_has_ended_when_its_waiter_has() -> None:
    begun, may_end = threading.Event(), threading.Event()
    ended: list[bool] = []

    def work() -> None:
        begun.set()
        may_end.wait(10)
        ended.append(True)

    async def main() -> None:
        task = asyncio.create_task(in_thread(work))
        while not begun.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == [True]

    asyncio.run(main())


def test_a_daemon_that_is_never_ready_is_ended_and_its_log_named(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "600"], stdout=subprocess.PIPE, text=True)
    log_file = Paths(tmp_path).daemon_log("master")
    with pytest.raises(OpExecError, match=f"{log_file} tells why$"):
        daemons.Starting(daemons.MASTERD, log_file, process).wait(timeout_s=0.0)
    assert process.returncode == -signal.SIGKILL
