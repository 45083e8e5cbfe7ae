"""Rings of public SSH keys, and authorized_keys files."""

from __future__ import annotations

import pytest
from ganeti.errors import OpPrereqError
from ganeti.utils import ssh_keys

A, B, C = "ssh-rsa AAAA root@node1", "ssh-rsa BBBB root@node2", "ssh-ed25519 CCCC"
RING = {"uuid1": [A], "uuid2": [B]}


def test_a_ring_is_what_was_written() -> None:
    text = ssh_keys.ring_text({"uuid1": [A, C], "uuid2": [B]})
    assert text == f"uuid1 {A}\nuuid1 {C}\nuuid2 {B}\n"
    assert ssh_keys.parse_ring(text) == {"uuid1": [A, C], "uuid2": [B]}
    assert ssh_keys.parse_ring("\n  \nnonsense\n") == {}


@pytest.mark.parametrize(
    ("action", "keys", "after"),
    [
        ("add", {"uuid1": [A, C]}, {"uuid1": [A, C], "uuid2": [B]}),
        ("add", {"uuid3": [C]}, {**RING, "uuid3": [C]}),
        ("replace_or_add", {"uuid1": [C]}, {"uuid1": [C], "uuid2": [B]}),
        ("remove", {"uuid1": [], "unknown": []}, {"uuid2": [B]}),
        ("override", {"uuid3": [C]}, {"uuid3": [C]}),
        ("clear", {}, {}),
    ],
)
def test_a_ring_changes(
    action: str, keys: dict[str, list[str]], after: dict[str, list[str]]
) -> None:
    before = {owner: list(own) for owner, own in RING.items()}
    assert ssh_keys.changed_ring(before, action, keys) == after
    assert before == RING


def test_authorized_keys_of_others_stay_as_they_are() -> None:
    own = 'from="10.0.0.1" ssh-rsa DDDD admin # mine\n# a note\n'
    both = ssh_keys.changed_authorized(own, "add", RING)
    assert both == f"{own}{A}\n{B}\n"
    assert ssh_keys.changed_authorized(both, "add", RING) == both
    assert ssh_keys.changed_authorized(both, "remove", {"uuid1": [A]}) == f"{own}{B}\n"
    restricted = f"command=x {A}\n"
    assert ssh_keys.changed_authorized(restricted, "add", {"uuid1": [A]}) == restricted


def test_unknown_actions_and_what_is_no_key_are_refused() -> None:
    with pytest.raises(OpPrereqError, match="'burn'"):
        ssh_keys.changed_ring(RING, "burn", {})
    with pytest.raises(OpPrereqError, match="'clear'"):
        ssh_keys.changed_authorized("", "clear", {})
    with pytest.raises(OpPrereqError, match="no public SSH key"):
        ssh_keys.changed_authorized("", "add", {"uuid1": ["nonsense"]})
