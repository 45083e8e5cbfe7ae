"""The cluster's secrets and certificates, made where they are missing.

Forms and modes: facts/node-behaviour.md §11 and §13.
"""

from __future__ import annotations

import secrets

from ganeti.paths import Paths
from ganeti.utils import x509
from ganeti.utils.files import Disk

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
            disk.replace(secret, f"{secrets.token_hex(SECRET_BYTES)}\n".encode(), mode=mode)
    if not paths.client_pem.exists():
        made = x509.make_client(hostname, x509.load_pair(paths.server_pem), now)
        disk.replace(paths.client_pem, made.pem(), mode=KEY_MODE)
    return x509.digest(x509.load_certificate(paths.client_pem))
