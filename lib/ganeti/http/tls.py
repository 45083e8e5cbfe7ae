"""Who may speak with whom: TLS contexts of both sides, and the rule for peers of noded.

Both sides verify: the server shows `server.pem`, which is its own CA; a client shows a certificate
signed by it (`client.pem`; `server.pem` itself while there is none). Beyond that a node listens to
master candidates only: the SHA1 digest of the client's certificate has to be in
`ssconf_master_candidates_certs`, or, while that file is absent or empty, be that of `server.pem`.
Host names are not verified. Source: facts/node-rpc.json, transport.tls.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence
from pathlib import Path

from ganeti.errors import X509CertError
from ganeti.paths import Paths

CIPHERS = "HIGH:-DES:-3DES:-EXPORT:-DH"  # facts/constants.json OPENSSL_CIPHERS


def authorities(paths: Paths) -> list[Path]:
    """Whose signature counts: server.pem's; while it is renewed, its successor's and its
    predecessor's as well."""
    between = (paths.server_pem_new, paths.server_pem_old)
    return [paths.server_pem, *(place for place in between if place.exists())]


def server_context(
    certificate: Path,
    *,
    key: Path | None = None,
    chain: Path | None = None,
    clients_signed_by: Sequence[Path] = (),
) -> ssl.SSLContext:
    """A context that shows `certificate`; with `clients_signed_by` it demands client certificates.

    `chain`: certificates of those who have signed it, which are shown as well.
    Raises X509CertError when a file is missing, damaged or its key does not match.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.num_tickets = 0  # connections are kept, so nobody resumes sessions
    _load_chain(context, certificate, key)
    if chain is not None:  # OpenSSL shows the way to a root that it finds among the trusted
        _load_authority(context, chain)
    if clients_signed_by:
        context.verify_mode = ssl.CERT_REQUIRED
        for authority in clients_signed_by:
            _load_authority(context, authority)
    return context


def client_context(paths: Paths) -> ssl.SSLContext:
    """A context for calls to nodes: shows client.pem (else server.pem), trusts `authorities`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    context.check_hostname = False  # nodes are known by their certificate, not by its name
    context.verify_mode = ssl.CERT_REQUIRED
    own = paths.client_pem if paths.client_pem.exists() else paths.server_pem
    _load_chain(context, own, None)
    for authority in authorities(paths):
        _load_authority(context, authority)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(f"{CIPHERS}:!aNULL")  # the list of the facts lets anonymous ones in
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def _load_chain(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise X509CertError(str(certificate), f"not a usable certificate: {error}") from error
    except OSError as error:
        raise X509CertError(str(certificate), f"can't be read: {error.strerror}") from error


def _load_authority(context: ssl.SSLContext, certificate: Path) -> None:
    try:
        context.load_verify_locations(cafile=certificate)
    except ssl.SSLError as error:
        raise X509CertError(str(certificate), f"not a usable certificate: {error}") from error
    except OSError as error:
        raise X509CertError(str(certificate), f"can't be read: {error.strerror}") from error


def digest_of(der: bytes) -> str:
    """SHA1 of a certificate (DER), as colon-separated upper-case hex."""
    return hashlib.sha1(der).digest().hex(":").upper()


def digest_of_pem(path: Path) -> str:
    """Digest of the first certificate in a PEM file; X509CertError when there is none."""
    try:
        text = path.read_text("ascii")
        start = text.index("-----BEGIN CERTIFICATE-----")
        end = text.index("-----END CERTIFICATE-----", start) + len("-----END CERTIFICATE-----")
        return digest_of(ssl.PEM_cert_to_DER_cert(text[start:end]))
    except OSError as error:
        raise X509CertError(str(path), f"can't be read: {error.strerror}") from error
    except ValueError as error:
        raise X509CertError(str(path), "holds no certificate") from error


class CandidateRule:
    """Decides which client certificates a node listens to; reads its files when they changed."""

    def __init__(self, paths: Paths) -> None:
        self._shown_file = paths.virtual(paths.ssconf("master_candidates_certs"))
        self._digests_file = paths.ssconf("master_candidates_certs")
        self._server_pem = paths.server_pem
        self._seen: tuple[tuple[int, int, int] | None, ...] = ()
        self._allowed: frozenset[str] = frozenset()

    def refusal(self, certificate: bytes | None) -> str | None:
        """Why the owner of this certificate (DER) is not listened to; None: it is."""
        if certificate is None:
            return "a client certificate is needed"
        digest = digest_of(certificate)
        try:
            if digest in self._current():
                return None
        except X509CertError as error:  # the node has left its cluster
            return f"no certificate can be accepted: {error}"
        return f"certificate {digest} is not that of a master candidate; {self._way_out(digest)}"

    def _way_out(self, digest: str) -> str:
        """Nothing that comes over the network may mend this: only root of this node."""
        return (
            f"if it is the master's own, put the line master={digest} into"
            f" {self._shown_file} of this node and run gnt-cluster renew-crypto"
            " --new-node-certificates on the master"
        )

    def _current(self) -> frozenset[str]:
        seen = (_stamp(self._digests_file), _stamp(self._server_pem))
        if seen != self._seen:
            self._allowed = self._read()
            self._seen = seen
        return self._allowed

    def _read(self) -> frozenset[str]:
        try:
            text = self._digests_file.read_text()
        except FileNotFoundError:
            text = ""
        digests = {line.partition("=")[2].strip() for line in text.splitlines()} - {""}
        return frozenset(digests or {digest_of_pem(self._server_pem)})


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
