"""The file that says which upgrade is under way; it exists exactly as long as one is.

Its first line is `old,new,pid` (facts/master.md §A6). What follows is ours: the step that is being
done, the archive of the data directory once it is complete, whether all is being rolled back, and,
for a moment, that the program of one version becomes that of the other.
"""

from __future__ import annotations

import os
from pathlib import Path

from ganeti.errors import Code, OpPrereqError
from ganeti.utils.files import LocalDisk
from ganeti.utils.versions import Version


class Intent:
    """From one version to another. Each change is durable before it counts."""

    __slots__ = ("_path", "back", "backup", "handed_over", "new", "old", "pid", "step")

    def __init__(self, path: Path, old: Version, new: Version) -> None:
        self._path = path
        self.old = old
        self.new = new
        self.pid = os.getpid()
        self.step = ""
        self.backup = ""
        self.back = False
        self.handed_over = False

    @classmethod
    def read(cls, path: Path) -> Intent | None:
        """None without a file; OpPrereqError for one that says nothing."""
        try:
            first, *rest = path.read_text().splitlines() or [""]
        except FileNotFoundError:
            return None
        words = first.strip().split(",")
        if len(words) != 3 or not words[2].isdigit():
            raise OpPrereqError(
                f"{path} says {first!r} and no 'old,new,pid'; remove it if no upgrade is under way",
                Code.ENVIRON,
            )
        made = cls(path, Version.parse(words[0]), Version.parse(words[1]))
        made.pid = int(words[2])
        for line in rest:
            key, _, value = line.partition(" ")
            match key:
                case "step":
                    made.step = value
                case "backup":
                    made.backup = value
                case "back":
                    made.back = True
                case "handed-over":
                    made.handed_over = True
        return made

    @property
    def downgrades(self) -> bool:
        return self.new < self.old

    def note(
        self,
        *,
        step: str | None = None,
        backup: str | None = None,
        back: bool | None = None,
        handed_over: bool = False,
    ) -> None:
        """The file durably says so."""
        self.step = self.step if step is None else step
        self.backup = self.backup if backup is None else backup
        self.back = self.back if back is None else back
        self.handed_over = handed_over
        self.pid = os.getpid()
        lines = [f"{self.old},{self.new},{self.pid}"]
        lines += [f"step {self.step}"] if self.step else []
        lines += [f"backup {self.backup}"] if self.backup else []
        lines += ["back"] if self.back else []
        lines += ["handed-over"] if self.handed_over else []
        LocalDisk().replace(self._path, "".join(f"{line}\n" for line in lines).encode())

    def remove(self) -> None:
        LocalDisk().unlink(self._path, missing_ok=True)

    def __str__(self) -> str:
        what = "downgrade" if self.downgrades else "upgrade"
        return f"{what} from {self.old} to {self.new}"
