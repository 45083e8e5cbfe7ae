"""A candidate's side of the journals."""

from __future__ import annotations

import itertools
import zlib
from pathlib import Path

import pytest
from fakes.faulty_disk import FaultyDisk
from ganeti.errors import GenericError, ParseError
from ganeti.node.journal import FILE_LIMIT_BYTES, PIECE_LIMIT_BYTES, JournalStore
from ganeti.paths import Paths
from ganeti.rpc.calls import JournalState
from ganeti.utils.files import LocalDisk
from ganeti.utils.journal import Generation, Header, frame, new_journal, read
from hypothesis import given
from hypothesis import strategies as st

PATHS = Paths("/candidate")
OLD = Generation(1, 1, "aa")


def a_journal(generation: Generation = OLD, *records: bytes) -> bytes:
    return new_journal(Header("config", generation), records)


def replace_with(
    store: JournalStore, data: bytes, generation: Generation = OLD, piece: int = 40
) -> JournalState:
    state = JournalState()
    for offset in range(0, len(data), piece):
        part = data[offset : offset + piece]
        state = store.replace("config", str(generation), offset, part, len(data), zlib.crc32(data))
    return state


def a_store(*, fail_at: int | None = None) -> JournalStore:
    disk = FaultyDisk(fail_at=fail_at)
    disk.put(PATHS.data / "here", b"")
    disk.put(PATHS.lock / "here", b"")
    return JournalStore(PATHS, disk)


def test_a_journal_arrives_in_pieces_and_grows() -> None:
    store = a_store()
    data = a_journal(OLD, b"one")
    assert replace_with(store, data) == JournalState(str(OLD), len(data))
    more = frame([b"two"], len(data))
    state = store.append("config", str(OLD), len(data), more)
    assert (state.refused, state.size) == ("", len(data) + len(more))
    assert read(store.disk.read(PATHS.config_journal), "").records == (b"one", b"two")
    assert store.state("config", True).crc == zlib.crc32(data + more)
    assert store.disk.listdir(PATHS.data) == ["config.journal", "here"]


def test_an_append_that_does_not_continue_is_refused_with_what_is_here() -> None:
    store = a_store()
    data = a_journal()
    replace_with(store, data)
    for generation, offset in ((OLD, len(data) + 1), (OLD, 0), (Generation(1, 2, "aa"), len(data))):
        state = store.append("config", str(generation), offset, b"x")
        assert state.refused and not state.deposed
        assert (state.generation, state.size) == (str(OLD), len(data))


def test_an_earlier_master_is_refused() -> None:
    store = a_store()
    new = Generation(2, 1, "bb")
    replace_with(store, a_journal(new), new)
    state = replace_with(store, a_journal())
    assert state.deposed and "obeys the master that began term 2.1.bb, not 1.1.aa" in state.refused
    base = store.replace("config.data", str(OLD), 0, b"{}", 2, zlib.crc32(b"{}"))
    assert base.deposed
    assert not store.disk.exists(PATHS.config_data)


def test_a_damaged_journal_is_replaced_by_any_master() -> None:
    store = a_store()
    assert isinstance(store.disk, FaultyDisk)
    store.disk.put(PATHS.config_journal, b"nonsense")
    assert store.state("config", False) == JournalState("", 8)
    assert not replace_with(store, a_journal()).refused


def test_a_file_that_arrives_changed_is_not_put_in_place() -> None:
    store = a_store()
    state = store.replace("config", str(OLD), 0, b"x", 1, 12345)
    assert "did not arrive as it was sent" in state.refused
    assert not store.disk.exists(PATHS.config_journal)


def test_pieces_out_of_order_are_refused() -> None:
    store = a_store()
    data = a_journal()
    store.replace("config", str(OLD), 0, data[:10], len(data), zlib.crc32(data))
    state = store.replace("config", str(OLD), 20, data[20:], len(data), zlib.crc32(data))
    assert state.refused == "byte 10 of the file is expected"
    assert not replace_with(store, data).refused


def test_only_known_files_of_limited_size() -> None:
    store = a_store()
    with pytest.raises(ParseError, match="'../x' is not a journal"):
        store.state("../x", False)
    with pytest.raises(GenericError, match="at most"):
        store.append("config", str(OLD), 0, b"x" * (PIECE_LIMIT_BYTES + 1))
    with pytest.raises(GenericError, match="at most"):
        store.replace("config", str(OLD), 0, b"x", FILE_LIMIT_BYTES + 1, 0)
    with pytest.raises(GenericError, match="at most"):
        store.read("config", 0, PIECE_LIMIT_BYTES + 1)


def test_a_file_is_read_in_pieces() -> None:
    store = a_store()
    assert store.read("config", 0, 10) == b""
    data = a_journal()
    replace_with(store, data)
    assert store.read("config", 0, 10) + store.read("config", 10, 1000) == data
    assert store.read("config", len(data), 10) == b""


def test_what_was_answered_survives_any_fault() -> None:
    for nth in itertools.count(1):
        store = a_store(fail_at=nth)
        assert isinstance(store.disk, FaultyDisk)
        data, answered = a_journal(), b""
        try:
            replace_with(store, data)
            answered = data
            more = frame([b"one"], len(data))
            store.append("config", str(OLD), len(data), more)
            answered = data + more
        except OSError:
            pass
        after = store.disk.crash()
        found = after.read(PATHS.config_journal) if after.exists(PATHS.config_journal) else b""
        assert found.startswith(answered)
        if not store.disk.failed:
            return


@given(st.text(st.characters(max_codepoint=127), max_size=50), st.integers(-5, 2**70))
def test_any_generation_text_is_accepted_or_refused(text: str, offset: int) -> None:
    store = a_store()
    replace_with(store, a_journal())
    assert store.append("config", text, offset, b"x").refused


def test_it_works_on_a_real_disk(tmp_path: Path) -> None:
    paths = Paths(tmp_path)
    store = JournalStore(paths, LocalDisk())
    data = a_journal(OLD, b"one")
    assert replace_with(store, data) == JournalState(str(OLD), len(data))
    assert paths.config_journal.read_bytes() == data
    assert paths.config_journal.stat().st_mode & 0o777 == 0o640
