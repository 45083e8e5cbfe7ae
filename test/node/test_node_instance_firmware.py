"""Real guests with UEFI, secure boot, a TPM and PCI Express."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guest_bed import READY_S, Bed, missing, moved
from fakes.guests import a_nic
from ganeti.errors import HypervisorError
from ganeti.hypervisor.kvm_firmware import DESCRIPTORS, known
from ganeti.model.filled import FilledInstance
from ganeti.node import disk as disks
from ganeti.node import instance
from ganeti.serializer import Json, encode
from ganeti.storage import guest_state
from ganeti.types import DiskTemplate

pytestmark = [
    pytest.mark.skipif(bool(missing()), reason=f"needs {missing()}"),
    pytest.mark.skipif(not list(known(DESCRIPTORS)), reason="needs UEFI firmware (ovmf)"),
    pytest.mark.skipif(not shutil.which("swtpm"), reason="needs swtpm"),
]


def with_uefi(bed: Bed, **more: Json) -> FilledInstance:
    """Firmware needs more memory than the guest."""
    made = bed.installed()
    hvparams = {**made.hvparams, "chipset": "q35", "firmware": "uefi", **more}
    disk = replace(made.disks_info[0], dev_type=DiskTemplate.SHARED_FILE)
    beparams = {**made.beparams, "minmem": 256, "maxmem": 256}
    return replace(made, hvparams=hvparams, beparams=beparams, disks_info=(disk,))


def state_of(bed: Bed, made: FilledInstance) -> Path:
    return guest_state.beside(bed.node.storage("sharedfile").assemble(made.disks_info[0]).path)


def test_uefi_variables_and_the_tpm_stay_over_starts_and_moves_and_go_with_the_disk(
    bed: Bed,
) -> None:
    made = with_uefi(bed, tpm=True, migration_port=18104, migration_bandwidth=1000)
    instance.instance_start(bed.node, made, False, [])
    state = state_of(bed, made)
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        console.expect("# ")
        console.send("ls /sys/firmware/efi | xargs; ls /sys/firmware/acpi/tables/TPM2; echo.")
        console.expect(r"runtime(.|\n)*tables/TPM2\n")
    template = next(f for f in known(DESCRIPTORS) if f.fits("pc-q35-9.0", False)).template
    variables = (state / "uefi-variables").read_bytes()
    assert len(variables) == template.stat().st_size and variables != template.read_bytes()
    assert (state / "tpm/tpm2-00.permall").stat().st_size > 0
    assert state.stat().st_mode & 0o077 == 0

    with moved(bed, made) as (target, console):
        files = bed.kvm().files("web1")
        assert not files.tpm.exists() and not files.tpm_pid.exists()  # its swtpm has ended
        console.send("ls /sys/class/net; echo still here")
        console.expect("\nstill here\n")
        nic = a_nic(2)
        instance.hotplug_device(target, made, "hotadd", "nic", encode(nic), None, 1)
        console.send(f"until grep {nic.mac} /sys/class/net/*/address; do usleep 50000; done; # at")
        console.expect(f"address:{nic.mac}\n", 30.0)
    assert state.is_dir()
    disks.blockdev_remove(bed.node, made.disks_info[0])
    assert not state.exists()


def test_with_secure_boot_the_guest_finds_it_enabled(bed: Bed) -> None:
    # A kernel given by hvparam kernel_path is started in any case: such firmware falls back to
    # its older loader for it. What is on a disk must be signed.
    made = with_uefi(bed, secure_boot=True)
    instance.instance_start(bed.node, made, False, [])
    assert (state_of(bed, made) / "uefi-variables-secure").exists()
    with bed.console(made) as console:
        console.expect("guest ready", READY_S)
        console.expect("# ")
        console.send("dmesg | grep -i 'secure *boot'; echo that is all")
        console.expect("[Ss]ecure boot enabled(.|\n)*\nthat is all")


def test_firmware_that_the_node_lacks_is_named_before_anything_is_made(bed: Bed) -> None:
    made = with_uefi(bed, secure_boot=True, chipset="pc")
    with pytest.raises(HypervisorError, match="no firmware for UEFI with secure boot.*i440fx"):
        instance.hypervisor_validate_params(bed.node, "kvm", made.hvparams)
    with pytest.raises(HypervisorError, match="no firmware"):
        instance.instance_start(bed.node, made, False, [])
    assert not state_of(bed, made).exists()
