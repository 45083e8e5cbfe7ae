"""The replicated append-only journal, without I/O: its format, and who has how much of it.

A journal is a text file. Every line is a record: `crc32 length batch payload\n`, where `crc32` is
of all that follows it (8 hex digits), `length` is that of the payload, and `batch` is the offset in
the file at which the write that brought this record began. The first record is the header: name,
generation and what the journal is based upon. Payloads are ASCII without line ends.

A batch is synced before the next one is written, so only the last batch can be torn. If a record
does not match its checksum and no record of a later batch follows, the rest is a torn tail: it
was never acknowledged and is cut off. Otherwise the file was damaged later, which is an error.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ganeti.errors import ConfigurationError, ParseError
from ganeti.serializer import Json, dump_bytes, loads

FORMAT = 1


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """Which journal a file belongs to.

    `term` grows each time a master daemon takes over the journal, `number` with each new
    beginning of it after a checkpoint. `identity` is random: two masters that wrongly live at the
    same time in the same term have different ones.
    """

    term: int
    number: int
    identity: str

    def __str__(self) -> str:
        return f"{self.term}.{self.number}.{self.identity}"

    @classmethod
    def parse(cls, text: str) -> Generation:
        """ParseError unless `text` is what `str` gives."""
        try:
            term, number, identity = text.split(".")
            return cls(int(term), int(number), identity)
        except ValueError:
            raise ParseError(f"{text!r} is not the generation of a journal") from None

    def is_of(self, other: Generation) -> bool:
        """Whether both are of one term of one master."""
        return (self.term, self.identity) == (other.term, other.identity)

    def may_replace(self, other: Generation | None) -> bool:
        """Whether a file of this generation may take the place of one of `other`."""
        if other is None or self.term > other.term:
            return True
        return self.is_of(other) and self.number >= other.number


@dataclass(frozen=True, slots=True)
class Header:
    """The first record. `base` says what the records build upon; its form is the owner's.

    `master`: name of the node whose master daemon wrote it.
    """

    name: str
    generation: Generation
    base: Mapping[str, Json] = field(default_factory=dict)
    master: str = ""

    def encode(self) -> bytes:
        return dump_bytes(
            {
                "journal": self.name,
                "format": FORMAT,
                "generation": str(self.generation),
                "master": self.master,
                "base": self.base,
            }
        )

    @classmethod
    def decode(cls, payload: bytes, where: str) -> Header:
        """ConfigurationError if the payload is no header or of an unknown format."""
        match loads(payload, f"{where}: header"):
            case {
                "journal": str(name),
                "format": int(version),
                "generation": str(generation),
                "master": str(master),
                "base": dict(base),
            }:
                if version != FORMAT:
                    raise ConfigurationError(
                        f"{where}: journal format {version}, this version reads {FORMAT}"
                    )
                return cls(name, Generation.parse(generation), base, master)
        raise ConfigurationError(f"{where}: the first line is not the header of a journal")


@dataclass(frozen=True, slots=True)
class Contents:
    """A journal that was read. `size`: bytes up to the end of the last whole record."""

    header: Header
    records: tuple[bytes, ...]
    size: int
    torn: int  # bytes of a torn tail, to be cut off


def frame(payloads: Iterable[bytes], batch: int) -> bytes:
    """The lines of one batch that begins at offset `batch`."""
    return b"".join(_line(payload, batch) for payload in payloads)


def new_journal(header: Header, payloads: Iterable[bytes] = ()) -> bytes:
    """A whole file: the header and first records, one batch."""
    return frame([header.encode(), *payloads], 0)


def _line(payload: bytes, batch: int) -> bytes:
    rest = b"%d %d %s" % (len(payload), batch, payload)
    return b"%08x %s\n" % (zlib.crc32(rest), rest)


def read(data: bytes, where: str) -> Contents:
    """The records of a journal file; `where` names it in errors.

    Raises ConfigurationError, with the byte offset, when the header or a record before the last
    batch is damaged.
    """
    payloads: list[bytes] = []
    offset = 0
    while offset < len(data):
        end = data.find(b"\n", offset)
        record = None if end < 0 else _record(data[offset:end])
        if record is None:
            break
        payloads.append(record[0])
        offset = end + 1
    if offset < len(data):
        _refuse_damage(data, offset, where)
    if not payloads:
        raise ConfigurationError(
            f"{where}: damaged at byte 0: no header; move the file away if its changes may be lost"
        )
    header = Header.decode(payloads[0], where)
    return Contents(header, tuple(payloads[1:]), offset, len(data) - offset)


def read_header(line: bytes, where: str) -> Header:
    """The header from the first line of a file (with or without its end)."""
    record = _record(line.rstrip(b"\n"))
    if record is None:
        raise ConfigurationError(f"{where}: damaged at byte 0: no header")
    return Header.decode(record[0], where)


def _record(line: bytes) -> tuple[bytes, int] | None:
    """Payload and batch of one line; None if it is not whole."""
    parts = line.split(b" ", 3)
    if len(parts) != 4 or len(parts[0]) != 8:
        return None
    crc, length, batch, payload = parts
    try:
        if int(crc, 16) != zlib.crc32(line[9:]) or int(length) != len(payload):
            return None
        return payload, int(batch)
    except ValueError:
        return None


def _refuse_damage(data: bytes, offset: int, where: str) -> None:
    """ConfigurationError if a batch that began after `offset` follows: it was synced once."""
    for line in reversed(data[offset:].split(b"\n")):
        record = _record(line)
        if record is None:
            continue
        if record[1] > offset:
            raise ConfigurationError(
                f"{where}: damaged at byte {offset}: a record does not match its checksum and"
                " later ones do; the file was left as it is"
            )
        return


class Progress:
    """Who has how much of one generation of a journal: the rules of group commit.

    Positions are offsets in the file. A record is *durable* when this master's disk and a majority
    of the configured master candidates, this master counted, have it. Records are handed out in
    batches: `take` gives all that wait as one, `synced` says that the local disk has it.
    """

    def __init__(self, size: int, followers: Iterable[str] = ()) -> None:
        self.framed = size  # end of the last batch that was handed out
        self.local = size  # end of what the local disk has
        self.matched: dict[str, int] = dict.fromkeys(followers, 0)
        self._waiting: list[bytes] = []

    def add(self, payload: bytes) -> None:
        """A record waits for the next batch."""
        self._waiting.append(payload)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def writing(self) -> bool:
        """A batch was handed out and is not synced yet."""
        return self.framed > self.local

    def take(self) -> bytes:
        """All waiting records as one batch; empty while another batch is being written."""
        if self.writing or not self._waiting:
            return b""
        batch = frame(self._waiting, self.framed)
        self._waiting = []
        self.framed += len(batch)
        return batch

    def synced(self) -> None:
        """The local disk has the batch that was taken."""
        self.local = self.framed

    def failed(self) -> None:
        """The local disk does not have it: it and all that wait behind it are dropped.

        Candidates may have more now than this master; they have to be brought back.
        """
        self.framed = self.local
        self._waiting = []
        for name, size in self.matched.items():
            self.matched[name] = min(size, self.local)

    def restart(self, size: int) -> None:
        """A new generation with `size` bytes is in place here; no candidate has it yet.

        Records that wait for a batch go to the new generation.
        """
        self.framed = self.local = size
        self.matched = dict.fromkeys(self.matched, 0)

    def set_followers(self, names: Iterable[str]) -> None:
        """The other configured candidates; a new one has nothing."""
        self.matched = {name: self.matched.get(name, 0) for name in names}

    def matches(self, name: str, size: int) -> None:
        """That candidate durably has the first `size` bytes."""
        if name in self.matched:
            self.matched[name] = size

    @property
    def majority(self) -> int:
        """How many candidates must have a record, this master counted."""
        return (len(self.matched) + 1) // 2 + 1

    @property
    def durable(self) -> int:
        """All before this offset is durable; never beyond what the local disk has."""
        others = sorted(self.matched.values(), reverse=True)
        needed = self.majority - 1
        return self.local if needed == 0 else min(self.local, others[needed - 1])

    @property
    def caught_up(self) -> bool:
        """A majority has all that the local disk has."""
        return self.durable >= self.local
