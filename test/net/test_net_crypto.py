"""New SSH keys for a cluster whose nodes log in to each other over a real sshd."""

from __future__ import annotations

from cluster_nodes import CLUSTER_NAME
from ganeti.utils.ssh_command import ssh_argv
from net_bed import NetBed

NO_SYSRQ = "/proc/sysrq-trigger is missing"  # of the machine that the nodes are made on
RING = "/var/lib/ganeti/ganeti_pub_keys"
KNOWN_HOSTS = "/var/lib/ganeti/known_hosts"
AUTHORIZED = "/root/.ssh/authorized_keys"
NODES = (1, 2, 3)


def may(bed: NetBed, source: int, target: int) -> bool:
    argv = ssh_argv("ssh", 22, CLUSTER_NAME, KNOWN_HOSTS)
    return bed(f"{' '.join(argv)} root@node{target} true", node=source).rc == 0


def wrong(bed: NetBed) -> list[str]:
    """What is wrong with the cluster, but for what this machine lacks."""
    said = bed("gnt-cluster verify").out.splitlines()
    return [line for line in said if "ERROR" in line and NO_SYSRQ not in line]


def own_key(bed: NetBed, node: int, kind: str) -> str:
    return bed.nodes.read(node, f"/root/.ssh/id_{kind}.pub").split()[1]


def test_every_node_gets_a_key_of_the_new_type(cluster: NetBed) -> None:
    assert wrong(cluster) == []
    before = {node: own_key(cluster, node, "rsa") for node in NODES}
    cluster.ok("gnt-cluster renew-crypto -f --new-ssh-keys --ssh-key-type=ecdsa")
    after = {node: own_key(cluster, node, "ecdsa") for node in NODES}
    assert len(set(after.values())) == 3
    for node in NODES:
        ring = cluster.nodes.read(node, RING)
        assert all(key in ring for key in after.values())
        assert not any(key in ring for key in before.values())
        assert not any(key in cluster.nodes.read(node, AUTHORIZED) for key in before.values())
    assert all(may(cluster, one, other) for one in NODES for other in NODES if one != other)
    assert wrong(cluster) == []


def test_other_keys_that_may_log_in_are_told_on_wish(cluster: NetBed) -> None:
    """The key with which the nodes were let in is nobody's of the cluster."""
    said = cluster("gnt-cluster verify --verify-ssh-clutter").out
    assert "node2.example.com: authorized_keys has 2 keys of root@node1.example.com" in said


def test_known_hosts_go_to_all_nodes_again(cluster: NetBed) -> None:
    wanted = cluster.nodes.read(1, KNOWN_HOSTS)
    cluster.nodes.write(2, KNOWN_HOSTS, "")
    assert not may(cluster, 2, 1)
    assert any("ECLUSTERFILECHECK" in line or "known_hosts" in line for line in wrong(cluster))
    cluster.ok("gnt-cluster redist-conf")
    assert cluster.nodes.read(2, KNOWN_HOSTS) == wanted
    assert may(cluster, 2, 1)


def test_a_key_that_is_lost_is_told_and_a_readd_mends_it(cluster: NetBed) -> None:
    ring = cluster.nodes.read(3, RING)
    key = own_key(cluster, 3, "ecdsa")
    cluster.ok(
        'sh -c \'ssh-keygen -q -t ecdsa -N "" -f /tmp/new && mv /tmp/new /root/.ssh/id_ecdsa'
        " && mv /tmp/new.pub /root/.ssh/id_ecdsa.pub'",
        node=3,
    )
    cluster.nodes.write(3, RING, "")
    assert not may(cluster, 3, 2)
    told = wrong(cluster)
    assert any("node3" in line and "SSH" in line for line in told), told
    cluster.ok("gnt-node add --readd --no-ssh-key-check node3")
    assert own_key(cluster, 3, "ecdsa") != key
    assert len(cluster.nodes.read(3, RING).splitlines()) == len(ring.splitlines())
    assert may(cluster, 3, 2) and may(cluster, 2, 3)
    assert key not in cluster.nodes.read(1, AUTHORIZED)
    assert wrong(cluster) == []
