"""What a parameter is, and the check of a request's values against a table of them.

Kinds and conversions: facts/config-data.md §5. The tables are in the params_* modules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from ganeti.errors import Code, OpPrereqError, TypeEnforcementError, UnitParseError
from ganeti.serializer import Json
from ganeti.utils.text import parse_unit

DEFAULT_WORD: Final = "default"
"""In a request: drop this level's value, so that the next lower level shows through."""

NONE_WORD: Final = "none"
"""In a request: drop an OS parameter; JSON null means the same."""


class Kind(StrEnum):
    """Type of a parameter's value."""

    STRING = "string"
    MAYBE_STRING = "maybe-string"  # a text, or None
    BOOL = "bool"
    SIZE = "size"  # MiB; a text may have a unit
    INT = "int"
    FLOAT = "float"


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on a value of the right type, and how to say it: "must be …"."""

    holds: Callable[[Json], bool]
    wish: str


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter. `cluster_only`: instances (of nodes: single nodes) can't have their own."""

    name: str
    kind: Kind
    default: Json
    help: str
    check: Check | None = None
    cluster_only: bool = False


ParamTable = Mapping[str, Param]


def table(*params: Param) -> ParamTable:
    """A read-only table by name."""
    return MappingProxyType({param.name: param for param in params})


def defaults(params: ParamTable) -> dict[str, Json]:
    """The software defaults of a table."""
    return {name: param.default for name, param in params.items()}


def _convert_bool(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise ValueError("is not a valid boolean; true or false is expected")


def _convert_string(value: Json) -> str:
    if isinstance(value, str):
        return value
    if value is None or value is False:
        return ""
    raise ValueError("is not a text")


def _convert_maybe_string(value: Json) -> str | None:
    if value is None or value is False or value == NONE_WORD:
        return None
    if isinstance(value, str):
        return value
    raise ValueError("is neither a text nor none")


def _convert_size(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("is not a valid size")
    try:
        return parse_unit(str(value))
    except UnitParseError as error:
        raise ValueError(f"is not a valid size: {error}") from None


def _convert_int(value: Json) -> int:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = int(value)
        if isinstance(value, float) and number != value:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError("is not a valid integer") from None
    return number


def _convert_float(value: Json) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = float(value)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise ValueError("is not a valid number") from None
    return number


_CONVERTERS: Final[Mapping[Kind, Callable[[Json], Json]]] = {
    Kind.STRING: _convert_string,
    Kind.MAYBE_STRING: _convert_maybe_string,
    Kind.BOOL: _convert_bool,
    Kind.SIZE: _convert_size,
    Kind.INT: _convert_int,
    Kind.FLOAT: _convert_float,
}


def convert(kind: Kind, value: Json, name: str) -> Json:
    """`value` as the kind wants it; TypeEnforcementError names the parameter and the value."""
    try:
        return _CONVERTERS[kind](value)
    except ValueError as error:
        raise TypeEnforcementError(f"{name!r} (value {value}) {error}") from None


def check_types(
    params: ParamTable, values: Mapping[str, Json], *, allow_default: bool = False
) -> dict[str, Json]:
    """Known names and right types, no more; TypeEnforcementError.

    With `allow_default` the word `default` passes, as a request to drop the value.
    """
    made: dict[str, Json] = {}
    for name, value in values.items():
        param = params.get(name)
        if param is None:
            raise TypeEnforcementError(f"Unknown parameter {name!r}; known: {', '.join(params)}")
        if allow_default and value == DEFAULT_WORD and isinstance(value, str):
            made[name] = DEFAULT_WORD
        else:
            made[name] = convert(param.kind, value, name)
    return made


def check_values(params: ParamTable, values: Mapping[str, Json]) -> None:
    """The conditions of each parameter on typed values; OpPrereqError INVAL."""
    for name, value in values.items():
        check = params[name].check
        if check is not None and not check.holds(value):
            raise OpPrereqError(
                f"parameter {name!r}, value {value!r}: must be {check.wish}", Code.INVAL
            )


def check_params(
    params: ParamTable, values: Mapping[str, Json], *, allow_default: bool = False
) -> dict[str, Json]:
    """Types and conditions of some of a table's parameters; the typed values.

    TypeEnforcementError for an unknown name or a wrong type, OpPrereqError INVAL for a value that
    a condition refuses. A value `default` is kept as it is when `allow_default`, even where the
    word is also a legal value: dropping and setting it then mean nearly the same.
    """
    made = check_types(params, values, allow_default=allow_default)
    check_values(
        params,
        {
            name: value
            for name, value in made.items()
            if not (allow_default and value == DEFAULT_WORD)
        },
    )
    return made


def one_of(*words: str) -> Check:
    """One of some texts; "" is shown as `empty`."""
    shown = ", ".join(word or "empty" for word in words)
    return Check(lambda value: value in words, f"one of {shown}")


def between(low: int, high: int) -> Check:
    return Check(lambda value: low <= value <= high, f"between {low} and {high}")


def at_least(low: int) -> Check:
    return Check(lambda value: value >= low, f"at least {low}")


def is_normal_path(value: Json) -> bool:
    """An absolute path without `.`, `..`, double or trailing slashes."""
    if not isinstance(value, str) or not value.startswith("/"):
        return False
    return value == "/" or all(part not in ("", ".", "..") for part in value[1:].split("/"))


PATH: Final = Check(is_normal_path, "an absolute path in its shortest form")
PATH_OR_EMPTY: Final = Check(
    lambda value: not value or is_normal_path(value), "empty or an absolute path"
)
PATH_OR_URL: Final = Check(
    lambda value: (
        not value or is_normal_path(value) or re.fullmatch(r"(https?|ftp)://\S+", value) is not None
    ),
    "empty, an absolute path, or an URL of http, https or ftp",
)
PORT: Final = between(1, 65534)
