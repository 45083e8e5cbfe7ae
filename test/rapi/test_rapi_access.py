"""The users file, passwords and credentials."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from ganeti.rapi.access import Users, parse_basic, parse_users

HA1 = hashlib.md5(b"hash:Ganeti Remote API:secret").hexdigest()
FILE = f"""
# a comment

plain secret write
clear {{ClearText}}{{odd secret read
hash {{ha1}}{HA1.upper()}
strange {{rot13}}frperg write
lonely
many  secret   read,write
later other write
later secret
"""


@pytest.mark.parametrize(
    ("name", "password", "known"),
    [
        ("plain", "secret", True),
        ("plain", "Secret", False),
        ("plain", "", False),
        ("clear", "{odd", True),
        ("hash", "secret", True),
        ("hash", HA1, False),
        ("strange", "secret", False),
        ("strange", "frperg", False),
        ("strange", "{rot13}frperg", False),
        ("lonely", "", False),
        ("nobody", "secret", False),
        ("", "", False),
        ("later", "secret", True),
        ("many", "secret", True),
        ("plain", "s\N{LATIN SMALL LETTER E WITH ACUTE}cret", False),
        ("plain", "\udcff", False),  # the byte FF, which is no UTF-8
        ("hash", "\udcff", False),
        ("\udcff", "\udcff", False),
        ("latin", "\udce9", True),
    ],
)
def test_passwords(tmp_path: Path, name: str, password: str, known: bool) -> None:
    (tmp_path / "users").write_bytes(FILE.encode() + b"latin \xe9\n")
    user = Users(tmp_path / "users").find(name, password)
    assert (user is not None) == known
    if user is not None:
        assert user.name == name


def test_options_are_rights(tmp_path: Path) -> None:
    logins = parse_users(FILE, "users")
    assert logins["plain"].rights.has("instance.create")
    assert not logins["hash"].rights.has("instance.read")
    assert logins["many"].rights.has("instance.read")


def test_a_missing_file_has_no_users_and_a_damaged_line_costs_only_itself(tmp_path: Path) -> None:
    assert Users(tmp_path / "nosuch").find("a", "b") is None
    (tmp_path / "users").write_bytes(b"\xff\xfe bad\nx\0y\ngood pw write\n")
    assert Users(tmp_path / "users").find("good", "pw") is not None


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    place = tmp_path / "users"
    place.write_text("one pw\n")
    users = Users(place)
    place.write_text("two pw\n")
    users.load()
    assert users.find("one", "pw") is None and users.find("two", "pw") is not None
    place.unlink()
    users.load()
    assert users.find("two", "pw") is None


def header(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("given", "login"),
    [
        (header("admin:pw"), ("admin", "pw")),
        (header("admin:p:w"), ("admin", "p:w")),
        (header(":"), ("", "")),
        (header("admin").replace("Basic", "bAsIc"), None),  # no colon
        ("Basic", None),
        ("Basic ***", None),
        ("Bearer abc", None),
        ("", None),
    ],
)
def test_credentials_of_a_request(given: str, login: tuple[str, str] | None) -> None:
    assert parse_basic(given) == login
