"""gnt-cluster upgrade: to another version of the software that is installed on all nodes.

So far there is one place for this software (LIBDIR) and no second version beside it, so this
checks what was asked and tells what is missing. Rules: facts/master.md §A6.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ganeti.build import DATADIR
from ganeti.cli.failure import Refused
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError
from ganeti.version import RELEASE

INTENT: Final = "intent-to-upgrade"


class Version(NamedTuple):
    """Major and minor number: what stands beside another one on a node."""

    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> Version:
        found = re.fullmatch(r"(\d+)\.(\d+)(\.\d+.*)?", text)
        if found is None:
            raise OpPrereqError(f"{text!r} is not a version like 4.1", Code.INVAL)
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


FIRST: Final = Version(2, 10)
LAST_OF_2, FIRST_OF_3 = Version(2, 16), Version(3, 0)


def problem_of(old: Version, new: Version) -> str | None:
    """Why one can't become the other directly."""
    if min(old, new) < FIRST:
        return f"versions before {FIRST} can't be changed by this command"
    if (old, new) in ((LAST_OF_2, FIRST_OF_3), (FIRST_OF_3, LAST_OF_2)) and old < new:
        return None
    if old.major != new.major:
        return f"{old} can't become {new}: the first number has to stay"
    if new < old and old.minor - new.minor != 1:
        return f"{old} can only go back to {old.major}.{old.minor - 1}"
    return None


def upgrade(run: Run) -> None:
    """OpPrereqError or Refused, with nothing changed."""
    wanted = run.options
    if bool(wanted.to) == wanted.resume:
        raise OpPrereqError("give either --to with a version, or --resume", Code.INVAL)
    if run.world.ssconf("master_node") != run.world.hostname:
        raise Refused(f"This is for the master node, {run.world.ssconf('master_node')}")
    current = Version.parse(RELEASE)
    intent = run.world.paths.data / INTENT
    if wanted.resume:
        _resume(intent.read_text() if intent.exists() else None, current)
        return
    new = Version.parse(wanted.to)
    if new == current:
        run.out(f"Version {current} is in use already")
        return
    problem = problem_of(current, new)
    if problem is not None:
        raise OpPrereqError(problem, Code.INVAL)
    place = run.world.paths.below(f"{DATADIR}/ganeti/{new}")
    why = (
        "is not installed here" if not place.is_dir() else "is installed, but can't be switched to"
    )
    raise Refused(
        f"Version {new} {why}: this release has no second version beside it. Install the new one in"
        " its place on all nodes, the master last, as doc/install.rst says"
    )


def _resume(intent: str | None, current: Version) -> None:
    if intent is None:
        raise Refused("There is no upgrade that was broken off")
    old, new, *_ = [*intent.strip().split(","), "?", "?"]
    raise Refused(
        f"An upgrade from {old} to {new} was begun by an older release; this one is {current} and"
        f" can't go on with it. If the cluster works, remove {INTENT}"
    )
