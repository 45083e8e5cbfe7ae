"""Values on disk and on the wire: JSON text, dataclasses as JSON objects, signed texts.

Everything here is simplejson, so that all parts agree about numbers, NaN and key order.
Nothing is imported at the top that a command line would have to wait for.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, TypeVar

import simplejson

from ganeti.errors import ParseError, SignatureError

Json: typing.TypeAlias = Any
"""What JSON can hold; the one place where `Any` enters."""

T = TypeVar("T")

_COMPACT = (",", ":")


def dumps(value: object) -> str:
    """Compact JSON text in one line, ASCII only."""
    return simplejson.dumps(value, separators=_COMPACT, default=_plain, allow_nan=False)


def dump_bytes(value: object) -> bytes:
    return dumps(value).encode("ascii")


def dumps_pretty(value: object) -> str:
    """Indented JSON text with sorted keys, for people."""
    return simplejson.dumps(value, indent=2, sort_keys=True, default=_plain, allow_nan=False)


def loads(text: str | bytes, what: str = "text") -> Json:
    """Parse JSON; `what` names the text in the error.

    Raises ParseError with the position of the mistake.
    """
    try:
        return simplejson.loads(text if isinstance(text, str) else text.decode("utf-8"))
    except simplejson.JSONDecodeError as error:
        raise ParseError(f"{what} is not JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ParseError(f"{what} is not UTF-8: byte {error.start}: {error.reason}") from error
    except RecursionError as error:
        raise ParseError(f"{what} is nested too deeply") from error


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


def sign(key: str, text: str, salt: str) -> str:
    """Hex HMAC-SHA1 of salt + text (facts/node-behaviour.md §10)."""
    import hmac

    return hmac.new(key.encode(), (salt + text).encode(), "sha1").hexdigest()


def dumps_signed(value: object, key: str, salt: str) -> str:
    """`{"msg", "salt", "hmac"}` around the JSON text of `value`."""
    text = dumps(value)
    return dumps({"msg": text, "salt": salt, "hmac": sign(key, text, salt)})


def loads_signed(text: str | bytes, key: str) -> tuple[Json, str]:
    """The value and the salt of a signed text; SignatureError when the signature is wrong."""
    import hmac

    match loads(text, "signed message"):
        case {"msg": str(message), "salt": str(salt), "hmac": str(given)}:
            if not hmac.compare_digest(sign(key, message, salt), given):
                raise SignatureError("signed message: the signature does not match the key")
            return loads(message, "signed message"), salt
    raise SignatureError("signed message: keys msg, salt and hmac are expected")


# Dataclasses as JSON objects.
#
# The codec of a class is made once, from its annotations. A field of metadata {"omit_none": True}
# is left out when None; a field named `unknown` collects the keys that the class does not know,
# and gives them back, so that a file of another version is saved without loss.

Decoder: typing.TypeAlias = Callable[[Json, str], Any]

_CODECS: dict[type, tuple[Callable[[Any], dict[str, Json]], Callable[[Json, str], Any]]] = {}


def encode(value: object) -> Json:
    """The JSON form of a dataclass, enumeration, mapping, sequence or plain value."""
    if value is None or isinstance(value, (str, int, float)) and not isinstance(value, Enum):
        return value
    if hasattr(value, "__dataclass_fields__"):
        return _codec(type(value))[0](value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(encode(item) for item in value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def decode(kind: type[T], value: Json, where: str = "value") -> T:
    """A value of type `kind` from JSON. ParseError names the place: `where.field[3]: …`."""
    return typing.cast(T, _decoder(kind)(value, where))


def decoder(kind: Any) -> Decoder:
    """The compiled form of `decode` for one type: a function of JSON value and place."""
    return _decoder(kind)


def _codec(cls: type) -> tuple[Callable[[Any], dict[str, Json]], Callable[[Json, str], Any]]:
    found = _CODECS.get(cls)
    if found is None:
        found = _CODECS[cls] = _make_codec(cls)
    return found


def _make_codec(
    cls: type,
) -> tuple[Callable[[Any], dict[str, Json]], Callable[[Json, str], Any]]:
    import dataclasses

    hints = typing.get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.name != "unknown"]
    keeps_unknown = any(field.name == "unknown" for field in dataclasses.fields(cls))
    rows = [
        (
            field.name,
            field.metadata.get("key", field.name),
            bool(field.metadata.get("omit_none")),
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            _decoder(hints[field.name]),
        )
        for field in fields
    ]
    known = {key for _, key, _, _, _ in rows}

    def to_json(value: Any) -> dict[str, Json]:
        made: dict[str, Json] = {}
        for name, key, omit, _, _ in rows:
            item = getattr(value, name)
            if item is None:
                if not omit:
                    made[key] = None
            elif item.__class__ in _ATOMS:
                made[key] = item
            else:
                made[key] = encode(item)
        if keeps_unknown and value.unknown:
            made.update(value.unknown)
        return made

    def from_json(value: Json, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise ParseError(f"{where}: an object is expected, not {_shown(value)}")
        arguments: dict[str, Any] = {}
        for name, key, _, required, decoder in rows:
            if key in value:
                arguments[name] = decoder(value[key], f"{where}.{key}")
            elif required:
                raise ParseError(f"{where}: key {key!r} is missing")
        extra = {key: item for key, item in value.items() if key not in known}
        if extra and keeps_unknown:
            arguments["unknown"] = extra
        elif extra:
            raise ParseError(f"{where}: unknown key {sorted(extra)[0]!r}")
        return cls(**arguments)

    return to_json, from_json


_ATOMS = frozenset({str, int, float, bool})


def _shown(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _decoder(kind: Any) -> Decoder:
    """The function that reads a value of the annotated type `kind`."""
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return lambda value, where: value
    if kind is None or kind is type(None):
        return _decode_none
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _decoder(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return _union_decoder(typing.get_args(kind))
    if origin is typing.Literal:
        return _literal_decoder(typing.get_args(kind))
    if origin is not None:
        return _container_decoder(origin, typing.get_args(kind))
    if hasattr(kind, "__dataclass_fields__"):
        return lambda value, where: _codec(kind)[1](value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_decoder(kind)
    if kind is float:
        return _decode_float
    if kind in (str, int, bool):
        return _atom_decoder(kind)
    if kind in (list, tuple):
        return _container_decoder(kind, (Any,) if kind is list else (Any, ...))
    if kind in (dict, Mapping):
        return _container_decoder(dict, (str, Any))
    raise TypeError(f"no JSON form for the annotation {kind!r}")


def _decode_none(value: Json, where: str) -> None:
    if value is not None:
        raise ParseError(f"{where}: null is expected, not {_shown(value)}")


def _decode_float(value: Json, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ParseError(f"{where}: a number is expected, not {_shown(value)}")
    return float(value)


_ATOM_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def _atom_decoder(kind: type) -> Decoder:
    name = _ATOM_NAMES[kind]

    def read(value: Json, where: str) -> Any:
        if value.__class__ is kind:
            return value
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)  # other writers give 1.0 for 1
        raise ParseError(f"{where}: {name} is expected, not {_shown(value)}")

    return read


def _enum_decoder(kind: type[Enum]) -> Decoder:
    def read(value: Json, where: str) -> Enum:
        try:
            return kind(value)
        except ValueError:
            words = ", ".join(str(member.value) for member in kind)
            raise ParseError(f"{where}: one of {words} is expected, not {_shown(value)}") from None

    return read


def _literal_decoder(values: tuple[Any, ...]) -> Decoder:
    def read(value: Json, where: str) -> Any:
        if value in values:
            return value
        words = ", ".join(map(str, values))
        raise ParseError(f"{where}: one of {words} is expected, not {_shown(value)}")

    return read


def _union_decoder(kinds: tuple[Any, ...]) -> Decoder:
    optional = type(None) in kinds
    readers = [_decoder(kind) for kind in kinds if kind is not type(None)]
    if len(readers) == 1:
        only = readers[0]
        return lambda value, where: None if value is None else only(value, where)

    def read(value: Json, where: str) -> Any:
        if value is None and optional:
            return None
        problems = []
        for reader in readers:
            try:
                return reader(value, where)
            except ParseError as error:
                problems.append(str(error))
        raise ParseError(problems[0])

    return read


def _container_decoder(origin: Any, arguments: tuple[Any, ...]) -> Decoder:
    if issubclass(origin, Mapping):
        return _mapping_decoder(origin, arguments)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is Ellipsis):
        return _tuple_decoder(arguments)
    if issubclass(origin, (Sequence, set, frozenset)):
        item = _decoder(arguments[0])
        build = tuple if origin is Sequence else origin

        def read(value: Json, where: str) -> Any:
            if not isinstance(value, (list, tuple)):
                raise ParseError(f"{where}: a list is expected, not {_shown(value)}")
            return build([item(one, f"{where}[{i}]") for i, one in enumerate(value)])

        return read
    raise TypeError(f"no JSON form for {origin!r}")


def _mapping_decoder(origin: Any, arguments: tuple[Any, ...]) -> Decoder:
    key_reader = _decoder(arguments[0])
    value_kind = arguments[1]
    plain = value_kind is Any
    item = _decoder(value_kind)

    def read(value: Json, where: str) -> Any:
        if not isinstance(value, Mapping):
            raise ParseError(f"{where}: an object is expected, not {_shown(value)}")
        if plain:
            return dict(value)
        return {key_reader(k, where): item(one, f"{where}.{k}") for k, one in value.items()}

    return read


def _tuple_decoder(kinds: tuple[Any, ...]) -> Decoder:
    readers = [_decoder(kind) for kind in kinds]

    def read(value: Json, where: str) -> Any:
        if not isinstance(value, (list, tuple)) or len(value) != len(readers):
            raise ParseError(f"{where}: a list of {len(readers)} is expected, not {_shown(value)}")
        return tuple(
            reader(one, f"{where}[{i}]") for i, (reader, one) in enumerate(zip(readers, value))
        )

    return read
