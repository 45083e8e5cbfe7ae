"""Named permissions and roles.

A permission is `object.action`, as each method of the remote API declares it; a right is a
permission or a pattern of one: `instance.*`, `*.read`, `*`. Roles are sets of rights. The classic
options of the users file are two of them: `write` may do everything, `read` may read everything.
A cluster's own roles stand in a file, `name: right, right …` per line.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from ganeti.rapi.table import Access, Method

logger = logging.getLogger(__name__)

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

_WORD = r"(?:\*|[a-z][a-z0-9-]*)"
RIGHT: Final = re.compile(rf"{_WORD}\.{_WORD}|\*")  # a star is a whole word, never a part of one
ROLE_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Rights:
    """Patterns of permissions that are allowed, but for what one of `limits` does not allow."""

    patterns: frozenset[str]
    limits: tuple[Rights, ...] = ()

    def allow(self, method: Method) -> bool:
        """Methods with access `write or read` need a right to read."""
        return self._allow(method) and all(limit.allow(method) for limit in self.limits)

    def has(self, permission: str) -> bool:
        return self._has(permission) and all(limit.has(permission) for limit in self.limits)

    def within(self, other: Rights) -> Rights:
        """What both allow: the rights of a token of a user."""
        return Rights(self.patterns, (*self.limits, other))

    def _allow(self, method: Method) -> bool:
        if self._has(method.permission):
            return True
        kind = method.permission.partition(".")[0]
        return method.access == Access.READ and self._has(f"{kind}.read")

    def _has(self, permission: str) -> bool:
        kind, _, action = permission.partition(".")
        covering = {permission, f"{kind}.*", f"*.{action}", "*.*", "*"}
        return not covering.isdisjoint(self.patterns)


NO_RIGHTS: Final = Rights(frozenset())


def rights_of(
    options: Iterable[str], roles: Mapping[str, frozenset[str]] = ROLES
) -> tuple[Rights, list[str]]:
    """The rights that these words name: roles, permissions and patterns; and words that are none
    of these, which give nothing."""
    patterns: set[str] = set()
    unknown = []
    for option in options:
        if option in roles:
            patterns |= roles[option]
        elif "." in option and RIGHT.fullmatch(option):
            patterns.add(option)
        else:
            unknown.append(option)
    return Rights(frozenset(patterns)), unknown


def parse_roles(text: str, place: str) -> dict[str, frozenset[str]]:
    """The roles that come with the software and those of a file, `name: right, right …` per line.

    A right may also be the name of a role that comes with the software. A line that is not of
    that form is left out as a whole, and the log says which.
    """
    roles = dict(ROLES)
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        problem = _add_role(roles, line)
        if problem:
            logger.warning("%s, line %d: %s; the line is left out", place, number, problem)
    return roles


def _add_role(roles: dict[str, frozenset[str]], line: str) -> str:
    """What is wrong with the line; empty when its role was added."""
    name, colon, listed = line.partition(":")
    name = name.strip()
    if not colon:
        return "no colon after the name of the role"
    if not ROLE_NAME.fullmatch(name):
        return f"role {name!r}: a name has lower-case letters, digits, - and _"
    if name in ROLES:
        return f"role {name!r} comes with the software and stays what it is"
    if name in roles:
        return f"role {name!r} was given before"
    patterns: set[str] = set()
    for word in listed.replace(",", " ").split():
        if word in ROLES:
            patterns |= ROLES[word]
        elif RIGHT.fullmatch(word):
            patterns.add(word)
        else:
            return f"role {name!r}: {word!r} is no permission, such as instance.start or *.read"
    if not patterns:
        return f"role {name!r} has no permissions"
    roles[name] = frozenset(patterns)
    return ""


def permissions() -> dict[str, list[str]]:
    """Each permission with the methods that need it."""
    from ganeti.rapi.resources import RESOURCES  # they import this room's modules

    found: dict[str, list[str]] = {}
    for one in RESOURCES:
        for name, method in one.methods.items():
            found.setdefault(method.permission, []).append(f"{name} {one.path}")
    return dict(sorted(found.items()))
