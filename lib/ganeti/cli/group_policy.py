"""The instance policy from the options of commands that have not all of them.

Groups and gnt-cluster modify have no --specs-*, groups no standard sizes. In a group's policy the
word `default` unsets a part.
"""

from __future__ import annotations

from typing import Any

from ganeti.cli.cluster_init import policy_of
from ganeti.serializer import Json

DEFAULT = "default"


class _Lenient:
    """Options, of which those that the command does not have were not given."""

    def __init__(self, wanted: Any) -> None:
        self._wanted = wanted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wanted, name, None)


def policy_of_options(wanted: Any) -> dict[str, Json]:
    """What the options say; empty when they say nothing."""
    made = policy_of(_Lenient(wanted))
    for key, unset in (("disk-templates", [DEFAULT]), ("minmax", [{DEFAULT: {}}])):
        if made.get(key) == unset:
            made[key] = DEFAULT
    return made
