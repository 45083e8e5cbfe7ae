"""The command line that would make an instance policy again (show-ispecs-cmd)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def spec_text(spec: Mapping[str, Any]) -> str:
    """`cpu-count=1,disk-count=1,…`."""
    return ",".join(f"{key}={value}" for key, value in sorted(spec.items()))


def bounds_text(pairs: Sequence[Mapping[str, Any]]) -> str:
    """`min:…/max:…`, further pairs after `//`."""
    return "//".join(f"min:{spec_text(pair['min'])}/max:{spec_text(pair['max'])}" for pair in pairs)


def policy_options(ipolicy: Mapping[str, Any], *, with_std: bool) -> list[str]:
    """The words of the options for standard sizes and bounds, as far as the policy has them."""
    words: list[str] = []
    if with_std and "std" in ipolicy:
        words += ["--ipolicy-std-specs", spec_text(ipolicy["std"])]
    if "minmax" in ipolicy:
        words += ["--ipolicy-bounds-specs", bounds_text(ipolicy["minmax"])]
    return words
