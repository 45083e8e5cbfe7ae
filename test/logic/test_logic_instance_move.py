"""What a move to another node refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import a_bed, refused
from ganeti.opcodes.instance import OpInstanceMove
from ganeti.types import DiskTemplate


def move(target_node: str = "node3", **values: Any) -> OpInstanceMove:
    return OpInstanceMove(instance_name="web1", target_node=target_node, **values)


@pytest.mark.parametrize(
    ("op", "code"),
    [
        (move("node2"), "wrong_state"),
        (move("node9"), "unknown_entity"),
        (move(compress="rot13"), "wrong_input"),
        (move(), "environment_error"),
    ],
)
def test_each_reason_has_its_code(tmp_path: Path, op: OpInstanceMove, code: str) -> None:
    assert refused(a_bed(tmp_path), op) == code


def test_disks_that_others_see_are_not_copied(tmp_path: Path) -> None:
    assert refused(a_bed(tmp_path, DiskTemplate.SHARED_FILE), move()) == "wrong_state"


def test_the_target_takes_instances_and_has_memory(tmp_path: Path) -> None:
    services = a_bed(tmp_path, up=True)
    services.place("node3").memory_mib = 10
    assert refused(services, move()) == "insufficient_resources"
    services.change_node("node3", drained=True, master_candidate=False)
    assert refused(services, move()) == "wrong_state"
