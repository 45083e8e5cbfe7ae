"""doc/rapi-access.rst names the permissions and roles that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ganeti.rapi.rights import ROLES, permissions

GUIDE = (Path(__file__).resolve().parents[2] / "doc" / "rapi-access.rst").read_text()


def test_the_guide_has_every_permission_once() -> None:
    table = re.findall(r"(?m)^``([a-z]+\.[a-z]+)`` {1,}\S", GUIDE)
    assert table == sorted(permissions())


@pytest.mark.parametrize("role", sorted(ROLES))
def test_the_guide_says_what_a_role_may(role: str) -> None:
    row = re.search(rf"(?ms)^\*{role}\* {{3,}}(.*?)(?=^[*=])", GUIDE)
    assert row is not None
    assert set(re.findall(r"``([^`]+)``", row[1])) == set(ROLES[role] - {"*"})
