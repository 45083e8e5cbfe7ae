"""Small clients of graphical consoles: as far as the handshake, where it is decided who may enter.

VNC: RFC 6143, and VeNCrypt for TLS. SPICE: the link message of the SPICE protocol.
"""

from __future__ import annotations

import datetime
import socket
import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes

TIMEOUT_S = 30.0

# Security types of VNC.
VNC_NONE, VNC_PASSWORD, VNC_VENCRYPT = 1, 2, 19
X509_NONE, X509_PASSWORD = 260, 261

SPICE_OK, SPICE_NEED_SECURED, SPICE_PERMISSION_DENIED = 0, 5, 7


class Closed(Exception):
    """The server has hung up."""


class Line:
    """A connection that is read in exact pieces."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), TIMEOUT_S)

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def secure(self, context: ssl.SSLContext) -> None:
        self.socket = context.wrap_socket(self.socket)

    def read(self, count: int) -> bytes:
        said = b""
        while len(said) < count:
            try:
                piece = self.socket.recv(count - len(said))
            except (ConnectionError, ssl.SSLError) as error:
                raise Closed(str(error)) from error
            if not piece:
                raise Closed(f"{len(said)} of {count} bytes came")
            said += piece
        return said

    def write(self, text: bytes) -> None:
        self.socket.sendall(text)


def trusting(ca: Path, own: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    """TLS with a server that this CA has signed, whatever it is called; `own`: our own pair."""
    context = ssl.create_default_context(cafile=str(ca))
    context.check_hostname = False
    if own:
        context.load_cert_chain(*own)
    return context


# VNC.


def vnc_types(line: Line) -> Sequence[int]:
    """The server's security types, after the greetings."""
    greeting = line.read(12)
    assert greeting == b"RFB 003.008\n"
    line.write(greeting)
    return tuple(line.read(line.read(1)[0]))


def vnc_starts_tls(line: Line, context: ssl.SSLContext) -> int:
    """VeNCrypt as far as the TLS connection; the kind of it that the server wants."""
    line.write(bytes([VNC_VENCRYPT]))
    assert line.read(2) == b"\0\2"
    line.write(b"\0\2")
    assert line.read(1) == b"\0"
    kinds = struct.unpack(f">{(count := line.read(1)[0])}I", line.read(4 * count))
    line.write(struct.pack(">I", kinds[0]))
    assert line.read(1) == b"\1"
    line.secure(context)
    return int(kinds[0])


def vnc_lets_in(line: Line, password: str | None) -> bool:
    """Whether the server is satisfied: with the answer to its challenge, or without any."""
    if password is not None:
        mirrored = bytes(int(f"{byte:08b}"[::-1], 2) for byte in password.encode()[:8])
        des = Cipher(TripleDES(3 * mirrored.ljust(8, b"\0")), modes.ECB()).encryptor()
        line.write(des.update(line.read(16)))
    return line.read(4) == b"\0\0\0\0"


# SPICE.


def spice_answer(line: Line, password: str) -> int:
    """What the server says to one who wants the main channel; SPICE_OK, or why not."""
    message = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)
    line.write(struct.pack("<4sIII", b"REDQ", 2, 2, len(message)) + message)
    magic, _, _, size = struct.unpack("<4sIII", line.read(16))
    assert magic == b"REDQ"
    reply = line.read(size)
    (problem,) = struct.unpack_from("<I", reply)
    if problem:
        return int(problem)
    key = serialization.load_der_public_key(reply[4:166])
    assert isinstance(key, rsa.RSAPublicKey)
    oaep = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    line.write(key.encrypt(password.encode() + b"\0", oaep))
    return int(struct.unpack("<I", line.read(4))[0])


# Certificates, as QEMU wants them in one directory.


def make_certificates(place: Path) -> None:
    """ca-cert.pem, server-cert.pem, server-key.pem, and client-* for one who may enter."""
    ca_key, ca = _signed("Test CA", None)
    _write(place / "ca-cert.pem", ca.public_bytes(serialization.Encoding.PEM))
    for name in ("server", "client"):
        key, certificate = _signed(name, (ca_key, ca))
        _write(place / f"{name}-cert.pem", certificate.public_bytes(serialization.Encoding.PEM))
        _write(
            place / f"{name}-key.pem",
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )


def _signed(
    name: str, by: tuple[rsa.RSAPrivateKey, x509.Certificate] | None
) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = rsa.generate_private_key(65537, 2048)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by[1].subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
    )
    return key, builder.sign(by[0] if by else key, hashes.SHA256())


def _write(path: Path, text: bytes) -> None:
    path.write_bytes(text)
    path.chmod(0o600)
