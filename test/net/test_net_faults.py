"""Nodes that are cut off, refuse, or lose their power."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from net_bed import NetBed, namespace_cluster, until

MASTER_LOG = "/var/log/ganeti/master-daemon.log"
LIVE = "gnt-node list --no-headers --separator=: -o name,dfree,mfree"
UNKNOWN = "?:?"
GUEST = "web1.example.com"
ADDRESS = "198.51.100.101"

ASK = """
import socket, ssl, sys
context = ssl.create_default_context(cafile="/var/lib/ganeti/server.pem")
context.check_hostname = False
context.load_cert_chain("/var/lib/ganeti/client.pem")
try:
    with socket.create_connection((sys.argv[1], 1811), 10) as plain:
        with context.wrap_socket(plain) as tls:
            tls.sendall(b"POST /version HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 2\\r\\n\\r\\n[]")
            print(tls.recv(4096).decode("latin-1").splitlines()[0])
except OSError as error:
    print("closed:", error)
"""


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Three nodes, a guest runs on the third."""
    with namespace_cluster(3) as bed:
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        bed.join(2, 3)
        bed.ok(
            "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check"
            f" --no-ip-check --net 0:ip={ADDRESS} -n node3 {GUEST}"
        )
        yield bed


@contextmanager
def refused(bed: NetBed, node: int, how: str = "drop") -> Iterator[None]:
    """The node's firewall lets nobody in to the node daemon."""
    bed.ok("nft add table inet cut", node=node)
    chain = "{ type filter hook input priority 0; }"
    bed.ok("nft", "add", "chain", "inet", "cut", "input", chain, node=node)
    bed.ok(f"nft add rule inet cut input iifname eth0 tcp dport 1811 {how}", node=node)
    try:
        yield
    finally:
        bed.ok("nft delete table inet cut", node=node)


@contextmanager
def unplugged(bed: NetBed, node: int) -> Iterator[None]:
    bed.nodes.unplug(node)
    try:
        yield
    finally:
        bed.nodes.plug(node)


def live(bed: NetBed) -> dict[str, str]:
    """Node → its live fields."""
    rows = (line.partition(":") for line in bed.ok(LIVE).splitlines())
    return {name.partition(".")[0]: rest for name, _, rest in rows}


def waits(bed: NetBed, node: str) -> int:
    """How often the master has waited in vain for the answer of that node to a list's question."""
    return bed.nodes.read(1, MASTER_LOG).count(f"call node_info: node {node}.example.com: ")


def all_answer(bed: NetBed) -> None:
    until(lambda: UNKNOWN not in live(bed).values(), "all nodes answer again")


def tags(bed: NetBed, node: int) -> list[str]:
    """What the node knows of the cluster's tags."""
    return bed.nodes.read(node, "/var/lib/ganeti/ssconf_cluster_tags").split()


@pytest.mark.parametrize("how", ["unplugged", "drop", "reject with tcp reset"])
def test_a_node_cut_off_costs_its_deadline_once(cluster: NetBed, how: str) -> None:
    all_answer(cluster)
    cut = unplugged(cluster, 2) if how == "unplugged" else refused(cluster, 2, how)
    with cut:
        before = waits(cluster, "node2")
        first = live(cluster)
        assert first["node2"] == UNKNOWN
        assert UNKNOWN not in (first["node1"], first["node3"])
        once = waits(cluster, "node2")
        assert once > before
        assert live(cluster)["node2"] == UNKNOWN
        if "reject" not in how:  # a refusal comes at once, a silence is waited for
            assert waits(cluster, "node2") == once
    all_answer(cluster)


def test_changes_stand_while_two_of_three_nodes_are_cut_off(cluster: NetBed) -> None:
    all_answer(cluster)
    with refused(cluster, 2), refused(cluster, 3):
        cluster.ok("gnt-cluster add-tags alone")
        until(lambda: "alone" in tags(cluster, 1), "the master's node has the tag")
        assert "alone" not in tags(cluster, 2) + tags(cluster, 3)
    all_answer(cluster)
    cluster.ok("gnt-cluster add-tags together")
    until(
        lambda: all({"alone", "together"} <= set(tags(cluster, node)) for node in (1, 2, 3)),
        "all nodes have the same ssconf",
    )


def test_a_node_that_is_no_candidate_gets_no_answer_from_others(cluster: NetBed) -> None:
    def ask(target: int) -> str:
        address = cluster.nodes.address(target)
        return cluster.ok(sys.executable, "-c", ASK, address, node=3)

    def answers(target: int) -> bool:
        return ask(target).startswith("HTTP/1.1 200")

    until(lambda: answers(2), "node 2 answers the candidate")
    cluster.ok("gnt-cluster modify --candidate-pool-size=2")
    cluster.ok("gnt-node modify -C no node3")
    assert [row[0] for row in cluster.rows("gnt-node list", "role", "node3")] == ["R"]
    until(lambda: not answers(1) and not answers(2), "they know that node 3 is no candidate")
    cluster.ok("gnt-cluster modify --candidate-pool-size=10")
    assert [row[0] for row in cluster.rows("gnt-node list", "role", "node3")] == ["C"]
    until(lambda: answers(2), "node 2 answers node 3 again")


def status(bed: NetBed) -> str:
    (row,) = bed.rows("gnt-instance list", "status", GUEST)
    return row[0]


def test_a_guest_goes_on_while_its_node_is_cut_off(cluster: NetBed) -> None:
    bed = cluster
    until(lambda: bed.reaches(ADDRESS), "the guest answers")
    with unplugged(bed, 3):
        assert status(bed) == "ERROR_nodedown"
        bed.answers(ADDRESS)  # its own network is another one
    until(lambda: status(bed) == "running", "the node answers again")


def test_a_node_without_power_shows_its_guests_as_down_with_it(cluster: NetBed) -> None:
    bed = cluster
    bed.nodes.power_off(3)
    assert status(bed) == "ERROR_nodedown"
    assert not bed.reaches(ADDRESS)
    bed.nodes.start(3)
    bed.ok("ganeti-noded", node=3)
    until(lambda: status(bed) == "ERROR_down", "the node answers, without its guest")
    bed.ok("gnt-instance startup", GUEST)
    until(lambda: bed.reaches(ADDRESS), "the guest answers again")
    assert status(bed) == "running"


def test_a_master_that_was_powered_off_comes_back_with_all_it_knew(cluster: NetBed) -> None:
    cluster.ok("gnt-cluster add-tags before-the-power-cut")
    cluster.nodes.power_off(1)
    assert not cluster.reaches("192.0.2.250", node=2)
    cluster.nodes.start(1)
    cluster.ok("ganeti-noded")
    cluster.ok("ganeti-masterd")
    assert "before-the-power-cut" in cluster.ok("gnt-cluster list-tags")
    until(lambda: cluster.reaches("192.0.2.250", node=2), "the master's address is back")
    all_answer(cluster)
