"""What a command function gets: its options and arguments, output, questions, jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ganeti.cli.failure import JobSubmitted, Refused
from ganeti.cli.log import CommandLog
from ganeti.cli.world import Master, World
from ganeti.constants import PRIORITY_HIGH, PRIORITY_LOW, PRIORITY_NORMAL
from ganeti.serializer import Json

if TYPE_CHECKING:
    from optparse import Values

    from ganeti.cli.jobset import JobSet
    from ganeti.cli.progress import Follower
    from ganeti.opcodes.base import Opcode

PRIORITIES = {"low": PRIORITY_LOW, "normal": PRIORITY_NORMAL, "high": PRIORITY_HIGH}
NANOSECONDS = 1_000_000_000


class Run:
    """One call of one command. `names` are the positional arguments."""

    def __init__(
        self, world: World, program: str, command: str, options: Values, names: list[str]
    ) -> None:
        self.world = world
        self.program = program
        self.command = command
        self.options: Any = options
        self.names = names
        self.log = CommandLog(world, program, command, options.debug)

    # Output.

    def out(self, text: str = "") -> None:
        """A line on standard output."""
        self.world.stdout.write(text + "\n")

    def err(self, text: str) -> None:
        """A line on the error stream, after what was printed so far."""
        self.world.stdout.flush()
        self.world.stderr.write(text + "\n")

    # Questions.

    def confirm(self, text: str, option: str = "--force") -> bool:
        """Whether the person at the terminal says yes.

        No when there is no terminal; the error stream tells that, and `option`, which says yes
        beforehand (empty: there is none).
        """
        from ganeti.cli.ask import YES_NO, ask

        return self._can_ask(text, option) and ask(self.world.terminal, text, YES_NO) == "y"

    def confirm_many(self, names: Sequence[str], kind: str, operation: str, option: str) -> bool:
        """As `confirm`, for an operation on all these objects; `kind` is their plural."""
        from ganeti.cli.ask import confirm_many

        text = f"{operation} of {len(names)} {kind}"
        return self._can_ask(text, option) and confirm_many(
            self.world.terminal, names, kind, operation
        )

    def _can_ask(self, text: str, option: str) -> bool:
        from ganeti.cli.ask import has_terminal

        if has_terminal(self.world.terminal):
            return True
        way_out = f"{option} confirms it" if option else "this has to be confirmed at a terminal"
        self.err(f"Not confirmed, nothing was done: {text}\nThere is no terminal; {way_out}.")
        return False

    def require(
        self, agreed: bool, question: str, status: int = 1, *, option: str = "--force"
    ) -> None:
        """Go on if agreed already or on asking; else Refused with this exit status."""
        if not agreed and not self.confirm(question, option):
            raise Refused(status=status)

    # The master.

    @property
    def master(self) -> Master:
        return self.world.master

    @property
    def follower(self) -> Follower:
        from ganeti.cli.progress import Follower

        return Follower(self.master, self.out, self.err)

    def dressed(self, opcode: Opcode) -> Json:
        """The opcode's JSON form with the options that every job has, and the reason trail."""
        common: dict[str, Any] = {"debug_level": self.options.debug}
        for name in ("dry_run", "priority"):
            given = getattr(self.options, name, None)
            if given is not None:
                common[name] = PRIORITIES[given] if name == "priority" else given
        trail = [*(opcode.reason or ()), *self.reason_trail()]
        return opcode.replace(reason=trail, **common).to_json()

    def reason_trail(self) -> list[tuple[str, str, int]]:
        """Why the jobs of this command are run: what was given with --reason, and the command."""
        when_ns = int(self.world.now() * NANOSECONDS)
        trail = [("gnt:user", self.options.reason, when_ns)] if self.options.reason else []
        return [*trail, (f"gnt:client:{self.program}", self.command, when_ns)]

    def send(self, *opcodes: Opcode) -> int:
        """Submit as one job; returns its number, which --print-jobid shows."""
        number = int(self.master.call("SubmitJob", [self.dressed(opcode) for opcode in opcodes]))
        if getattr(self.options, "print_jobid", False):
            self.out(str(number))
        return number

    def submit(self, opcode: Opcode) -> Json:
        """The result of the opcode, run as a job whose log is printed meanwhile.

        With --submit nobody waits: raises JobSubmitted. A failed job raises its error.
        """
        return self.submit_together([opcode])[0]

    def submit_together(self, opcodes: Sequence[Opcode]) -> list[Json]:
        """As `submit`, with several opcodes in one job: their results."""
        number = self.send(*opcodes)
        if getattr(self.options, "submit_only", False):
            raise JobSubmitted(number)
        return self.follower.follow(number)

    def job_set(self) -> JobSet:
        """For several jobs; see `jobset`."""
        from ganeti.cli.jobset import JobSet

        return JobSet(self)

    def each(self, names: Sequence[str], make: Callable[[str], Opcode]) -> int:
        """One job per object; waits unless --submit. The exit status: 1 if one failed."""
        jobs = self.job_set()
        for name in names:
            jobs.add(name, make(name))
        return jobs.finish(wait=not self.options.submit_only)
