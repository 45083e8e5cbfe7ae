"""Instances of which every NIC and disk field is set: made one by one, at once, and listed.

All but `disk.spindles`: only nodes with exclusive storage take them, and these take LVM only,
which virtual nodes don't have (facts/master.md D1, 18). A NIC takes mode, link and VLAN over from
its network's connection; the list shows VLANs of switches, and bridges in the other mode only.
"""

from __future__ import annotations

from typing import Any

from bench_cluster import NOOP, Bed
from bench_machine import median

Json = Any
ADD, AT_ONCE, LIST = (
    "instance_full_add_s",
    "instances_full_add_per_s",
    "cli_instance_list_full_s",
)
KEYS = (ADD, AT_ONCE, LIST)
COUNT = 50
NETWORK = "bench"
CONNECTION = "--nic-parameters=mode=openvswitch,link=sw9,vlan=9"
FIELDS = (
    "name,status,disk_usage,disk.count,disk.sizes,disk.spindles,disk.names,disk.uuids,"
    "nic.count,nic.macs,nic.ips,nic.modes,nic.links,nic.vlans,nic.networks,nic.networks.names,"
    "nic.names,nic.uuids,nic.bridges"
)


def measure(bed: Bed, commands: int) -> dict[str, float]:
    """The figures, on a cluster of some nodes."""
    bed.command_s("gnt-network", "add", "--network=10.9.0.0/20", NETWORK)
    bed.command_s("gnt-network", "connect", CONNECTION, NETWORK)
    with bed.client() as client:
        took = bed.jobs_s(client, [_job(f"full{number}.example.com") for number in range(COUNT)])
    numbers = iter(range(COUNT, COUNT + commands))
    return {
        ADD: median(lambda: bed.command_s(*_command(next(numbers))), commands),
        AT_ONCE: COUNT / took,
        LIST: median(lambda: bed.command_s("gnt-instance", "list", "-o", FIELDS), commands),
    }


def _job(name: str) -> Json:
    return {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": "file",
        "disks": [{"size": 1024, "mode": "rw", "name": "root"}],
        "nics": [{"mac": "auto", "ip": "pool", "network": NETWORK, "name": "eth0"}],
        "os_type": NOOP,
        "name_check": False,
        "ip_check": False,
        "conflicts_check": False,
        "reason": [],
    }


def _command(number: int) -> list[str]:
    words = ["add", "-t", "file", "-o", NOOP, "--no-name-check", "--no-ip-check"]
    words += ["--disk=0:size=1G,mode=rw,name=root", "--no-conflicts-check"]
    words += [f"--net=0:mac=auto,ip=pool,network={NETWORK},name=eth0"]
    return ["gnt-instance", *words, f"full{number}.example.com"]
