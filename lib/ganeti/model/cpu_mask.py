"""Processor masks: which of a node's processors an instance may use (facts/hypervisors.md).

A mask is numbers and ranges joined by commas, such as `0-2,5`. Masks joined by `:` are for one
virtual processor each; a single mask is for all of them. `all` means no pinning.
"""

from __future__ import annotations

from typing import Final

from ganeti.errors import ParseError
from ganeti.model.params import Check
from ganeti.serializer import Json

ALL: Final = "all"


def parse_cpu_mask(text: str) -> tuple[int, ...]:
    """Sorted processor numbers of one mask such as `0-2,5`; ParseError."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = part.partition("-")
        if not low.isdecimal() or (dash and not high.isdecimal()):
            raise ParseError(f"CPU mask {text!r}: {part!r} is neither a number nor a range")
        last = int(high) if dash else int(low)
        if last < int(low):
            raise ParseError(f"CPU mask {text!r}: range {part!r} runs backwards")
        found.update(range(int(low), last + 1))
    return tuple(sorted(found))


def parse_cpu_masks(text: str) -> tuple[tuple[int, ...] | None, ...]:
    """One entry per mask; None stands for `all`. ParseError."""
    return tuple(None if part == ALL else parse_cpu_mask(part) for part in text.split(":"))


def _are_masks(value: Json) -> bool:
    try:
        return bool(parse_cpu_masks(value))
    except ParseError:
        return False


def _is_mask_or_empty(value: Json) -> bool:
    try:
        return not value or bool(parse_cpu_mask(value))
    except ParseError:
        return False


CPU_MASKS: Final = Check(
    _are_masks, "all, or processors like 0-2,5; several masks are joined by colons"
)
CPU_MASK_OR_EMPTY: Final = Check(_is_mask_or_empty, "empty, or processors like 0-2,5")
