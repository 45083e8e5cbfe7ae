"""The programs that make a machine a node, as `gnt-node add` runs them there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ganeti.paths import HOSTNAME_VARIABLE, ROOT_VARIABLE, Paths
from ganeti.serializer import Json
from ganeti.utils import x509

TOOLS = Path(__file__).parents[2] / "tools"
NODE = "node2.example.com"
NOW = 1_700_000_000.0


def a_document(**more: Json) -> dict[str, Json]:
    server = x509.make_server(NOW)
    return {
        "cluster_name": "cluster.example.com",
        "node_daemon_certificate": server.pem().decode(),
        "hmac_key": "0123456789\n",
        "ssconf": {"cluster_name": "cluster.example.com\n"},
        "node_name": NODE,
        "start_node_daemon": False,
    } | more


def set_up(root: Path, document: Json, *words: str) -> tuple[int, str]:
    """Exit code and what it said."""
    done = subprocess.run(
        [sys.executable, str(TOOLS / "node-daemon-setup"), *words],
        input=document if isinstance(document, str) else json.dumps(document),
        env={**os.environ, ROOT_VARIABLE: str(root), HOSTNAME_VARIABLE: NODE},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stderr


def test_a_node_gets_secrets_that_only_root_reads(tmp_path: Path) -> None:
    assert set_up(tmp_path, a_document()) == (0, "")
    paths = Paths(tmp_path)
    modes = {
        place.name: place.stat().st_mode & 0o777
        for place in (paths.server_pem, paths.client_pem, paths.hmac_key)
    }
    assert modes == {"server.pem": 0o440, "client.pem": 0o440, "hmac.key": 0o440}
    client = x509.load_certificate(paths.client_pem)
    assert x509.common_name(client) == NODE


def test_a_dry_run_checks_all_of_the_input_and_writes_nothing(tmp_path: Path) -> None:
    assert set_up(tmp_path, a_document(), "--dry-run") == (0, "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("[1]", "input: an object is expected, not [1]"),
        ("{", "standard input is not JSON"),
        ("{}", "key 'cluster_name' is missing"),
        (json.dumps({"cluster_name": 5}), "input.cluster_name: a text is expected, not 5"),
    ],
)
@pytest.mark.parametrize("words", [[], ["--dry-run"]], ids=["real", "dry"])
def test_a_wrong_document_is_an_error_in_one_line(
    tmp_path: Path, document: str, text: str, words: list[str]
) -> None:
    code, said = set_up(tmp_path, document, *words)
    assert code == 1 and text in said and said.count("\n") == 1


def test_a_node_of_another_cluster_is_left_alone(tmp_path: Path) -> None:
    place = Paths(tmp_path).ssconf("cluster_name")
    place.parent.mkdir(parents=True)
    place.write_text("other.example.com\n")
    code, said = set_up(tmp_path, a_document())
    assert code == 1 and "is a node of cluster other.example.com" in said
    assert not Paths(tmp_path).server_pem.exists()


def test_a_name_of_a_value_is_no_path(tmp_path: Path) -> None:
    code, said = set_up(tmp_path, a_document(ssconf={"../evil": "x"}))
    assert code == 1 and "is no name of a ssconf value" in said
