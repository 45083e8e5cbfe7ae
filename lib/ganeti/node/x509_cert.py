"""Certificates for one transfer: RUN/crypto/<name>/{key,cert} (facts/node-behaviour.md §4)."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from pathlib import Path
from typing import Final

from ganeti.errors import GenericError, OpExecError
from ganeti.node.context import NodeContext
from ganeti.rpc import calls
from ganeti.rpc.base import serves

NAME: Final = re.compile(r"x509-[a-zA-Z0-9_.-]{1,100}")
KEY, CERTIFICATE = "key", "cert"
MODE: Final = 0o400
MOST_S: Final = 7 * 86400
STAMP: Final = "%Y-%m-%d_%H_%M_%S"


def find(node: NodeContext, name: str) -> Path:
    """The directory of a certificate that is here; OpExecError when there is none."""
    place = _place(node, name)
    if not place.is_dir():
        raise OpExecError(f"certificate {name}: there is none of this name on this node")
    return place


def _place(node: NodeContext, name: str) -> Path:
    if NAME.fullmatch(name) is None:
        raise GenericError(f"{name!r} is not the name of a certificate")
    return node.paths.crypto_keys / name


@serves(calls.x509_cert_create)
def x509_cert_create(node: NodeContext, validity: int) -> tuple[str, str]:
    from ganeti.utils import x509  # costs memory that a noded rarely needs

    if validity <= 0:
        raise GenericError(f"a certificate can't be valid for {validity} s")
    now = node.clock.now()
    remove_old(node)
    made = x509.make_self_signed(node.hostname, now, seconds=min(validity, MOST_S))
    stamp = time.strftime(STAMP, time.localtime(now))
    place = node.paths.crypto_keys / f"x509-{stamp}-{secrets.token_hex(4)}"
    place.mkdir(0o700, parents=True)
    node.files.place(place / KEY, made.key_pem(), mode=MODE)
    node.files.place(place / CERTIFICATE, made.certificate_pem(), mode=MODE)
    return place.name, made.certificate_pem().decode("ascii")


def remove_old(node: NodeContext) -> None:
    """None is left that can't be valid any more: the master that had it made has crashed."""
    for place in node.paths.crypto_keys.glob("x509-*"):
        try:
            age_s = node.clock.now() - place.stat().st_mtime
        except FileNotFoundError:
            continue  # removed meanwhile
        if NAME.fullmatch(place.name) and age_s > MOST_S:
            shutil.rmtree(place, ignore_errors=True)


@serves(calls.x509_cert_remove)
def x509_cert_remove(node: NodeContext, name: str) -> None:
    """One that is not there is no error: it may have been removed before."""
    shutil.rmtree(_place(node, name), ignore_errors=True)
