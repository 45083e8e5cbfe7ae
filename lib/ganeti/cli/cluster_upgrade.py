"""gnt-cluster upgrade: to another version of the software that is installed on all nodes.

What is to be done is written down first (upgrade_intent), then one step follows the other
(upgrade_steps). Before the new version's daemons start, a failure rolls everything back; from then
on it is told, and the same command goes on where it was. After a crash so does `--resume`. What
talks to a master daemon is done by the program of the daemon's version: this one hands over to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, GenericError, LockError, OpExecError, OpPrereqError
from ganeti.utils import versions
from ganeti.utils.versions import Version, problem_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ganeti.cli.upgrade_intent import Intent
    from ganeti.cli.upgrade_nodes import Machines
    from ganeti.cli.upgrade_steps import Step, Upgrade

NOT_FOUND: Final = 127  # see sh(1)
LOCK_S: Final = 0.0  # whoever upgrades already takes longer than anyone would wait

Replace = Callable[[str, Sequence[str]], None]
"""Runs another program in place of this one, with that command line."""


def execute(program: str, argv: Sequence[str]) -> None:
    os.execv(program, list(argv))


def upgrade(
    run: Run,
    machines: Machines | None = None,
    replace: Replace = execute,
    own: Version = versions.OWN,
) -> int:
    """The exit code. OpPrereqError or Refused: nothing was changed."""
    from ganeti.cli.upgrade_intent import Intent
    from ganeti.cli.upgrade_nodes import Shells
    from ganeti.cli.upgrade_steps import Upgrade

    wanted = run.options
    if bool(wanted.to) == wanted.resume:
        raise OpPrereqError("give either --to with a version, or --resume", Code.INVAL)
    master = run.world.cluster_value("master_node")
    if master != run.world.hostname:
        raise Refused(f"This is for the master node, {master}")
    new = Version.parse(wanted.to) if wanted.to else None
    machines = machines or Shells(run.world)
    with _alone(run):
        intent = Intent.read(run.world.paths.intent_to_upgrade)
        if intent is None:
            if new is None:
                raise Refused("There is no upgrade that was broken off")
            intent = _begin(run, machines, own, new)
            if intent is None:
                return EXIT_SUCCESS
        else:
            _resume(run, intent, new)
        return _Runner(Upgrade(run, intent, machines), replace, own).go()


@contextmanager
def _alone(run: Run) -> Iterator[None]:
    """Refused while another process upgrades."""
    from ganeti.utils.files import LocalDisk

    path = run.world.paths.upgrade_lock
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with LocalDisk().lock(path, timeout_s=LOCK_S):
            yield
    except LockError as error:
        raise Refused(f"Another gnt-cluster upgrade is at work; {error}") from error


# Beginning.


def _begin(run: Run, machines: Machines, own: Version, new: Version) -> Intent | None:
    """The intent, written down; None when there is nothing to do."""
    from ganeti.cli.upgrade_intent import Intent
    from ganeti.cli.upgrade_nodes import Nodes

    if new == own:
        run.out(f"Version {own} is in use already")
        return None
    problem = problem_of(own, new)
    if problem is not None:
        raise OpPrereqError(problem, Code.INVAL)
    active = versions.active(run.world.paths)
    if active not in (own, None):
        raise Refused(f"Version {active} is the active one, this is {own}; use that one's command")
    nodes = Nodes(run.world)
    run.out(f"Verifying {new} present on all nodes")
    _check_installed(nodes.all, machines, new)
    _check_installed(nodes.all, machines, own)
    if nodes.offline:
        run.err(
            f"Note: skipping offline node(s): {', '.join(nodes.offline)}; before they come back:"
            f" {new.lib}/use-version there"
        )
    run.master.call("QueryConfigValues", ["drain_flag"])  # there is a master daemon
    intent = Intent(run.world.paths.intent_to_upgrade, own, new)
    _confirm(run, intent)
    intent.note()
    return intent


def _check_installed(names: Sequence[str], machines: Machines, version: Version) -> None:
    """Refused unless all have the version, and in it the same release."""
    answers = machines.on(names, f"{version.lib}/use-version --check")
    lacking = [
        name if one.status == NOT_FOUND else f"{name} ({one.problem})"
        for name, one in answers.items()
        if one.status
    ]
    if lacking:
        raise Refused(
            f"Ganeti version {version} not installed on nodes {', '.join(sorted(lacking))}; install"
            " it there beside the other one (doc/install.rst), or mark dead nodes as offline"
        )
    releases = {one.output.strip() for one in answers.values()}
    if len(releases) > 1:
        told = ", ".join(sorted(f"{name}: {one.output.strip()}" for name, one in answers.items()))
        raise Refused(f"The nodes have different releases of version {version}: {told}")


def _confirm(run: Run, intent: Intent) -> None:
    """Somebody at a terminal is asked; a script that gives a version means it."""
    from ganeti.cli.ask import has_terminal

    if not has_terminal(run.world.terminal):
        return
    question = (
        f"All daemons are stopped and started again for the {intent}, no job is taken meanwhile;"
        " instances go on running."
    )
    if intent.downgrades:
        question += f" Settings that {intent.old} introduced are lost."
    run.require(False, f"{question} Go on?", option="")


def _resume(run: Run, intent: Intent, new: Version | None) -> None:
    """Refused when another version is wanted than the one that was begun."""
    if new not in (None, intent.new):
        raise Refused(f"The {intent} is under way; gnt-cluster upgrade --resume completes it")
    if intent.handed_over:
        return  # this is the program that the other version's has become
    where = f"at step {intent.step!r}" if intent.step else "before its first step"
    doing = "was being rolled back" if intent.back else "was broken off"
    run.out(f"The {intent}, begun by process {intent.pid}, {doing} {where}")


# Going on.


class _Runner:
    """Does the steps that are left."""

    def __init__(self, upgrade: Upgrade, replace: Replace, own: Version) -> None:
        self._upgrade = upgrade
        self._run = upgrade.run
        self._intent = upgrade.intent
        self._replace = replace
        self._own = own
        self._was_handed_over = upgrade.intent.handed_over

    def go(self) -> int:
        from ganeti.cli.upgrade_steps import AFTER, BEFORE, STEPS

        intent = self._intent
        if intent.step and intent.step not in [step.name for step in STEPS]:
            raise Refused(f"Version {self._own} knows no step {intent.step!r} of the {intent}")
        if intent.back:
            self._stop_again()
            self._roll_back()
            raise Refused(f"The {intent} was rolled back, version {intent.old} is in use as before")
        try:
            first = self._first()
            for step in BEFORE[first:]:
                self._do(step, intent.old)
        except (GenericError, OSError, KeyboardInterrupt) as error:
            self._give_up(error)
        for step in AFTER[max(0, first - len(BEFORE)) :]:
            try:
                self._do(step, intent.new)
            except (GenericError, OSError) as error:
                raise OpExecError(
                    f"{step.says}: {error}. Version {intent.new} is in use on the nodes; when the"
                    " cause is mended, gnt-cluster upgrade --resume goes on from here"
                ) from error
        return self._end()

    def _first(self) -> int:
        """The step to go on with. What was archived before a crash may have changed since."""
        from ganeti.cli.upgrade_steps import STEPS

        intent, names = self._intent, [step.name for step in STEPS]
        if not intent.step:
            return 0
        converting = names.index("convert-back" if intent.downgrades else "convert")
        if names.index("stop") < names.index(intent.step) < converting:
            self._forget_switch()
            intent.note(step="stop", backup="")
        else:
            self._stop_again()
        return names.index(intent.step)

    def _forget_switch(self) -> None:
        """Links that were changed are as before: rolling back from `stop` leaves them alone."""
        from ganeti.cli.upgrade_steps import BEFORE

        names, upgrade = [step.name for step in BEFORE], self._upgrade
        switched = names.index("switch")
        if self._intent.step in names[switched:]:
            self._tell(BEFORE[switched].undo_says)
            upgrade.must(upgrade.nodes.all, self._intent.old, "use-version")

    def _stop_again(self) -> None:
        """Daemons that should be stopped are: a node may have been started anew meanwhile.

        On the way back a node that has died since is told and left alone: there is no master that
        could mark it as offline.
        """
        from ganeti.cli.upgrade_steps import BEFORE, stop_what_answers

        names = [step.name for step in BEFORE]
        if self._intent.step in names[names.index("stop") + 1 :]:
            step = BEFORE[names.index("stop")]
            self._tell(step.says)
            (stop_what_answers if self._intent.back else step.do)(self._upgrade)

    def _do(self, step: Step, speaks: Version) -> None:
        self._intent.note(step=step.name)
        if step.asks:
            self._hand_over(speaks)
        self._tell(step.says)
        step.do(self._upgrade)

    def _hand_over(self, speaks: Version) -> None:
        """The master daemon understands the program of its own version."""
        if self._own == speaks:
            self._was_handed_over = False  # rightly
            return
        program = str(speaks.lib / "sbin/gnt-cluster")
        if self._was_handed_over:  # to this one, and it would go on like that for ever
            raise OpExecError(f"{program} is of version {self._own}, not {speaks}")
        self._tell(f"Going on with the program of version {speaks}")
        self._intent.note(handed_over=True)
        self._replace(program, [program, "upgrade", "--resume"])

    def _give_up(self, error: BaseException) -> None:
        """Roll back and raise what was the matter."""
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else str(error)
        self._run.err(f"The {self._intent} failed at step {self._intent.step!r}: {why}")
        self._roll_back()
        raise OpExecError(
            f"{why}. Everything was rolled back: version {self._intent.old} is in use, as before"
        ) from error

    def _roll_back(self) -> None:
        """Everything from the present step on is taken back; OpExecError tells what could not."""
        from ganeti.cli.upgrade_steps import BEFORE

        intent = self._intent
        intent.note(back=True)
        names = [step.name for step in BEFORE]
        done = BEFORE[: names.index(intent.step) + 1] if intent.step in names else ()
        for step in reversed(done):
            if step.undo is None:
                continue
            intent.note(step=step.name)
            try:
                if step.asks:
                    self._hand_over(intent.old)
                self._tell(step.undo_says)
                step.undo(self._upgrade)
            except (GenericError, OSError) as error:
                raise OpExecError(
                    f"{step.undo_says}: {error}. The {intent} is not yet rolled back; when the"
                    " cause is mended, gnt-cluster upgrade --resume goes on with that"
                ) from error
        intent.remove()

    def _end(self) -> int:
        intent, offline = self._intent, self._upgrade.nodes.offline
        intent.remove()
        self._run.out(f"Version {intent.new} is in use on all nodes")
        if offline:
            self._run.err(f"Note: still to be switched: {', '.join(offline)}")
        if not self._upgrade.clean:
            self._run.err("The upgrade is complete, but gnt-cluster verify has found errors")
        return EXIT_SUCCESS if self._upgrade.clean else EXIT_FAILURE

    def _tell(self, text: str) -> None:
        """At once: this process may be replaced or killed."""
        self._run.out(text)
        self._run.world.stdout.flush()
