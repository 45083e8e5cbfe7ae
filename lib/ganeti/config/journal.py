"""Changes of the configuration as records of its journal.

A record is the JSON of a `Delta`: `{"serial_no", "mtime", "cluster"?, "put": {kind: [object…]},
"drop": {kind: [uuid…]}}`, with the changed objects only. Serial numbers follow each other without
a gap, so replaying is safe on any checkpoint: what it already holds is skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from ganeti.config.transaction import KINDS, Delta
from ganeti.errors import ConfigurationError, ParseError
from ganeti.model.cluster import Cluster
from ganeti.model.config import ConfigDocument
from ganeti.serializer import Json, decode, dump_bytes, encode, loads

CLASSES: Mapping[str, type] = {kind: cls for cls, kind in KINDS.items()}


def to_record(delta: Delta) -> bytes:
    """Pieces are encoded object by object; one call never gets the whole of a large change."""
    parts = [b'{"serial_no":%d,"mtime":%s' % (delta.serial_no, dump_bytes(delta.mtime))]
    if delta.cluster is not None:
        parts.append(b',"cluster":' + dump_bytes(encode(delta.cluster)))
    if delta.put:
        kinds = (
            dump_bytes(kind) + b":[" + b",".join(dump_bytes(encode(one)) for one in things) + b"]"
            for kind, things in delta.put.items()
        )
        parts.append(b',"put":{' + b",".join(kinds) + b"}")
    if delta.drop:
        drop = {kind: list(uuids) for kind, uuids in delta.drop.items()}
        parts.append(b',"drop":' + dump_bytes(drop))
    return b"".join(parts) + b"}"


def from_record(record: bytes, where: str) -> Delta:
    """ConfigurationError when it is no record of the configuration."""
    try:
        value = loads(record, where)
        if not isinstance(value, dict):
            raise ParseError(f"{where}: an object is expected")
        unknown = set(value) - {"serial_no", "mtime", "cluster", "put", "drop"}
        if unknown:
            raise ParseError(f"{where}: unknown key {min(unknown)!r}")
        cluster, put, drop = value.get("cluster"), value.get("put", {}), value.get("drop", {})
        if not isinstance(put, dict) or not isinstance(drop, dict):
            raise ParseError(f"{where}: objects are expected under put and drop")
        for kind in (*put, *drop):
            if kind not in CLASSES:
                raise ParseError(f"{where}: unknown kind {kind!r}")
        return Delta(
            serial_no=decode(int, value.get("serial_no"), f"{where}.serial_no"),
            mtime=decode(float, value.get("mtime"), f"{where}.mtime"),
            cluster=None if cluster is None else decode(Cluster, cluster, f"{where}.cluster"),
            put={
                kind: tuple(
                    decode(CLASSES[kind], one, f"{where}.{kind}[{i}]")
                    for i, one in enumerate(things)
                )
                for kind, things in put.items()
            },
            drop={
                kind: decode(tuple[str, ...], uuids, f"{where}.{kind}")
                for kind, uuids in drop.items()
            },
        )
    except ParseError as error:
        raise ConfigurationError(str(error)) from error


def serial_of(record: bytes, where: str = "record") -> int:
    """Serial number of a record without decoding its objects."""
    head = record[:64]
    if head.startswith(b'{"serial_no":'):
        digits = head[len(b'{"serial_no":') :].split(b",", 1)[0]
        if digits.isdigit():
            return int(digits)
    raise ConfigurationError(f"{where}: a record of config.journal begins with its serial number")


def replay(document: ConfigDocument, records: Iterable[bytes], where: str) -> ConfigDocument:
    """The document with the records that come after it.

    Raises ConfigurationError when a record is missing in between.
    """
    kinds = {kind: dict(getattr(document, _document_field(kind))) for kind in CLASSES}
    serial_no, mtime, cluster = document.serial_no, document.mtime, document.cluster
    for number, record in enumerate(records, 1):
        place = f"{where}: record {number}"
        serial = serial_of(record, place)
        if serial <= serial_no:
            continue
        if serial != serial_no + 1:
            raise ConfigurationError(
                f"{place} has serial number {serial} and does not follow {serial_no} of"
                " config.data; move the journal away if config.data is the wanted state"
            )
        delta = from_record(record, place)
        serial_no, mtime = delta.serial_no, delta.mtime
        cluster = delta.cluster or cluster
        for kind, things in delta.put.items():
            kinds[kind].update({thing.uuid: thing for thing in things})
        for kind, uuids in delta.drop.items():
            for uuid in uuids:
                kinds.setdefault(kind, {}).pop(uuid, None)
    if serial_no == document.serial_no:
        return document
    fields: dict[str, Json] = {_document_field(kind): things for kind, things in kinds.items()}
    return replace(document, serial_no=serial_no, mtime=mtime, cluster=cluster, **fields)


def _document_field(kind: str) -> str:
    return "nodegroups" if kind == "groups" else kind
