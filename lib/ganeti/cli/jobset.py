"""Several jobs at once: submitted together, followed one by one.

Source: facts/cli-behaviour.md §6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ganeti.cli.failure import describe
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import GenericError, JobLost, decode_error
from ganeti.serializer import Json

if TYPE_CHECKING:
    from ganeti.cli.run import Run
    from ganeti.opcodes.base import Opcode

BATCH = 25  # so many are asked for their state at once when choosing which to follow next
NOT_BEGUN = frozenset({"queued", "waiting", "canceling"})

Outcome = tuple[bool, Json]
"""(True, results of the opcodes) or (False, text of the error)."""


class JobSet:
    """Jobs with names (of what they are about); the name may be empty."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._waiting: list[tuple[str, list[Json]]] = []
        self._submitted: list[tuple[str, int]] = []
        self._refused: list[tuple[str, str]] = []

    def add(self, name: str, *opcodes: Opcode) -> None:
        """One more job to submit."""
        self.add_json(name, [self._run.dressed(opcode) for opcode in opcodes])

    def add_json(self, name: str, opcodes: list[Json]) -> None:
        self._waiting.append((name, opcodes))

    def add_submitted(self, answers: list[Json]) -> None:
        """Jobs that the master has submitted: rows of [accepted, number or reason]."""
        for accepted, value in answers:
            self._record("", accepted, value)

    def submit(self, *, each: bool = False) -> None:
        """Submit what was added; `each` makes one call per job."""
        jobs = [opcodes for _, opcodes in self._waiting]
        if each:
            answers = [self._submit_one(opcodes) for opcodes in jobs]
        else:
            answers = self._run.master.call("SubmitManyJobs", jobs) if jobs else []
        for (name, _), (accepted, value) in zip(self._waiting, answers):
            self._record(name, accepted, value)
        self._waiting = []

    def _submit_one(self, opcodes: list[Json]) -> list[Json]:
        try:
            return [True, self._run.master.call("SubmitJob", opcodes)]
        except GenericError as error:
            return [False, describe(error)[1]]

    def _record(self, name: str, accepted: bool, value: Json) -> None:
        if accepted:
            self._submitted.append((name, int(value)))
        else:
            error = decode_error(value)
            self._refused.append((name, str(error or value)))

    def finish(self, *, wait: bool) -> int:
        """Submit, then wait for all or only tell their numbers; 0, or 1 if one failed."""
        self.submit()
        if wait:
            outcomes = self.wait()
            return EXIT_SUCCESS if all(good for good, _ in outcomes) else EXIT_FAILURE
        for name, number in self._submitted:
            self._run.out(f"{number}: {name}")
        for name, reason in self._refused:
            self._run.err(f"Failure for {name}: {reason}")
        return EXIT_FAILURE if self._refused else EXIT_SUCCESS

    def wait(self, *, tell: bool = False) -> list[Outcome]:
        """Follow all jobs to their ends; what was refused counts as failed.

        Their numbers are told before when there are several, or with `tell`.
        """
        run = self._run
        if self._submitted and (tell or len(self._submitted) > 1):
            run.out("Submitted jobs " + ", ".join(str(number) for _, number in self._submitted))
        for name, reason in self._refused:
            run.err(f"Failed to submit job{_for(name)}: {reason}")
        outcomes: list[Outcome] = [(False, reason) for _, reason in self._refused]
        left = list(self._submitted)
        while left:
            chosen = self._choose(left)
            left.remove(chosen)
            outcomes.append(self._follow(*chosen))
        return outcomes

    def _choose(self, left: list[tuple[str, int]]) -> tuple[str, int]:
        """The job to follow next: the first of the batch that runs or has ended, else the first."""
        if len(left) == 1:
            return left[0]
        batch = left[:BATCH]
        rows = self._run.master.call("QueryJobs", [number for _, number in batch], ["status"])
        for job, row in zip(batch, rows):
            if row and row[0] not in NOT_BEGUN:
                return job
        return left[0]

    def _follow(self, name: str, number: int) -> Outcome:
        run = self._run
        run.out(f"Waiting for job {number}{_for(name)} ...")
        try:
            return True, run.follower.follow(number)
        except JobLost as error:
            run.err(f"Job {number}{_for(name)} is no longer there, its fate is not known: {error}")
            return False, str(error)
        except GenericError as error:
            text = describe(error)[1]
            run.err(f"Job {number}{_for(name)} has failed: {text}")
            return False, text


def _for(name: str) -> str:
    return f" for {name}" if name else ""
