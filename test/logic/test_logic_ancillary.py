"""Files that go to the other nodes."""

from __future__ import annotations

from ganeti.logic.ancillary import group_name, user_name

NOBODYS_NUMBER = 3_999_999_999


def test_a_user_without_a_name_is_known_by_its_number() -> None:
    assert user_name(0) == "root"
    assert user_name(NOBODYS_NUMBER) == str(NOBODYS_NUMBER)
    assert group_name(NOBODYS_NUMBER) == str(NOBODYS_NUMBER)
