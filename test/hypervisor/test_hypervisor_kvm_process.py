"""Whose process it is, what a QEMU program can do, how a tap is connected."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes.guests import a_file_disk, a_nic
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_probe, kvm_process, kvm_qmp, kvm_runtime, kvm_tap, machine
from ganeti.hypervisor.base import GuestDisk, HvHost
from ganeti.hypervisor.kvm_migrate import (
    has_postcopy,
    is_ripe_for_postcopy,
    listening_here,
    migrate_commands,
    status_of,
)
from ganeti.hypervisor.kvm_probe import Probe
from ganeti.hypervisor.kvm_runtime import Runtime
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.utils.process import Result

# Pid files.


def a_process(proc: Path, pid: int, *argv: str) -> None:
    (proc / str(pid)).mkdir(parents=True)
    (proc / str(pid) / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in argv))


def test_a_pid_file_of_another_process_does_not_count(tmp_path: Path) -> None:
    pid_file = tmp_path / "web1"
    pid_file.write_text("77\n")
    proc = tmp_path / "proc"
    assert kvm_process.find(proc, pid_file, "web1") is None
    a_process(proc, 77, "vi", "web1")
    assert kvm_process.find(proc, pid_file, "web1") is None
    assert kvm_process.wait_end(proc, pid_file, "web1", 0.0)
    assert kvm_process.end(proc, pid_file, "web1")


def test_the_right_process_is_found_by_its_name(tmp_path: Path) -> None:
    pid_file = tmp_path / "web1"
    pid_file.write_text("77\n")
    a_process(tmp_path / "proc", 77, "/usr/bin/kvm", "-name", "web1", "-m", "64")
    found = kvm_process.find(tmp_path / "proc", pid_file, "web1")
    assert found is not None and found[0] == 77
    assert kvm_process.find(tmp_path / "proc", pid_file, "web10") is None


@pytest.mark.parametrize("text", ["", "x", "1", "-7", "0"])
def test_a_damaged_pid_file_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "pid").write_text(text)
    assert kvm_process.read_pid(tmp_path / "pid") is None


# The program.


class FakeQemu:
    """Answers like `qemu-system-x86_64`; counts what it was asked."""

    def __init__(self, trial_code: int | None = kvm_probe.TRIAL_EXIT_CODE) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.trial_code = trial_code
        self.stopped = ""

    def __call__(self, argv: Sequence[str], **_: Json) -> Result:
        self.asked.append(tuple(argv))
        if "-bios" in argv:
            return Result(tuple(argv), self.trial_code, None, "", "", self.stopped)
        answers = {
            "--version": "QEMU emulator version 7.2.22 (Debian 1:7.2)\nCopyright",
            "-machine": "Supported machines are:\nmicrovm    x\npc   Standard PC (default)\n",
            "pc,help": "pc-machine options:\n  acpi=<OnOffAuto>       - Enable ACPI\n",
            "-device": 'Storage devices:\nname "virtio-blk-pci", bus PCI, alias "virtio-blk"\n'
            'name "ide-hd", bus IDE\n',
            "--help": "usage: qemu\n-smp [[cpus=]n]\n           [,cores=c]\n\n-chroot dir  go\n",
            "-accel": "Accelerators supported in QEMU binary:\ntcg\nkvm\n",
        }
        answer = answers.get(argv[-1]) or answers[argv[1]]
        return Result(tuple(argv), 0, None, answer, "")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "qemu"
    program.write_text("one")
    return program


def test_a_program_is_asked_once_until_it_changes(tmp_path: Path, program: Path) -> None:
    qemu = FakeQemu()
    binary = Probe(tmp_path / "run", qemu).binary(str(program))
    assert binary.version == (7, 2, 22) and binary.machines == {"microvm", "pc"}
    assert binary.devices == {"virtio-blk-pci", "virtio-blk", "ide-hd"}
    assert binary.accelerators == {"tcg", "kvm"} and binary.properties == {"acpi"}
    assert binary.options == {"-smp": "-smp [[cpus=]n] [,cores=c]", "-chroot": "-chroot dir  go"}
    assert len(qemu.asked) == 6
    Probe(tmp_path / "run", qemu).binary(str(program))
    assert len(qemu.asked) == 6
    program.write_text("another")
    Probe(tmp_path / "run", qemu).binary(str(program))
    assert len(qemu.asked) == 12


@pytest.mark.parametrize(("code", "expected"), [(33, "kvm"), (1, "tcg"), (None, "tcg")])
def test_kvm_is_used_when_a_trial_guest_ran_to_its_end(
    tmp_path: Path, program: Path, code: int | None, expected: str
) -> None:
    device = tmp_path / "kvm"
    device.touch()
    qemu = FakeQemu(code)
    for _ in range(2):
        assert Probe(tmp_path / "run", qemu, device).accelerator(str(program)) == expected
    assert len(qemu.asked) == 1


def test_a_trial_that_got_no_time_is_made_again(tmp_path: Path, program: Path) -> None:
    device = tmp_path / "kvm"
    device.touch()
    qemu = FakeQemu(trial_code=None)
    qemu.stopped = "timeout after 5 s"
    probe = Probe(tmp_path / "run", qemu, device)
    assert probe.accelerator(str(program)) == "tcg"
    qemu.trial_code, qemu.stopped = kvm_probe.TRIAL_EXIT_CODE, ""
    assert probe.accelerator(str(program)) == "kvm"


def test_two_trials_at_the_same_time_do_not_take_each_others_firmware(tmp_path: Path) -> None:
    seen = []

    def qemu(argv: Sequence[str], **_: Json) -> Result:
        rom = Path(argv[list(argv).index("-bios") + 1])
        seen.append(rom)
        if len(seen) == 1:
            assert probe.trial("qemu", "kvm")
        assert rom.read_bytes() == kvm_probe.trial_rom()
        return Result(tuple(argv), kvm_probe.TRIAL_EXIT_CODE, None, "", "")

    probe = Probe(tmp_path, qemu)
    assert probe.trial("qemu", "kvm") and len(set(seen)) == 2
    assert list(tmp_path.iterdir()) == []


def test_without_the_device_nothing_is_tried(tmp_path: Path, program: Path) -> None:
    qemu = FakeQemu()
    assert Probe(tmp_path / "run", qemu, tmp_path / "none").accelerator(str(program)) == "tcg"
    assert qemu.asked == []


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match="/nowhere/kvm.*No such file"):
        Probe(tmp_path, FakeQemu()).binary("/nowhere/kvm")


def test_the_trial_guest_runs_to_its_end_under_emulation(tmp_path: Path) -> None:
    from ganeti.utils.process import run

    program = "/usr/bin/qemu-system-x86_64"
    if not os.path.exists(program):
        pytest.skip(f"needs {program}")
    assert Probe(tmp_path, run).trial(program, "tcg")


# Small readers.


def test_meminfo_without_available_memory_is_summed_up() -> None:
    text = "MemTotal: 2048 kB\nMemFree: 1024 kB\nBuffers: 0 kB\nCached: 0 kB\nHugePages_Total: 0\n"
    info = machine.node_info(text, "processor: 0\n")
    assert (info.memory_total, info.memory_free, info.memory_dom0) == (2, 1, 1)
    with pytest.raises(HypervisorError, match="MemTotal"):
        machine.node_info("", "")


def test_start_memory_is_what_is_free_within_the_limits() -> None:
    assert machine.start_memory_mib(50, 200, 1000) == 200
    assert machine.start_memory_mib(50, 200, 100) == 100
    assert machine.start_memory_mib(50, 200, 10) == 50
    assert machine.start_memory_mib(50, 200, None) == 200


def test_qmp_answers_are_read() -> None:
    rows = [{"cpu-index": 1, "thread-id": 12}, {"cpu-index": 0, "thread-id": 11}]
    assert kvm_qmp.threads_of(rows) == [11, 12] and kvm_qmp.vcpus_of(rows) == 2
    assert kvm_qmp.memory_of({"actual": 64 << 20}) == 64
    assert kvm_qmp.memory_of(None) is None and kvm_qmp.threads_of(None) == []


def test_a_monitor_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(HypervisorError, match=r"web1\.qmp"):
        kvm_qmp.converse(tmp_path / "web1.qmp", [kvm_qmp.STATUS])


def test_a_runtime_survives_its_file(tmp_path: Path) -> None:
    disk = GuestDisk(a_file_disk("web1"), Path("/run/web1:0"), None)
    runtime = Runtime(("qemu", "-m", "64"), (a_nic(),), {"acpi": True}, (disk,))
    kvm_runtime.save(tmp_path / "web1.runtime", runtime)
    assert kvm_runtime.load(tmp_path / "web1.runtime", "web1") == runtime
    parts = json.loads((tmp_path / "web1.runtime").read_text())
    assert [type(part).__name__ for part in parts] == ["list", "list", "dict", "list"]
    assert parts[3][0][1:] == ["/run/web1:0", None]


@pytest.mark.parametrize("text", ["", "{}", "[[], [], {}]", '[["q"], [], {}, [[1]]]'])
def test_a_damaged_runtime_names_its_instance(tmp_path: Path, text: str) -> None:
    (tmp_path / "r").write_text(text)
    with pytest.raises(HypervisorError, match="web1"):
        kvm_runtime.load(tmp_path / "r", "web1")


def test_migration_is_told_to_qemu_in_its_units() -> None:
    hvparams = {"migration_bandwidth": 32, "migration_downtime": 30, "migration_port": 8102,
                "migration_caps": "xbzrle:auto-converge"}  # fmt: skip
    commands = migrate_commands(hvparams, "192.0.2.2", live=False)
    assert [command.name for command in commands] == [
        "stop", "migrate-set-capabilities", "migrate-set-parameters", "migrate",
    ]  # fmt: skip
    assert commands[2].arguments == {"max-bandwidth": 32 << 20, "downtime-limit": 30}
    assert commands[3].arguments == {"uri": "tcp:192.0.2.2:8102"}
    status = status_of({"status": "active", "ram": {"transferred": 5, "total": 9}})
    assert (status.status, status.transferred_ram, status.total_ram) == ("active", 5, 9)
    with pytest.raises(HypervisorError):
        status_of({})


def test_a_graphical_console_listens_at_the_address_of_the_new_node() -> None:
    on_lo: dict[str, Json] = {"vnc_bind_address": "lo", "spice_bind": "lo", "spice_ip_version": 4}
    assert listening_here("-vnc", "192.0.2.1:7,password=on", on_lo) == "127.0.0.1:7,password=on"
    assert listening_here("-vnc", "[2001:db8::1]:7", on_lo) == "127.0.0.1:7"
    assert listening_here("-spice", "addr=192.0.2.1,port=7", on_lo) == "addr=127.0.0.1,port=7"
    anywhere: dict[str, Json] = {"vnc_bind_address": "0.0.0.0"}
    assert listening_here("-vnc", ":7", anywhere) == ":7"


def test_postcopy_begins_after_two_rounds_where_it_was_asked_for() -> None:
    hvparams = {"migration_bandwidth": 32, "migration_downtime": 30, "migration_port": 8102,
                "migration_caps": "xbzrle:postcopy-ram"}  # fmt: skip
    assert has_postcopy(hvparams) and not has_postcopy({"migration_caps": "xbzrle"})
    told = [dict(command.arguments) for command in migrate_commands(hvparams, "192.0.2.2", True)]
    assert {"max-postcopy-bandwidth": 32 << 20} in told

    def answer(status: str, rounds: int) -> Json:
        return {"status": status, "ram": {"dirty-sync-count": rounds}}

    assert is_ripe_for_postcopy(answer("active", 2))
    assert not is_ripe_for_postcopy(answer("active", 1))
    assert not is_ripe_for_postcopy(answer("postcopy-active", 3))
    assert not is_ripe_for_postcopy({"status": "setup"})


# Taps.


def test_a_bridged_tap_gets_a_high_address_before_it_joins() -> None:
    assert kvm_tap.connect_commands(a_nic(), "tap0", "1500") == [
        ["ip", "link", "set", "tap0", "address", "fe:00:00:00:00:01"],
        ["ip", "link", "set", "tap0", "up"],
        ["ip", "link", "set", "tap0", "mtu", "1500"],
        ["ip", "link", "set", "tap0", "master", "br0"],
    ]


def test_vlans_of_a_bridge_port_are_untagged_first() -> None:
    nic = a_nic(nicparams={"mode": "bridged", "link": "br0", "vlan": ".10:20:30"})
    assert kvm_tap.connect_commands(nic, "tap0", None)[-3:] == [
        ["bridge", "vlan", "add", "dev", "tap0", "vid", "10", "pvid", "untagged", "master"],
        ["bridge", "vlan", "add", "dev", "tap0", "vid", "20", "master"],
        ["bridge", "vlan", "add", "dev", "tap0", "vid", "30", "master"],
    ]
    assert kvm_tap.split_vlan(":20:30") == ("", ["20", "30"])


def test_open_vswitch_and_routes_have_their_commands() -> None:
    ovs = a_nic(nicparams={"mode": "openvswitch", "link": "sw", "vlan": ".7:8"})
    assert kvm_tap.connect_commands(ovs, "tap0", None)[2:] == [
        ["ovs-vsctl", "add-port", "sw", "tap0"],
        ["ovs-vsctl", "set", "port", "tap0", "tag=7"],
        ["ovs-vsctl", "set", "port", "tap0", "trunks=8"],
    ]
    routed = a_nic(ip="192.0.2.9", nicparams={"mode": "routed", "link": "tab", "vlan": ""})
    assert kvm_tap.connect_commands(routed, "tap0", None)[-1] == [
        "ip", "route", "replace", "192.0.2.9", "table", "tab", "proto", "static", "dev", "tap0",
    ]  # fmt: skip
    with pytest.raises(HypervisorError, match="needs an address"):
        kvm_tap.connect_commands(a_nic(nicparams={"mode": "routed"}), "tap0", None)


def test_rules_of_an_earlier_guest_are_dropped_before_a_route_is_made(tmp_path: Path) -> None:
    left = 2
    asked = []

    def ip(argv: Sequence[str], **_: Json) -> Result:
        nonlocal left
        asked.append(" ".join(argv))
        is_removal = list(argv[1:3]) == ["rule", "del"]
        left -= is_removal
        return Result(tuple(argv), 2 if is_removal and left < 0 else 0, None, "", "")

    nic = a_nic(ip="192.0.2.9", nicparams={"mode": "routed", "link": "100"})
    host = HvHost(Paths(tmp_path), ip, privileged=True)
    kvm_tap.connect(host, "web1", [], nic, 0, "no-such-tap")
    assert asked == [
        *["ip rule del dev no-such-tap"] * 3,
        "ip link set no-such-tap address fe:00:00:00:00:01",
        "ip link set no-such-tap up",
        "ip rule add dev no-such-tap table 100",
        "ip route replace 192.0.2.9 table 100 proto static dev no-such-tap",
    ]


def test_scripts_get_the_environment_of_the_facts() -> None:
    network = {"name": "lan", "uuid": "u", "network": "10.1.0.0/24", "tags": ["a", "b"]}
    nic = a_nic(ip="10.1.0.2", netinfo=network, name="front")
    environment = kvm_tap.script_environment("web1", ("x", "y"), nic, 0, "tap0")
    path = environment.pop("PATH")
    assert path.endswith(":/sbin:/usr/sbin")
    assert environment == {
        "INSTANCE": "web1", "MAC": nic.mac, "MODE": "bridged", "INTERFACE": "tap0",
        "INTERFACE_INDEX": "0", "INTERFACE_UUID": nic.uuid, "INTERFACE_NAME": "front",
        "TAGS": "x y", "IP": "10.1.0.2", "LINK": "br0", "BRIDGE": "br0", "NETWORK_NAME": "lan",
        "NETWORK_UUID": "u", "NETWORK_SUBNET": "10.1.0.0/24", "NETWORK_TAGS": "a b",
    }  # fmt: skip


def test_the_tap_is_asked_for_with_the_flags_of_its_use() -> None:
    assert kvm_tap.tap_flags(1, False) == 0x0002 | 0x1000 | 0x2000
    assert kvm_tap.tap_flags(2, True) == 0x0002 | 0x1000 | 0x0100 | 0x4000
