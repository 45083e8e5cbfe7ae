"""Disks of external storage and adopted block devices, on real daemons."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster_bed import ClusterBed, virtual_cluster, without_dates
from fakes.storage_stands import PROVIDERS, VOLUMES, loop_device, why_no_loops
from ganeti.storage.base import MIB

OS = "empty+default"
BY_ID = Path("/dev/disk/by-id")


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Three nodes that see one directory of volumes, and have the provider `dir`."""
    with virtual_cluster(3) as bed:
        common = bed.cluster.directory / "volumes"
        common.mkdir()
        for name in bed.cluster.names:
            paths = bed.cluster.paths(name)
            shutil.copytree(PROVIDERS, paths.below("/srv/ganeti/extstorage"))
            paths.below(VOLUMES).symlink_to(common)
        bed.add_empty_os("empty")
        bed.ok(
            "gnt-cluster init --enabled-hypervisors=fake"
            " --enabled-disk-templates=ext,blockdev,diskless"
            " --ipolicy-disk-templates=ext,blockdev,diskless"
            " --ipolicy-bounds-specs min:memory-size=1,cpu-count=1,disk-size=1,disk-count=0,"
            "nic-count=0,spindle-use=1/max:memory-size=32768,cpu-count=8,disk-size=1048576,"
            "disk-count=16,nic-count=8,spindle-use=12 cluster.example.com"
        )
        for name in bed.cluster.names[1:]:
            bed.ok(f"gnt-node add {name}")
        yield bed


def add(bed: ClusterBed, name: str, *more: str, node: int = 2) -> str:
    """Full name of a new running instance."""
    full = f"{name}.example.com"
    bed.ok(
        f"gnt-instance add --no-name-check --no-ip-check -n node{node} -o {OS} -B memory=16"
        f" {' '.join(more)} {full}"
    )
    return full


def an_ext(bed: ClusterBed, name: str, *more: str) -> str:
    return add(bed, name, "-t ext --disk 0:size=4M,provider=dir", *more)


def volumes(bed: ClusterBed) -> list[Path]:
    found = (bed.cluster.directory / "volumes").iterdir()
    return sorted(one for one in found if one.suffix not in (".info",) and ".open-" not in one.name)


def notes(bed: ClusterBed, volume: Path) -> dict[str, str]:
    """Which nodes have it open, and how."""
    return {
        one.name.rpartition(".open-")[2].partition(".")[0]: one.read_text().strip()
        for one in volume.parent.glob(f"{volume.name}.open-*")
    }


def fields(bed: ClusterBed, name: str, wanted: str) -> list[str]:
    out = bed.ok(f"gnt-instance list --no-headers --separator=| -o {wanted} {name}")
    return out.strip().split("|")


@pytest.fixture
def empty(cluster: ClusterBed) -> Iterator[ClusterBed]:
    """Nothing is left of the instances of a test."""
    yield cluster
    names = cluster.ok("gnt-instance list --no-headers -o name").split()
    for name in names:
        cluster.ok(f"gnt-instance remove -f --shutdown-timeout=0 {name}")
    assert volumes(cluster) == []


def test_the_provider_is_diagnosed_and_described(cluster: ClusterBed) -> None:
    out = cluster.ok("gnt-storage diagnose")
    assert "Provider: dir [global status: valid]" in out
    assert "parameters: directory, device, prealloc" in out
    out = cluster.ok("gnt-storage info dir")
    assert "  - valid for node groups: default\n" in out
    assert "    - prealloc: Take all of the space at once" in out


def test_an_instance_from_its_creation_to_its_removal(empty: ClusterBed) -> None:
    name = an_ext(empty, "web1")
    (volume,) = volumes(empty)
    assert volume.stat().st_size == 4 * MIB and volume.name.endswith(".ext.disk0")
    info = volume.with_name(f"{volume.name}.info")
    assert info.read_text() == f"originstname+{name}\n"
    assert notes(empty, volume) == {"node2": "exclusive"}
    assert fields(empty, name, "disk_template,disk.sizes,disk.size/0,status") == [
        *("ext", "4", "4", "running")
    ]
    out = empty.ok(f"gnt-instance info {name}")
    assert "- disk/0: ext, size 4M" in out
    assert f"logical_id: ['dir', '{volume.name}']" in out
    assert f"{volume.name} (N/A:N/A)" in out
    empty.ok(f"gnt-instance grow-disk {name} 0 4M")
    assert volume.stat().st_size == 8 * MIB
    empty.ok(f"gnt-instance shutdown --timeout=0 {name}")
    assert notes(empty, volume) == {}
    out = empty.ok(f"gnt-instance activate-disks {name}")
    assert out.startswith("node2.example.com:disk/0:") and out.strip().endswith(volume.name)
    empty.ok(f"gnt-instance deactivate-disks {name}")
    empty.ok(f"gnt-instance remove -f {name}")
    assert volumes(empty) == []
    logs = empty.cluster.paths(2).ext_log
    actions = {one.name.partition("-")[0] for one in logs.iterdir()}
    assert actions == {"create", "verify", "setinfo", "open", "grow", "detach", "remove"}


def test_disks_are_added_changed_and_removed(empty: ClusterBed) -> None:
    name = an_ext(empty, "web2", "--no-start")
    empty.ok(f"gnt-instance modify --disk add:size=8M,provider=dir,prealloc=yes,name=data {name}")
    assert [one.stat().st_blocks * 512 for one in volumes(empty) if one.stat().st_size == 8 * MIB]
    empty.ok(f"gnt-instance modify --disk 1:modify,prealloc=no {name}")
    done = empty(f"gnt-instance modify --disk 1:modify,prealloc=perhaps {name}")
    assert done.rc == 1 and "wrong_input" in done.err
    assert "perhaps is neither yes nor no" in done.err
    done = empty(f"gnt-instance modify --disk 1:modify,colour=red {name}")
    assert done.rc == 1 and "provider dir has no parameter 'colour'" in done.err
    done = empty(f"gnt-instance modify --disk 1:modify,provider=other {name}")
    assert done.rc == 1 and "provider can't be changed" in done.err
    empty.ok(f"gnt-instance modify --disk 1:remove {name}")
    assert len(volumes(empty)) == 1


def test_what_was_lost_is_made_anew(empty: ClusterBed) -> None:
    name = an_ext(empty, "web3", "--no-start")
    (volume,) = volumes(empty)
    done = empty(f"gnt-instance recreate-disks {name}")
    assert done.rc == 1 and "only what is lost" in done.err
    volume.unlink()
    empty.ok(f"gnt-instance recreate-disks --disk 0:size=8M {name}")
    assert volume.stat().st_size == 8 * MIB


@pytest.fixture
def classic(empty: ClusterBed) -> Iterator[ClusterBed]:
    """The provider is one that can only say that `attach` has failed."""
    script = empty.cluster.paths(2).below("/srv/ganeti/extstorage/dir/attach")
    text = script.read_text()
    script.write_text(text.replace('exit "$NO_VOLUME"', "exit 1"))
    yield empty
    script.write_text(text)


def test_a_provider_without_a_code_for_it_makes_lost_volumes_anew(classic: ClusterBed) -> None:
    name = an_ext(classic, "web4", "--disk 1:size=4M,provider=dir", "--no-start")
    for volume in volumes(classic):
        volume.unlink()
    done = classic(f"gnt-instance recreate-disks {name}")
    assert done.rc == 0, done.err
    assert "its provider decides" in done.out + done.err
    assert [volume.stat().st_size for volume in volumes(classic)] == [4 * MIB] * 2


def test_what_exists_is_left_alone_while_the_provider_can_not_tell(empty: ClusterBed) -> None:
    name = an_ext(empty, "web4", "--no-start")
    (volume,) = volumes(empty)
    volume.write_bytes(b"x" * 4 * MIB)
    script = empty.cluster.paths(2).below("/srv/ganeti/extstorage/dir/attach")
    text = script.read_text()
    script.write_text("#!/bin/sh\necho no way to the storage >&2\nexit 1\n")
    try:
        done = empty(f"gnt-instance recreate-disks {name}")
    finally:
        script.write_text(text)
    assert done.rc == 1 and "no way to the storage" in done.out + done.err
    assert "exists already" in done.err
    assert volume.read_bytes() == b"x" * 4 * MIB


def test_a_running_instance_goes_to_other_nodes(empty: ClusterBed) -> None:
    name = an_ext(empty, "web5")
    (volume,) = volumes(empty)
    empty.ok(f"gnt-instance migrate -f -n node3 {name}")
    assert fields(empty, name, "pnode,status") == ["node3.example.com", "running"]
    assert notes(empty, volume) == {"node3": "exclusive"}
    empty.ok(f"gnt-instance migrate -f --cleanup {name}")
    out = without_dates(empty.ok(f"gnt-instance failover -f -n node1 {name}"))
    assert "* checking disk consistency between source and target" in out
    assert fields(empty, name, "pnode,status") == ["node1.example.com", "running"]
    assert notes(empty, volume) == {"node1": "exclusive"}


def test_verify_tells_what_a_node_can_not_reach(empty: ClusterBed) -> None:
    name = an_ext(empty, "web6")
    provider = empty.cluster.paths(2).below("/srv/ganeti/extstorage/dir")
    away = provider.with_name(".away")
    provider.rename(away)
    try:
        out = empty("gnt-cluster verify --error-codes")
        done = empty("gnt-storage diagnose")
    finally:
        away.rename(provider)
    text = out.out + out.err
    assert f"EINSTANCEFAULTYDISK:instance:{name}" in text
    assert "provider 'dir' of external storage is not on this node" in text
    assert "[global status: partial valid]" in done.out
    assert "status: provider not found" in done.out


REFUSED = [
    ("-t ext --disk 0:size=4M", "needs a provider"),
    ("-t ext --disk 0:size=4M,provider=nobody", "'nobody' of external storage is not on this node"),
    ("-t ext --disk 0:size=4M,provider=../dir", "no name for a provider"),
    ("-t ext --disk 0:size=4M,provider=dir,colour=red", "has no parameter 'colour'"),
    ("-t ext --disk 0:size=4M,provider=dir,directory=/nowhere", "is the shared storage mounted?"),
    ("-t ext --disk 0:size=4M,provider=dir,access=maybe", "access 'maybe' is neither"),
    ("-t blockdev --disk 0:size=4M", "can only adopt"),
    ("-t blockdev --disk 0:adopt=/dev/null", "below /dev/disk/"),
    ("-t blockdev --disk 0:adopt=/dev/disk/by-id/nothing", "no block device"),
    ("-t ext --disk 0:adopt=/dev/disk/by-id/x,provider=dir", "can't adopt"),
]


@pytest.mark.parametrize(("options", "why"), REFUSED)
def test_wrong_wishes_are_refused(cluster: ClusterBed, options: str, why: str) -> None:
    done = cluster(
        f"gnt-instance add --no-name-check --no-ip-check -n node2 -o {OS} {options} no.example.com"
    )
    assert done.rc == 1 and "wrong_input" in done.err and why in " ".join(done.err.split())
    assert volumes(cluster) == []


def test_userspace_access_needs_a_hypervisor_that_can(cluster: ClusterBed) -> None:
    done = cluster(
        f"gnt-instance add --no-name-check --no-ip-check -n node2 -o {OS} -t ext"
        " --disk 0:size=4M,provider=dir,access=userspace no.example.com"
    )
    assert done.rc == 1 and "wrong_state" in done.err


@pytest.fixture
def devices(cluster: ClusterBed) -> Iterator[list[Path]]:
    """Two block devices with lasting names, and a second name of the first."""
    if why_no_loops():
        pytest.skip(why_no_loops())
    with ExitStack() as stack:
        made = []
        for word in ("one", "two"):
            loop = stack.enter_context(loop_device(cluster.cluster.directory / word, 4))
            made.append((BY_ID / f"{cluster.cluster.directory.name}-{word}", loop))
        made.append((BY_ID / f"{cluster.cluster.directory.name}-again", made[0][1]))
        for folder in (BY_ID.parent, BY_ID):
            if not folder.exists():  # a machine without udev
                folder.mkdir()
                stack.callback(folder.rmdir)
        for link, loop in made:
            link.symlink_to(loop)
            stack.callback(link.unlink)
        yield [link for link, _ in made]


def test_a_block_device_is_adopted_and_left_as_it_is(
    empty: ClusterBed, devices: list[Path]
) -> None:
    one, two, again = devices
    one.write_bytes(b"mine")
    name = add(empty, "dev1", f"-t blockdev --disk 0:adopt={one}")
    assert fields(empty, name, "disk_template,disk.size/0,status") == ["blockdev", "4", "running"]
    assert "disk/0: blockdev, size 4M" in empty.ok(f"gnt-instance info {name}")
    for path, code in ((one, "resource_not_unique"), (again, "resource_not_unique")):
        done = empty(
            f"gnt-instance add --no-name-check --no-ip-check -n node3 -o {OS} -B memory=16"
            f" -t blockdev --disk 0:adopt={path} dev2.example.com"
        )
        assert done.rc == 1 and code in done.err and name in done.err
    done = empty(f"gnt-instance grow-disk {name} 0 1M")
    assert done.rc == 1 and "can't grow" in done.err
    empty.ok(f"gnt-instance migrate -f -n node3 {name}")
    empty.ok(f"gnt-instance failover -f -n node1 {name}")
    empty.ok(f"gnt-instance shutdown --timeout=0 {name}")
    empty.ok(f"gnt-instance modify --disk add:adopt={two} {name}")
    assert fields(empty, name, "disk.sizes") == ["4,4"]
    empty.ok(f"gnt-instance modify --disk 1:remove {name}")
    empty.ok(f"gnt-instance remove -f {name}")
    assert one.read_bytes()[:4] == b"mine"


def test_one_device_is_not_adopted_twice(empty: ClusterBed, devices: list[Path]) -> None:
    one, _, again = devices
    for other, why in ((one, "is to be adopted twice"), (again, "are the same")):
        done = empty(
            f"gnt-instance add --no-name-check --no-ip-check -n node3 -o {OS} -B memory=16"
            f" -t blockdev --disk 0:adopt={one} --disk 1:adopt={other} dev3.example.com"
        )
        assert done.rc == 1 and "wrong_input" in done.err and why in done.err
