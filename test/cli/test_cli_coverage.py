"""Every sub-command of the table exists, and a transcript shows what it prints on real daemons.

test/cluster/test_cluster_transcripts.py runs the transcripts; this test looks whether one is
missing, without running anything.
"""

from __future__ import annotations

import pytest
import transcript_files as transcripts
from fact_tables import facts
from fakes.command_line import PROGRAMS, program_of
from named_tests import source_of

TABLE = facts("cli")["programs"]

# Sub-commands of the classic that come with later work, and why. The list may only shrink.
LATER = {
    ("gnt-backup", "export"): "exports",
    ("gnt-backup", "import"): "exports",
    ("gnt-backup", "list"): "exports",
    ("gnt-backup", "list-fields"): "exports",
    ("gnt-backup", "remove"): "exports",
    ("gnt-node", "list-drbd"): "DRBD",
    ("gnt-node", "repair-storage"): "LVM",
}
# Ours, beyond the classic ones.
ADDED = {("gnt-cluster", "token")}
# They can only be refused: what they work on is not there, on any node.
ALWAYS_REFUSED = {
    ("gnt-debug", "metad"): "there is no metadata daemon",
    ("gnt-debug", "wconfd"): "the master daemon does that work",
    ("gnt-instance", "replace-disks"): "needs DRBD",
    ("gnt-node", "modify-storage"): "needs LVM",
}
# Virtual nodes can't do it, so that transcripts have a refusal; a test on other nodes succeeds.
SEEN_ELSEWHERE = {
    ("gnt-cluster", "upgrade"): (
        "cluster/test_cluster_upgrade.py::test_a_killed_upgrade_is_resumed_while_a_guest_runs"
    ),
    ("gnt-node", "powercycle"): "net/test_net_power.py::test_a_node_is_rebooted_at_once",
}


def told() -> set[tuple[str, str]]:
    return {(name, command) for name, table in TABLE.items() for command in table["commands"]}


def declared() -> set[tuple[str, str]]:
    return {(name, command) for name in PROGRAMS for command in program_of(name).commands}


def canonical(call: tuple[str, str]) -> tuple[str, str]:
    program, word = call
    return program, program_of(program).aliases.get(word, word) if program in PROGRAMS else word


def shown(*, successfully: bool = False) -> set[tuple[str, str]]:
    """Sub-commands that stand in a transcript with what they show."""
    return {
        canonical(call)
        for program in transcripts.programs()
        for entry in transcripts.entries(program)
        if not (successfully and entry.is_failure)
        for call in entry.calls
    }


def test_only_these_sub_commands_are_missing() -> None:
    assert told() - declared() == set(LATER)
    assert declared() - told() == ADDED


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_sub_command_stands_in_a_transcript(program: str) -> None:
    missing = {one for one in declared() - shown() - set(LATER) if one[0] == program}
    assert not missing, "add them to test/transcripts, then: tools/check update-transcripts"


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_sub_command_is_seen_to_succeed(program: str) -> None:
    failing = {
        one for one in declared() - shown(successfully=True) - set(LATER) if one[0] == program
    }
    told = {one for one in {*ALWAYS_REFUSED, *SEEN_ELSEWHERE} if one[0] == program}
    assert failing == told


@pytest.mark.parametrize(("call", "test"), SEEN_ELSEWHERE.items())
def test_what_a_transcript_can_not_show_is_run_by_another_test(
    call: tuple[str, str], test: str
) -> None:
    assert " ".join(call) in source_of(test)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_transcript_of_each_program_begins_with_its_help(program: str) -> None:
    first = next(transcripts.entries(program))
    assert first.line == f"{program} --help"
    assert not first.is_failure
