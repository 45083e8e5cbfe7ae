"""Values on disk and on the wire: JSON text, dataclasses as JSON objects, signed texts.

Everything here is simplejson, so that all parts agree about numbers, NaN and key order.
Nothing is imported at the top that a command line would have to wait for.
"""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

import simplejson

from ganeti.errors import ParseError, SignatureError

if TYPE_CHECKING:
    from dataclasses import Field

Json: typing.TypeAlias = Any
"""What JSON can hold; the one place where `Any` enters."""

T = TypeVar("T")


def dumps(value: object) -> str:
    """Compact JSON text in one line, ASCII only."""
    text: str = _ENCODER.encode(value)
    return text


def dump_bytes(value: object) -> bytes:
    return dumps(value).encode("ascii")


def dumps_pretty(value: object) -> str:
    """Indented JSON text with sorted keys, for people."""
    return simplejson.dumps(value, indent=2, sort_keys=True, default=_plain, allow_nan=False)


def loads(text: str | bytes, what: str = "text", *, hooks: Mapping[str, Json] = {}) -> Json:
    """Parse JSON; `what` names the text in the error, `hooks` are simplejson's.

    Raises ParseError with the position of the mistake.
    """
    try:
        return simplejson.loads(text if isinstance(text, str) else text.decode("utf-8"), **hooks)
    except simplejson.JSONDecodeError as error:
        raise ParseError(f"{what} is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ParseError(f"{what} is not UTF-8: byte {error.start}: {error.reason}") from error
    except RecursionError as error:
        raise ParseError(f"{what} is nested too deeply") from error
    except ValueError as error:  # Python reads no number of more than 4,300 digits
        raise ParseError(f"{what} holds a number that is too long") from error


def loads_beside_loop(text: bytes, what: str = "text") -> Json:
    """As `loads`, for a long text and a thread: others get their turn at each value.

    Otherwise the parser is one call that keeps the interpreter lock, for 50 ms per MiB at worst.
    """
    hooks: dict[str, Callable[[Json], Json]] = {
        "object_pairs_hook": lambda pairs: dict(pairs),
        "parse_int": lambda digits: int(digits),
        "parse_float": lambda digits: float(digits),
    }
    if "array_hook" in simplejson.loads.__code__.co_varnames:  # since 3.20
        hooks["array_hook"] = lambda items: items
    return loads(text, what, hooks=hooks)


def _plain(value: object) -> Json:
    """For simplejson: what to write in place of an object of ours."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (frozenset, set)):
        return sorted(value)
    if hasattr(value, "__dataclass_fields__"):
        return encode(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = simplejson.JSONEncoder(separators=(",", ":"), default=_plain, allow_nan=False)


def sign(key: str, text: str, salt: str) -> str:
    """Hex HMAC-SHA1 of salt + text (facts/node-behaviour.md §10)."""
    import hmac

    # A JSON text may hold half a surrogate pair, which has no UTF-8 form of its own.
    signed = (salt + text).encode("utf-8", "surrogatepass")
    return hmac.new(key.encode(), signed, "sha1").hexdigest()


def dumps_signed(value: object, key: str, salt: str) -> str:
    """`{"msg", "salt", "hmac"}` around the JSON text of `value`."""
    text = dumps(value)
    return dumps({"msg": text, "salt": salt, "hmac": sign(key, text, salt)})


def loads_signed(text: str | bytes, key: str) -> tuple[Json, str]:
    """The value and the salt of a signed text; SignatureError when the signature is wrong."""
    import hmac

    match loads(text, "signed message"):
        case {"msg": str(message), "salt": str(salt), "hmac": str(given)}:
            expected = sign(key, message, salt).encode()
            if not hmac.compare_digest(expected, given.encode("utf-8", "surrogatepass")):
                raise SignatureError("signed message: the signature does not match the key")
            return loads(message, "signed message"), salt
    raise SignatureError("signed message: keys msg, salt and hmac are expected")


# Dataclasses as JSON objects.
#
# The codec of a class is made once, from its annotations. Metadata of a field: "key" is the name in
# JSON when it is another; {"omit_none": True} leaves the field out when it is None, {"omit_empty":
# True} when it is an empty mapping or list. A field named `unknown` collects the keys that the
# class does not know and gives them back, so that a file of another version is saved without loss.
# A NamedTuple is a list in JSON; what has a default may be missing at its end.
#
# Reading is the slow part of starting with 10,000 instances, so readers take the value alone: the
# place of a mistake is put together on the way out of it.

EMPTY_MAP: typing.Final[Mapping[str, Json]] = types.MappingProxyType({})
"""What every empty object of an annotation `Mapping[…]` becomes: shared and read-only."""

Decoder: typing.TypeAlias = Callable[[Json, str], Any]
Reader: typing.TypeAlias = Callable[[Json], Any]
Codec: typing.TypeAlias = tuple[Callable[[Any], dict[str, Json]], Reader]

_CODECS: dict[type, Codec] = {}
_ATOMS = frozenset({str, int, float, bool})


class _Mismatch(Exception):
    """A value that does not fit; `path` grows from the inside to the outside."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path: list[str] = []

    def inside(self, step: str) -> _Mismatch:
        self.path.append(step)
        return self


def encode(value: object) -> Json:
    """The JSON form of a dataclass, enumeration, mapping, sequence or plain value."""
    kind = value.__class__
    if value is None or kind in _ATOMS:
        return value
    if kind is tuple or kind is list:
        return [encode(item) for item in value]  # type: ignore[attr-defined]  # a sequence
    if hasattr(value, "__dataclass_fields__"):
        return _codec(kind)[0](value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (str, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(encode(item) for item in value)
    raise TypeError(f"{kind.__name__} has no JSON form")


def decode(kind: type[T], value: Json, where: str = "value") -> T:
    """A value of type `kind` from JSON. ParseError names the place: `where.field[3]: …`."""
    return typing.cast(T, decoder(kind)(value, where))


def decoder(kind: Any) -> Decoder:
    """The compiled form of `decode` for one type: a function of JSON value and place."""
    reader = _reader(kind)

    def read(value: Json, where: str) -> Any:
        try:
            return reader(value)
        except _Mismatch as error:
            place = where + "".join(reversed(error.path))
            raise ParseError(f"{place}: {error.problem}") from None

    return read


def _codec(cls: type) -> Codec:
    found = _CODECS.get(cls)
    if found is None:
        found = _CODECS[cls] = _make_codec(cls)
    return found


def _make_codec(cls: type) -> Codec:
    import dataclasses

    fields = dataclasses.fields(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    known = tuple(field for field in fields if field.name != "unknown")
    keeps_unknown = len(known) < len(fields)
    return _writer_of(known, keeps_unknown), _reader_of(cls, known, hints, keeps_unknown)


def _writer_of(
    fields: Sequence[Field[Any]], keeps_unknown: bool
) -> Callable[[Any], dict[str, Json]]:
    rows = [
        (
            field.name,
            field.metadata.get("key", field.name),
            bool(field.metadata.get("omit_none")),
            bool(field.metadata.get("omit_empty")),
        )
        for field in fields
    ]

    def write(value: Any) -> dict[str, Json]:
        made: dict[str, Json] = {}
        for name, key, omit_none, omit_empty in rows:
            item = getattr(value, name)
            if item.__class__ in _ATOMS:
                made[key] = item
            elif item is None:
                if not omit_none:
                    made[key] = None
            elif item or not omit_empty:
                made[key] = encode(item)
        if keeps_unknown and value.unknown:
            made.update(value.unknown)
        return made

    return write


def _reader_of(
    cls: type, fields: Sequence[Field[Any]], hints: Mapping[str, Any], keeps_unknown: bool
) -> Reader:
    import dataclasses

    missing = dataclasses.MISSING
    rows = {
        field.metadata.get("key", field.name): (
            field.name,
            hints[field.name] if hints[field.name] in (str, int, bool) else None,
            _reader(hints[field.name]),
        )
        for field in fields
    }
    required = {
        field.name: field.metadata.get("key", field.name)
        for field in fields
        if field.default is missing and field.default_factory is missing
    }

    def read(value: Json) -> Any:
        if not isinstance(value, Mapping):
            raise _Mismatch(f"an object is expected, not {_shown(value)}")
        arguments: dict[str, Any] = {}
        extra: dict[str, Json] = {}
        key = ""
        try:
            for key, item in value.items():
                row = rows.get(key)
                if row is None:
                    extra[key] = item
                elif item.__class__ is row[1]:
                    arguments[row[0]] = item
                else:
                    arguments[row[0]] = row[2](item)
        except _Mismatch as error:
            raise error.inside(f".{key}") from None
        for name, key in required.items():
            if name not in arguments:
                raise _Mismatch(f"key {key!r} is missing")
        if extra:
            if not keeps_unknown:
                raise _Mismatch(f"unknown key {sorted(extra)[0]!r}")
            arguments["unknown"] = extra
        return cls(**arguments)

    return read


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _reader(kind: Any) -> Reader:
    """The function that reads a value of the annotated type `kind`."""
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return lambda value: value
    if kind is None or kind is type(None):
        return _read_none
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        inner, *notes = typing.get_args(kind)
        return _read_shared_text if sys.intern in notes else _reader(inner)
    if origin in (typing.Union, types.UnionType):
        return _union_reader(typing.get_args(kind))
    if origin is typing.Literal:
        return _literal_reader(typing.get_args(kind))
    if origin is not None:
        return _container_reader(origin, typing.get_args(kind))
    if hasattr(kind, "__dataclass_fields__"):
        return lambda value: _codec(kind)[1](value)  # late: a disk holds disks
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_reader(kind)
    if kind is float:
        return _read_float
    if kind in (str, int, bool):
        return _atom_reader(kind)
    if isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _named_tuple_reader(kind)
    if kind in (list, tuple):
        return _container_reader(kind, (Any,) if kind is list else (Any, ...))
    if kind in (dict, Mapping):
        return _container_reader(kind, (str, Any))
    raise TypeError(f"no JSON form for the annotation {kind!r}")


def _read_none(value: Json) -> None:
    if value is not None:
        raise _Mismatch(f"null is expected, not {_shown(value)}")


def _read_float(value: Json) -> float:
    if value.__class__ is float:
        number: float = value
        return number
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _Mismatch(f"a number is expected, not {_shown(value)}")
    return float(value)


def _read_shared_text(value: Json) -> str:
    if value.__class__ is not str:
        raise _Mismatch(f"a text is expected, not {_shown(value)}")
    return sys.intern(value)


_ATOM_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def _atom_reader(kind: type) -> Reader:
    name = _ATOM_NAMES[kind]

    def read(value: Json) -> Any:
        if value.__class__ is kind:
            return value
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)  # other writers give 1.0 for 1
        raise _Mismatch(f"{name} is expected, not {_shown(value)}")

    return read


def _enum_reader(kind: type[Enum]) -> Reader:
    members = {member.value: member for member in kind}

    def read(value: Json) -> Enum:
        try:
            return members[value]
        except (KeyError, TypeError):
            words = ", ".join(map(str, members))
            raise _Mismatch(f"one of {words} is expected, not {_shown(value)}") from None

    return read


def _literal_reader(values: tuple[Any, ...]) -> Reader:
    def read(value: Json) -> Any:
        if value in values:
            return value
        words = ", ".join(map(str, values))
        raise _Mismatch(f"one of {words} is expected, not {_shown(value)}")

    return read


def _union_reader(kinds: tuple[Any, ...]) -> Reader:
    optional = type(None) in kinds
    readers = [_reader(kind) for kind in kinds if kind is not type(None)]
    if len(readers) == 1:
        only = readers[0]
        return lambda value: None if value is None else only(value)

    def read(value: Json) -> Any:
        if value is None and optional:
            return None
        first: _Mismatch | None = None
        for reader in readers:
            try:
                return reader(value)
            except _Mismatch as error:
                first = first or error
        assert first is not None
        raise first

    return read


def _container_reader(origin: Any, arguments: tuple[Any, ...]) -> Reader:
    if issubclass(origin, Mapping):
        return _mapping_reader(origin, arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return _positional_reader(tuple, [_reader(kind) for kind in arguments], len(arguments))
    if issubclass(origin, (Sequence, set, frozenset)):
        item = _reader(arguments[0])
        build = tuple if origin is Sequence else origin
        plain = arguments[0] is Any

        def read(value: Json) -> Any:
            if not isinstance(value, (list, tuple)):
                raise _Mismatch(f"a list is expected, not {_shown(value)}")
            if plain or not value:
                return build(value)
            made = []
            try:
                for one in value:
                    made.append(item(one))
            except _Mismatch as error:
                raise error.inside(f"[{len(made)}]") from None
            return build(made)

        return read
    raise TypeError(f"no JSON form for {origin!r}")


def _mapping_reader(origin: Any, arguments: tuple[Any, ...]) -> Reader:
    read_key = _reader(arguments[0])
    item = _reader(arguments[1])
    plain = arguments[1] is Any and arguments[0] is str
    shared = not issubclass(origin, dict)

    def read(value: Json) -> Any:
        if not isinstance(value, Mapping):
            raise _Mismatch(f"an object is expected, not {_shown(value)}")
        if not value and shared:
            return EMPTY_MAP
        if plain:
            return dict(value)
        made = {}
        key = ""
        try:
            for key, one in value.items():
                made[read_key(key)] = item(one)
        except _Mismatch as error:
            raise error.inside(f".{key}") from None
        return made

    return read


def _positional_reader(
    build: Callable[[list[Any]], Any], readers: Sequence[Reader], required: int
) -> Reader:
    most = len(readers)

    def read(value: Json) -> Any:
        if not isinstance(value, (list, tuple)) or not required <= len(value) <= most:
            raise _Mismatch(f"a list of {most} is expected, not {_shown(value)}")
        made = []
        try:
            for reader, one in zip(readers, value):
                made.append(reader(one))
        except _Mismatch as error:
            raise error.inside(f"[{len(made)}]") from None
        return build(made)

    return read


def _named_tuple_reader(kind: Any) -> Reader:
    hints = typing.get_type_hints(kind, include_extras=True)
    readers = [_reader(hints[name]) for name in kind._fields]
    return _positional_reader(
        lambda made: kind(*made), readers, len(readers) - len(kind._field_defaults)
    )
