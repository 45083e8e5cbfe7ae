"""Live migration and failover of a real guest between nodes, and what cuts them short."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from net_bed import NetBed, namespace_cluster, until

GUEST = "web1.example.com"
ADDRESS = "198.51.100.101"
ADD = (
    "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check --no-ip-check"
    f" --net 0:ip={ADDRESS} -n node1 {GUEST}"
)
SERIAL = f"/run/ganeti/kvm-hypervisor/ctrl/{GUEST}.serial"
PID = f"/run/ganeti/kvm-hypervisor/pid/{GUEST}"
HEARD = "/run/heard-on-the-console"
# It goes on for minutes, as a migration may on a busy machine.
COUNT = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo n=$i; usleep 50000; done"
# One who listens, from the moment that QEMU has opened the console, and may say something first.
LISTEN = (
    f"while ! [ -S {SERIAL} ]; do sleep 0.02; done;"
    ' { [ -z "$0" ] || echo "$0"; sleep 1000; }'
    f" | socat - UNIX-CONNECT:{SERIAL},retry=50,interval=0.05 >>{HEARD}"
)
SLOW, USUAL = "migration_bandwidth=1", "migration_bandwidth=32"
MONITOR = f"/run/ganeti/kvm-hypervisor/ctrl/{GUEST}.monitor"
QUICKER = "migrate_set_parameter max-bandwidth 1G"


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Three nodes, the guest runs on the first one."""
    with namespace_cluster(3) as bed:
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        bed.join(2, 3)
        bed.ok(ADD)
        answers(bed)
        yield bed


def answers(bed: NetBed) -> None:
    until(lambda: bed.reaches(ADDRESS), "the guest answers")


def place(bed: NetBed) -> tuple[str, str]:
    """Primary node (short) and status of the guest."""
    (row,) = bed.rows("gnt-instance list", "pnode,status", GUEST)
    return row[0].partition(".")[0], row[1]


def runs_on(bed: NetBed) -> list[int]:
    """The nodes with power on which a QEMU of the guest runs."""
    found = []
    for number in range(1, len(bed.nodes.names) + 1):
        if bed.nodes.runs(number):
            lines = bed.ok("ps -eo args=", node=number).splitlines()
            found += [number for line in lines if line.startswith("/usr/bin/kvm") and GUEST in line]
    return found


def heard(bed: NetBed, *nodes: int) -> list[int]:
    """The numbers that the guest has said on its consoles at these nodes, one after the other.

    Whole lines only; one may begin on one node and end on the next.
    """
    said = "".join(bed("cat", HEARD, node=node).out for node in nodes)
    return [int(found) for found in re.findall(r"n=(\d+)\r?\n", said)]


def is_listened_to(bed: NetBed, node: int) -> bool:
    """Whether somebody has connected to the guest's console: a second socket with its name."""
    return bed.ok("cat /proc/net/unix", node=node).count(SERIAL) > 1


def slow_migration(bed: NetBed, target: str) -> str:
    """The number of a migration to the node that goes on for long."""
    bed.ok(f"gnt-cluster modify -H kvm:{SLOW}")
    line = f"gnt-instance migrate -f --submit -n {target} {GUEST}"
    number = re.search(r"JobID: (\d+)", bed(line).err)
    assert number is not None
    until(
        lambda: "migrating instance to" in bed.ok(f"gnt-job info {number[1]}"),
        "the guest is on its way",
    )
    return number[1]


def ended(bed: NetBed, number: str) -> str:
    def status() -> str:
        (row,) = bed.rows("gnt-job list", "status", number)
        return row[0] if row[0] in ("success", "error", "canceled") else ""

    return until(status, f"job {number} has ended")


def test_a_counting_guest_migrates_without_losing_a_line(cluster: NetBed) -> None:
    cluster.nodes.spawn(1, "sh", "-c", LISTEN, COUNT)
    cluster.nodes.spawn(2, "sh", "-c", LISTEN, "")
    until(lambda: 20 in heard(cluster, 1), "the guest counts")
    number = slow_migration(cluster, "node2")
    until(lambda: is_listened_to(cluster, 2), "somebody listens at the target")
    cluster.ok(f"socat - UNIX-CONNECT:{MONITOR}", input=f"{QUICKER}\n")
    assert ended(cluster, number) == "success"
    cluster.ok(f"gnt-cluster modify -H kvm:{USUAL}")
    assert place(cluster) == ("node2", "running")
    assert runs_on(cluster) == [2]
    assert cluster.ports(1) == set()
    assert len(cluster.ports(2)) == 1
    cluster.answers(ADDRESS)
    until(lambda: "socat" not in cluster.ok("ps -eo comm=").split(), "all of it has been heard")
    last = heard(cluster, 1)[-1]
    until(lambda: last + 20 in heard(cluster, 2), "the guest counts on")
    numbers = heard(cluster, 1, 2)
    assert numbers == list(range(1, len(numbers) + 1))


def test_it_migrates_back_and_the_console_goes_to_the_new_node(cluster: NetBed) -> None:
    cluster.ok(f"gnt-instance migrate -f -n node1 {GUEST}")
    assert place(cluster) == ("node1", "running")
    assert "root@node1.example.com" in cluster.ok("gnt-instance console --show-cmd", GUEST)
    cluster.answers(ADDRESS, node=3)


@pytest.mark.parametrize("fault", ["unplugged", "killed"])
def test_a_migration_whose_target_is_lost_leaves_the_guest_where_it_was(
    cluster: NetBed, fault: str
) -> None:
    number = slow_migration(cluster, "node3")
    if fault == "unplugged":
        cluster.nodes.unplug(3)
    else:
        cluster.ok(f"kill -KILL {cluster.nodes.read(3, PID).strip()}", node=3)
    try:
        cluster.answers(ADDRESS, node=2)
        assert ended(cluster, number) == "error"
        assert "goes on running on node node1" in cluster.ok(f"gnt-job info {number}")
        assert place(cluster) == ("node1", "running")
        cluster.answers(ADDRESS, node=2)
    finally:
        cluster.nodes.plug(3)
    until(lambda: cluster.rows("gnt-node list", "mfree", "node3") != [["?"]], "node 3 answers")
    cluster.ok(f"gnt-cluster modify -H kvm:{USUAL}")
    cluster("gnt-instance migrate -f --cleanup", GUEST)
    assert runs_on(cluster) == [1]
    assert place(cluster) == ("node1", "running")
    answers(cluster)


def test_a_guest_fails_over_from_a_node_without_power(cluster: NetBed) -> None:
    cluster.ok(f"gnt-instance migrate -f -n node3 {GUEST}")
    cluster.nodes.power_off(3)
    assert place(cluster) == ("node3", "ERROR_nodedown")
    cluster.ok("gnt-node modify --offline=yes node3")
    assert place(cluster) == ("node3", "ERROR_nodeoffline")
    line = f"gnt-instance failover -f --ignore-consistency -n node2 {GUEST}"
    done = cluster.asked(line, ("y/[n]/?: ", "y"))
    assert done.rc == 0, done.out
    assert place(cluster) == ("node2", "running")
    assert runs_on(cluster) == [2]
    answers(cluster)
