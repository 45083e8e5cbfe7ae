"""From a path to its resource."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ganeti.rapi.table import Resource

_NUMBERS = frozenset({"job_id", "index"})
_PLACEHOLDER = re.compile(r"{(\w+)}")


class Router:
    """Finds the resource of a path as it was sent: an escaped slash matches nothing."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._plain: dict[str, Resource] = {}
        self._patterns: dict[int, list[tuple[re.Pattern[str], Resource]]] = {}
        for one in resources:
            if "{" in one.path:
                pattern = re.compile(_PLACEHOLDER.sub(_group, one.path))
                self._patterns.setdefault(one.path.count("/"), []).append((pattern, one))
            else:
                self._plain[one.path] = one

    def find(self, path: str) -> tuple[Resource, dict[str, str]] | None:
        """The resource and the values of its placeholders."""
        plain = self._plain.get(path)
        if plain is not None:
            return plain, {}
        for pattern, one in self._patterns.get(path.count("/"), ()):
            match = pattern.fullmatch(path)
            if match:
                return one, match.groupdict()
        return None


def _group(placeholder: re.Match[str]) -> str:
    name = placeholder[1]
    kind = r"[0-9]{1,18}" if name in _NUMBERS else r"[\w._-]+"
    return f"(?P<{name}>{kind})"
