"""What nodes answer, against answers of a real node daemon; and the forms of the serializer."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ganeti.errors import ParseError
from ganeti.model.base import EMPTY, OMIT_EMPTY, SharedText, empty_map
from ganeti.model.report import (
    AssembledDevice,
    BlockDeviceStatus,
    Dimensions,
    MirrorOutcome,
    NodeInfo,
    OsReport,
    RunningInfo,
    StorageInfo,
)
from ganeti.serializer import decode, encode, loads


@pytest.fixture(scope="module")
def answers(samples: Path) -> dict[str, list[Any]]:
    """Good payloads by call."""
    found: dict[str, list[Any]] = {}
    for line in (samples / "noded" / "calls.jsonl").read_text().splitlines():
        record = loads(line)
        if record.get("response", {}).get("status") != 200:
            continue
        ok, payload = loads(record["response"]["body"])
        if ok and payload:
            found.setdefault(record["request"]["path"].lstrip("/"), []).append(payload)
    return found


@pytest.mark.parametrize(
    "call, kind",
    [
        ("node_info", NodeInfo),
        ("os_diagnose", list[OsReport]),
        ("blockdev_find", BlockDeviceStatus),
        ("blockdev_getmirrorstatus", list[BlockDeviceStatus]),
        ("blockdev_getdimensions", list[Dimensions | None]),
        ("all_instances_info", dict[str, RunningInfo]),
    ],
)
def test_recorded_answers_are_read_and_written_unchanged(
    answers: dict[str, list[Any]], call: str, kind: Any
) -> None:
    assert answers[call]
    for payload in answers[call]:
        assert encode(decode(kind, payload, call)) == payload


def test_node_info_has_names(answers: dict[str, list[Any]]) -> None:
    info = decode(NodeInfo, answers["node_info"][1], "node_info")
    assert info.storage[0].name == "/srv/ganeti/file-storage"
    assert info.hypervisors[0].memory_total == 24105


def test_a_missing_volume_group_has_no_sizes() -> None:
    wire = {"type": "lvm-vg", "name": "x", "storage_free": None, "storage_size": None}
    assert encode(decode(StorageInfo, wire, "unit")) == wire


@pytest.mark.parametrize("wire", [["/dev/x", "/run/l", None], ["/dev/x", None, None], [True, True]])
def test_assembled_devices_have_three_forms(wire: list[Any]) -> None:
    made = decode(AssembledDevice, wire, "device")
    assert encode(made)[: len(wire)] == wire


def test_a_mirror_is_a_status_or_an_error() -> None:
    good = decode(MirrorOutcome, [True, {"dev_path": "/dev/drbd0"}], "mirror")
    assert isinstance(good.status, BlockDeviceStatus)
    assert decode(MirrorOutcome, [False, "gone"], "mirror").status == "gone"


class Pair(NamedTuple):
    name: SharedText
    number: int = 7


@dataclass(frozen=True)
class Thing:
    pair: Pair
    words: tuple[SharedText, ...] = ()
    left_out: Mapping[str, Any] = field(default_factory=empty_map, metadata=OMIT_EMPTY)


def test_a_named_tuple_is_a_list_whose_end_may_be_missing() -> None:
    assert decode(Pair, ["a"], "pair") == Pair("a", 7)
    for wrong in ([], ["a", 1, 2], {}, ["a", "b"]):
        with pytest.raises(ParseError):
            decode(Pair, wrong, "pair")


def test_shared_texts_are_kept_once() -> None:
    texts = ["".join(["no", "de", "1"]) for _ in range(2)]
    made = decode(Thing, {"pair": [texts[0]], "words": texts}, "thing")
    assert made.words[0] is made.words[1] is made.pair.name is sys.intern("node1")


def test_empty_maps_are_shared_and_may_be_left_out() -> None:
    made = decode(Thing, {"pair": ["a"], "left_out": {}}, "thing")
    assert made.left_out is EMPTY
    assert encode(made) == {"pair": ["a", 7], "words": []}


def test_the_place_of_a_mistake_is_told_from_the_outside_in() -> None:
    with pytest.raises(ParseError, match=r"^thing\.words\[1\]: a text is expected, not 5$"):
        decode(Thing, {"pair": ["a"], "words": ["a", 5]}, "thing")
    with pytest.raises(ParseError, match=r"^thing\.pair\[1\]: a whole number"):
        decode(Thing, {"pair": ["a", "b"]}, "thing")
