"""Info pages: mappings, lists and values as indented `key: value` lines, which YAML can read.

Source: facts/cli-behaviour.md §11. A page is made of
    Fields      a mapping whose order is fixed: a list of (key, value)
    dict        a mapping sorted by its keys
    list        items, one a line (or a block) each
    tuple       values in one line, `[a, b]`
and anything else, written as Python does (None, True).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

STEP = "  "


class Fields(list[tuple[str, Any]]):
    """A mapping in the order of its making."""

    def add(self, key: str, value: Any) -> None:
        self.append((key, value))


def page(value: Any) -> str:
    """The text of a page, with a line break at its end."""
    return "\n".join(_lines(value, "")) + "\n"


def _pairs(value: Any) -> Iterable[tuple[Any, Any]]:
    return value if isinstance(value, Fields) else sorted(value.items())


def _is_block(value: Any) -> bool:
    return isinstance(value, (Mapping, list))


def _lines(value: Any, indent: str) -> list[str]:
    if isinstance(value, (Fields, Mapping)):
        return _mapping(value, indent)
    if isinstance(value, list):
        return _list(value, indent)
    return [indent + _scalar(value)]


def _mapping(value: Any, indent: str) -> list[str]:
    made: list[str] = []
    for key, item in _pairs(value):
        if _is_block(item):
            made.append(f"{indent}{key}: ")
            made += _lines(item, indent + STEP)
        else:
            name = str(key).rstrip()
            padding = str(key)[len(name) :]  # lines values up
            made.append(f"{indent}{name}:{padding} {_scalar(item)}")
    return made


def _list(value: list[Any], indent: str) -> list[str]:
    made: list[str] = []
    for item in value:
        inner = _lines(item, indent + STEP) or [indent + STEP]
        first = inner[0][len(indent) + len(STEP) :]
        made += [f"{indent}- {first}", *inner[1:]]
    return made


def _scalar(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)


def plain(value: Any) -> Any:
    """The page as plain dicts and lists, for JSON and the like."""
    if isinstance(value, (Fields, Mapping)):
        return {str(key).strip(): plain(item) for key, item in _pairs(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def inherited(actual: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as they count; those that are not the object's own as `default (VALUE)`."""
    return {key: own[key] if key in own else f"default ({value})" for key, value in actual.items()}
