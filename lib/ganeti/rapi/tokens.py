"""Tokens: secrets that stand for a user, with fewer rights and for a limited time.

`gnt-cluster token` makes and revokes them, ganeti-rapi reads them. The file has no secrets: of
each there is an HMAC-SHA256 with a salt of its own. A secret has 256 random bits, so that needs no
slow hash.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.errors import Code, ConfigurationError, OpPrereqError, ParseError
from ganeti.serializer import decode, dumps_pretty, encode, loads
from ganeti.utils.files import LocalDisk, Owner

logger = logging.getLogger(__name__)

PREFIX: Final = "gnt"
VERSION: Final = 1
FILE_MODE: Final = 0o640
MOST_TOKENS: Final = 10_000
MAX_NOTE: Final = 200
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
_FORM: Final = re.compile(rf"{PREFIX}_([0-9a-f]{{8}})_([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """`scope`: roles and permissions, of which the owner's rights at the time of use are what
    counts. Times are seconds of Unix time; `expires` None: never."""

    id: str
    user: str
    scope: tuple[str, ...]
    salt: str
    hash: str
    created: float
    expires: float | None = None
    note: str = ""

    def has_expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def accepts(self, secret: str) -> bool:
        return hmac.compare_digest(hashed(self.salt, secret), self.hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    version: int
    tokens: tuple[Token, ...]


def hashed(salt: str, secret: str) -> str:
    return hmac.new(salt.encode(), secret.encode(), hashlib.sha256).hexdigest()


def public_part(text: str) -> str:
    """The number of a token, which may be shown and remembered; empty when it is none."""
    match = _FORM.fullmatch(text)
    return match[1] if match else ""


_NOTHING: Final = Token(id="", user="", scope=(), salt="", hash="0" * 64, created=0.0)


class Tokens:
    """The tokens of a file, for those that show one. A missing file has none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tokens: Mapping[str, Token] = {}

    def load(self) -> None:
        """Read the file again; from one that can't be read nobody gets in."""
        try:
            self._tokens = {token.id: token for token in read_tokens(self.path)}
        except ConfigurationError as error:
            self._tokens = {}
            logger.error("%s; no token is accepted until that is mended", error)

    def find(self, text: str, now: float) -> Token | None:
        """The token whose secret this is; None for a wrong, revoked or expired one.

        Takes the same time for each well-formed text.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            return None
        token = self._tokens.get(match[1])
        accepted = (token or _NOTHING).accepts(match[2])
        return token if token and accepted and not token.has_expired(now) else None

    def is_valid(self, number: str, now: float) -> Token | None:
        """The token with this id, unless it was revoked or has expired meanwhile."""
        token = self._tokens.get(number)
        return token if token and not token.has_expired(now) else None


def read_tokens(path: Path) -> tuple[Token, ...]:
    """All tokens of the file. ConfigurationError when it is there and can't be understood."""
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigurationError(f"tokens file {path}: {error.strerror}") from error
    try:
        found = decode(TokenFile, loads(text, str(path)), str(path))
    except ParseError as error:
        raise ConfigurationError(f"tokens file {path}: {error}") from error
    if found.version != VERSION:
        raise ConfigurationError(f"tokens file {path}: version {found.version}, not {VERSION}")
    return found.tokens


class TokenStore:
    """The file for those who change it: whole and durable, one at a time."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = path
        self._now = now
        self._disk = LocalDisk()

    def tokens(self) -> Sequence[Token]:
        return read_tokens(self.path)

    def add(
        self, user: str, scope: Iterable[str], *, expires_in_s: int | None, note: str = ""
    ) -> tuple[Token, str]:
        """A new token and its secret, which is nowhere else. OpPrereqError beyond the limits."""
        if len(note) > MAX_NOTE or not note.isprintable():
            raise OpPrereqError(
                f"the note has {len(note)} characters; up to {MAX_NOTE} printable ones are kept",
                Code.INVAL,
            )
        with self._changing() as tokens:
            if len(tokens) >= MOST_TOKENS:
                raise OpPrereqError(
                    f"there are {len(tokens)} tokens, and no more than that are kept",
                    Code.NORES,
                    hint="revoke those that have expired: gnt-cluster token revoke --expired",
                )
            taken = {token.id for token in tokens}
            number = next(one for one in _numbers() if one not in taken)
            secret, salt = secrets.token_urlsafe(32), secrets.token_hex(16)
            now = self._now()
            token = Token(
                id=number,
                user=user,
                scope=tuple(scope),
                salt=salt,
                hash=hashed(salt, secret),
                created=now,
                expires=None if expires_in_s is None else now + expires_in_s,
                note=note,
            )
            tokens.append(token)
        return token, f"{PREFIX}_{number}_{secret}"

    def revoke(self, numbers: Iterable[str], *, expired: bool = False) -> list[Token]:
        """These tokens are gone, and with `expired` all that have; OpPrereqError for an unknown
        one, and then none is."""
        wanted = set(numbers)
        with self._changing() as tokens:
            unknown = wanted - {token.id for token in tokens}
            if unknown:
                raise OpPrereqError(
                    f"token {min(unknown)!r} is not known",
                    Code.NOENT,
                    hint="gnt-cluster token list shows their numbers",
                )
            now = self._now()
            gone = [one for one in tokens if one.id in wanted or expired and one.has_expired(now)]
            tokens[:] = [one for one in tokens if one not in gone]
        return gone

    @contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """The tokens; what the block makes of the list is what the file holds."""
        self._disk.mkdir(self.path.parent)
        with self._disk.lock(self.path.with_name(f".{self.path.name}.lock")):
            before = read_tokens(self.path)
            tokens = list(before)
            yield tokens
            if tuple(tokens) != before:
                made = dumps_pretty(encode(TokenFile(version=VERSION, tokens=tuple(tokens))))
                owner = _owner_beside(self.path)
                self._disk.replace(self.path, made.encode() + b"\n", mode=FILE_MODE, owner=owner)


def _numbers() -> Iterator[str]:
    while True:
        yield secrets.token_hex(4)


def _owner_beside(path: Path) -> Owner | None:
    """Root, and the group of the directory, in which the users file is as well."""
    return Owner(0, path.parent.stat().st_gid) if os.geteuid() == 0 else None
