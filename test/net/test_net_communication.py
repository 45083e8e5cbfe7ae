"""The interface between a real guest and its node: added, plugged, migrated, taken away."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from net_bed import NetBed, namespace_cluster, until

GUEST = "web1.example.com"
SECOND = "web2.example.com"
SECOND_ADDRESS = "198.51.100.102"
GUEST_ADDRESS = "169.254.0.1"
NODE_ADDRESS = "169.254.169.254"
ADD = "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check --no-ip-check"
LEAVE = "\x1d"  # Ctrl-]
SCRIPT = "#!/bin/sh\nenv >/run/ifup-os.env\n"


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Two nodes; the guest runs on the first one and has nothing but the interface to its node."""
    with namespace_cluster(2) as bed:
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        bed.join(2)
        refused = bed(f"{ADD} -n node1 --no-nics --communication=yes {GUEST}")
        assert refused.rc == 1
        assert "wrong_input" in refused.err and "--instance-communication-network" in refused.err
        bed.ok("gnt-cluster modify --instance-communication-network=comm")
        until(
            lambda: bed.rows("gnt-network list", "group_list", "comm") != [[""]],
            "the network is connected",
        )
        bed.nodes.write(1, "/etc/ganeti/kvm-ifup-os", SCRIPT, mode="755")
        bed.ok(f"{ADD} -n node1 --no-nics --communication=yes {GUEST}")
        yield bed


def devices(bed: NetBed, node: int = 1) -> list[str]:
    """The node's taps for communication."""
    return sorted(one["ifname"] for one in json.loads(bed.ok("ip -j tuntap show", node=node)))


def route(bed: NetBed, node: int = 1) -> list[str]:
    return [
        one["dev"] for one in json.loads(bed.ok(f"ip -j route show {GUEST_ADDRESS}", node=node))
    ]


def test_the_network_is_link_local_and_keeps_the_address_of_the_nodes(cluster: NetBed) -> None:
    page = cluster.ok("gnt-network info comm")
    assert "169.254.0.0/16" in page and NODE_ADDRESS in page
    ((mode, prefix),) = cluster.rows("gnt-network list", "group_list,mac_prefix", "comm")
    assert mode == "default (routed, communication_rt, )"
    assert prefix == "52:54:00"


def test_guest_and_node_reach_each_other(cluster: NetBed) -> None:
    fields = "nic.names,nic.ip/0,nic.mode/0,nic.link/0,nic.mac/0"
    (row,) = cluster.rows("gnt-instance list", fields, GUEST)
    assert row[:4] == [
        f"['ganeti:communication:{GUEST}']",
        GUEST_ADDRESS,
        "routed",
        "communication_rt",
    ]
    assert row[4].startswith("52:54:00:")
    assert devices(cluster) == ["gnt.com.0"]
    assert list(cluster.addresses("gnt.com.0"))[0] == f"{NODE_ADDRESS}/32"
    assert route(cluster) == ["gnt.com.0"]
    until(lambda: cluster.reaches(GUEST_ADDRESS), "the guest answers to its node")
    assert not cluster.reaches(GUEST_ADDRESS, node=2)
    said = cluster.asked(
        f"gnt-instance console {GUEST}",
        ("leave it", ""),
        ("# ", f"until ping -c 1 -W 5 {NODE_ADDRESS} >/dev/null; do :; done; echo code $?."),
        ("code 0.", LEAVE),
    )
    assert said.rc == 0, said.out


def test_the_administrators_script_has_run_before(cluster: NetBed) -> None:
    text = cluster.nodes.read(1, "/run/ifup-os.env")
    told = dict(line.split("=", 1) for line in text.splitlines())
    assert (told["INTERFACE"], told["IP"]) == ("gnt.com.0", GUEST_ADDRESS)
    assert (told["MODE"], told["NETWORK_NAME"]) == ("routed", "comm")


def test_nothing_is_forwarded_from_there(cluster: NetBed) -> None:
    cluster.ok("sysctl -qw net.ipv4.ip_forward=1")  # of all interfaces that come from now on
    cluster.ok(f"gnt-instance reboot -t hard --shutdown-timeout=0 {GUEST}")
    (device,) = devices(cluster)
    for word in ("ipv4/conf/{}/forwarding", "ipv4/conf/{}/proxy_arp", "ipv6/conf/{}/forwarding"):
        assert cluster.ok(f"cat /proc/sys/net/{word.format(device)}") == "0\n"


def test_a_second_guest_has_the_next_number_and_the_same_node(cluster: NetBed) -> None:
    cluster.ok(f"{ADD} -n node1 --net 0:ip={SECOND_ADDRESS} {SECOND}")
    cluster.answers(SECOND_ADDRESS, node=2)  # who has not booted does not let go of devices
    assert "gnt.com.1" not in devices(cluster)
    cluster.ok(f"gnt-instance modify --hotplug --communication=yes {SECOND}")
    assert [name for name in devices(cluster) if name.startswith("gnt.")] == [
        "gnt.com.0", "gnt.com.1",
    ]  # fmt: skip
    assert list(cluster.addresses("gnt.com.1"))[0] == f"{NODE_ADDRESS}/32"
    cluster.ok(f"gnt-instance modify --hotplug --communication=yes {SECOND}")
    assert cluster.rows("gnt-instance list", "nic.count", SECOND) == [["2"]]
    cluster.ok(f"gnt-instance modify --hotplug --communication=no {SECOND}")
    assert "gnt.com.1" not in devices(cluster)
    assert cluster.rows("gnt-instance list", "nic.names", SECOND) == [["[None]"]]
    cluster.ok(f"gnt-instance remove -f --shutdown-timeout=0 {SECOND}")


def test_a_table_of_that_name_has_the_route_too(cluster: NetBed) -> None:
    cluster.ok("mkdir -p /etc/iproute2/rt_tables.d", node=2)
    cluster.nodes.write(2, "/etc/iproute2/rt_tables.d/ganeti.conf", "77 communication_rt\n")
    until(lambda: cluster.reaches(GUEST_ADDRESS), "the guest answers to its node")
    cluster.ok(f"gnt-instance migrate -f -n node2 {GUEST}")
    assert (route(cluster, 1), route(cluster, 2)) == ([], ["gnt.com.0"])
    until(lambda: cluster.reaches(GUEST_ADDRESS, node=2), "the guest answers to its new node")
    rules = json.loads(cluster.ok("ip -j rule", node=2))
    assert [one["iif"] for one in rules if "iif" in one] == ["gnt.com.0"]


def test_a_renamed_instance_has_its_interface_renamed(cluster: NetBed) -> None:
    cluster.ok(f"gnt-instance shutdown --timeout=0 {GUEST}")
    assert (devices(cluster, 2), route(cluster, 2)) == ([], [])
    assert "gnt.com" not in cluster.ok("ip rule", node=2)
    other = "web3.example.com"
    cluster.ok(f"gnt-instance rename -f --no-name-check --no-ip-check {GUEST} {other}")
    assert cluster.rows("gnt-instance list", "nic.names", other) == [
        [f"['ganeti:communication:{other}']"]
    ]
    cluster.ok(f"gnt-instance remove -f {other}")
    ((free,),) = cluster.rows("gnt-network list", "free_count", "comm")
    assert int(free) == 2**16 - 3
