"""Devices of a real guest come and go while it runs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guest_bed import READY_S, Bed, missing, moved
from fakes.guests import a_file_disk, a_nic
from fakes.serial import SerialConsole
from ganeti.errors import HotplugError
from ganeti.hypervisor.base import HvHost
from ganeti.hypervisor.kvm import KvmHypervisor
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.nic import Nic
from ganeti.node import disk as disks
from ganeti.node import instance
from ganeti.node.context import NodeContext
from ganeti.serializer import Json, encode
from ganeti.types import DiskTemplate, HypervisorKind
from ganeti.utils.process import run


def can_make_taps() -> bool:
    return os.geteuid() == 0 and Path("/dev/net/tun").exists()


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}")


def plug(
    node: NodeContext, made: FilledInstance, action: str, device: Disk | Nic, index: int
) -> Json:
    """As the master asks; the device is made with its link first."""
    extra = None
    if isinstance(device, Disk):
        found = disks.blockdev_assemble(node, device, made, True, index)
        extra = [found.link, found.uri]
    kind = "disk" if isinstance(device, Disk) else "nic"
    return instance.hotplug_device(node, made, action, kind, encode(device), extra, index)


def a_second_disk(bed: Bed, made: FilledInstance, index: int = 1) -> Disk:
    disk = a_file_disk(made.name, index, size_mib=12, dev_type=made.disks_info[0].dev_type)
    disks.blockdev_create(bed.node, disk, 12, made.name, True, "", False)
    return disk


def ready(console: SerialConsole) -> None:
    console.expect("guest ready", READY_S)
    console.expect("# ")


def expect_disks(console: SerialConsole, *names: str) -> None:
    """The guest has exactly these; a kernel tells of a change a moment later."""
    wanted = " ".join(names)
    console.send("while :; do d=$(ls /sys/block|grep vd|xargs); "
                 f'[ "$d" = "{wanted}" ] && break; usleep 50000; done; echo now: $d.')  # fmt: skip
    console.expect(f"\nnow: {wanted}\\.", 30.0)


def expect_nics(console: SerialConsole, *macs: str) -> None:
    wanted = " ".join(macs)
    console.send("while :; do n=$(cat /sys/class/net/eth*/address|xargs); "
                 f'[ "$n" = "{wanted}" ] && break; usleep 50000; done; echo have: $n.')  # fmt: skip
    console.expect(f"\nhave: {wanted}\\.", 30.0)


def test_disks_and_nics_come_and_go_and_stay_over_a_reboot(bed: Bed) -> None:
    made = bed.installed()
    node = bed.node
    instance.instance_start(node, made, False, [])
    instance.hotplug_supported(node, made)
    disk, nic = a_second_disk(bed, made), a_nic(2)
    with bed.console(made) as console:
        ready(console)
        assert plug(node, made, "hotadd", disk, 1) is None
        assert plug(node, made, "hotadd", disk, 1) is None  # asked twice, done once
        assert plug(node, made, "hotadd", nic, 1) is None
        expect_disks(console, "vda", "vdb")
        expect_nics(console, "aa:00:00:00:00:01", nic.mac)
        console.send("grep vdb /proc/partitions; echo hot > /dev/vdb; sync; echo written.")
        console.expect(r"12288 vdb(.|\n)*\nwritten\.")
        nic = replace(nic, mac="aa:00:00:00:00:77")
        assert plug(node, made, "hotmod", nic, 1) is None
        expect_nics(console, "aa:00:00:00:00:01", nic.mac)

    instance.instance_reboot(node, made, "soft", 120, [])
    with bed.console(made) as console:
        ready(console)
        expect_nics(console, "aa:00:00:00:00:01", nic.mac)
        console.send("echo first: $(head -n1 /dev/vdb).")
        console.expect("\nfirst: hot\\.")
        place = plug(node, made, "hotremove", disk, 1)
        assert place["driver"] == "virtio-blk-pci" and "addr" in place
        plug(node, made, "hotremove", nic, 1)
        plug(node, made, "hotremove", nic, 1)  # not there any more: nothing to do
        expect_disks(console, "vda")
        expect_nics(console, "aa:00:00:00:00:01")
        assert [link.name for link in node.paths.disk_links.iterdir()] == ["web1:0"]
        # Nobody holds the removed disk any more, and its place can be taken again.
        disks.blockdev_remove(node, disk)
        other = a_second_disk(bed, made, 2)
        plug(node, made, "hotadd", other, 1)
        expect_disks(console, "vda", "vdb")
        disks.blockdev_grow(node, other, 4, False, True, False)
        instance.resize_disk(node, made, other, 16 << 20)
        console.send("until grep 16384 /proc/partitions; do usleep 50000; done; echo grown.")
        console.expect("\ngrown\\.", 30.0)


def test_links_follow_the_disks_when_one_comes_or_goes_in_the_middle(bed: Bed) -> None:
    made = bed.installed()
    node = bed.node
    instance.instance_start(node, made, False, [])
    second, third = a_second_disk(bed, made, 1), a_second_disk(bed, made, 2)
    with bed.console(made) as console:
        ready(console)
        plug(node, made, "hotadd", third, 1)
        plug(node, made, "hotadd", second, 1)  # takes the index, and the link, of the third

        def linked() -> list[str]:
            links = sorted(node.paths.disk_links.iterdir())
            return [link.readlink().name[-5:] for link in links]

        assert linked() == ["disk0", "disk1", "disk2"]
        plug(node, made, "hotremove", second, 1)
        assert linked() == ["disk0", "disk2"]
        expect_disks(console, "vda", "vdb")


def test_a_guest_takes_its_new_devices_along_to_another_node(bed: Bed) -> None:
    made = bed.installed()
    shared = replace(made.disks_info[0], dev_type=DiskTemplate.SHARED_FILE)
    hvparams = {**made.hvparams, "migration_port": 18103, "migration_bandwidth": 1000}
    made = replace(made, disks_info=(shared,), hvparams=hvparams)
    instance.instance_start(bed.node, made, False, [])
    disk, nic = a_second_disk(bed, made), a_nic(2)
    with bed.console(made) as console:
        ready(console)
        plug(bed.node, made, "hotadd", disk, 1)
        plug(bed.node, made, "hotadd", nic, 1)
        expect_disks(console, "vda", "vdb")
        console.send("echo along > /dev/vdb; sync; remembered=42; echo kept.")
        console.expect("\nkept\\.")
    made = replace(made, disks_info=(*made.disks_info, disk), nics=(*made.nics, nic))
    with moved(bed, made) as (target, console):
        console.send("echo still $remembered $(head -n1 /dev/vdb).")
        console.expect("\nstill 42 along\\.")
        expect_nics(console, "aa:00:00:00:00:01", nic.mac)
        plug(target, made, "hotremove", disk, 1)
        plug(target, made, "hotremove", nic, 1)
        expect_disks(console, "vda")


def test_what_can_not_be_changed_is_refused_and_leaves_the_guest_as_it_was(bed: Bed) -> None:
    made = bed.installed()
    node = bed.node
    with pytest.raises(HotplugError, match="web1: does not run"):
        instance.hotplug_supported(node, made)
    instance.instance_start(node, made, True, [])
    with pytest.raises(HotplugError, match="hotfix.*none of"):
        instance.hotplug_device(node, made, "hotfix", "nic", encode(a_nic(2)), None, 1)
    with pytest.raises(HotplugError, match="a disk with its link"):
        instance.hotplug_device(node, made, "hotadd", "disk", encode(a_file_disk("web1")), None, 1)
    with pytest.raises(HotplugError, match="No such file"):
        missing_link = [str(Path("/nowhere/web1:1")), None]
        disk = encode(a_file_disk("web1", 1))
        instance.hotplug_device(node, made, "hotadd", "disk", disk, missing_link, 1)
    with pytest.raises(HotplugError, match="has no device nic-"):
        plug(node, made, "hotmod", a_nic(2), 1)
    old = node.hypervisor("kvm").disks_of_guest(made)
    assert [guest.disk.uuid for guest in old] == [made.disks_info[0].uuid]
    fake = replace(made, hypervisor=HypervisorKind.FAKE)
    with pytest.raises(HotplugError, match="next start"):
        instance.hotplug_supported(node, fake)


@pytest.mark.skipif(not can_make_taps(), reason="needs root and /dev/net/tun")
def test_a_real_tap_is_handed_to_a_running_guest(bed: Bed) -> None:
    made = bed.installed()
    bed.node.paths.conf.mkdir(parents=True, exist_ok=True)
    script = bed.node.paths.conf / "kvm-vif-bridge"  # what connects taps here
    told = bed.node.paths.run / "told"
    script.write_text(f'#!/bin/sh\necho "$INTERFACE $INTERFACE_INDEX $MAC" >> {told}\n')
    script.chmod(0o755)
    kvm = KvmHypervisor(HvHost(bed.node.paths, run, privileged=True))
    hvparams = {**made.hvparams, "virtio_net_queues": 2}
    made = replace(made, nics=(), hvparams=hvparams)
    kvm.start(made, disks.guest_disks(bed.node, made))
    with bed.console(made) as console:
        ready(console)
        kvm.hot_add(made, a_nic(1), 0)
        kvm.hot_add(made, a_nic(2), 0)  # before the first
        expect_nics(console, a_nic(1).mac, a_nic(2).mac)
        (first, _, _), (second, _, mac) = [line.split() for line in told.read_text().splitlines()]
        assert mac == a_nic(2).mac
        notes = kvm.files("web1").nics
        assert [(notes / name).read_text() for name in "01"] == [second, first]
        kvm.hot_remove(made, a_nic(2))
        assert [note.read_text() for note in notes.iterdir()] == [first]
        assert not Path("/sys/class/net", second).exists()
