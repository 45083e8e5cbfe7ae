"""A real guest whose memory is huge pages of its node."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest
from net_bed import NetBed, namespace_cluster

GUEST = "web1.example.com"
ADDRESS = "198.51.100.101"
MEMORY_MIB = 128
PAGE_MIB = 2
NEEDED = MEMORY_MIB // PAGE_MIB + 16  # and for QEMU's other memory: firmware, video
PAGES = Path("/proc/sys/vm/nr_hugepages")  # of the whole machine
PLACE = "/run/hugepages"  # /dev is the machine's
ADD = (
    "gnt-instance add -t sharedfile -s 1G -o busybox+default --no-name-check --no-ip-check"
    f" -n node1 --net 0:ip={ADDRESS} -B memory={MEMORY_MIB}M"
)


def meminfo(word: str) -> int:
    (line,) = [one for one in Path("/proc/meminfo").read_text().splitlines() if f"{word}:" in one]
    return int(line.split()[1])


@pytest.fixture
def huge_pages(possible: None) -> Iterator[None]:
    """So many of them are free, whatever the machine has and a killed run has left."""
    if meminfo("Hugepagesize") != PAGE_MIB * 1024:
        pytest.skip(f"needs huge pages of {PAGE_MIB} MiB")
    with PAGES.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of this test waits: the pages are counted
        before = PAGES.read_text()
        wanted = meminfo("HugePages_Total") - meminfo("HugePages_Free") + NEEDED
        PAGES.write_text(f"{wanted}\n")
        try:
            if meminfo("HugePages_Free") < NEEDED:
                pytest.skip(f"needs {wanted} huge pages, the machine has {PAGES.read_text()}")
            yield
        finally:
            PAGES.write_text(before)


@pytest.fixture
def cluster(huge_pages: None) -> Iterator[NetBed]:
    """One node, on which they can be had at PLACE."""
    with namespace_cluster(1) as bed:
        bed.ok(f"mkdir -p {PLACE}")
        bed.ok(f"mount -t hugetlbfs none {PLACE}")
        done = bed.init_for_guests()
        assert done.rc == 0, done.err
        yield bed


def test_a_guest_lives_in_huge_pages(cluster: NetBed) -> None:
    free = meminfo("HugePages_Free")
    cluster.ok(f"{ADD} -H kvm:mem_path={PLACE} {GUEST}")
    assert free - meminfo("HugePages_Free") >= MEMORY_MIB // PAGE_MIB
    cluster.answers(ADDRESS)
    # A second one does not fit, and says so; what it had taken is given back.
    taken = meminfo("HugePages_Free")
    second = ADD.replace(ADDRESS, "none")
    refused = cluster(f"{second} -H kvm:mem_path={PLACE} web2.example.com")
    assert (refused.rc, "Cannot allocate memory" in refused.err) == (1, True), refused.err
    assert meminfo("HugePages_Free") == taken
    cluster.ok(f"gnt-instance shutdown --timeout=0 {GUEST}")
    assert meminfo("HugePages_Free") == free
