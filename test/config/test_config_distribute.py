"""What is brought to the nodes, and what is better not."""

from __future__ import annotations

from pathlib import Path

from fakes.nodes import a_root
from ganeti.config.distribute import CERTIFICATES, without_lockout
from ganeti.http.tls import digest_of_pem


def test_a_master_sends_no_list_of_certificates_that_shuts_it_out(tmp_path: Path) -> None:
    own = a_root(tmp_path / "node1").client_pem
    others = {CERTIFICATES: "uuid1=AA:BB\nuuid2=CC:DD", "node_list": "node1"}
    assert without_lockout(others, own) == {"node_list": "node1"}
    listed = {**others, CERTIFICATES: f"uuid2=CC:DD\nuuid1={digest_of_pem(own)}"}
    assert without_lockout(listed, own) == listed
    own.write_text("junk")
    assert without_lockout(others, own) == {"node_list": "node1"}


def test_a_master_without_a_certificate_of_its_own_sends_all(tmp_path: Path) -> None:
    """It shows server.pem, which counts while the list is empty."""
    for text in ("", "uuid1=AA:BB"):
        values = {CERTIFICATES: text}
        assert without_lockout(values, tmp_path / "client.pem") == values
