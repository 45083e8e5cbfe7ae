"""The cluster's secrets and certificates: made where they are missing, and made anew.

Forms and modes: facts/node-behaviour.md §11 and §13.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from ganeti.errors import Code, OpPrereqError, X509CertError
from ganeti.paths import Paths
from ganeti.utils import daemons, x509
from ganeti.utils.files import Disk, LocalDisk

KEY_MODE = 0o440
SECRET_MODE = 0o640
SECRET_BYTES = 20


def make_missing(paths: Paths, hostname: str, now: float, disk: Disk) -> str:
    """Make server.pem, client.pem, rapi.pem, spice.pem, hmac.key and the domain secret.

    What exists is kept. Returns the digest of the client certificate.
    """
    for pem in (paths.server_pem, paths.rapi_pem, paths.spice_pem):
        if not pem.exists():
            disk.replace(pem, x509.make_server(now).pem(), mode=KEY_MODE)
    if not paths.spice_ca_pem.exists():
        certificate = x509.load_pair(paths.spice_pem).certificate_pem()
        disk.replace(paths.spice_ca_pem, certificate, mode=KEY_MODE)
    for secret, mode in ((paths.hmac_key, KEY_MODE), (paths.domain_secret, SECRET_MODE)):
        if not secret.exists():
            disk.replace(secret, new_secret(), mode=mode)
    if not paths.client_pem.exists():
        made = x509.make_client(hostname, x509.load_pair(paths.server_pem), now)
        disk.replace(paths.client_pem, made.pem(), mode=KEY_MODE)
    return x509.digest(x509.load_certificate(paths.client_pem))


def new_secret() -> bytes:
    return f"{secrets.token_hex(SECRET_BYTES)}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What `gnt-cluster renew-crypto` makes anew or takes from a file; names are its options'."""

    new_cluster_cert: bool = False
    new_rapi_cert: bool = False
    rapi_cert: str | None = None
    new_spice_cert: bool = False
    spice_cert: str | None = None
    spice_cacert: str | None = None
    new_confd_hmac_key: bool = False
    new_cluster_domain_secret: bool = False
    cluster_domain_secret: str | None = None


@dataclass(frozen=True, slots=True)
class NewFiles:
    """Contents of the master's files, complete before the first one is written."""

    contents: dict[Path, tuple[bytes, int]]  # contents, mode

    def write(self, disk: Disk | None = None) -> None:
        """Each file is the old or the new one, at every moment; writing can be repeated."""
        for place, (data, mode) in self.contents.items():
            (disk or LocalDisk()).replace(place, data, mode=mode)


def new_files(paths: Paths, renewal: Renewal, now: float) -> NewFiles:
    """OpPrereqError, with nothing changed, when a given file is not what it should be.

    The cluster's certificate is not among them: see `stage_cluster_certificate`.
    """
    made: dict[Path, tuple[bytes, int]] = {}
    if renewal.new_rapi_cert:
        made[paths.rapi_pem] = x509.make_server(now, serial=int(now)).pem(), KEY_MODE
    if renewal.rapi_cert is not None:
        made[paths.rapi_pem] = _pair_in(renewal.rapi_cert), KEY_MODE
    if renewal.new_spice_cert:
        pair = x509.make_server(now, serial=int(now))
        made[paths.spice_pem] = pair.pem(), KEY_MODE
        made[paths.spice_ca_pem] = pair.certificate_pem(), KEY_MODE
    if renewal.spice_cert is not None and renewal.spice_cacert is not None:
        made[paths.spice_pem] = _pair_in(renewal.spice_cert), KEY_MODE
        made[paths.spice_ca_pem] = _certificate_in(renewal.spice_cacert), KEY_MODE
    if renewal.new_confd_hmac_key:
        made[paths.hmac_key] = new_secret(), KEY_MODE
    if renewal.new_cluster_domain_secret:
        made[paths.domain_secret] = new_secret(), SECRET_MODE
    if renewal.cluster_domain_secret is not None:
        made[paths.domain_secret] = _secret_in(renewal.cluster_domain_secret), SECRET_MODE
    return NewFiles(made)


def stage_cluster_certificate(paths: Paths, now: float) -> bool:
    """A new cluster certificate waits for OP_CLUSTER_RENEW_CRYPTO; whether it was made just now.

    One that waits already is kept: some nodes may use it, from a renewal that was broken off.
    """
    if paths.server_pem_new.exists():
        return False
    pem = x509.make_server(now, serial=int(now)).pem()
    LocalDisk().replace(paths.server_pem_new, pem, mode=KEY_MODE)
    return True


def tell_users(paths: Paths, hostname: str) -> list[str]:
    """Daemons of this node that use such a file read it: the remote API when it is told to,
    without an interruption, others when they start anew. The names of those restarted."""
    daemons.hang_up(paths, daemons.RAPI)
    running = [name for name in ("ganeti-confd",) if daemons.running_pid(paths, name) is not None]
    for name in running:
        daemons.stop(paths, name)
        daemons.start(paths, hostname, name)
    return running


def _pair_in(path: str) -> bytes:
    data = _read(path)
    try:
        x509.parse_pair(data, path)
    except X509CertError as error:
        raise _unusable(path, error) from error
    return data


def _certificate_in(path: str) -> bytes:
    data = _read(path)
    try:
        x509.parse_certificate(data, path)
    except X509CertError as error:
        raise _unusable(path, error) from error
    return data


def _unusable(path: str, error: X509CertError) -> OpPrereqError:
    return OpPrereqError(
        f"{path}: {error.args[-1]}; a PEM file is wanted, with the private key before it where it"
        " is not only an authority",
        Code.INVAL,
    )


def _secret_in(path: str) -> bytes:
    data = _read(path).strip()
    if not data:
        raise OpPrereqError(f"{path}: is empty, a secret is wanted", Code.INVAL)
    return data + b"\n"


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OpPrereqError(f"{path}: {error.strerror}", Code.INVAL) from error
