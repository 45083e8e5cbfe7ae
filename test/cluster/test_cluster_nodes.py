"""gnt-node on real daemons: add, remove, lists, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.utils.daemons import MASTERD, NODED, RAPI

DEFAULT_TITLES = ["Node", "DTotal", "DFree", "MTotal", "MNode", "MFree", "Pinst", "Sinst"]
LIVE_FIELDS = "dtotal,dfree,mtotal,mnode,mfree"
JOURNALS = ("config_journal", "queue_journal")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Nodes 1 and 2 in the cluster, node 3 a directory only."""
    with virtual_cluster(3) as bed:
        assert bed.init().rc == 0
        bed.ok("gnt-node add node2")
        yield bed


def names(bed: ClusterBed) -> list[str]:
    return bed.ok("gnt-node list --no-headers -o name").split()


def test_default_list_has_the_columns_of_the_manual(cluster: ClusterBed) -> None:
    title, *rows = cluster.ok("gnt-node list").splitlines()
    assert title.split() == DEFAULT_TITLES
    assert [row.split()[0] for row in rows] == names(cluster)
    assert all("?" not in row for row in rows)


@pytest.mark.parametrize("form", ["json", "csv", "yaml", "table"])
def test_every_list_format_holds_the_same_names(cluster: ClusterBed, form: str) -> None:
    text = cluster.ok(f"gnt-node list -o name,role --format {form}")
    for name in names(cluster):
        assert name in text
    if form == "json":
        rows = json.loads(text)
        assert [row["role"] for row in rows] == ["M", "C"]


def test_an_unknown_field_is_shown_and_told_by_exit_code_14(cluster: ClusterBed) -> None:
    done = cluster("gnt-node list -o name,colour")
    assert done.rc == 14
    assert "colour" in done.err
    assert "??" in done.out


def test_an_unknown_node_is_refused(cluster: ClusterBed) -> None:
    done = cluster("gnt-node list nowhere")
    assert done.rc == 1
    assert "unknown_entity" in done.err
    assert "nowhere" in done.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("gnt-node add node2", "already"),
        ("gnt-node add --readd node3", "not in the cluster"),
        ("gnt-node add nowhere", "does not resolve"),
        ("gnt-node add", "expects 1 argument"),
        ("gnt-node add -g nogroup node3", "nogroup"),
        ("gnt-node add --node-parameters colour=red node3", "colour"),
        ("gnt-node remove node1", "master"),
        ("gnt-node remove node3", "node3"),
    ],
)
def test_a_refused_command_changes_nothing(cluster: ClusterBed, line: str, says: str) -> None:
    before = cluster.cluster.paths(1).config_data.read_bytes(), names(cluster)
    done = cluster(line)
    assert done.rc == 1
    assert says in done.err
    assert "Traceback" not in done.err
    assert (cluster.cluster.paths(1).config_data.read_bytes(), names(cluster)) == before


def test_a_command_on_another_node_names_the_master(cluster: ClusterBed) -> None:
    done = cluster("gnt-node list", node=2)
    assert done.rc == 1
    assert "node1.example.com" in done.err


def test_the_master_daemon_does_not_run_on_another_node(cluster: ClusterBed) -> None:
    done = cluster("ganeti-masterd", node=2)
    assert done.rc == 11
    assert "node1.example.com" in done.err


def test_tags_of_a_node_are_kept_sorted_and_found(cluster: ClusterBed) -> None:
    cluster.ok("gnt-node add-tags node2 rack:b rack:a")
    cluster.ok("gnt-cluster add-tags --from - ", input="one\ntwo\n")
    assert cluster.ok("gnt-node list-tags node2") == "rack:a\nrack:b\n"
    assert cluster.ok("gnt-cluster search-tags ^rack") == (
        "/nodes/node2.example.com rack:a\n/nodes/node2.example.com rack:b\n"
    )
    assert cluster("gnt-cluster search-tags nothing").rc == 1
    refused = cluster("gnt-node add-tags node2 'with space'")
    assert refused.rc == 1
    assert "with space" in refused.err
    cluster.ok("gnt-node remove-tags node2 rack:a rack:b")
    assert cluster.ok("gnt-node list-tags node2") == ""
    assert cluster("gnt-node remove-tags node2 rack:a").rc == 1


def test_the_candidates_journals_equal_the_masters(cluster: ClusterBed) -> None:
    def journals(node: int) -> list[bytes]:
        paths = cluster.cluster.paths(node)
        return [getattr(paths, name).read_bytes() for name in JOURNALS]

    for number in range(3):
        cluster.ok(f"gnt-cluster add-tags round{number}")
    until(lambda: journals(1) == journals(2), "node 2 has the master's journals")
    assert cluster.cluster.paths(1).config_journal.stat().st_size > 0


def test_a_node_joins_leaves_and_joins_again(cluster: ClusterBed) -> None:
    paths = cluster.cluster.paths(3)
    cluster.ok("gnt-node add node3")
    assert names(cluster) == list(cluster.cluster.names)
    assert paths.ssconf("master_node").read_text() == "node1.example.com\n"
    assert cluster.pid(NODED, 3) is not None
    cluster.ok("gnt-node remove node3")
    assert len(names(cluster)) == 2
    until(lambda: cluster.pid(NODED, 3) is None, "the node daemon of node 3 has ended")
    left = [path.name for path in paths.data.iterdir() if path.is_file()]
    assert not [name for name in left if name.endswith(".pem") or name == "hmac.key"]
    cluster.ok("gnt-node add node3")
    assert names(cluster) == list(cluster.cluster.names)
    cluster.ok("gnt-node remove node3")


def test_a_silent_node_shows_question_marks(cluster: ClusterBed) -> None:
    cluster.kill(NODED, 2)
    try:
        done = cluster(f"gnt-node list --no-headers --separator=: -o name,{LIVE_FIELDS} node2")
        assert done.out == "node2.example.com:?:?:?:?:?\n"
        verbose = cluster("gnt-node list -v --no-headers --separator=: -o dfree node2")
        assert verbose.out == "(nodata)\n"
        assert done.rc == 0
        cluster.ok("gnt-cluster add-tags while-node2-is-down")
    finally:
        cluster.start(NODED, 2)
    cluster.ok("gnt-cluster add-tags after-node2-was-down")
    master, other = cluster.cluster.paths(1), cluster.cluster.paths(2)
    until(
        lambda: master.config_journal.read_bytes() == other.config_journal.read_bytes(),
        "node 2 has caught up",
    )


def test_a_stranger_is_refused_by_the_node_daemon(cluster: ClusterBed) -> None:
    import ssl
    import subprocess

    paths = cluster.cluster.paths(3)  # its certificate, if any, is of no cluster
    key, certificate = paths.root / "stranger.key", paths.root / "stranger.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=node1.example.com", "-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    context = ssl.create_default_context(cafile=str(cluster.cluster.paths(1).server_pem))
    context.check_hostname = False
    context.load_cert_chain(certificate, key)
    with_none = ssl.create_default_context(cafile=str(cluster.cluster.paths(1).server_pem))
    with_none.check_hostname = False
    for refused in (context, with_none):
        assert not call(cluster, refused).startswith("HTTP/1.1 200"), "a stranger got an answer"
    known = ssl.create_default_context(cafile=str(cluster.cluster.paths(1).server_pem))
    known.check_hostname = False
    known.load_cert_chain(cluster.cluster.paths(1).client_pem)
    assert call(cluster, known).startswith("HTTP/1.1 200")


def call(cluster: ClusterBed, context: object) -> str:
    """What node 2 answers to `version` over this TLS context; the error when it closes."""
    import socket
    import ssl

    assert isinstance(context, ssl.SSLContext)
    request = b"POST /version HTTP/1.1\r\nHost: node2\r\nContent-Length: 2\r\n\r\n[]"
    try:
        with (
            socket.create_connection((cluster.cluster.address(2), 1811), 10) as plain,
            context.wrap_socket(plain) as tls,
        ):
            tls.sendall(request)
            return tls.recv(4096).decode("latin-1")
    except OSError as error:
        return f"closed: {error}"


def test_daemons_survive_all_of_this(cluster: ClusterBed) -> None:
    running = cluster.cluster.running()
    assert set(running["node1.example.com"]) == {MASTERD, NODED, RAPI}
    assert set(running["node2.example.com"]) == {NODED}
