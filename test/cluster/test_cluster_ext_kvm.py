"""KVM guests with disks of external storage: by device, by address, changed while they run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, virtual_cluster
from fakes.storage_stands import PROVIDERS, VOLUMES
from ganeti.hypervisor import kvm_process
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.storage.base import MIB

QEMU = "/usr/bin/qemu-system-x86_64"
NAME = "vm1.example.com"

pytestmark = pytest.mark.skipif(not os.path.exists(QEMU), reason=f"needs {QEMU}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Two nodes that see one directory of volumes, and a running instance that boots nothing."""
    with virtual_cluster(2) as bed:
        common = bed.cluster.directory / "volumes"
        common.mkdir()
        for node in bed.cluster.names:
            paths = bed.cluster.paths(node)
            shutil.copytree(PROVIDERS, paths.below("/srv/ganeti/extstorage"))
            paths.below(VOLUMES).symlink_to(common)
        bed.add_empty_os("noop")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=kvm --enabled-disk-templates=ext"
            " --ipolicy-disk-templates=ext --ipolicy-bounds-specs min:memory-size=1,cpu-count=1,"
            "disk-size=1,disk-count=0,nic-count=0,spindle-use=1/max:memory-size=32768,cpu-count=8,"
            "disk-size=1048576,disk-count=16,nic-count=8,spindle-use=12"
            f" -H kvm:kvm_path={QEMU},kvm_flag=disabled,kernel_path=,migration_port=18102"
            " cluster.example.com"
        )
        bed.ok(f"gnt-node add {bed.cluster.names[1]}")
        bed.ok(
            "gnt-instance add -t ext --disk 0:size=4M,provider=dir,access=userspace"
            " --disk 1:size=4M,provider=dir -o noop+default --no-nics"
            f" --no-name-check --no-ip-check -B memory=64M -n node1 {NAME}"
        )
        yield bed


def command_line(bed: ClusterBed, node: int = 1) -> str:
    """Of the instance's QEMU."""
    files = KvmDirectories.of(bed.cluster.paths(node)).files(NAME)
    found = kvm_process.find(Path("/proc"), files.pid, NAME)
    assert found is not None, f"{NAME} has no QEMU on node {node}"
    return Path(f"/proc/{found[0]}/cmdline").read_text().replace("\0", " ")


def volumes(bed: ClusterBed) -> dict[str, Path]:
    found = (bed.cluster.directory / "volumes").glob("*.ext.disk?")
    return {one.name[-1]: one for one in found}


def test_a_guest_opens_its_disks_by_address_or_by_path(cluster: ClusterBed) -> None:
    words = command_line(cluster)
    by_number = volumes(cluster)
    place = cluster.cluster.paths(1).below(VOLUMES)
    assert f"file.filename={place}/{by_number['0'].name}" in words
    assert f"instance-disks/{NAME}:1" in words and by_number["1"].name not in words
    links = cluster.cluster.paths(1).disk_links
    assert (links / f"{NAME}:1").resolve() == by_number["1"]


def test_a_running_guest_gets_disks_and_larger_ones(cluster: ClusterBed) -> None:
    cluster.ok(f"gnt-instance modify --hotplug --disk add:size=4M,provider=dir {NAME}")
    assert "2" in volumes(cluster)
    cluster.ok(f"gnt-instance grow-disk {NAME} 1 4M")
    assert volumes(cluster)["1"].stat().st_size == 8 * MIB


def test_a_guest_is_migrated_live_with_its_volumes(cluster: ClusterBed) -> None:
    cluster.ok(f"gnt-instance migrate -f -n node2 {NAME}")
    assert NAME in command_line(cluster, 2)
    notes = (cluster.cluster.directory / "volumes").glob("*.open-*")
    assert {(one.name.rpartition(".open-")[2], one.read_text()) for one in notes} == {
        ("node2.example.com", "exclusive\n")
    }
    cluster.ok(f"gnt-instance remove -f --shutdown-timeout=0 {NAME}")
    assert volumes(cluster) == {}
