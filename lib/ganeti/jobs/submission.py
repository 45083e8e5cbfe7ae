"""From opcodes to a job: reason trail, dependencies. Source: facts/jobs.md §4, §6."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.errors import Code, OpPrereqError
from ganeti.jobs.job import Job, OpEntry, Timestamp
from ganeti.opcodes import Opcode


def new_job(number: int, opcodes: Sequence[Opcode], received: Timestamp) -> Job:
    """A queued job; one without opcodes has ended. `check_dependencies` was asked before."""
    job = Job(
        number,
        [OpEntry.of(_complete(op, number, index, received)) for index, op in enumerate(opcodes)],
        received,
    )
    if not opcodes:
        job.start_timestamp = job.end_timestamp = received
    return job


def check_dependencies(number: int, opcodes: Sequence[Opcode]) -> None:
    """OpPrereqError INVAL for a relative dependency on a job before the first."""
    for opcode in opcodes:
        for other, _ in opcode.depends or ():
            if number + other < 0 and other < 0:
                raise OpPrereqError(
                    f"job {number} can't depend on the job {-other} numbers before it",
                    Code.INVAL,
                )


def _complete(opcode: Opcode, number: int, index: int, received: Timestamp) -> Opcode:
    """With the reason of this hop, and dependencies by job number."""
    name = opcode.OP_ID.removeprefix("OP_").lower()
    when_ns = received[0] * 1_000_000_000 + received[1] * 1000
    opcode = opcode.with_reason(f"gnt:opcode:{name}", f"job={number};index={index}", when_ns)
    if any(other < 0 for other, _ in opcode.depends or ()):
        absolute = [
            (number + other if other < 0 else other, wanted)
            for other, wanted in opcode.depends or ()
        ]
        opcode = opcode.replace(depends=absolute)
    return opcode
