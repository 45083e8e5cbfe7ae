"""The tap between a guest and its node: its name, and the commands that connect it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.guests import a_nic
from ganeti.hypervisor import kvm_communication, kvm_tap
from ganeti.hypervisor.kvm_communication import knows_table, tap_names
from ganeti.model.nic import Nic

# In a network namespace of its own: what one holds the next can't have, also with several queues.
TAPS = """
from ganeti.hypervisor.kvm_communication import devices, tap_names
from ganeti.hypervisor.kvm_tap import close_tap, open_tap
def tap(queues, names):
    return open_tap(queues, vnet_hdr=True, vhost=False, names=names)
first = tap(1, tap_names(devices()))
second = tap(2, ["gnt.com.0", "gnt.com.1"])
third = tap(2, ["gnt.com.1", "gnt.com.2"])
close_tap(first)
print(first.name, second.name, third.name, tap(1, tap_names(devices())).name, len(second.fds))
"""


def nic(**values: object) -> Nic:
    params = {"mode": "routed", "link": "communication_rt", "vlan": ""}
    name = "ganeti:communication:web1"
    return a_nic(**{"name": name, "ip": "169.254.0.7", "nicparams": params, **values})


def test_the_number_is_the_one_after_the_highest() -> None:
    assert next(tap_names(["lo", "tap12"])) == "gnt.com.0"
    names = tap_names(["gnt.com.0", "gnt.com.11", "gnt.com.x", "tap12"])
    assert [next(names), next(names)] == ["gnt.com.12", "gnt.com.13"]


@pytest.mark.skipif(
    os.geteuid() != 0 or not kvm_tap.TUN.exists(), reason="needs root and /dev/net/tun"
)
def test_a_tap_is_never_somebody_elses() -> None:
    done = subprocess.run(
        ["unshare", "-n", sys.executable, "-c", TAPS], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip(f"needs network namespaces: {done.stderr}")
    assert done.stdout.split() == ["gnt.com.0", "gnt.com.1", "gnt.com.2", "gnt.com.3", "2"], (
        done.stderr
    )


def test_the_node_has_its_address_there_and_a_route_to_the_guest() -> None:
    commands = [" ".join(one) for one in kvm_tap.connect_commands(nic(), "gnt.com.0", None)]
    assert commands[1:] == [
        "ip link set gnt.com.0 up",
        "ip address replace 169.254.169.254/32 dev gnt.com.0",
        "ip route replace 169.254.0.7 proto static dev gnt.com.0",
    ]


def test_a_table_that_the_node_knows_is_used_too() -> None:
    one = nic(nicparams={"mode": "routed", "link": "77", "vlan": ""})
    commands = [" ".join(one) for one in kvm_tap.connect_commands(one, "gnt.com.0", None)]
    assert "ip rule add dev gnt.com.0 table 77" in commands
    assert "ip route replace 169.254.0.7 table 77 proto static dev gnt.com.0" in commands
    assert len(commands) == 6


def test_tables_are_known_by_their_files(tmp_path: Path) -> None:
    place = tmp_path / "iproute2"
    (place / "rt_tables.d").mkdir(parents=True)
    (place / "rt_tables").write_text("# 9 other\n255\tlocal\n254 main # all\n\n")
    (place / "rt_tables.d" / "ours.conf").write_text("0x4d communication_rt\n")
    places = (tmp_path / "none", place)
    known = [knows_table(name, places) for name in ("main", "communication_rt", "12")]
    assert known == [True, True, True]
    unknown = [knows_table(name, places) for name in ("other", "all", "", "255x")]
    assert not any(unknown)


def test_other_modes_are_connected_as_ever() -> None:
    one = nic(nicparams={"mode": "bridged", "link": "br0", "vlan": ""})
    commands = kvm_tap.connect_commands(one, "gnt.com.0", None)
    assert ["ip", "link", "set", "gnt.com.0", "master", "br0"] in commands
    assert kvm_communication.NODE_ADDRESS not in str(commands)
