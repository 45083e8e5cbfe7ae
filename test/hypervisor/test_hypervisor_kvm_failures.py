"""A KVM instance of which one step fails leaves nothing behind."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fakes.guests import an_instance
from fakes.short_root import short_root
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_words
from ganeti.hypervisor.base import HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_qmp import Command
from ganeti.model.filled import FilledInstance
from ganeti.model.report import SHUT_DOWN
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"


def refuses(place: Path, commands: Sequence[Command], timeout_s: float = 0.0) -> list[Json]:
    raise HypervisorError(f"QMP socket {place.name}: {commands[0].name}: refused")


@pytest.fixture
def kvm() -> Iterator[KvmHypervisor]:
    if not os.path.exists(QEMU):
        pytest.skip(f"needs {QEMU}")
    with short_root() as root:
        driver = KvmHypervisor(HvHost(Paths(root), run, privileged=False), refuses)
        yield driver
        driver.kill(a_guest())


def a_guest(**hvparams: Json) -> FilledInstance:
    plain = {"kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled", "migration_port": 8177}
    return an_instance("web1", hypervisor=HypervisorKind.KVM, hvparams=plain | hvparams)


def is_gone(kvm: KvmHypervisor) -> bool:
    return not kvm.is_alive("web1") and not kvm.files("web1").runtime.exists()


def test_a_guest_that_can_not_be_set_up_does_not_run(kvm: KvmHypervisor) -> None:
    with pytest.raises(HypervisorError, match="refused"):
        kvm.start(a_guest(), [])
    assert is_gone(kvm)


def test_a_guest_that_can_not_be_received_does_not_wait(kvm: KvmHypervisor) -> None:
    guest = a_guest(migration_caps="xbzrle")
    info = kvm.new_runtime(guest, [], False).to_text()
    with pytest.raises(HypervisorError, match="migrate-set-capabilities: refused"):
        kvm.accept(guest, info, "127.0.0.1", [])
    assert is_gone(kvm)


def test_a_node_that_takes_no_files_is_an_error_of_the_instance(kvm: KvmHypervisor) -> None:
    kvm.directories.root.mkdir(parents=True)
    (kvm.directories.root / "nic").touch()  # in the place of a directory
    with pytest.raises(HypervisorError, match="instance web1: .*File exists"):
        kvm.start(a_guest(), [])
    assert not kvm.is_alive("web1")


def test_a_guest_never_runs_as_root_in_place_of_a_user_from_a_pool(kvm: KvmHypervisor) -> None:
    guest = a_guest(security_model="pool")
    with pytest.raises(HypervisorError, match="none of the 0 users of the cluster's pool"):
        kvm.start(guest, [])
    assert is_gone(kvm)


def test_a_guest_that_its_user_shut_down_is_told_without_a_pid_file(kvm: KvmHypervisor) -> None:
    kvm.directories.make()
    kvm.files("web1").shutdown_flag.touch()
    assert [(name, info.state) for name, info in kvm.all_info().items()] == [("web1", SHUT_DOWN)]


def test_a_taken_address_is_told_in_qemus_words_with_the_way_out(kvm: KvmHypervisor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        guest = a_guest(kvm_extra=f"-qmp tcp:{address},server=on,wait=off")
        with pytest.raises(HypervisorError) as caught:
            kvm.start(guest, [])
    assert is_gone(kvm)
    text = str(caught.value)
    assert text.startswith("instance web1: QEMU exited with exit code 1: qemu-system-x86_64: -qmp")
    assert "Address already in use; another program holds that address" in text
    assert "-daemonize" not in text and "\n" not in text


def test_only_the_last_words_of_qemu_are_told(tmp_path: Path) -> None:
    file = tmp_path / "web1.log"
    assert (kvm_words.size(file), kvm_words.since(file, 0)) == (0, "")
    file.write_text("of yesterday\n")
    before = kvm_words.size(file)
    with file.open("a") as log:
        log.write("qemu: cannot set up guest memory 'pc.ram': Cannot allocate memory\n")
    said = kvm_words.since(file, before)
    assert kvm_words.failure("web1", "exited with exit code 1", said) == (
        "instance web1: QEMU exited with exit code 1: qemu: cannot set up guest memory 'pc.ram':"
        " Cannot allocate memory; the node has not enough free memory; free some, or start the"
        " instance with less"
    )
    file.write_text("anew\n")
    assert kvm_words.since(file, before) == "anew\n"
    assert kvm_words.failure("web1", "has ended at once", "").endswith("it said nothing")
