"""Where the console of a KVM instance is, and what a node finds wrong with its parameters."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.guests import a_node, an_instance
from fakes.short_root import short_root
from ganeti.errors import HypervisorError
from ganeti.hypervisor.base import HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.hypervisor.kvm_address import bind_address
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.types import HypervisorKind
from ganeti.utils.process import run


def console(network_port: int | None = None, **hvparams: Json) -> dict[str, Json]:
    instance = an_instance(
        "web1", hypervisor=HypervisorKind.KVM, hvparams=hvparams, network_port=network_port
    )
    answer = KvmHypervisor.console(instance, a_node(), instance.hvparams, {}, Paths("/"))
    return answer.to_json()


def test_the_serial_line_is_reached_by_ssh() -> None:
    control = "/var/run/ganeti/kvm-hypervisor/ctrl/web1"
    assert console() == {
        "instance": "web1",
        "kind": "ssh",
        "host": "node1.example.com",
        "user": "root",
        "command": [
            *("/usr/lib/ganeti/tools/kvm-console-wrapper", "/usr/bin/socat", "web1"),
            *(f"{control}.monitor", "STDIO,raw,echo=0,escape=0x1d"),
            f"UNIX-CONNECT:{control}.serial",
        ],
    }


def test_without_a_serial_line_it_is_vnc() -> None:
    assert console(11001, serial_console=False, vnc_bind_address="0.0.0.0") == {
        "instance": "web1", "kind": "vnc", "host": "node1.example.com", "port": 11001,
        "display": 5101,
    }  # fmt: skip


def test_spice_and_nothing_at_all() -> None:
    assert console(11001, serial_console=False, spice_bind="127.0.0.1")["kind"] == "spice"
    assert console(serial_console=False)["kind"] == "msg"


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("kernel_path", "/nowhere/vmlinuz", "is no file"),
        ("cdrom_image_path", "/nowhere/a.iso", "is no file"),
        ("kvm_path", "/nowhere/kvm", "is no program"),
        ("mem_path", "/nowhere", "is no directory"),
        ("vnc_bind_address", "nosuchif0", "no interface"),
        ("security_domain", "nosuchuser", "no user"),
    ],
)
def test_what_is_missing_on_the_node_is_named(name: str, value: str, problem: str) -> None:
    hvparams: dict[str, Json] = {"kvm_path": "/bin/sh", "kernel_path": "", "security_model": "none"}
    if name == "security_domain":
        hvparams["security_model"] = "user"
    instance = an_instance(hypervisor=HypervisorKind.KVM, hvparams={**hvparams, name: value})
    with short_root() as root:
        driver = KvmHypervisor(HvHost(Paths(root), run, False))
        with pytest.raises(HypervisorError, match=f"{value}.*{problem}|{problem}.*{value}"):
            driver.validate_params(instance.hvparams)


def test_images_on_web_servers_are_not_looked_for() -> None:
    url = "https://example.com/a.iso"
    hvparams = {"kvm_path": "/bin/sh", "kernel_path": "", "cdrom_image_path": url}
    instance = an_instance(hypervisor=HypervisorKind.KVM, hvparams=hvparams)
    with short_root() as root:
        KvmHypervisor(HvHost(Paths(root), run, False)).validate_params(instance.hvparams)


def test_addresses_and_directories_are_taken_as_they_are() -> None:
    for text in ("", "/run/vnc", "127.0.0.1", "::1", "0.0.0.0"):
        assert bind_address(text, 0) == text
    assert bind_address("lo", 4) == "127.0.0.1"


def test_a_root_too_long_for_sockets_is_told_before_anything_starts(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 90)
    driver = KvmHypervisor(HvHost(Paths(deep), run, False))
    hvparams = {
        "kvm_path": "/usr/bin/qemu-system-x86_64",
        "kernel_path": "",
        "kvm_flag": "disabled",
    }
    instance = an_instance(hypervisor=HypervisorKind.KVM, hvparams=hvparams)
    if not Path(str(hvparams["kvm_path"])).exists():
        pytest.skip("needs QEMU")
    with pytest.raises(HypervisorError, match="use a shorter root"):
        driver.start(instance, [])
    assert driver.all_info() == {}
