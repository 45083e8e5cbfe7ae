"""gnt-network with all its options, and instances in networks, on real daemons."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cluster_bed import ClusterBed, virtual_cluster, without_dates
from ganeti.constants import DEFAULT_BRIDGE

OS = "empty"
ADD = f"gnt-instance add -t diskless -o {OS}+default --no-name-check --no-ip-check --no-start"
NEW = "gnt-instance modify --net add:network"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Three nodes, the last one in a group of its own."""
    with virtual_cluster(3) as bed:
        bed.init_all()
        bed.add_empty_os(OS)
        bed.ok("gnt-group add far")
        bed.ok("gnt-group assign-nodes far node3")
        yield bed


def refused(bed: ClusterBed, line: str, code: str) -> str:
    done = bed(line)
    assert done.rc == 1, line
    assert f"error type: {code}" in done.err, f"{line}: {done.err}"
    assert "Traceback" not in done.err
    return done.out


def failed(bed: ClusterBed, line: str) -> None:
    done = bed(line)
    assert (done.rc, done.err.splitlines()[0]) == (1, "Failure: command execution error:"), line


def networks(bed: ClusterBed, fields: str, *names: str) -> list[list[str]]:
    text = bed.ok(f"gnt-network list --no-headers --separator=; -o {fields}", *names)
    return [line.split(";") for line in text.splitlines()]


def nics(bed: ClusterBed, name: str, fields: str = "nic.ips") -> str:
    return bed.ok(f"gnt-instance list --no-headers --separator=; -o {fields}", name).strip()


def test_networks_of_every_kind_are_made_and_shown(cluster: ClusterBed) -> None:
    cluster.ok(
        "gnt-network add --network=10.1.0.0/28 --gateway=10.1.0.1 --network6=2001:db8:1::/64"
        " --gateway6=2001:db8:1::1 -m AA:bb:cc --add-reserved-ips=10.1.0.9,2001:db8:1::9"
        " --tags=lan,blue --priority=high both"
    )
    cluster.ok("gnt-network add --network6=2001:db8:6::/64 six")
    cluster.ok("gnt-network add none")
    number = cluster.ok(
        "gnt-network add --print-jobid --no-conflicts-check --network=10.2.0.0/16 wide"
    )
    assert number.strip().isdigit()
    assert networks(cluster, "name,network,network6,gateway6,mac_prefix,free_count") == [
        ["both", "10.1.0.0/28", "2001:db8:1::/64", "2001:db8:1::1", "aa:bb:cc", "12"],
        ["none", "-", "-", "-", "-", "-"],
        ["six", "-", "2001:db8:6::/64", "-", "-", "-"],
        ["wide", "10.2.0.0/16", "-", "-", "-", "65534"],
    ]
    reserved = "10.1.0.0, 10.1.0.1, 10.1.0.9, 10.1.0.15, 2001:db8:1::9"
    assert networks(cluster, "external_reservations", "both") == [[reserved]]
    page = cluster.ok("gnt-network info six").splitlines()
    assert page[3:] == [
        "  Subnet: None",
        "  Gateway: None",
        "  IPv6 Subnet: 2001:db8:6::/64",
        "  IPv6 Gateway: None",
        "  Mac Prefix: None",
        "  not connected to any node group",
        "  not used by any instances",
    ]
    assert cluster.ok("gnt-network list-tags both").splitlines() == ["blue", "lan"]
    cluster.ok("gnt-network remove-tags both blue")
    cluster.ok("gnt-network add-tags both green")
    assert cluster.ok("gnt-network list-tags both").splitlines() == ["green", "lan"]


def test_what_can_not_be_a_network_is_refused(cluster: ClusterBed) -> None:
    for options in (
        "--network=10.3.0.0/8",
        "--network=10.3.0.0/31",
        "--network=10.3.0.5/24",
        "--network=10.3.0.0/24 --gateway=10.4.0.1",
        "--gateway=10.3.0.1",
        "--network6=2001:db8::5/64",
        "--network6=2001:db8::/64 --gateway6=2001:db9::1",
        "--network=10.3.0.0/24 --add-reserved-ips=10.4.0.1",
    ):
        failed(cluster, f"gnt-network add {options} bad")
    refused(cluster, "gnt-network add --network=10.3.0.0/24 -m aa:bb bad", "wrong_input")
    refused(cluster, "gnt-network add --network=10.3.0.0/24 both", "already_exists")
    for options in ("--network=10.3.0", "--network=2001:db8::/64", "--gateway6=10.0.0.1"):
        assert cluster(f"gnt-network add {options} bad").rc == 1
    cluster.ok("gnt-network add --dry-run --network=10.3.0.0/24 bad")
    for line in ("modify -m none", "remove", "connect", "disconnect"):
        refused(cluster, f"gnt-network {line} bad", "unknown_entity")
    refused(cluster, "gnt-network rename bad worse", "unknown_entity")
    refused(cluster, "gnt-network rename both six", "already_exists")
    refused(cluster, "gnt-network connect both nosuch", "unknown_entity")
    assert cluster("gnt-network modify both").rc == 1
    both = "gnt-network modify --gateway=10.1.0.2 --add-reserved-ips=10.1.0.5 both"
    refused(cluster, both, "wrong_input")


def test_a_network_is_connected_to_groups_as_it_is_said(cluster: ClusterBed) -> None:
    cluster.ok("gnt-network connect -N mode=bridged,link=br1,vlan=7 both default")
    cluster.ok("gnt-network connect --nic-parameters=mode=openvswitch,link=sw0 both far")
    cluster.ok("gnt-network connect six")
    cluster.ok("gnt-network connect --no-conflicts-check none default")
    again = cluster.ok("gnt-network connect both default")
    assert without_dates(again).startswith(" - WARNING: ")
    assert networks(cluster, "group_list,group_cnt", "both") == [
        ["default (bridged, br1, .7), far (openvswitch, sw0, )", "2"]
    ]
    refused(cluster, "gnt-network connect -N mode=bridged,vlan=x wide default", "wrong_input")
    refused(cluster, "gnt-network connect -N mode=routed,link=1,vlan=3 wide far", "wrong_input")
    assert cluster("gnt-network connect -N mode=nosuch wide default").rc == 1


def test_interfaces_get_addresses_of_their_networks(cluster: ClusterBed) -> None:
    cluster.ok(
        f"{ADD} -n node1 --net 0:network=both,ip=pool --net 1:network=six,ip=pool a.example.com"
    )
    assert nics(cluster, "a") == "10.1.0.2,2001:db8:6::1"
    assert nics(cluster, "a", "nic.modes,nic.links") == f"bridged,bridged;br1,{DEFAULT_BRIDGE}"
    macs = nics(cluster, "a", "nic.macs").split(",")
    assert macs[0].startswith("aa:bb:cc:") and not macs[1].startswith("aa:bb:cc:")
    assert nics(cluster, "a", "nic.networks.names") == "['both', 'six']"
    page = cluster.ok("gnt-network info both")
    assert "    a.example.com: 0:10.1.0.2" in page
    assert "    a.example.com: 1:2001:db8:6::1" in cluster.ok("gnt-network info six")
    cluster.ok(f"{NEW}=both,ip=2001:DB8:1::0005 a")
    assert nics(cluster, "a") == "10.1.0.2,2001:db8:6::1,2001:db8:1::5"


def test_addresses_that_are_somebodys_are_refused(cluster: ClusterBed) -> None:
    for network, ip in (
        ("both", "10.1.0.2"),
        ("both", "10.1.0.1"),
        ("both", "10.1.0.9"),
        ("both", "10.5.0.1"),
        ("both", "2001:db8:1::1"),
        ("both", "2001:db8:1::5"),
        ("both", "2001:db8:1::9"),
        ("six", "2001:db8:6::1"),
        ("six", "10.6.0.1"),
    ):
        refused(cluster, f"{NEW}={network},ip={ip} a", "resource_not_unique")
    cluster.ok(f"{NEW}=both,ip=10.1.0.9 --no-conflicts-check a")
    for given, code in (
        ("network=none,ip=pool", "wrong_input"),
        ("ip=pool", "wrong_input"),
        ("ip=10.1.0.4", "wrong_state"),
        ("ip=2001:db8:6::4", "wrong_state"),
        ("network=nosuch", "unknown_entity"),
        ("network=wide,ip=pool", "wrong_input"),
        ("network=both,link=br5", "wrong_input"),
        ("mac=aa:bb", "wrong_input"),
        ("ip=10.1.0", "wrong_input"),
        ("mode=routed", "wrong_input"),
        ("mode=bridged,vlan=9999", "wrong_input"),
    ):
        refused(cluster, f"gnt-instance modify --net add:{given} a", code)
    mac = nics(cluster, "a", "nic.macs").split(",")[0]
    refused(cluster, f"gnt-instance modify --net add:mac={mac} a", "resource_not_unique")
    refused(cluster, f"{NEW}=none,ip=pool a", "wrong_input")
    assert len(nics(cluster, "a").split(",")) == 4


def test_a_network_in_use_keeps_what_is_used(cluster: ClusterBed) -> None:
    told = refused(cluster, "gnt-network disconnect both default", "wrong_state")
    assert "a.example.com: nic0/10.1.0.2" in told
    refused(cluster, "gnt-network remove --force both", "wrong_state")
    refused(cluster, "gnt-network modify --gateway=10.1.0.2 both", "wrong_state")
    refused(cluster, "gnt-network modify --network6=none six", "wrong_state")
    refused(cluster, "gnt-network modify --network6=2001:db8:7::/64 six", "wrong_state")
    refused(cluster, "gnt-network modify --gateway6=2001:db8:6::1 six", "wrong_state")
    warned = cluster.ok("gnt-network modify --add-reserved-ips=2001:db8:6::1,2001:db8:6::2 six")
    assert warned.count("WARNING") == 1
    cluster.ok("gnt-network modify --gateway6=fe80::1 -m 02:00:00 six")
    cluster.ok(f"{NEW}=six,ip=pool a")
    assert nics(cluster, "a").endswith(",2001:db8:6::3")
    assert nics(cluster, "a", "nic.macs").split(",")[-1].startswith("02:00:00:")
    cluster.ok("gnt-network modify --remove-reserved-ips=2001:db8:6::2 six")
    assert networks(cluster, "external_reservations,serial_no", "six") == [["-", "4"]]
    cluster.ok("gnt-network rename six seven")
    assert "seven" in nics(cluster, "a", "nic.networks.names")


def test_in_another_group_interfaces_have_that_groups_connection(cluster: ClusterBed) -> None:
    refused(cluster, f"{ADD} -n node3 --net 0:network=none-such b.example.com", "unknown_entity")
    line = f"{ADD} -n node3 --net 0:network=wide,ip=pool b.example.com"
    refused(cluster, line, "wrong_input")
    cluster.ok("gnt-network connect -N mode=routed,link=9 wide default")
    cluster.ok(f"{ADD} -n node1 --net 0:network=wide,ip=10.2.7.7 b.example.com")
    assert nics(cluster, "b", "nic.modes,nic.links") == "routed;9"
    refused(cluster, "gnt-instance modify --new-primary=node3 b", "wrong_input")
    cluster.ok("gnt-network connect -N mode=routed,link=10 wide far")
    cluster.ok("gnt-instance modify --new-primary=node3 b")
    assert nics(cluster, "b", "pnode,nic.links") == "node3.example.com;10"
    refused(cluster, "gnt-network disconnect wide far", "wrong_state")
    cluster.ok("gnt-network disconnect wide default")


def test_addresses_are_free_again_and_networks_go(cluster: ClusterBed) -> None:
    before = networks(cluster, "free_count", "both", "wide")
    assert before == [["11"], ["65533"]]
    cluster.ok("gnt-instance modify --net 0:ip=pool a")
    assert nics(cluster, "a").split(",")[0] == "10.1.0.3"
    assert networks(cluster, "free_count", "both") == before[:1]
    for name in ("a", "b"):
        cluster.ok(f"gnt-instance remove -f {name}")
    assert networks(cluster, "free_count,inst_cnt", "both", "wide") == [["12", "0"], ["65534", "0"]]
    for name in ("both", "seven", "none", "wide"):
        cluster.ok(f"gnt-network disconnect {name}")
        cluster.ok(f"gnt-network remove {name}")
    assert networks(cluster, "name") == []
    assert cluster("gnt-cluster verify").rc in (0, 1)
