"""Graphical consoles of a real QEMU: who gets in, and who does not."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes import displays
from fakes.displays import Closed, Line, spice_answer, trusting, vnc_lets_in, vnc_types
from fakes.guests import an_instance
from fakes.short_root import short_root
from ganeti.hypervisor.base import HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.model.filled import FilledInstance
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils import x509
from ganeti.utils.process import run

QEMU = "/usr/bin/qemu-system-x86_64"
HOST = "127.86.0.1"
PASSWORD = "sesame"


@pytest.fixture
def kvm() -> Iterator[KvmHypervisor]:
    if not os.path.exists(QEMU):
        pytest.skip(f"needs {QEMU}")
    with short_root() as root:
        driver = KvmHypervisor(HvHost(Paths(root), run, privileged=False))
        yield driver
        for name in driver.running():
            driver.kill(a_guest(name))


def a_guest(name: str = "web1", port: int = 0, **hvparams: Json) -> FilledInstance:
    plain = {"kvm_path": QEMU, "kernel_path": "", "kvm_flag": "disabled", "chipset": "pc"}
    return an_instance(
        name,
        hypervisor=HypervisorKind.KVM,
        memory_mib=32,
        hvparams=plain | hvparams,
        network_port=port,
    )


def free_port(above: int = 0) -> int:
    """Of HOST; VNC wants one above 5900, which those that the kernel gives are."""
    with socket.create_server((HOST, above)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\nthe second line does not count\n")
    return str(file)


def started(kvm: KvmHypervisor, **hvparams: Json) -> int:
    """The port of its console."""
    port = free_port()
    guest = a_guest(port=port, **hvparams)
    kvm.validate_params(guest.hvparams)
    kvm.start(guest, [])
    return port


def test_vnc_asks_nobody_who_set_no_password(kvm: KvmHypervisor) -> None:
    with Line(HOST, started(kvm, vnc_bind_address=HOST)) as line:
        assert vnc_types(line) == (displays.VNC_NONE,)
        line.write(bytes([displays.VNC_NONE]))
        assert vnc_lets_in(line, None)


def test_vnc_lets_in_who_knows_the_password(kvm: KvmHypervisor, password_file: str) -> None:
    port = started(kvm, vnc_bind_address=HOST, vnc_password_file=password_file)
    for word, expected in ((PASSWORD, True), ("wrong", False)):
        with Line(HOST, port) as line:
            assert vnc_types(line) == (displays.VNC_PASSWORD,)
            line.write(bytes([displays.VNC_PASSWORD]))
            assert vnc_lets_in(line, word) is expected


def test_vnc_below_a_directory_is_a_socket_there(kvm: KvmHypervisor) -> None:
    place = kvm.host.paths.root
    started(kvm, vnc_bind_address=str(place))
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(place / "web1.vnc"))
        assert line.recv(12) == b"RFB 003.008\n"


def test_vnc_with_tls_wants_a_certificate_that_its_ca_has_signed(
    kvm: KvmHypervisor, tmp_path: Path, password_file: str
) -> None:
    displays.make_certificates(tmp_path)
    port = started(
        kvm,
        vnc_bind_address=HOST,
        vnc_tls=True,
        vnc_x509_path=str(tmp_path),
        vnc_x509_verify=True,
        vnc_password_file=password_file,
    )
    ca, own = tmp_path / "ca-cert.pem", (tmp_path / "client-cert.pem", tmp_path / "client-key.pem")
    for word, expected in ((PASSWORD, True), ("wrong", False)):
        with Line(HOST, port) as line:
            assert vnc_types(line) == (displays.VNC_VENCRYPT,)
            assert displays.vnc_starts_tls(line, trusting(ca, own)) == displays.X509_PASSWORD
            assert vnc_lets_in(line, word) is expected
    with Line(HOST, port) as line:
        vnc_types(line)
        displays.vnc_starts_tls(line, trusting(ca))  # TLS 1.3 tells later what is wrong
        with pytest.raises(Closed):
            vnc_lets_in(line, PASSWORD)


def test_vnc_with_tls_alone_has_no_certificates(kvm: KvmHypervisor) -> None:
    with Line(HOST, started(kvm, vnc_bind_address=HOST, vnc_tls=True)) as line:
        assert vnc_types(line) == (displays.VNC_VENCRYPT,)


def test_spice_lets_in_anybody_who_set_no_password(kvm: KvmHypervisor) -> None:
    with Line(HOST, started(kvm, spice_bind=HOST)) as line:
        assert spice_answer(line, "anything") == displays.SPICE_OK


def test_spice_lets_in_who_knows_the_password(kvm: KvmHypervisor, password_file: str) -> None:
    port = started(
        kvm,
        spice_bind=HOST,
        spice_password_file=password_file,
        spice_image_compression="auto_glz",
        spice_jpeg_wan_compression="auto",
        spice_zlib_glz_wan_compression="never",
        spice_streaming_video="filter",
        spice_playback_compression=False,
        spice_use_vdagent=False,
    )
    with Line(HOST, port) as line:
        assert spice_answer(line, PASSWORD) == displays.SPICE_OK
    with Line(HOST, port) as line:
        assert spice_answer(line, "wrong") == displays.SPICE_PERMISSION_DENIED


def test_spice_with_tls_has_the_clusters_certificate(
    kvm: KvmHypervisor, password_file: str
) -> None:
    paths = kvm.host.paths
    paths.data.mkdir(parents=True)
    pair = x509.make_server(time.time())
    paths.spice_pem.write_bytes(pair.pem())
    paths.spice_ca_pem.write_bytes(pair.certificate_pem())
    port = started(kvm, spice_bind=HOST, spice_use_tls=True, spice_password_file=password_file)
    with Line(HOST, port) as line:
        line.secure(trusting(paths.spice_ca_pem))
        assert spice_answer(line, PASSWORD) == displays.SPICE_OK
    with Line(HOST, port) as line, pytest.raises(Closed):
        spice_answer(line, PASSWORD)  # without TLS


@pytest.mark.parametrize("protocol", ["vnc", "spice"])
def test_a_guest_that_has_moved_knows_its_password_and_its_processors(
    kvm: KvmHypervisor, password_file: str, protocol: str
) -> None:
    bind = {"vnc": "vnc_bind_address", "spice": "spice_bind"}[protocol]
    port = free_port()
    first = min(os.sched_getaffinity(0))
    hvparams = {bind: HOST, f"{protocol}_password_file": password_file, "cpu_mask": str(first)}
    guest = a_guest(port=port, migration_port=free_port(), **hvparams)
    info = kvm.new_runtime(guest, [], False).to_text()
    kvm.accept(guest, info, HOST, [])
    with Line(HOST, port) as line:
        if protocol == "vnc":
            vnc_types(line)
            line.write(bytes([displays.VNC_PASSWORD]))
            assert vnc_lets_in(line, PASSWORD)
        else:
            assert spice_answer(line, PASSWORD) == displays.SPICE_OK
    pid = int(kvm.files("web1").pid.read_text())
    assert os.sched_getaffinity(pid) == {first}
