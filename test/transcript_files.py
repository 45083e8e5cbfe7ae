"""Transcripts: commands and what they print, as test/transcripts/*.txt hold them.

    # A remark, or a heading.
    $ gnt-node list -o name             on node 1; `node2$ …` on another
        Node                            standard output, indented by four
      ! Warning: …                      standard error
      [exit 14]                         unless it is 0
      < words                           what the command reads, given with the command
    $~ gnt-node list                    figures of the machine become N, blanks are squeezed

What differs from run to run is replaced by `normal`: times, uuids, addresses, directories, numbers
of jobs (but in gnt-job.txt, which is run first).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent / "transcripts"
UPDATE_VARIABLE = "GANETI_UPDATE_TRANSCRIPTS"
FIRST, LAST = "gnt-job", "gnt-cluster"
"""The numbers of jobs are those of a new cluster; the cluster is destroyed."""

_COMMAND = re.compile(r"(?:node(?P<node>\d+))?\$(?P<rough>~?) (?P<line>.*)")
_CALL = re.compile(r"\b(gnt-[a-z]+) ([a-z][a-z-]*)")
_SUBSTITUTES = [
    (r"\b[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\b", "Thu Jan  1 00:00:00 1970"),
    (r"\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?", lambda m: _date(m[1])),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", lambda m: _zeros(m[0])),
    (r"\baa:00:00:[0-9a-f]{2}:[0-9a-f]{2}:[0-9a-f]{2}\b", "aa:00:00:00:00:00"),
    (r"\b\d+\.\d{6}(?=s\b| seconds\b)", "0.000000"),
    (r"\b\d{19}\b", "0" * 19),
    (r"\bgnt_[0-9a-f]{8}_[\w-]{43}", f"gnt_00000000_{'0' * 43}"),
    (r"(?<=[Tt]oken )[0-9a-f]{8}\b|\b[0-9a-f]{8}(?= ops )", "00000000"),
    (r"\b127\.\d+\.\d+\.(\d+)\b", r"192.0.2.\1"),
]
_JOB_NUMBERS = [
    (r"(?<=\bSubmitted jobs )\d+(, \d+)*", "N"),
    (r"(?<=\bJobID: )\d+|(?<=\b[Jj]ob )\d+|(?<=\bjob=)\d+|(?<=\bjob )\d+", "N"),
    (r"(?m)^\d+(?=: [a-z])", "N"),
]


@dataclass(frozen=True, slots=True)
class Entry:
    """One command; `shown` are the lines below it, in the form of the file."""

    line: str
    node: int = 1
    rough: bool = False
    given: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def calls(self) -> list[tuple[str, str]]:
        """(program, command) of all that the line runs."""
        return _CALL.findall(self.line)

    @property
    def is_failure(self) -> bool:
        return bool(self.shown) and self.shown[-1].startswith("  [exit ")

    def text(self) -> str:
        place = "" if self.node == 1 else f"node{self.node}"
        head = f"{place}${'~' if self.rough else ''} {self.line}"
        return "\n".join([head, *(f"  < {line}" for line in self.given), *self.shown]) + "\n"


def programs() -> list[str]:
    """In the order in which they are run."""
    names = {path.stem for path in HERE.glob("*.txt")}
    return [FIRST, *sorted(names - {FIRST, LAST}), LAST]


def path_of(program: str) -> Path:
    return HERE / f"{program}.txt"


def read(program: str) -> list[Entry | str]:
    """Entries, and the remarks and empty lines between them."""
    found: list[Entry | str] = []
    for line in path_of(program).read_text().split("\n")[:-1]:
        head = _COMMAND.fullmatch(line)
        last = found[-1] if found else ""
        if head:
            node = int(head["node"] or 1)
            found.append(Entry(head["line"], node, bool(head["rough"])))
        elif isinstance(last, Entry) and line.startswith("  < "):
            found[-1] = replace(last, given=(*last.given, line[4:]))
        elif isinstance(last, Entry) and line.startswith("  "):
            found[-1] = replace(last, shown=(*last.shown, line))
        else:
            found.append(line)
    return found


def entries(program: str) -> Iterator[Entry]:
    return (one for one in read(program) if isinstance(one, Entry))


def write(program: str, parts: list[Entry | str]) -> None:
    texts = [one.text() if isinstance(one, Entry) else one + "\n" for one in parts]
    path_of(program).write_text("".join(texts))


def shown(rc: int, out: str, err: str) -> tuple[str, ...]:
    """What a command left, as lines of the file."""
    lines = ["    " + line for line in out.splitlines()]
    lines += ["  ! " + line for line in err.splitlines()]
    return (*lines, *([f"  [exit {rc}]"] if rc else []))


def normal(
    text: str, *, directory: str = "", rough: bool = False, job_numbers: bool = False
) -> str:
    """The text with everything replaced that is another each time."""
    if directory:
        text = re.sub(re.escape(directory) + r"/node\d+\.example\.com(?=/)", "", text)
        text = text.replace(directory, "/cluster")
    for pattern, by in _SUBSTITUTES + ([] if job_numbers else _JOB_NUMBERS):
        text = re.sub(pattern, by, text)
    if rough:
        text = re.sub(r"(?<![\w.-])\d+(\.\d+)?[MGT]?\b(?!\.)", "N", text)
        text = re.sub(r"(?<=\S)[ ]+", " ", re.sub(r"(?m)[ ]+$", "", text))
    return text


def _date(fraction: str | None) -> str:
    return "1970-01-01 00:00:00" + (".000000" if fraction else "")


def _zeros(uuid: str) -> str:
    return re.sub(r"[0-9a-f]", "0", uuid)
