"""Real guests on nodes with a network: taps in the bridge, addresses, consoles, power."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator

import pytest
from namespace_nodes import SHARED
from net_bed import NetBed, namespace_cluster, until

GUEST = "web1.example.com"
ADDRESS = "198.51.100.101"
ADD = (
    "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check --no-ip-check"
    f" --net 0:ip={ADDRESS} -n node1 -O message=hello {GUEST}"
)
LEAVE = "\x1d"  # Ctrl-]
PIDS = "/run/ganeti/kvm-hypervisor/pid"
# The first words of a console: VNC's own, or the answer to a bare request for SPICE's main channel.
GREET = """
import socket, struct, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 60) as line:
    message = struct.pack("<IBBIII", 0, 1, 0, 0, 0, 18)
    line.sendall(struct.pack("<4sIII", b"REDQ", 2, 2, len(message)) + message)
    print(line.recv(4).decode())
"""


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Two nodes, and the guest runs on the first one."""
    with namespace_cluster(2) as bed:
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        bed.join(2)
        bed.ok(ADD)
        yield bed


def answers(bed: NetBed, node: int = 2) -> None:
    until(lambda: bed.reaches(ADDRESS, node=node), f"the guest answers to node {node}")


def taps(bed: NetBed, node: int = 1) -> set[str]:
    """All tap devices of the node, in a bridge or not."""
    shown = json.loads(bed.ok("ip -j tuntap show", node=node))
    return {one["ifname"] for one in shown}


def test_a_guest_has_a_tap_in_the_bridge_and_answers_from_another_node(cluster: NetBed) -> None:
    answers(cluster)
    found = cluster.ports()
    assert len(found) == 1
    assert taps(cluster) == found
    (row,) = cluster.rows("gnt-instance list", "status,nic.ip/0,nic.link/0,nic.mac/0", GUEST)
    assert row[:3] == ["running", ADDRESS, "br0"]
    (link,) = json.loads(cluster.ok(f"ip -j link show {found.pop()}"))
    assert link["address"] == "fe" + row[3][2:]
    macs = json.loads(cluster.ok(f"ip -j neighbour show {ADDRESS}", node=2))
    assert macs[0]["lladdr"] == row[3]


def test_the_console_is_reached_over_ssh(cluster: NetBed) -> None:
    answers(cluster)
    command = cluster.ok("gnt-instance console --show-cmd", GUEST)
    assert shlex.split(command)[0] == "ssh"
    assert "root@node1.example.com" in command
    said = cluster.asked(
        f"gnt-instance console {GUEST}",
        ("leave it", ""),
        ("# ", "cat /etc/message; kept=$((6*7))"),
        ("hello", LEAVE),
    )
    assert said.rc == 0, said.out
    # The guest has not noticed that nobody looks.
    again = cluster.asked(
        f"gnt-instance console {GUEST}",
        ("leave it", ""),
        ("# ", "echo still $kept."),
        ("still 42.", LEAVE),
    )
    assert again.rc == 0, again.out


@pytest.mark.parametrize(
    ("parameters", "says", "greeting"),
    [
        (
            "vnc_bind_address=0.0.0.0",
            "VNC listening on {0}:{1} (display {2}), URL <vnc://{0}:{1}/>",
            "RFB",
        ),
        ("spice_bind=0.0.0.0", "SPICE listening on {}:{}", "REDQ"),
    ],
    ids=["vnc", "spice"],
)
def test_a_graphical_console_is_told_and_is_there(
    cluster: NetBed, parameters: str, says: str, greeting: str
) -> None:
    name = "screen.example.com"
    cluster.ok(
        "gnt-instance add -t diskless --no-install -o busybox+default --no-name-check"
        f" --no-ip-check -n node2 -H kvm:serial_console=false,{parameters} {name}"
    )
    try:
        stopped = cluster(f"gnt-instance console {name}")
        assert (stopped.rc, "not running" in stopped.err) == (1, True)
        cluster.ok(f"gnt-instance startup {name}")
        ((port,),) = cluster.rows("gnt-instance list", "network_port", name)
        host = "node2.example.com"
        wanted = f"Instance {name} has {says.format(host, port, int(port) - 5900)}\n"
        assert cluster.ok(f"gnt-instance console --show-cmd {name}") == wanted
        assert cluster.ok(f"gnt-instance console {name}") == wanted
        assert cluster.ok(sys.executable, "-c", GREET, host, port).startswith(greeting)
    finally:
        cluster.ok(f"gnt-instance remove -f --shutdown-timeout=0 {name}")


def test_disks_and_interfaces_come_and_go_while_the_guest_runs(cluster: NetBed) -> None:
    answers(cluster)
    before = cluster.nodes.read(1, f"{PIDS}/{GUEST}")
    modify = f"gnt-instance modify --hotplug {{}} {GUEST}"
    cluster.ok(modify.format("--disk add:size=1g"))
    cluster.ok(modify.format("--net add:ip=198.51.100.102"))
    assert len(cluster.ports()) == 2
    seen = cluster.asked(
        f"gnt-instance console {GUEST}",
        ("leave it", ""),
        ("# ", "until [ -e /dev/vdb -a -e /sys/class/net/eth1 ]; do usleep 50000; done; echo 2.2"),
        ("\n2.2", LEAVE),
    )
    assert seen.rc == 0, seen.out
    cluster.ok(modify.format("--disk 1:remove"))
    cluster.ok(modify.format("--net 1:remove"))
    assert len(cluster.ports()) == 1
    assert cluster.nodes.read(1, f"{PIDS}/{GUEST}") == before
    (row,) = cluster.rows("gnt-instance list", "disk.count,nic.count", GUEST)
    assert row == ["1", "1"]


def test_a_rebooted_guest_keeps_one_tap_and_answers(cluster: NetBed) -> None:
    cluster.ok("gnt-instance reboot", GUEST)
    answers(cluster)
    assert len(taps(cluster)) == 1
    assert cluster.ports() == taps(cluster)


def test_a_stopped_guest_leaves_no_tap_and_comes_back(cluster: NetBed) -> None:
    answers(cluster)
    cluster.ok("gnt-instance shutdown", GUEST)
    assert taps(cluster) == set()
    assert not cluster.reaches(ADDRESS, node=2)
    (row,) = cluster.rows("gnt-instance list", "status", GUEST)
    assert row == ["ADMIN_down"]
    cluster.ok("gnt-instance startup", GUEST)
    answers(cluster)


def test_scripts_for_interfaces_get_their_environment(cluster: NetBed) -> None:
    script = "#!/bin/sh\nenv >/run/vif.env\nip link set $INTERFACE up master $BRIDGE\n"
    cluster.nodes.write(1, "/etc/ganeti/kvm-vif-bridge", script, mode="755")
    try:
        cluster.ok("gnt-instance reboot --type=hard", GUEST)
        answers(cluster)
    finally:
        cluster.ok("rm /etc/ganeti/kvm-vif-bridge")
    found = dict(line.split("=", 1) for line in cluster.nodes.read(1, "/run/vif.env").splitlines())
    assert found["INTERFACE"] in cluster.ports()
    wanted = {
        "INSTANCE": GUEST,
        "MODE": "bridged",
        "LINK": "br0",
        "BRIDGE": "br0",
        "IP": ADDRESS,
        "INTERFACE_INDEX": "0",
        "TAGS": "",
    }
    assert {name: found.get(name) for name in wanted} == wanted
    assert {"MAC", "INTERFACE_UUID", "PATH"} <= set(found)


def test_an_interface_of_a_bridge_that_is_not_there_is_refused_before_anything(
    cluster: NetBed,
) -> None:
    done = cluster(ADD.replace(GUEST, "web9.example.com").replace("--net 0:", "--net 0:link=br9,"))
    assert done.rc == 1
    assert "br9" in done.err
    assert [row[0] for row in cluster.rows("gnt-instance list", "name")] == [GUEST]
    assert len(taps(cluster)) == 1


def test_a_routed_guest_is_reached_through_its_node(cluster: NetBed) -> None:
    routed = "203.0.113.7"
    cluster.ok(
        "gnt-instance add -t diskless --no-install -o busybox+default --no-name-check"
        f" --no-ip-check --no-start --net 0:ip={routed},mode=routed,link= -n node2 web2.example.com"
    )
    cluster.ok("gnt-instance startup web2.example.com")
    try:
        (tap,) = taps(cluster, 2)
        assert tap not in cluster.ports(2)
        routes = json.loads(cluster.ok(f"ip -j route show {routed}", node=2))
        assert routes[0]["dev"] == tap
        assert cluster.nodes.read(2, f"/proc/sys/net/ipv4/conf/{tap}/proxy_arp") == "1\n"
    finally:
        cluster.ok("gnt-instance remove -f --shutdown-timeout=0 web2.example.com")
    assert taps(cluster, 2) == set()


def test_a_guest_killed_from_outside_is_shown_down_and_started_again(cluster: NetBed) -> None:
    answers(cluster)
    pid = cluster.nodes.read(1, f"{PIDS}/{GUEST}").strip()
    cluster.ok(f"kill -9 {pid}")
    until(lambda: not taps(cluster), "the tap is gone")
    (row,) = cluster.rows("gnt-instance list", "status", GUEST)
    assert row == ["ERROR_down"]
    cluster.ok("gnt-instance startup", GUEST)
    answers(cluster)


def test_a_removed_guest_leaves_nothing(cluster: NetBed) -> None:
    cluster.ok("gnt-instance remove -f --shutdown-timeout=0", GUEST)
    assert taps(cluster) == set()
    assert cluster.ok(f"find {SHARED}/disks -type f") == ""
    left = cluster.ok("find /run/ganeti/kvm-hypervisor -type f -name", f"{GUEST}*")
    assert left == ""
    assert "kvm" not in cluster.ok("ps -eo comm=").split()
