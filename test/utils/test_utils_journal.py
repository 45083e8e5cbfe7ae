"""Format of a journal, and the rules of group commit."""

from __future__ import annotations

import pytest
from ganeti.errors import ConfigurationError, ParseError
from ganeti.utils.journal import (
    Generation,
    Header,
    Progress,
    frame,
    new_journal,
    read,
    read_header,
)
from hypothesis import given
from hypothesis import strategies as st

HEADER = Header("config", Generation(3, 1, "aa"), {"serial_no": 7})
PAYLOADS = st.lists(st.text('abc {}":,', max_size=30).map(str.encode), min_size=1, max_size=4)


def a_journal(batches: list[list[bytes]]) -> tuple[bytes, list[int]]:
    """A file of several batches, and where each of them begins."""
    data, starts = new_journal(HEADER), []
    for batch in batches:
        starts.append(len(data))
        data += frame(batch, len(data))
    return data, starts


@given(st.lists(PAYLOADS, max_size=5))
def test_what_was_framed_is_read(batches: list[list[bytes]]) -> None:
    contents = read(a_journal(batches)[0], "journal")
    assert contents.header == HEADER
    assert list(contents.records) == [record for batch in batches for record in batch]
    assert contents.torn == 0


@given(st.lists(PAYLOADS, min_size=1, max_size=4), st.data())
def test_a_cut_off_tail_is_left_out(batches: list[list[bytes]], data: st.DataObject) -> None:
    whole, starts = a_journal(batches)
    cut = data.draw(st.integers(starts[-1], len(whole) - 1))
    contents = read(whole[:cut], "journal")
    records = [record for batch in batches for record in batch]
    assert list(contents.records) == records[: len(contents.records)]
    assert len(contents.records) >= len(records) - len(batches[-1])
    assert contents.size + contents.torn == cut
    assert read(whole[: contents.size], "journal").torn == 0


@given(st.lists(PAYLOADS, min_size=2, max_size=4), st.data())
def test_damage_before_the_last_batch_is_an_error_with_its_place(
    batches: list[list[bytes]], data: st.DataObject
) -> None:
    whole, starts = a_journal(batches)
    at = data.draw(st.integers(starts[0], starts[-1] - 2))
    bad = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    with pytest.raises(ConfigurationError, match="journal: damaged at byte") as caught:
        read(bad, "journal")
    place = int(str(caught.value).split("byte ")[1].split(":")[0])
    assert starts[0] <= place <= at


def test_a_hole_within_the_last_batch_is_a_torn_tail() -> None:
    whole, starts = a_journal([[b"safe"], [b"one", b"two", b"three"]])
    bad = bytearray(whole)
    bad[starts[1] + 3 : starts[1] + 6] = b"\0\0\0"
    contents = read(bytes(bad), "journal")
    assert contents.records == (b"safe",)
    assert contents.size == starts[1]


@pytest.mark.parametrize("data", [b"", b"\0" * 40, b"something else\n"])
def test_a_file_without_header_is_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="place: damaged at byte 0"):
        read(data, "place")


def test_the_header_of_a_newer_format_is_refused() -> None:
    line = frame([HEADER.encode().replace(b'"format":1', b'"format":2')], 0)
    with pytest.raises(ConfigurationError, match="format 2, this version reads 1"):
        read_header(line, "place")


def test_a_generation_survives_its_text() -> None:
    assert Generation.parse(str(HEADER.generation)) == HEADER.generation
    with pytest.raises(ParseError, match="not the generation"):
        Generation.parse("1.x")


@pytest.mark.parametrize(
    ("ours", "theirs", "may"),
    [
        (Generation(2, 1, "b"), None, True),
        (Generation(2, 1, "b"), Generation(1, 9, "a"), True),
        (Generation(1, 9, "a"), Generation(2, 1, "b"), False),
        (Generation(2, 2, "b"), Generation(2, 1, "b"), True),
        (Generation(2, 1, "b"), Generation(2, 2, "b"), False),
        (Generation(2, 2, "b"), Generation(2, 1, "a"), False),
    ],
)
def test_only_a_later_master_or_the_same_one_replaces_a_journal(
    ours: Generation, theirs: Generation | None, may: bool
) -> None:
    assert ours.may_replace(theirs) is may


# Progress.


@pytest.mark.parametrize(
    ("others", "majority"), [(0, 1), (1, 2), (2, 2), (3, 3), (4, 3), (9, 6), (10, 6)]
)
def test_a_majority_counts_this_master(others: int, majority: int) -> None:
    assert Progress(0, [str(n) for n in range(others)]).majority == majority


def test_nothing_is_durable_that_the_local_disk_lacks() -> None:
    progress = Progress(10, ["a", "b"])
    progress.add(b"record")
    batch = progress.take()
    progress.matches("a", 10 + len(batch))
    progress.matches("b", 10 + len(batch))
    assert progress.durable == 10
    progress.synced()
    assert progress.durable == 10 + len(batch)


def test_records_wait_while_a_batch_is_written() -> None:
    progress = Progress(0)
    progress.add(b"one")
    assert progress.take()
    progress.add(b"two")
    progress.add(b"three")
    assert progress.take() == b""
    progress.synced()
    assert progress.take() == frame([b"two", b"three"], progress.local)


def test_a_failed_batch_takes_those_behind_it_along() -> None:
    progress = Progress(5, ["a"])
    progress.add(b"one")
    batch = progress.take()
    progress.add(b"two")
    progress.matches("a", 5 + len(batch))
    progress.failed()
    assert (progress.framed, progress.waiting, progress.durable) == (5, 0, 5)


STEPS = st.lists(
    st.one_of(
        st.sampled_from(["add", "take", "sync", "fail"]),
        st.tuples(st.sampled_from("abcd"), st.integers(0, 100)),
    ),
    max_size=60,
)


@given(st.integers(0, 4), STEPS)
def test_durable_is_what_a_majority_has_and_never_goes_back(
    others: int, steps: list[str | tuple[str, int]]
) -> None:
    names = list("abcd"[:others])
    progress, before = Progress(0, names), 0
    for step in steps:
        if step == "add":
            progress.add(b"x")
        elif step == "take":
            progress.take()
        elif step == "sync":
            progress.synced()
        elif step == "fail":
            progress.failed()
        elif isinstance(step, tuple):
            name, percent = step
            has = progress.matched.get(name, 0)
            progress.matches(name, has + (progress.framed - has) * percent // 100)
        having = 1 + sum(size >= progress.durable for size in progress.matched.values())
        assert having >= progress.majority
        assert before <= progress.durable <= progress.local <= progress.framed
        before = progress.durable
