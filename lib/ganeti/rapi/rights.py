"""Named permissions and roles.

A permission is `object.action`, as each method of the remote API declares it; a right is a
permission or a pattern of one: `instance.*`, `*.read`. Roles are sets of rights. The classic
options of the users file are two of them: `write` may do everything, `read` may read everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ganeti.rapi.table import Access, Method

READ: Final = "*.read"

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "write": frozenset({"*"}),
    "read": frozenset({READ}),
    "operator": frozenset(
        {
            READ,
            "instance.start",
            "instance.stop",
            "instance.reboot",
            "instance.console",
            "instance.migrate",
            "instance.failover",
            "job.cancel",
        }
    ),
    "instances": frozenset({READ, "instance.*", "job.cancel"}),
    "auditor": frozenset({READ}),
}
"""Names that may stand for rights in the users file and in tokens."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Patterns of permissions that are allowed."""

    patterns: frozenset[str]

    def allow(self, method: Method) -> bool:
        """Methods with access `write or read` need a right to read."""
        if self.has(method.permission):
            return True
        return method.access == Access.READ and self.has(
            method.permission.partition(".")[0] + ".read"
        )

    def has(self, permission: str) -> bool:
        return permission in self.patterns or any(
            fnmatchcase(permission, pattern) for pattern in self.patterns if "*" in pattern
        )

    def within(self, other: Rights) -> Rights:
        """Those of mine that the other has as well: the rights of a token of a user."""
        mine = {one for one in self.patterns if other.has(one) or one in other.patterns}
        return Rights(frozenset(mine | {one for one in other.patterns if self.has(one)}))


def rights_of(options: Iterable[str]) -> Rights:
    """The rights that options of the users file name: roles, permissions and patterns."""
    patterns: set[str] = set()
    for option in options:
        patterns |= ROLES.get(option, frozenset({option} if "." in option else ()))
    return Rights(frozenset(patterns))
