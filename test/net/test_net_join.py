"""A cluster on real machines: the master's address, and nodes that join over SSH."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from cluster_nodes import CLUSTER_NAME
from ganeti.utils.ssh_command import ssh_argv
from net_bed import NetBed, namespace_cluster, until

MASTER_IP = "192.0.2.250"
PASSWORD = "correct horse"
NO_SYSRQ = "/proc/sysrq-trigger is missing"  # of the machine that the nodes are made on
RING = "/var/lib/ganeti/ganeti_pub_keys"
ADD = "gnt-node add --no-ssh-key-check"


@pytest.fixture(scope="module")
def lone(possible: None) -> Iterator[NetBed]:
    """A cluster of one node, and two machines that are strangers to it."""
    with namespace_cluster(3) as bed:
        done = bed.init("--enabled-hypervisors=fake")
        assert done.rc == 0, done.err
        yield bed


def names(bed: NetBed) -> list[str]:
    return bed.ok("gnt-node list --no-headers -o name").split()


def host_keys(bed: NetBed, node: int) -> str:
    return bed.ok("sh -c 'cat /etc/ssh/ssh_host_*_key.pub'", node=node)


def verify(bed: NetBed) -> list[str]:
    """What is wrong with the cluster, but for what this machine lacks."""
    said = bed("gnt-cluster verify").out.splitlines()
    return [line for line in said if "ERROR" in line and NO_SYSRQ not in line]


def test_the_master_has_the_clusters_address_and_others_reach_it(lone: NetBed) -> None:
    found = until(
        lambda: lone.addresses("eth0").get(f"{MASTER_IP}/32"), "the master's address is there"
    )
    assert found == "eth0:0"
    lone.answers(MASTER_IP, node=3)
    neighbours = json.loads(lone.ok("ip -j neighbour show dev eth0", node=3))
    macs = {one["dst"]: one.get("lladdr") for one in neighbours}
    assert macs[MASTER_IP] == json.loads(lone.ok("ip -j link show eth0"))[0]["address"]


def test_the_new_master_may_log_in_to_itself_by_the_clusters_name(lone: NetBed) -> None:
    known = lone.nodes.read(1, "/var/lib/ganeti/known_hosts")
    assert {line.split()[0] for line in known.splitlines()} == {CLUSTER_NAME}
    assert "node: node1.example.com\nnode1.example.com" in lone.ok("gnt-cluster command hostname")


def test_a_second_cluster_is_refused_while_the_first_has_its_address(lone: NetBed) -> None:
    done = lone(f"gnt-cluster init --master-netdev=eth0 {CLUSTER_NAME}", node=3)
    assert done.rc == 1
    assert MASTER_IP in done.err
    assert "used already" in done.err
    assert lone("ls /var/lib/ganeti", node=3).out == ""


def test_a_network_device_that_does_not_exist_is_refused(lone: NetBed) -> None:
    lone.ok("sh -c 'echo 192.0.2.251 second.example.com >>/etc/hosts'", node=3)
    done = lone("gnt-cluster init --master-netdev=eth7 second.example.com", node=3)
    assert done.rc == 1
    assert "'eth7' does not exist" in done.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("gnt-node add node2", "use --no-ssh-key-check"),
        (f"{ADD} node2", "accepts none of the keys"),
        (f"{ADD} --node-parameters ssh_port=2222 node2", "port 2222: [Errno 111]"),
    ],
)
def test_a_node_that_can_not_be_logged_in_to_is_refused_in_words(
    lone: NetBed, line: str, says: str
) -> None:
    done = lone(line)
    assert done.rc == 1
    assert says in done.err
    assert "node2.example.com" in done.err
    assert "Traceback" not in done.err
    assert names(lone) == ["node1.example.com"]
    assert lone("ls /var/lib/ganeti", node=2).out == ""


def test_a_wrong_password_is_told_and_the_right_one_lets_the_node_join(lone: NetBed) -> None:
    lone.ok("chpasswd", node=2, input=f"root:{PASSWORD}\n")
    before = host_keys(lone, 2)
    wrong = lone.asked(f"{ADD} node2", ("password: ", "battery staple"))
    assert wrong.rc == 1
    assert "does not accept the password" in wrong.out
    assert names(lone) == ["node1.example.com"]
    right = lone.asked(f"{ADD} node2", ("password: ", PASSWORD))
    assert right.rc == 0, right.out
    assert PASSWORD not in wrong.out + right.out
    assert names(lone) == ["node1.example.com", "node2.example.com"]
    assert host_keys(lone, 2) == host_keys(lone, 1) != before


def test_a_key_lets_a_node_join_and_the_cluster_verifies(lone: NetBed) -> None:
    lone.join(3)
    assert verify(lone) == []


def test_candidates_may_log_in_everywhere_and_others_may_not(lone: NetBed) -> None:
    def may(source: int, target: int) -> bool:
        argv = ssh_argv("ssh", 22, CLUSTER_NAME, "/var/lib/ganeti/known_hosts")
        return lone(f"{' '.join(argv)} root@node{target} true", node=source).rc == 0

    assert may(2, 1) and may(2, 3) and may(3, 2)
    lone.ok("gnt-cluster modify --candidate-pool-size=2")
    lone.ok("gnt-node modify -C no node3")
    assert not may(3, 1) and not may(3, 2)
    assert may(1, 3) and may(2, 3)
    assert verify(lone) == []
    lone.ok("gnt-cluster modify --candidate-pool-size=10")
    assert may(3, 1) and may(3, 2)
    rings = {lone.nodes.read(node, RING) for node in (1, 2, 3)}
    assert len(rings) == 1
    assert len(rings.pop().splitlines()) == 3


def test_commands_and_files_go_to_all_nodes(lone: NetBed) -> None:
    said = lone.ok("gnt-cluster command -M 'hostname --fqdn; echo $((6*7))'")
    for name in lone.nodes.names:
        assert f"{name}: {name}\n{name}: 42\n" in said
    lone.nodes.write(1, "/etc/motd-of-the-cluster", "hello\n")
    lone.ok("gnt-cluster copyfile /etc/motd-of-the-cluster")
    assert lone.nodes.read(3, "/etc/motd-of-the-cluster") == "hello\n"
    failing = lone("gnt-cluster command -n node2 'exit 3'")
    assert "return code = 3" in failing.out


def test_a_stopped_master_keeps_its_address_until_told(lone: NetBed) -> None:
    lone.ok("gnt-cluster deactivate-master-ip --yes")
    assert f"{MASTER_IP}/32" not in lone.addresses("eth0")
    lone.ok("gnt-cluster activate-master-ip")
    assert f"{MASTER_IP}/32" in lone.addresses("eth0")
    lone.answers(MASTER_IP, node=2)


def test_a_removed_node_forgets_the_cluster(lone: NetBed) -> None:
    lone.ok("gnt-node remove node3")
    assert "node3.example.com" not in names(lone)
    left = lone.ok("find /var/lib/ganeti -type f", node=3).split()
    assert not [path for path in left if path.endswith((".pem", ".key", "config.data"))]
    for node in (1, 2):
        assert "node3" not in lone.nodes.read(node, "/etc/hosts")
        assert len(lone.nodes.read(node, RING).splitlines()) == 2
        key = lone.nodes.read(3, "/root/.ssh/id_rsa.pub").split()[1]
        assert key not in lone.nodes.read(node, "/root/.ssh/authorized_keys")
    assert verify(lone) == []


def test_a_node_that_was_installed_anew_is_taken_in_again(lone: NetBed) -> None:
    lone.ok("sh -c 'rm -rf /var/lib/ganeti/* /root/.ssh/id_rsa* /etc/ssh/ssh_host_*'", node=2)
    lone.ok("ssh-keygen -q -A", node=2)
    lone.ok("sh -c 'kill -HUP $(cat /run/sshd.pid)'", node=2)
    lone.nodes.let_in(1, 2)
    lone.ok(f"{ADD} --readd node2")
    assert verify(lone) == []
