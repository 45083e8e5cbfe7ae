"""Permissions, roles, and what the users file makes of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from ganeti.rapi.access import User, Users, may, parse_users
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.rights import ROLES, Rights, parse_roles, permissions, rights_of
from ganeti.rapi.table import Access
from hypothesis import given
from hypothesis import strategies as st

METHODS = [method for one in RESOURCES for method in one.methods.values()]
KNOWN = sorted(permissions())
WORDS = st.sampled_from([*KNOWN, *ROLES, "*.read", "instance.*", "*.tag", "", "*", "x", "?.read"])
PATTERNS = st.frozensets(
    st.sampled_from([*KNOWN, "*", "*.*", "*.read", "instance.*", "*.tag"]), max_size=4
)


def rights(*words: str) -> Rights:
    return rights_of(words)[0]


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ([], {Access.NONE}),
        (["read"], {Access.NONE, Access.READ}),
        (["write"], {Access.NONE, Access.READ, Access.WRITE}),
        (["read", "write"], {Access.NONE, Access.READ, Access.WRITE}),
        (["admin", "*", "Write"], {Access.NONE}),
    ],
)
def test_a_classic_users_file_gives_what_the_facts_say(
    options: list[str], reached: set[Access]
) -> None:
    user = User("somebody", rights(*options))
    for method in METHODS:
        assert may(user, method) == (method.access in reached), method.permission


@pytest.mark.parametrize("role", sorted(ROLES))
def test_rights_of_a_role_that_comes_along_reach_something(role: str) -> None:
    for pattern in ROLES[role]:
        assert any(Rights(frozenset({pattern})).has(one) for one in KNOWN), pattern


@given(st.lists(WORDS, max_size=5))
def test_nobody_gets_more_than_the_words_say(words: list[str]) -> None:
    allowed = {one for one in KNOWN if rights(*words).has(one)}
    told = set()
    for word in words:
        for pattern in ROLES.get(word, frozenset({word} if "." in word else ())):
            kind, _, action = pattern.partition(".")
            told |= {
                one
                for one in KNOWN
                if pattern == "*"
                or (kind in ("*", one.partition(".")[0]) and action in ("*", one.partition(".")[2]))
            }
    assert allowed == told


@given(PATTERNS, PATTERNS, st.sampled_from(METHODS))
def test_a_limit_allows_what_both_allow(one: frozenset[str], other: frozenset[str], method) -> None:
    both = Rights(one).within(Rights(other))
    assert both.allow(method) == (Rights(one).allow(method) and Rights(other).allow(method))
    for name in KNOWN:
        assert both.has(name) == (Rights(one).has(name) and Rights(other).has(name))


def test_a_star_is_a_whole_word() -> None:
    for word in ("inst*.start", "instance.st*", "instance.?", "[a-z].read", "**", "*.*.*"):
        assert rights_of([word])[1] == [word]


def test_roles_of_a_file_are_names_for_rights() -> None:
    roles = parse_roles(
        "# ours\n\nhelp-desk: instance.start, job.*  # by day\nduo: read\n", "roles"
    )
    assert roles["help-desk"] == {"instance.start", "job.*"}
    assert roles["duo"] == ROLES["read"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("helpdesk instance.start", "no colon"),
        ("Help Desk: instance.start", "a name has"),
        ("write: *.read", "comes with the software"),
        ("good: instance.stop", "given before"),
        ("other: instance.start, starting", "'starting' is no permission"),
        ("other: good", "'good' is no permission"),
        ("other:", "no permissions"),
    ],
)
def test_a_bad_line_is_told_and_left_out(
    line: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        roles = parse_roles(f"good: instance.start\n{line}\n", "/x/roles")
    assert roles == {**ROLES, "good": frozenset({"instance.start"})}
    assert "/x/roles, line 2: " in caplog.text and said in caplog.text


def test_an_unknown_option_of_a_user_is_told_and_gives_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = parse_users("one pw oprator,job.read\n", "/x/users")
    assert found["one"].rights.patterns == {"job.read"}
    assert "/x/users, line 1: 'oprator' is no role and no permission" in caplog.text


def test_roles_and_users_are_read_together(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("one pw helpdesk\n")
    users = Users(tmp_path / "users")
    assert not users.rights_of("one").has("instance.start")
    (tmp_path / "roles").write_text("helpdesk: instance.start\n")
    users.load()
    assert users.rights_of("one").has("instance.start")
    (tmp_path / "roles").unlink()
    users.load()
    assert not users.rights_of("one").has("instance.start")
