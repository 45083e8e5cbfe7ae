"""Back-end parameters: memory, processors, how an instance is moved (facts/config-data.json)."""

from __future__ import annotations

from collections.abc import Mapping

from ganeti.errors import Code, OpPrereqError
from ganeti.model.params import Kind, Param, at_least, table
from ganeti.serializer import Json

BE_PARAMS = table(
    Param("minmem", Kind.SIZE, 128, "least memory, in MiB", at_least(1)),
    Param(
        "maxmem", Kind.SIZE, 128, "most memory, in MiB; what the instance starts with", at_least(1)
    ),
    Param("vcpus", Kind.INT, 1, "virtual processors", at_least(1)),
    Param("auto_balance", Kind.BOOL, True, "counted in the N+1 check and moved by the balancer"),
    Param("always_failover", Kind.BOOL, False, "failover where a migration is asked for"),
    Param(
        "spindle_use",
        Kind.INT,
        1,
        "disk spindles that the instance is assumed to need",
        at_least(0),
    ),
)


def split_memory(values: Mapping[str, Json]) -> dict[str, Json]:
    """The old parameter `memory` as minmem and maxmem; OpPrereqError INVAL if both are given."""
    made = dict(values)
    if "memory" not in made:
        return made
    memory = made.pop("memory")
    for name in ("minmem", "maxmem"):
        if name in made:
            raise OpPrereqError(f"parameter 'memory' can't be given with {name!r}", Code.INVAL)
        made[name] = memory
    return made


def check_beparams(full: Mapping[str, Json]) -> None:
    """Conditions between complete back-end parameters; OpPrereqError INVAL."""
    if full["minmem"] > full["maxmem"]:
        raise OpPrereqError(
            f"minimum memory {full['minmem']} MiB is more than maximum memory {full['maxmem']} MiB",
            Code.INVAL,
        )
