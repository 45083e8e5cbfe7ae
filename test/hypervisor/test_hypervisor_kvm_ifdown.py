"""Taps that go: what is taken back, by whom, and whose it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.guests import a_nic
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_ifdown, kvm_tap
from ganeti.hypervisor.base import HvHost
from ganeti.model.nic import Nic
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.utils.process import Result


class Node:
    """A node whose commands are only noted; those that begin like `failing` fail."""

    def __init__(self, root: Path) -> None:
        self.asked: list[str] = []
        self.failing: tuple[str, ...] = ("ip rule del", "ip -6 rule del")
        self.environment: dict[str, str] = {}
        self.host = HvHost(Paths(root), self._run, privileged=True)
        self.conf = self.host.paths.conf

    def _run(self, argv: Sequence[str], *, env: dict[str, str] | None = None, **_: Json) -> Result:
        line = " ".join(argv)
        self.asked.append(line)
        self.environment = env or {}
        return Result(tuple(argv), int(line.startswith(self.failing)), None, "", "")

    def script(self, name: str) -> str:
        self.conf.mkdir(parents=True, exist_ok=True)
        (self.conf / name).write_text("#!/bin/sh\n")
        (self.conf / name).chmod(0o755)
        return str(self.conf / name)

    def connect(self, nic: Nic, interface: str = "tap0", instance: str = "web1") -> None:
        kvm_tap.connect(self.host, instance, ["blue"], nic, 0, interface)
        self.asked.clear()

    @property
    def records(self) -> list[str]:
        return sorted(one.name for one in kvm_ifdown.place(self.host).iterdir())


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def switched() -> Nic:
    return a_nic(nicparams={"mode": "openvswitch", "link": "sw", "vlan": ""})


def routed(ip: str, table: str = "100") -> Nic:
    return a_nic(ip=ip, nicparams={"mode": "routed", "link": table, "vlan": ""})


@pytest.mark.parametrize(
    ("nic", "commands"),
    [
        (a_nic(), []),
        (switched(), ["ovs-vsctl --if-exists del-port tap0"]),
        (routed("192.0.2.9"), ["ip rule del dev tap0"]),
        (routed("2001:db8::9"), ["ip -6 rule del dev tap0"]),
        (routed("192.0.2.9", ""), []),
    ],
    ids=["bridged", "openvswitch", "routed", "routed IPv6", "without a table"],
)
def test_what_outlives_a_tap_is_taken_back_once(node: Node, nic: Nic, commands: list[str]) -> None:
    node.connect(nic)
    assert node.records == ["tap0"]
    kvm_ifdown.disconnect(node.host, "tap0")
    kvm_ifdown.disconnect(node.host, "tap0")
    assert (node.asked, node.records) == (commands, [])


def test_only_the_taps_of_the_instance_are_taken_back(node: Node) -> None:
    node.connect(switched(), "tap0")
    node.connect(switched(), "tap1", "web2")
    kvm_ifdown.disconnect_all(node.host, "web1")
    assert node.asked == ["ovs-vsctl --if-exists del-port tap0"]
    assert node.records == ["tap1"]
    kvm_ifdown.disconnect_all(node.host, "nobody")


def test_a_name_that_is_given_again_is_taken_back_first(node: Node) -> None:
    node.connect(switched())
    kvm_tap.connect(node.host, "web2", [], a_nic(), 0, "tap0")
    assert node.asked[0] == "ovs-vsctl --if-exists del-port tap0"
    node.asked.clear()
    kvm_ifdown.disconnect_all(node.host, "web1")  # its guest had ended by itself
    assert (node.asked, node.records) == ([], ["tap0"])


def test_the_administrators_script_runs_instead(node: Node) -> None:
    script = node.script("kvm-ifdown")
    node.connect(switched())
    kvm_ifdown.disconnect(node.host, "tap0")
    assert node.asked == [script]
    wanted = {"INSTANCE": "web1", "INTERFACE": "tap0", "MODE": "openvswitch", "TAGS": "blue"}
    assert wanted.items() <= node.environment.items()


def test_what_a_script_has_connected_is_not_ours_to_take_back(node: Node) -> None:
    script = node.script("kvm-vif-bridge")
    kvm_tap.connect(node.host, "web1", [], switched(), 0, "tap0")
    kvm_ifdown.disconnect(node.host, "tap0")
    assert (node.asked, node.records) == ([script], [])


def test_a_failure_is_no_reason_to_stop(node: Node) -> None:
    node.connect(switched())
    node.failing = ("ovs-vsctl",)
    kvm_ifdown.disconnect(node.host, "tap0")
    assert node.records == []
    (kvm_ifdown.place(node.host) / "tap3").write_text("{")
    kvm_ifdown.disconnect_all(node.host, "web1")
    assert node.records == []


def test_an_interface_to_the_node_itself_has_a_script_before_its_connection(node: Node) -> None:
    script = node.script("kvm-ifup-os")
    nic = a_nic(name="ganeti:communication:web1")
    kvm_tap.connect(node.host, "web1", [], nic, 0, "tap0")
    assert node.asked[0] == script and len(node.asked) == 4


def test_mode_ext_needs_a_script(node: Node) -> None:
    nic = a_nic(nicparams={"mode": "ext", "link": "any", "vlan": ""})
    with pytest.raises(HypervisorError, match="kvm-vif-bridge"):
        kvm_tap.connect(node.host, "web1", [], nic, 0, "tap0")
    script = node.script("kvm-vif-bridge")
    kvm_tap.connect(node.host, "web1", [], nic, 0, "tap0")
    assert node.asked == [script]
    assert node.environment["MODE"] == "ext"


def test_uplinks_carry_the_vlans_of_interfaces(tmp_path: Path) -> None:
    nic = a_nic(nicparams={"mode": "bridged", "link": "br0", "vlan": ".10:20"})
    assert kvm_tap.connect_commands(nic, "tap0", None, ["eth1"])[-2:] == [
        ["bridge", "vlan", "add", "dev", "eth1", "vid", "10", "master"],
        ["bridge", "vlan", "add", "dev", "eth1", "vid", "20", "master"],
    ]
    for name in ("br0/brif/eth1", "br0/brif/tap0", "tap0"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "tap0" / "tun_flags").write_text("0x1002\n")
    assert kvm_tap.uplinks_of("br0", tmp_path) == ["eth1"]
    assert kvm_tap.uplinks_of("nosuch", tmp_path) == []
