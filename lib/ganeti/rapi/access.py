"""Who may do what: the users file, passwords, tokens, and the rights of a user.

Source: facts/rapi.json, auth. Beyond it an option of a user may be the name of a role or of a
permission (`rights.py`), and a token may stand for a user (`tokens.py`).
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

from ganeti.rapi.rights import NO_RIGHTS, ROLES, Rights, parse_roles, rights_of
from ganeti.rapi.table import Access, Method
from ganeti.rapi.tokens import Token, Tokens

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
            given = hashlib.md5(_as_sent(text), usedforsecurity=False).hexdigest()
            stored = stored.lower()
        else:
            logger.warning("user %s: unknown password scheme %r", self.name, scheme)
            return False
        return hmac.compare_digest(_as_sent(given), _as_sent(stored))


def _as_sent(text: str) -> bytes:
    """The bytes of a credential or of the file, which may be no UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def split_scheme(password: str) -> tuple[str, str]:
    """`{HA1}ab12` → ("ha1", "ab12"); without a scheme it is plain text."""
    if password.startswith("{") and "}" in password:
        scheme, _, rest = password[1:].partition("}")
        return scheme.lower(), rest
    return "cleartext", password


class Users:
    """The users of a file, with the roles and the tokens of the files beside it. A missing file
    has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.roles_path = path.with_name("roles")
        self.tokens = Tokens(path.with_name("tokens"))
        self._roles: Mapping[str, frozenset[str]] = ROLES
        self._logins: Mapping[str, Login] = {}
        self.load()

    @property
    def files(self) -> list[Path]:
        """Those that `load` reads."""
        return [self.path, self.roles_path, self.tokens.path]

    def load(self) -> None:
        """Read the files again; users and roles that can't be read stay as they are."""
        self.tokens.load()
        try:
            self._roles = parse_roles(_text_of(self.roles_path), str(self.roles_path))
            self._logins = parse_users(_text_of(self.path), str(self.path), self._roles)
        except OSError as error:
            text = "%s: %s; users and roles stay as they are"
            logger.error(text, error.filename, error.strerror)
            return
        logger.info("users file %s: %d users", self.path, len(self._logins))

    @property
    def roles(self) -> Mapping[str, frozenset[str]]:
        return self._roles

    def rights_of(self, name: str) -> Rights | None:
        """What this user may do now; None when there is no such user."""
        login = self._logins.get(name)
        return login.rights if login else None

    def find_token(self, text: str, now: float) -> User | None:
        """The user for whom a token stands, with the token's rights; None for a wrong one."""
        token = self.tokens.find(text, now)
        return self._by_token(token) if token else None

    def again(self, user: User, now: float) -> User | None:
        """Somebody who has logged in, with the rights of now; None for one who no longer could."""
        if user.token:
            token = self.tokens.is_valid(user.token, now)
            return self._by_token(token) if token and token.user == user.name else None
        rights = self.rights_of(user.name)
        return User(user.name, rights) if rights else None

    def _by_token(self, token: Token) -> User | None:
        owner = self.rights_of(token.user)
        if owner is None:
            logger.warning("token %s: its user %s is no more", token.id, token.user)
            return None
        rights, _ = rights_of(token.scope, self._roles)
        return User(token.user, rights.within(owner), token.id)

    def find(self, name: str, password: str) -> User | None:
        """The user, or None when name or password is wrong."""
        login = self._logins.get(name)
        accepted = (login or _NOBODY).accepts(password)
        return User(login.name, login.rights) if login and accepted else None


_NOBODY = Login("", "{HA1}" + "0" * 32, NO_RIGHTS)


def _text_of(path: Path) -> str:
    """Contents of the file, empty when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return ""


def parse_users(
    text: str, place: str, roles: Mapping[str, frozenset[str]] = ROLES
) -> dict[str, Login]:
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
        rights, unknown = rights_of(filter(None, options), roles)
        for option in unknown:
            logger.warning("%s, line %d: %r is no role and no permission", place, number, option)
        logins[parts[0]] = Login(parts[0], parts[1], rights)
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


def parse_bearer(header: str) -> str | None:
    """The token of an Authorization header (RFC 6750); None when it is none of that kind."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def may(user: User, method: Method) -> bool:
    """Whether the rights of a user who has logged in are enough."""
    if method.access == Access.NONE:
        return True
    return user.rights.allow(method)
