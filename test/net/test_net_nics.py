"""Interfaces of a real guest in every mode: routed, bridged, in Open vSwitch, and by a script."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator

import pytest
from net_bed import NetBed, namespace_cluster, until

GUEST = "web1.example.com"
SWITCHED = "web2.example.com"
TABLE = 77
ROUTER = "10.77.0.1"  # the second node, as its neighbours see it
POOLED = "10.77.0.2"
IN_SWITCH = "203.0.113.9"
ADD = (
    "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check --no-ip-check -n node1"
)
PLUG = "gnt-instance modify --hotplug"
IFDOWN = "#!/bin/sh\nenv >>/run/ifdown.env\n"
IFUP = "#!/bin/sh\nenv >/run/ifup.env\nip link set $INTERFACE up\n"
CONF = "/etc/ganeti"
NICS = "/run/ganeti/kvm-hypervisor/nic"

# What an administrator makes: packets for guests are looked up in the guests' table, and answers to
# whoever asks for them on the wire come from the node.
ROUTES = (
    f"ip rule add to 10.77.0.0/24 table {TABLE}",
    f"ip route add {ROUTER} dev br0",
    "sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.br0.proxy_arp=1",
)
SWITCH = """
set -e
mkdir -p /run/openvswitch /etc/openvswitch
rm -f /etc/openvswitch/conf.db
ovsdb-tool create /etc/openvswitch/conf.db /usr/share/openvswitch/vswitch.ovsschema
ovsdb-server --detach --pidfile --log-file=/var/log/ovsdb.log \
  --remote=punix:/run/openvswitch/db.sock /etc/openvswitch/conf.db
ovs-vsctl --no-wait init
ovs-vswitchd --detach --pidfile --log-file=/var/log/ovs.log --disable-system
ovs-vsctl --timeout=300 add-br ovs0 -- set bridge ovs0 datapath_type=netdev
"""


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Two nodes; the guest is routed and runs on the first one."""
    with namespace_cluster(2) as bed:
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        bed.join(2)
        for line in ROUTES:
            bed.ok(line)
        bed.ok(f"ip address add {ROUTER}/24 dev br0", node=2)
        bed.ok("ip link add br9 type bridge")
        bed.ok("ip link add up9 mtu 1400 type veth peer name far9 mtu 1400")
        bed.ok("ip link set up9 master br9 up")
        bed.ok("ip link set br9 up")
        bed.ok(
            f"gnt-network add --network=10.77.0.0/24 --gateway={ROUTER} --network6=2001:db8::/64 rt"
        )
        bed.ok(f"gnt-network connect -N mode=routed,link={TABLE} rt")
        bed.ok("gnt-network add-tags rt blue")
        bed.ok(f"{ADD} --net 0:network=rt,ip=pool,name=front {GUEST}")
        yield bed


def tap(bed: NetBed, index: int, guest: str = GUEST, node: int = 1) -> str:
    """The device of an interface, as the node's files say."""
    return bed.ok(f"cat {NICS}/{guest}/{index}", node=node)


def devices(bed: NetBed, node: int = 1) -> set[str]:
    return {one["ifname"] for one in json.loads(bed.ok("ip -j tuntap show", node=node))}


def link(bed: NetBed, device: str) -> dict[str, object]:
    (shown,) = json.loads(bed.ok(f"ip -j link show {device}"))
    return dict(shown)


def rules(bed: NetBed, node: int = 1) -> list[str]:
    """Devices whose packets are looked up in the guests' table."""
    shown = json.loads(bed.ok("ip -j rule", node=node))
    return [one["iif"] for one in shown if one.get("table") == str(TABLE) and "iif" in one]


def routes(bed: NetBed, node: int = 1) -> list[tuple[str, str]]:
    shown = json.loads(bed.ok(f"ip -j route show table {TABLE}", node=node))
    return [(one["dst"], one["dev"]) for one in shown]


def environments(bed: NetBed, file: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in bed.nodes.read(1, file).splitlines())


def vlans(bed: NetBed, device: str) -> dict[int, list[str]]:
    """VLAN → flags, without the bridge's own one."""
    (shown,) = json.loads(bed.ok(f"bridge -j vlan show dev {device}"))
    return {one["vlan"]: one.get("flags", []) for one in shown["vlans"] if one["vlan"] != 1}


# The order matters: each test leaves the guest with its routed interface on a known node.


def test_a_routed_guest_is_reached_from_another_node(cluster: NetBed) -> None:
    device = tap(cluster, 0)
    assert routes(cluster) == [(POOLED, device)]
    assert rules(cluster) == [device]
    for word in ("ipv4/conf/{}/proxy_arp", "ipv4/conf/{}/forwarding",
                 "ipv6/conf/{}/proxy_ndp", "ipv6/conf/{}/forwarding"):  # fmt: skip
        assert cluster.ok(f"cat /proc/sys/net/{word.format(device)}") == "1\n"
    # The guest takes all of 10.0.0.0/8 for its neighbours: it is the node that answers for them.
    cluster.answers(POOLED, node=2)
    (page,) = cluster.rows("gnt-network list", "free_count,inst_list", "rt")
    assert page == ["252", GUEST]


def test_a_bridge_gets_an_interface_while_the_guest_runs(cluster: NetBed) -> None:
    cluster.ok(f"{PLUG} --net add:mode=bridged,link=br9 {GUEST}")
    device = tap(cluster, 1)
    shown = link(cluster, device)
    assert (shown["master"], shown["mtu"]) == ("br9", 1400)
    assert str(shown["address"]).startswith("fe:")


@pytest.mark.parametrize("command", ["migrate -f -n node2", "failover -f -n node2"])
def test_a_guest_does_not_go_where_a_bridge_is_missing(cluster: NetBed, command: str) -> None:
    done = cluster(f"gnt-instance {command} {GUEST}")
    assert done.rc == 1
    assert "environment_error" in done.err and "br9" in done.err
    assert cluster.rows("gnt-instance list", "pnode,status", GUEST) == [
        ["node1.example.com", "running"]
    ]


def test_an_interface_that_goes_is_told_to_the_script(cluster: NetBed) -> None:
    cluster.nodes.write(1, f"{CONF}/kvm-ifdown", IFDOWN, mode="755")
    device = tap(cluster, 1)
    try:
        cluster.ok(f"{PLUG} --net 1:remove {GUEST}")
    finally:
        cluster.ok(f"rm {CONF}/kvm-ifdown")
    told = environments(cluster, "/run/ifdown.env")
    assert (told["INTERFACE"], told["LINK"], told["BRIDGE"]) == (device, "br9", "br9")
    assert device not in devices(cluster)
    assert cluster(f"cat {NICS}/{GUEST}/1").rc != 0
    cluster.answers(POOLED, node=2)


def test_vlans_are_those_of_the_interface_and_of_the_uplinks(cluster: NetBed) -> None:
    if cluster("ip link add br8 type bridge vlan_filtering 1").rc != 0:
        pytest.skip("this kernel's bridges know no VLANs (CONFIG_BRIDGE_VLAN_FILTERING)")
    for line in ("add up8 type veth peer name far8", "set up8 master br8 up", "set br8 up"):
        cluster.ok(f"ip link {line}")
    cluster.ok(f"{PLUG} --net add:mode=bridged,link=br8,vlan=.10:20:30 {GUEST}")
    flags = vlans(cluster, tap(cluster, 1))
    assert flags == {10: ["PVID", "Egress Untagged"], 20: [], 30: []}
    assert vlans(cluster, "up8") == {10: [], 20: [], 30: []}
    cluster.ok(f"{PLUG} --net 1:remove {GUEST}")


def test_a_script_connects_what_nothing_else_does(cluster: NetBed) -> None:
    refused = cluster(f"{PLUG} --net add:mode=ext,link=anything,ip=2001:DB8:1::1 {GUEST}")
    assert "kvm-vif-bridge" in refused.err + refused.out
    cluster.ok(f"gnt-instance modify --net 1:remove {GUEST}")
    cluster.nodes.write(1, f"{CONF}/kvm-vif-bridge", IFUP, mode="755")
    try:
        cluster.ok(f"{PLUG} --net add:network=rt,ip=2001:db8::A,name=back {GUEST}")
        told = environments(cluster, "/run/ifup.env")
        cluster.ok(f"{PLUG} --net 1:remove {GUEST}")
        cluster.ok(f"{PLUG} --net add:mode=ext,link=anything {GUEST}")
        plain = environments(cluster, "/run/ifup.env")
        cluster.ok(f"{PLUG} --net 1:remove {GUEST}")
    finally:
        cluster.ok(f"rm {CONF}/kvm-vif-bridge")
    wanted = {
        "INSTANCE": GUEST, "MODE": "routed", "LINK": str(TABLE), "IP": "2001:db8::a",
        "INTERFACE_INDEX": "1", "INTERFACE_NAME": "back", "NETWORK_NAME": "rt",
        "NETWORK_SUBNET": "10.77.0.0/24", "NETWORK_GATEWAY": ROUTER,
        "NETWORK_SUBNET6": "2001:db8::/64", "NETWORK_TAGS": "blue", "TAGS": "",
    }  # fmt: skip
    assert {name: told.get(name) for name in wanted} == wanted
    assert {"MAC", "INTERFACE", "INTERFACE_UUID", "NETWORK_UUID", "PATH"} <= set(told)
    assert not {"BRIDGE", "VLAN", "NETWORK_GATEWAY6", "NETWORK_MAC_PREFIX"} & set(told)
    assert (plain["MODE"], plain["LINK"]) == ("ext", "anything")
    assert not [name for name in plain if name.startswith("NETWORK_")]


def compared(bed: NetBed) -> list[str]:
    """What verification says about scripts for interfaces."""
    said = bed("gnt-cluster verify --error-codes")
    lines = [line for line in said.out.splitlines() if "/kvm-" in line]
    assert all("ECLUSTERFILECHECK" in line for line in lines)
    return lines


def test_scripts_go_to_the_other_nodes(cluster: NetBed) -> None:
    cluster.nodes.write(1, f"{CONF}/kvm-vif-bridge", IFUP, mode="755")
    cluster.nodes.write(1, f"{CONF}/kvm-ifdown", IFDOWN, mode="755")
    assert len(compared(cluster)) == 2
    cluster.ok("gnt-cluster redist-conf")
    assert compared(cluster) == []
    for name, text in (("kvm-vif-bridge", IFUP), ("kvm-ifdown", IFDOWN)):
        assert cluster.nodes.read(2, f"{CONF}/{name}") == text
        assert cluster("test -x", f"{CONF}/{name}", node=2).rc == 0
        for node in (1, 2):
            cluster.ok(f"rm {CONF}/{name}", node=node)


def test_a_routed_interface_of_ipv6_has_its_rule_and_route(cluster: NetBed) -> None:
    cluster.ok(f"{PLUG} --net add:network=rt,ip=2001:db8::7 {GUEST}")
    device = tap(cluster, 1)
    shown = json.loads(cluster.ok(f"ip -6 -j route show table {TABLE}"))
    assert ("2001:db8::7", device) in [(one["dst"], one["dev"]) for one in shown]
    cluster.ok(f"{PLUG} --net 1:remove {GUEST}")
    assert device not in cluster.ok("ip -6 rule")


def test_routes_follow_a_guest_that_migrates(cluster: NetBed) -> None:
    cluster.ok(f"ip rule add to 10.77.0.0/24 table {TABLE}", node=2)
    cluster.ok(f"gnt-instance migrate -f -n node2 {GUEST}")
    assert (rules(cluster, 1), routes(cluster, 1)) == ([], [])
    device = tap(cluster, 0, node=2)
    assert (rules(cluster, 2), routes(cluster, 2)) == ([device], [(POOLED, device)])
    # Its router has the same address on the wire: it does not ask for it anew.
    ping = f"ping -q -c 1 -W 1 -I {ROUTER} {POOLED}"
    until(lambda: cluster(ping, node=2).rc == 0, "the guest answers on its new node")


def test_nothing_is_left_of_a_guest_that_is_removed(cluster: NetBed) -> None:
    cluster.ok(f"gnt-instance remove -f --shutdown-timeout=0 {GUEST}")
    assert (rules(cluster, 2), routes(cluster, 2), devices(cluster, 2)) == ([], [], set())
    (page,) = cluster.rows("gnt-network list", "free_count,inst_list", "rt")
    assert page == ["253", ""]


@pytest.fixture
def switch(cluster: NetBed) -> NetBed:
    """An Open vSwitch on the first node, that works in its own process."""
    if not shutil.which("ovs-vswitchd", path="/usr/sbin:/usr/bin"):
        pytest.skip("needs the package openvswitch-switch")
    cluster.ok("sh -c", SWITCH)
    for tag in (7, 8):
        name = f"in{tag}"
        cluster.ok(
            f"ovs-vsctl add-port ovs0 {name} tag={tag} -- set interface {name} type=internal"
        )
        cluster.ok(f"ip link set {name} up")
    return cluster


def test_open_vswitch_carries_a_guest_in_its_vlan(switch: NetBed) -> None:
    switch.ok(f"{ADD} --net 0:ip={IN_SWITCH},mode=openvswitch,link=ovs0,vlan=7 {SWITCHED}")
    device = tap(switch, 0, SWITCHED)
    assert switch.ok(f"ovs-vsctl port-to-br {device}") == "ovs0\n"
    assert switch.ok(f"ovs-vsctl get port {device} tag trunks").split() == ["7", "[]"]
    switch.ok("ip address add 203.0.113.8/24 dev in8")
    assert not switch.reaches(IN_SWITCH)
    switch.ok("ip address flush dev in8")
    switch.ok("ip address add 203.0.113.7/24 dev in7")
    switch.answers(IN_SWITCH)
    switch.ok(f"{PLUG} --net add:mode=openvswitch,link=ovs0,vlan=.7:8:9 {SWITCHED}")
    second = tap(switch, 1, SWITCHED)
    found = switch.ok(f"ovs-vsctl get port {second} tag trunks")
    assert found.split("\n")[:2] == ["7", "[8, 9]"]
    switch.ok(f"{PLUG} --net 1:remove {SWITCHED}")
    assert second not in switch.ok("ovs-vsctl list-ports ovs0").split()
    switch.ok(f"gnt-instance shutdown --timeout=0 {SWITCHED}")
    assert switch.ok("ovs-vsctl list-ports ovs0").split() == ["in7", "in8"]
