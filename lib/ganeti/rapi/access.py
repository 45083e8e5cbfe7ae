"""Who may do what: the users file, passwords, and the rights of a user.

Source: facts/rapi.json, auth. Beyond it an option of a user may be the name of a role or of a
permission (`rights.py`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ganeti.rapi.rights import Rights, rights_of
from ganeti.rapi.table import Access, Method

logger = logging.getLogger(__name__)

REALM = "Ganeti Remote API"
CHALLENGE = {"WWW-Authenticate": f'Basic realm="{REALM}"'}
MAX_FILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who has logged in, by password or by token."""

    name: str
    rights: Rights
    token: str = ""  # its number, when that was shown


@dataclass(frozen=True, slots=True)
class Login:
    """A line of the users file."""

    name: str
    password: str  # as it stands there, with its scheme
    rights: Rights

    def accepts(self, password: str) -> bool:
        """Takes the same time whether the password is right or not."""
        scheme, stored = split_scheme(self.password)
        if scheme == "cleartext":
            given = password
        elif scheme == "ha1":
            text = f"{self.name}:{REALM}:{password}"
            given = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
            stored = stored.lower()
        else:
            logger.warning("user %s: unknown password scheme %r", self.name, scheme)
            return False
        return hmac.compare_digest(given.encode(), stored.encode())


def split_scheme(password: str) -> tuple[str, str]:
    """`{HA1}ab12` → ("ha1", "ab12"); without a scheme it is plain text."""
    if password.startswith("{") and "}" in password:
        scheme, _, rest = password[1:].partition("}")
        return scheme.lower(), rest
    return "cleartext", password


class Users:
    """The users of a file. A missing one has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._logins: Mapping[str, Login] = {}
        self.load()

    def load(self) -> None:
        """Read the file again; what can't be read leaves things as they are."""
        try:
            with self.path.open("rb") as file:
                text = file.read(MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            self._logins = {}
            return
        except OSError as error:
            logger.error("users file %s: %s; the users stay as they are", self.path, error.strerror)
            return
        self._logins = parse_users(text, str(self.path))
        logger.info("users file %s: %d users", self.path, len(self._logins))

    def find(self, name: str, password: str) -> User | None:
        """The user, or None when name or password is wrong."""
        login = self._logins.get(name)
        accepted = (login or _NOBODY).accepts(password)
        return User(login.name, login.rights) if login and accepted else None


_NOBODY = Login("", "{HA1}" + "0" * 32, rights_of(()))


def parse_users(text: str, place: str) -> dict[str, Login]:
    """`user password [option,option…]` per line."""
    logins: dict[str, Login] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = line.split(None, 2)
        if len(parts) < 2:
            logger.warning("%s, line %d: no password; the line is left out", place, number)
            continue
        options = [one.strip() for one in parts[2].split(",")] if len(parts) > 2 else []
        logins[parts[0]] = Login(parts[0], parts[1], rights_of(options))
    return logins


def parse_basic(header: str) -> tuple[str, str] | None:
    """Name and password of an Authorization header; None when it is none of that kind."""
    scheme, _, encoded = header.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8", "surrogateescape")
    except (binascii.Error, ValueError):
        return None
    name, colon, password = text.partition(":")
    return (name, password) if colon else None


def may(user: User, method: Method) -> bool:
    """Whether the rights of a user who has logged in are enough."""
    if method.access == Access.NONE:
        return True
    return user.rights.allow(method)
