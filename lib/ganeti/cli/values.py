"""The texts of option values, read: sizes, times, parameter lists and the like.

Source: facts/cli-behaviour.md §9, vectors in facts/cli-examples.json.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ganeti.errors import Code, OpPrereqError, ParameterError
from ganeti.serializer import loads
from ganeti.utils.text import parse_unit

KeyValues = dict[str, Any]

_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_WORDS = {"yes": True, "true": True, "no": False, "false": False}


class Private(dict[str, Any]):
    """Parameters whose values are never shown."""

    def __repr__(self) -> str:
        return "<hidden>"

    __str__ = __repr__


def read_duration(text: str) -> int:
    """Seconds of `90`, `30m`, `4w`."""
    factor = _TIME_UNITS.get(text[-1:], 0)
    number = text[:-1] if factor else text
    if not (number.isascii() and number.isdigit()):
        raise OpPrereqError(
            f"Invalid time specification {text!r}", Code.INVAL, hint="write N, Ns, Nm, Nh, Nd or Nw"
        )
    return int(number) * (factor or 1)


def read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OpPrereqError(f"{text!r} is not a number", Code.INVAL) from None


def split_list(text: str, separator: str = ",") -> list[str]:
    r"""Parts of `a,b\,c`: a backslash keeps a separator or a backslash; no text, no parts."""
    if not text:
        return []
    parts, part, rest = [], "", iter(text)
    for letter in rest:
        if letter == "\\":
            after = next(rest, "")
            part += after if after in (separator, "\\") and after else letter + after
        elif letter == separator:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [*parts, part]


def read_key_values(text: str, *, bare: bool = True) -> KeyValues:
    """`key=value,flag,no_flag,-key` → text, true, false, None (back to inherited).

    Without `bare` each key needs a value. ParameterError for that and for a key that comes twice.
    """
    found: KeyValues = {}
    for part in split_list(text):
        key, equals, given = part.partition("=")
        value: Any = given
        if not equals:
            if not bare:
                raise ParameterError(f"{part}: a value is missing, write {part}=VALUE")
            if key.startswith("no_"):
                key, value = key[3:], False
            elif key.startswith("-"):
                key, value = key[1:], None
            else:
                value = True
        if key in found:
            raise ParameterError(f"{key} is given twice in {text!r}")
        found[key] = value
    return found


def read_private_key_values(text: str) -> KeyValues:
    """As `read_key_values`; what it returns hides its values."""
    try:
        return Private(read_key_values(text))
    except ParameterError:
        raise ParameterError("a key is given twice") from None


def read_ident_key_values(text: str) -> tuple[str, KeyValues | bool | None]:
    """`ident:key=value,...` → (ident, values); False for `no_ident`, None for `-ident`."""
    ident, _, rest = text.partition(":")
    if ident.startswith("no_"):
        bare, value = ident[3:], False
    elif ident.startswith("-") and not ident[1:2].isdigit():
        bare, value = ident[1:], None
    else:
        return ident, read_key_values(rest)
    if rest:
        raise ParameterError(f"{ident} takes no parameters, but got {rest!r}")
    return bare, value


def read_sections(text: str) -> list[dict[str, KeyValues]]:
    """`min:a=1/max:a=2//min:…` → a list of dicts of dicts."""
    return [_read_section(part, text) for part in text.split("//")]


def _read_section(text: str, whole: str) -> dict[str, KeyValues]:
    found: dict[str, KeyValues] = {}
    for part in text.split("/"):
        ident, _, rest = part.partition(":")
        if not ident:
            raise ParameterError(f"a section of {whole!r} is empty, write NAME:KEY=VALUE,...")
        if ident in found:
            raise ParameterError(f"{ident} is given twice in {text!r}")
        found[ident] = read_key_values(rest, bare=False)
    return found


def read_bool(text: str) -> bool:
    try:
        return _WORDS[text.lower()]
    except KeyError:
        raise ParameterError(f"{text!r} is not yes or no") from None


def read_maybe_float(text: str) -> float | str:
    """A number, or the word `default`."""
    if text.lower() == "default":
        return "default"
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is neither a number nor 'default'") from None


def read_filter_action(text: str) -> str | list[Any]:
    """A word, or `RATE_LIMIT n` → ["RATE_LIMIT", n]."""
    match text.split():
        case ["RATE_LIMIT", number] if number.isdigit():
            return ["RATE_LIMIT", int(number)]
    return text


def read_placement(text: str) -> tuple[str, str | None]:
    """`pnode[:snode]` → (primary, secondary or None)."""
    primary, colon, secondary = text.partition(":")
    return primary, secondary if colon else None


def read_fields(text: str | None, default: list[str]) -> list[str]:
    """Columns of -o: a list in place of the default ones, or `+list` beside them."""
    if text is None:
        return default
    if text.startswith("+"):
        return [*default, *text[1:].split(",")]
    return text.split(",")


READERS: dict[str, Callable[[str], Any]] = {
    "string": str,
    "int": int,
    "float": float,
    "unit": parse_unit,
    "bool": read_bool,
    "keyval": read_key_values,
    "keyprivateval": read_private_key_values,
    "identkeyval": read_ident_key_values,
    "multilistidentkeyval": read_sections,
    "list": split_list,
    "maybefloat": read_maybe_float,
    "json": lambda text: loads(text, "the value"),
    "filteraction": read_filter_action,
}
