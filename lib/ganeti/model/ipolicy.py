"""Instance policies: which instances a cluster or a group accepts (facts/master.md F).

A complete policy has `minmax` (a list of pairs of specs), `std` (cluster only), `disk-templates`,
`vcpu-ratio` and `spindle-ratio`. A spec has a number for each of SPEC_KEYS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from ganeti.errors import Code, OpPrereqError, TypeEnforcementError
from ganeti.model.params import DEFAULT_WORD, Kind, convert
from ganeti.serializer import Json
from ganeti.types import DiskTemplate

SPEC_KEYS: Final = (
    "memory-size", "disk-size", "disk-count", "cpu-count", "nic-count", "spindle-use",
)  # fmt: skip
RATIO_KEYS: Final = ("vcpu-ratio", "spindle-ratio")
ALL_KEYS: Final = ("minmax", "std", "disk-templates", *RATIO_KEYS)

DEFAULT_MIN: Final[Mapping[str, int]] = MappingProxyType(
    {
        "memory-size": 128,
        "disk-size": 1024,
        "disk-count": 1,
        "cpu-count": 1,
        "nic-count": 1,
        "spindle-use": 1,
    }
)
DEFAULT_MAX: Final[Mapping[str, int]] = MappingProxyType(
    {
        "memory-size": 32768,
        "disk-size": 1048576,
        "disk-count": 16,
        "cpu-count": 8,
        "nic-count": 8,
        "spindle-use": 12,
    }
)


def default_ipolicy() -> dict[str, Json]:
    """The software defaults, complete."""
    return {
        "minmax": [{"min": dict(DEFAULT_MIN), "max": dict(DEFAULT_MAX)}],
        "std": dict(DEFAULT_MIN),
        "disk-templates": sorted(template.value for template in DiskTemplate),
        "vcpu-ratio": 4.0,
        "spindle-ratio": 32.0,
    }


def merge(lower: Mapping[str, Json], upper: Mapping[str, Json]) -> dict[str, Json]:
    """`upper` over `lower`: whole keys, but `std` spec by spec."""
    made = {**lower, **upper}
    if "std" in upper and "std" in lower:
        made["std"] = {**lower["std"], **upper["std"]}
    return made


# Checks of a policy.


def check_ipolicy(
    values: Mapping[str, Json], *, for_group: bool, allow_default: bool = False
) -> dict[str, Json]:
    """Check what a request sets; the typed values.

    `allow_default`: a group may drop a key by the value `default`. A group has no `std`.
    TypeEnforcementError for wrong types, OpPrereqError INVAL for the rest. Whether `std` lies
    within the bounds is a question to the complete policy: `check_std`.
    """
    made: dict[str, Json] = {}
    for key, value in values.items():
        if key not in ALL_KEYS:
            raise OpPrereqError(
                f"instance policy: unknown key {key!r}; known: {', '.join(ALL_KEYS)}", Code.INVAL
            )
        if key == "std" and for_group:
            raise OpPrereqError("instance policy: a group has no standard specs", Code.INVAL)
        if value == DEFAULT_WORD and isinstance(value, str):
            if not (for_group and allow_default):
                raise OpPrereqError(
                    f"instance policy: {key!r} can't be unset on a cluster", Code.INVAL
                )
            made[key] = DEFAULT_WORD
        else:
            made[key] = _check_key(key, value)
    return made


def _check_key(key: str, value: Json) -> Json:
    if key == "minmax":
        return _check_minmax(value)
    if key == "std":
        return check_spec(value, "std", partial=True)
    if key == "disk-templates":
        return _check_templates(value)
    ratio = convert(Kind.FLOAT, value, key)
    if ratio <= 0:
        raise OpPrereqError(f"instance policy: {key!r}, value {value}: must be > 0", Code.INVAL)
    return ratio


def _check_templates(value: Json) -> list[str]:
    if not isinstance(value, (list, tuple)) or not value:
        raise OpPrereqError("instance policy: disk-templates needs at least one", Code.INVAL)
    known = [template.value for template in DiskTemplate]
    wrong = sorted(str(word) for word in value if word not in known)
    if wrong:
        raise OpPrereqError(
            f"instance policy: unknown disk template {wrong[0]!r}; known: {', '.join(known)}",
            Code.INVAL,
        )
    return list(value)


def _check_minmax(value: Json) -> list[dict[str, dict[str, int]]]:
    if not isinstance(value, (list, tuple)) or not value:
        raise OpPrereqError("instance policy: minmax needs at least one pair", Code.INVAL)
    made = []
    for pair in value:
        if not isinstance(pair, Mapping) or set(pair) != {"min", "max"}:
            raise OpPrereqError(
                "instance policy: each entry of minmax has exactly min and max", Code.INVAL
            )
        low, high = check_spec(pair["min"], "min"), check_spec(pair["max"], "max")
        for key in SPEC_KEYS:
            if low[key] > high[key]:
                raise OpPrereqError(
                    f"instance policy: {key}: min {low[key]} is more than max {high[key]}",
                    Code.INVAL,
                )
        made.append({"min": low, "max": high})
    return made


def check_spec(value: Json, what: str, *, partial: bool = False) -> dict[str, int]:
    """Typed numbers of one spec; all six keys are needed unless `partial`."""
    if not isinstance(value, Mapping):
        raise TypeEnforcementError(f"instance policy: {what} must hold numbers by name")
    unknown = sorted(value.keys() - set(SPEC_KEYS))
    if unknown:
        raise TypeEnforcementError(
            f"instance policy: {what}: unknown key {unknown[0]!r}; known: {', '.join(SPEC_KEYS)}"
        )
    missing = [key for key in SPEC_KEYS if key not in value]
    if missing and not partial:
        raise OpPrereqError(f"instance policy: {what} lacks {', '.join(missing)}", Code.INVAL)
    made = {key: convert(Kind.INT, value[key], key) for key in SPEC_KEYS if key in value}
    for key, number in made.items():
        if number < 0:
            raise OpPrereqError(
                f"instance policy: {what} {key!r}, value {number}: must be at least 0", Code.INVAL
            )
    return made


def check_std(full: Mapping[str, Json]) -> None:
    """The standard spec must lie within one pair of bounds; OpPrereqError INVAL."""
    std = full["std"]
    problems: list[str] = []
    for pair in full["minmax"]:
        problems = [
            f"{key} {std[key]} is not in [{pair['min'][key]}, {pair['max'][key]}]"
            for key in SPEC_KEYS
            if key in std and not pair["min"][key] <= std[key] <= pair["max"][key]
        ]
        if not problems:
            return
    raise OpPrereqError(
        f"instance policy: standard specs are outside the bounds: {'; '.join(problems)}",
        Code.INVAL,
    )


def check_enabled(full: Mapping[str, Json], enabled: Sequence[str]) -> None:
    """The allowed templates must be enabled on the cluster; OpPrereqError INVAL."""
    wrong = sorted(set(full["disk-templates"]) - set(enabled))
    if wrong:
        raise OpPrereqError(
            f"instance policy allows disk templates that are not enabled: {', '.join(wrong)}",
            Code.INVAL,
        )


def restrict_templates(policy: Mapping[str, Json], enabled: Sequence[str]) -> dict[str, Json]:
    """The policy with its templates cut to the enabled ones, as loading does (§4)."""
    if "disk-templates" not in policy:
        return dict(policy)
    kept = [template for template in policy["disk-templates"] if template in enabled]
    return {**policy, "disk-templates": kept}


# Check of an instance.


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """What a policy looks at. Sizes are MiB; `spindle_use` is the sum of the disks' spindles
    when the nodes have exclusive storage."""

    memory: int | None
    vcpus: int | None
    disk_sizes: tuple[int, ...]
    disk_templates: tuple[str, ...]  # of each disk; empty for a diskless instance
    nic_count: int
    spindle_use: int | None


def violations(ipolicy: Mapping[str, Json], spec: InstanceSpec) -> list[str]:
    """Why a complete policy refuses an instance, in words; empty when it accepts it.

    The instance must fit one whole pair of bounds; the pair with the fewest problems is told.
    A None in the spec is not checked.
    """
    allowed = ipolicy["disk-templates"]
    used = spec.disk_templates or (DiskTemplate.DISKLESS.value,)
    problems = [
        f"disk template {template} is not allowed (allowed: {', '.join(allowed)})"
        for template in sorted(set(used))
        if template not in allowed
    ]
    numbers: list[tuple[str, int | None]] = [
        ("memory-size", spec.memory),
        ("cpu-count", spec.vcpus),
        ("nic-count", spec.nic_count),
        ("spindle-use", spec.spindle_use),
        *(("disk-size", size) for size in spec.disk_sizes),
    ]
    if spec.disk_sizes or DiskTemplate.DISKLESS not in allowed:
        numbers.append(("disk-count", len(spec.disk_sizes)))
    best: list[str] | None = None
    for pair in ipolicy["minmax"]:
        found = _outside(pair, numbers)
        if best is None or len(found) < len(best):
            best = found
    return problems + (best or [])


def _outside(
    pair: Mapping[str, Mapping[str, int]], numbers: Sequence[tuple[str, int | None]]
) -> list[str]:
    return [
        f"{key} value {number} is not in range"
        f" [{pair['min'].get(key, 0)}, {pair['max'].get(key, math.inf)}]"
        for key, number in numbers
        if number is not None
        and not pair["min"].get(key, 0) <= number <= pair["max"].get(key, math.inf)
    ]
