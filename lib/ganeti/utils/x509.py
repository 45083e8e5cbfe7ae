"""Certificates of the cluster: made, loaded, checked (facts/node-behaviour.md §13).

A PEM file holds the private key and then the certificate. `server.pem` is self-signed, the same on
all nodes, and the CA of the `client.pem` that each node has of its own. Making a key takes some
25 ms (RSA 2048, measured), now and then four times as long.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from ganeti.constants import CERTIFICATE_NAME, CERTIFICATE_VALIDITY_DAYS
from ganeti.errors import X509CertError

KEY_BITS = 2048
DAY_S = 86400
EARLY_S = 3600  # clocks of the nodes may differ: valid since an hour ago
WARN_DAYS = 30  # facts/constants.json SSL_CERT_EXPIRATION_WARN
ERROR_DAYS = 7  # SSL_CERT_EXPIRATION_ERROR
CERTIFICATE_MODE = 0o440


class Severity(IntEnum):
    """How bad a certificate's state is."""

    FINE = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key and its certificate."""

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def pem(self) -> bytes:
        """Key, then certificate: the contents of server.pem and its like."""
        return self.key_pem() + self.certificate_pem()

    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def digest(self) -> str:
        return digest(self.certificate)


def make_server(now: float, *, days: int = CERTIFICATE_VALIDITY_DAYS, serial: int = 1) -> Pair:
    """A new self-signed server.pem, CN ganeti.example.com; also the form of rapi.pem."""
    return _make(CERTIFICATE_NAME, now, days * DAY_S, serial, signed_by=None)


def make_client(
    node_name: str,
    server: Pair,
    now: float,
    *,
    days: int = CERTIFICATE_VALIDITY_DAYS,
    serial: int = 1,
) -> Pair:
    """A new client.pem for one node, signed by server.pem."""
    return _make(node_name, now, days * DAY_S, serial, signed_by=server)


def make_self_signed(common_name: str, now: float, *, seconds: int, serial: int = 1) -> Pair:
    """A new certificate for another purpose, such as one transfer."""
    return _make(common_name, now, seconds, serial, signed_by=None)


def _make(
    common_name: str, now: float, seconds: int, serial: int, *, signed_by: Pair | None
) -> Pair:
    key = rsa.generate_private_key(65537, KEY_BITS)
    # A common name has at most 64 characters (RFC 5280); node names may be longer.
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
    issuer = signed_by.certificate.subject if signed_by else name
    signer = signed_by.key if signed_by else key
    is_ca = signed_by is None
    began = datetime.datetime.fromtimestamp(now - EARLY_S, datetime.UTC)
    ends = datetime.datetime.fromtimestamp(now + seconds, datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(began)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([_general_name(common_name)]), critical=False)
    )
    return Pair(key, builder.sign(signer, hashes.SHA256()))


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def load_pair(path: Path) -> Pair:
    """Key and certificate of a PEM file.

    X509CertError when the file is missing or damaged, or when the key is another certificate's.
    """
    return parse_pair(_read(path), str(path))


def parse_pair(pem: bytes, where: str) -> Pair:
    """The same from a text; `where` names it in errors."""
    certificate = parse_certificate(pem, where)
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise X509CertError(where, "holds no usable private key") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise X509CertError(where, "its private key is not an RSA key")
    check_key_match(key, certificate, where)
    return Pair(key, certificate)


def load_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file; X509CertError when there is none."""
    return parse_certificate(_read(path), str(path))


def parse_certificate(pem: bytes, where: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise X509CertError(where, "holds no usable certificate") from error


def split_certificates(pem: bytes) -> list[bytes]:
    """Each certificate of a PEM text."""
    end = b"-----END CERTIFICATE-----\n"
    return [part + end for part in pem.split(end) if part.strip()]


def check_key_match(key: rsa.RSAPrivateKey, certificate: x509.Certificate, where: str) -> None:
    """X509CertError unless the private key belongs to the certificate."""
    if key.public_key() != certificate.public_key():
        raise X509CertError(where, "private key and certificate don't match")


def check_signed_by(certificate: x509.Certificate, authority: x509.Certificate, where: str) -> None:
    """X509CertError unless `authority` has signed the certificate, and both are valid now."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(authority))
    try:
        crypto.X509StoreContext(
            store, crypto.X509.from_cryptography(certificate)
        ).verify_certificate()
    except crypto.X509StoreContextError as error:
        reason = str(error) or "it is not signed by the cluster's certificate"
        raise X509CertError(where, f"not accepted: {reason}") from error


def digest(certificate: x509.Certificate) -> str:
    """SHA1 as colon-separated upper-case hex, the form in ssconf_master_candidates_certs."""
    return crypto.X509.from_cryptography(certificate).digest("sha1").decode("ascii")


def common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def check_validity(
    certificate: x509.Certificate,
    now: float,
    *,
    warn_days: int = WARN_DAYS,
    error_days: int = ERROR_DAYS,
) -> tuple[Severity, str]:
    """How near its end a certificate is, as a sentence; (FINE, "") when nothing is to be done."""
    begins = certificate.not_valid_before_utc
    ends = certificate.not_valid_after_utc
    if now < begins.timestamp():
        return Severity.WARNING, f"certificate is not yet valid (valid from {_shown(begins)})"
    left_days = int((ends.timestamp() - now) // DAY_S)
    if now > ends.timestamp():
        return Severity.ERROR, f"certificate is expired (valid until {_shown(ends)})"
    text = f"certificate expires in about {left_days} days (on {_shown(ends)})"
    if left_days <= error_days:
        return Severity.ERROR, text
    if left_days <= warn_days:
        return Severity.WARNING, text
    return Severity.FINE, ""


def _shown(moment: datetime.datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise X509CertError(str(path), f"can't be read: {error.strerror}") from error
