"""gnt-debug test-jobqueue: does the queue go through the states of a job as it should?

The test opcode names a socket in its log at each point, and waits until it is connected to; until
then the state of the job can be looked at. Source: facts/constants.json (JQT_*).
"""

from __future__ import annotations

import socket
from typing import Any, Final

from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.serializer import Json

POLL_S: Final = 60
MESSAGES: Final = ["one", "two", "three"]
PREFIX: Final = "TESTMSG="
LOG_KIND: Final = "jqueue-test"
ENDED: Final = ("success", "error", "canceled")


def test_job_queue(run: Run) -> None:
    """Refused with the first thing that is not as it should be."""
    from ganeti.opcodes.test import OpTestDelay, OpTestJqueue

    for fail in (False, True):
        run.out(f"A job that {'fails' if fail else 'succeeds'}, point by point")
        number = run.send(
            OpTestJqueue(notify_waitlock=True, notify_exec=True, log_messages=MESSAGES, fail=fail)
        )
        points, texts, status = _accompany(run, number)
        _expect("points", points, ["expandnames", "exec", "startmsg", *["logmsg"] * len(MESSAGES)])
        _expect("messages", texts, MESSAGES)
        _expect(f"status of job {number}", status, "error" if fail else "success")
    run.out("Two opcodes, the first of which fails: the second is not begun")
    number = run.send(OpTestJqueue(fail=True), OpTestDelay(duration=0.0))
    _, _, status = _accompany(run, number)
    _expect(f"status of job {number}", status, "error")
    ((states,),) = run.master.call("QueryJobs", [number], ["opstatus"])
    _expect("status of its opcodes", states, ["error", "error"])
    run.out("Several jobs at once")
    jobs = run.job_set()
    for _ in range(3):
        jobs.add("", OpTestDelay(duration=0.0))
    jobs.submit()
    _expect("their ends", [good for good, _ in jobs.wait()], [True] * 3)
    run.out("The job queue works")


def _accompany(run: Run, number: int) -> tuple[list[str], list[str], str]:
    """The points that the job came to, the texts that it logged, and how it ended."""
    points: list[str] = []
    texts: list[str] = []
    serial: Json = None
    status: Json = None
    while True:
        answer = run.master.call("WaitForJobChange", number, ["status"], [status], serial, POLL_S)
        if answer == "nochange":
            raise Refused(f"Job {number} has not moved for {POLL_S} s")
        (status,), entries = answer
        for one_serial, _, kind, content in entries or ():
            serial = max(serial or 0, one_serial)
            if kind == LOG_KIND:
                points.append(content[1])
                _look_and_go_on(run, number, content)
            elif str(content).startswith(PREFIX):
                texts.append(str(content).removeprefix(PREFIX))
        if status in ENDED:
            return points, texts, str(status)


def _look_and_go_on(run: Run, number: int, content: list[Any]) -> None:
    path, point, _ = content
    ((status,),) = run.master.call("QueryJobs", [number], ["status"])
    _expect(f"status of job {number} at {point}", status, "running")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.connect(path)


def _expect(what: str, found: Json, wanted: Json) -> None:
    if found != wanted:
        raise Refused(f"The job queue does not work: {what}: {found!r}, not {wanted!r}")
