"""Findings of `gnt-cluster verify`: codes, what they are about, and how a line looks.

Sources: facts/master.md §A7, facts/constants.json (verify_error_codes).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Item(StrEnum):
    """What a finding is about."""

    CLUSTER = "cluster"
    GROUP = "group"
    NODE = "node"
    INSTANCE = "instance"


CODES: dict[str, Item] = {
    "ECLUSTERCFG": Item.CLUSTER,
    "ECLUSTERCERT": Item.CLUSTER,
    "ECLUSTERCLIENTCERT": Item.CLUSTER,
    "ECLUSTERFILECHECK": Item.CLUSTER,
    "ECLUSTERDANGLINGNODES": Item.NODE,
    "ECLUSTERDANGLINGINST": Item.NODE,
    "EEXTAGS": Item.NODE,
    "EGROUPDIFFERENTPVSIZE": Item.GROUP,
    "EINSTANCEBADNODE": Item.INSTANCE,
    "EINSTANCEDOWN": Item.INSTANCE,
    "EINSTANCEFAULTYDISK": Item.INSTANCE,
    "EINSTANCELAYOUT": Item.INSTANCE,
    "EINSTANCEMISSINGCFGPARAMETER": Item.INSTANCE,
    "EINSTANCEMISSINGDISK": Item.INSTANCE,
    "EINSTANCEPOLICY": Item.INSTANCE,
    "EINSTANCESPLITGROUPS": Item.INSTANCE,
    "EINSTANCEUNSUITABLENODE": Item.INSTANCE,
    "EINSTANCEWRONGNODE": Item.INSTANCE,
    "ENODEDRBD": Item.NODE,
    "ENODEDRBDHELPER": Item.NODE,
    "ENODEDRBDVERSION": Item.NODE,
    "ENODEFILECHECK": Item.NODE,
    "ENODEFILESTORAGEPATHS": Item.NODE,
    "ENODEFILESTORAGEPATHUNUSABLE": Item.NODE,
    "ENODEGLUSTERSTORAGEPATHUNUSABLE": Item.NODE,
    "ENODEHOOKS": Item.NODE,
    "ENODEHV": Item.NODE,
    "ENODELVM": Item.NODE,
    "ENODEN1": Item.NODE,
    "ENODENET": Item.NODE,
    "ENODEOOBPATH": Item.NODE,
    "ENODEORPHANINSTANCE": Item.NODE,
    "ENODEORPHANLV": Item.NODE,
    "ENODEOS": Item.NODE,
    "ENODERPC": Item.NODE,
    "ENODESETUP": Item.NODE,
    "ENODESHAREDFILESTORAGEPATHUNUSABLE": Item.NODE,
    "ENODESSH": Item.NODE,
    "ENODETIME": Item.NODE,
    "ENODEUSERSCRIPTS": Item.NODE,
    "ENODEVERSION": Item.NODE,
}

OF_CONFIG = frozenset(
    {
        "ECLUSTERCERT",
        "ECLUSTERCFG",
        "ECLUSTERCLIENTCERT",
        "ECLUSTERDANGLINGINST",
        "ECLUSTERDANGLINGNODES",
    }
)
"""What OP_CLUSTER_VERIFY_CONFIG finds; OP_CLUSTER_VERIFY_GROUP finds the others."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be."""

    code: str
    name: str  # of the object; empty for the cluster
    text: str
    is_warning: bool = False


class Reporter:
    """Writes findings into the job's log and remembers whether there was an error."""

    def __init__(
        self, say: Callable[[str], None], *, error_codes: bool, ignored: Collection[str]
    ) -> None:
        self._say = say
        self._error_codes = error_codes
        self._ignored = frozenset(str(code) for code in ignored)
        self.is_clean = True

    def step(self, text: str) -> None:
        self._say(f"* {text}")

    def notice(self, text: str) -> None:
        self._say(f"  - NOTICE: {text}")

    def simulate(self, codes: Iterable[str]) -> None:
        """One made-up error of each code, for whoever reads these lines by program."""
        for code in codes:
            self.tell(Finding(code, "", "made up, as --debug-simulate-errors asks for"))

    def tell(self, finding: Finding) -> None:
        """An ignored code is only a warning."""
        is_warning = finding.is_warning or finding.code in self._ignored
        self.is_clean = self.is_clean and is_warning
        word = "WARNING" if is_warning else "ERROR"
        item = CODES[finding.code]
        if self._error_codes:
            name = finding.name or None
            self._say(f"  - {word}:{finding.code}:{item}:{name}:{finding.text}")
        else:
            self._say(f"  - {word}: {item} {finding.name}: {finding.text}")
