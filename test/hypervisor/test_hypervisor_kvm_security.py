"""Who a guest's QEMU runs as, where, and on which processors."""

from __future__ import annotations

import fcntl
import os
import pwd
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.guests import a_file_disk, an_instance
from fakes.short_root import short_root
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_process, kvm_qmp, kvm_users
from ganeti.hypervisor.base import GuestDisk, HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.model.filled import FilledInstance
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def kvm() -> Iterator[KvmHypervisor]:
    if not os.path.exists(QEMU):
        pytest.skip(f"needs {QEMU}")
    with short_root() as root:
        paths = Paths(root)
        paths.data.mkdir(parents=True)
        paths.ssconf("uid_pool").write_text("61001\n61003-61004\n")
        driver = KvmHypervisor(HvHost(paths, run, privileged=False))
        yield driver
        for name in driver.running():
            driver.kill(a_guest(name))


def a_guest(name: str = "web1", **hvparams: Json) -> FilledInstance:
    plain = {"kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled"}
    return an_instance(name, hypervisor=HypervisorKind.KVM, hvparams=plain | hvparams)


def process_of(kvm: KvmHypervisor, name: str = "web1") -> Path:
    found = kvm_process.find(Path("/proc"), kvm.files(name).pid, name)
    assert found is not None
    return Path("/proc", str(found[0]))


def user_of(process: Path) -> int:
    (line,) = [row for row in (process / "status").read_text().splitlines() if row[:4] == "Uid:"]
    return int(line.split()[1])


@needs_root
def test_guests_of_a_pool_have_a_user_each_and_give_it_back(kvm: KvmHypervisor) -> None:
    guests = [a_guest(f"web{number}", security_model="pool") for number in (1, 2, 3)]
    for guest in guests:
        kvm.start(guest, [])
    users = {user_of(process_of(kvm, guest.name)) for guest in guests}
    assert users == {61001, 61003, 61004}
    with pytest.raises(HypervisorError, match="none of the 3 users"):
        kvm.start(a_guest("web4", security_model="pool"), [])
    kvm.reboot(guests[0])
    kvm.stop(guests[1], force=True)
    kvm.start(a_guest("web4", security_model="pool"), [])
    for guest in (*guests, a_guest("web4")):
        kvm.stop(guest, force=True)
    assert os.listdir(kvm.host.paths.run / "uid-pool") == []
    assert os.listdir(kvm.directories.root / "uid") == []


@needs_root
def test_a_qemu_without_rights_in_an_empty_directory_gets_a_disk_while_it_runs(
    kvm: KvmHypervisor, tmp_path: Path
) -> None:
    guest = a_guest(security_model="user", security_domain="nobody", use_chroot=True)
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [])
    place = process_of(kvm)
    assert user_of(place) == pwd.getpwnam("nobody").pw_uid
    assert os.readlink(place / "root") == str(kvm.files("web1").chroot)
    image = tmp_path / "disk"
    image.touch(mode=0o600)
    os.truncate(image, 1 << 20)
    disk = GuestDisk(a_file_disk("web1"), image)
    kvm.hot_add(guest, disk, 0)
    (answer,) = kvm.qmp(kvm.files("web1").qmp, [kvm_qmp.Command("query-block")])
    assert [row["inserted"]["image"]["virtual-size"] for row in answer if "inserted" in row] == [
        1 << 20
    ]
    kvm.resize_disk(guest, disk.disk, 2 << 20)
    kvm.stop(guest, force=True)
    assert not kvm.files("web1").chroot.exists()


def test_processors_are_pinned_as_the_mask_says(kvm: KvmHypervisor) -> None:
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        pytest.skip("needs two processors")
    first, second = allowed[:2]
    kvm.start(a_guest(cpu_mask=str(first)), [])
    for task in (process_of(kvm) / "task").iterdir():
        assert os.sched_getaffinity(int(task.name)) == {first}
    kvm.kill(a_guest())
    kvm.cleanup("web1")
    two = an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        hvparams=a_guest(cpu_mask=f"{second}:all").hvparams,
        vcpus=2,
    )
    kvm.start(two, [])
    (cpus,) = kvm.qmp(kvm.files("web1").qmp, [kvm_qmp.CPUS])
    zero, one = kvm_qmp.threads_of(cpus)
    assert os.sched_getaffinity(zero) == {second} and os.sched_getaffinity(one) == set(allowed)


def test_memory_comes_from_the_directory_that_is_named(kvm: KvmHypervisor) -> None:
    place = kvm.host.paths.data / "memory"  # stands for a mounted hugetlbfs
    place.mkdir()
    guest = an_instance(
        "web1",
        hypervisor=HypervisorKind.KVM,
        memory_mib=16,
        hvparams=a_guest(mem_path=str(place)).hvparams,
    )
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [])
    assert str(place) in (process_of(kvm) / "maps").read_text()


# The pool by itself.


@contextmanager
def a_pool(root: Path, text: str, users: Sequence[int] = ()) -> Iterator[tuple[Paths, Path]]:
    """A node's files, and a /proc in which these users have a process."""
    paths = Paths(root)
    paths.data.mkdir(parents=True)
    paths.ssconf("uid_pool").write_text(text)
    proc = root / "proc"
    proc.mkdir()
    (proc / "version").touch()
    for number, uid in enumerate(users, 100):
        (proc / str(number)).mkdir()
        (proc / str(number) / "status").write_text(f"State:\tS (sleeping)\nUid:\t{uid}\t0\t0\t0\n")
    yield paths, proc


def test_a_pool_is_ranges_and_single_numbers() -> None:
    assert kvm_users.parse_pool("7\n10-12\n") == [7, 10, 11, 12]
    assert kvm_users.parse_pool("") == []
    with pytest.raises(HypervisorError, match="'x-1' is no range"):
        kvm_users.parse_pool("x-1")


def test_free_numbers_come_before_taken_ones() -> None:
    found = kvm_users.candidates([1, 2, 3, 4], {1, 3}, random.Random(1))
    assert set(found[:2]) == {2, 4} and set(found[2:]) == {1, 3}


def test_a_locked_number_is_left_to_its_owner(tmp_path: Path) -> None:
    with a_pool(tmp_path, "5-6") as (paths, proc):
        mark = paths.run / "uid-pool" / "5"
        mark.parent.mkdir(parents=True)
        with mark.open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with kvm_users.taken(paths, proc, tmp_path / "owner", random.Random(1)) as uid:
                assert uid == 6
        assert (tmp_path / "owner").read_text() == "6"


def test_a_number_with_processes_is_not_given(tmp_path: Path) -> None:
    with a_pool(tmp_path, "5-6", users=[5]) as (paths, proc):
        for _ in range(2):  # the mark of a dead owner does not hinder
            with kvm_users.taken(paths, proc, tmp_path / "owner", random.Random(1)) as uid:
                assert uid == 6


def test_a_failed_start_gives_its_number_back(tmp_path: Path) -> None:
    with a_pool(tmp_path, "5") as (paths, proc):
        with (
            pytest.raises(KeyError),
            kvm_users.taken(paths, proc, tmp_path / "owner", random.Random(1)),
        ):
            raise KeyError
        assert os.listdir(paths.run / "uid-pool") == [] and not (tmp_path / "owner").exists()
