"""A guest whose QEMU is killed is shown as down by error, and starts again."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.hypervisor import kvm_process
from ganeti.hypervisor.kvm_files import KvmDirectories

QEMU = "/usr/bin/qemu-system-x86_64"
NAME = "vm1.example.com"

pytestmark = pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """One node with an instance that has no disk and boots nothing."""
    with virtual_cluster(1) as bed:
        bed.add_empty_os("noop")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=kvm --enabled-disk-templates=diskless"
            f" -H kvm:kvm_path={QEMU},kvm_flag=disabled,kernel_path= cluster.example.com"
        )
        bed.ok(
            "gnt-instance add -t diskless -o noop+default --no-install --no-name-check"
            f" --no-ip-check -B memory=128M -n node1 {NAME}"
        )
        yield bed


def status(cluster: ClusterBed) -> str:
    return cluster.ok(f"gnt-instance list --no-headers -o status {NAME}").strip()


def qemu_of(cluster: ClusterBed) -> int:
    """Process id of the instance's living QEMU."""
    files = KvmDirectories.of(cluster.cluster.paths(1)).files(NAME)
    found = kvm_process.find(Path("/proc"), files.pid, NAME)
    assert found is not None, f"{NAME} has no QEMU"
    return found[0]


def test_a_guest_whose_qemu_was_killed_is_shown_and_starts_again(cluster: ClusterBed) -> None:
    cluster.ok(f"gnt-instance startup {NAME}")
    first = qemu_of(cluster)
    assert status(cluster) == "running"
    os.kill(first, signal.SIGKILL)
    until(lambda: status(cluster) == "ERROR_down", f"{NAME} is down")
    cluster.ok(f"gnt-instance startup {NAME}")
    assert status(cluster) == "running" and qemu_of(cluster) != first
    cluster.ok(f"gnt-instance shutdown --timeout=0 {NAME}")
    assert status(cluster) == "ADMIN_down"


def test_a_start_that_qemu_refuses_tells_its_words(cluster: ClusterBed) -> None:
    cluster.ok(f"gnt-instance modify -H kvm_extra=-nosuchoption {NAME}")
    done = cluster(f"gnt-instance startup {NAME}")
    assert done.rc == 1
    assert "QEMU exited with exit code 1: qemu-system-x86_64: -nosuchoption: invalid" in done.err
    cluster.ok(f"gnt-instance modify -H kvm_extra=default {NAME}")
