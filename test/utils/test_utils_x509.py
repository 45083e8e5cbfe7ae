"""Certificates: made, loaded, checked."""

from __future__ import annotations

import ssl
import time
from pathlib import Path

import pytest
from fakes.nodes import client_pair, server_pair
from ganeti.errors import X509CertError
from ganeti.http.tls import digest_of, digest_of_pem
from ganeti.utils import x509
from ganeti.utils.x509 import Severity

DAY = 86400


def test_server_pem_is_key_then_certificate() -> None:
    pem = server_pair().pem().decode()
    assert pem.startswith("-----BEGIN PRIVATE KEY-----")
    assert pem.index("PRIVATE KEY") < pem.index("BEGIN CERTIFICATE")
    certificate = server_pair().certificate
    assert x509.common_name(certificate) == "ganeti.example.com"
    assert certificate.issuer == certificate.subject
    assert certificate.signature_hash_algorithm.name == "sha256"  # type: ignore[union-attr]
    assert server_pair().key.key_size == 2048


def test_client_pem_bears_the_nodes_name_and_the_servers_signature() -> None:
    pair = client_pair("node1.example.com")
    assert x509.common_name(pair.certificate) == "node1.example.com"
    x509.check_signed_by(pair.certificate, server_pair().certificate, "client.pem")


def test_another_clusters_signature_is_refused() -> None:
    with pytest.raises(X509CertError, match="client.pem: not accepted: "):
        x509.check_signed_by(
            client_pair("n", "theirs").certificate, server_pair().certificate, "client.pem"
        )


def test_a_client_certificate_can_sign_nothing() -> None:
    forged = x509.make_client("x", client_pair("n"), time.time())
    with pytest.raises(X509CertError):
        x509.check_signed_by(forged.certificate, server_pair().certificate, "forged")


def test_a_saved_pair_is_loaded_again(tmp_path: Path) -> None:
    place = tmp_path / "server.pem"
    place.write_bytes(server_pair().pem())
    assert x509.load_pair(place).digest == server_pair().digest


def test_digests_agree_and_have_the_form_of_the_facts(tmp_path: Path) -> None:
    place = tmp_path / "server.pem"
    place.write_bytes(server_pair().pem())
    digest = server_pair().digest
    assert len(digest) == 59 and digest == digest.upper() and digest.count(":") == 19
    assert digest_of_pem(place) == digest
    der = ssl.PEM_cert_to_DER_cert(server_pair().certificate_pem().decode())
    assert digest_of(der) == digest


def test_a_key_of_another_certificate_is_noticed() -> None:
    key = server_pair().pem().split(b"-----BEGIN CERTIFICATE")[0]
    with pytest.raises(X509CertError, match="private key and certificate don't match"):
        x509.parse_pair(key + client_pair("n").certificate_pem(), "mixed.pem")


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_damaged_file_is_an_error_with_its_name(tmp_path: Path, pem: bytes) -> None:
    place = tmp_path / "bad.pem"
    place.write_bytes(pem)
    with pytest.raises(X509CertError, match="bad.pem: holds no usable certificate"):
        x509.load_pair(place)


def test_a_certificate_without_key_is_no_pair(tmp_path: Path) -> None:
    with pytest.raises(X509CertError, match="holds no usable private key"):
        x509.parse_pair(server_pair().certificate_pem(), "x")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(X509CertError, match="can't be read: No such file"):
        x509.load_certificate(tmp_path / "none.pem")


@pytest.mark.parametrize(
    ("days_left", "severity", "words"),
    [
        (365, Severity.FINE, ""),
        (29, Severity.WARNING, "expires in about 29 days"),
        (6, Severity.ERROR, "expires in about 6 days"),
        (-1, Severity.ERROR, "certificate is expired"),
        (2000, Severity.WARNING, "not yet valid"),
    ],
)
def test_the_end_of_a_certificate_is_told_in_time(
    days_left: int, severity: Severity, words: str
) -> None:
    ends = server_pair().certificate.not_valid_after_utc.timestamp()
    found = x509.check_validity(server_pair().certificate, ends - days_left * DAY - 60)
    assert found[0] == severity and words in found[1]


def test_names_beyond_64_characters_are_kept_as_alternative_name() -> None:
    name = "n" * 60 + ".example.com"
    pair = x509.make_self_signed(name, time.time(), seconds=60)
    assert x509.common_name(pair.certificate) == name[:64]
