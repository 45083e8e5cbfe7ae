"""Which firmware a guest gets, where its state lives, how its TPM is started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_firmware, kvm_tpm
from ganeti.hypervisor.kvm_files import KvmDirectories
from ganeti.paths import Paths
from ganeti.serializer import Json
from ganeti.storage import guest_state

FILES = KvmDirectories.of(Paths("/")).files("web1")
SECURE = ("secure-boot", "enrolled-keys", "requires-smm")


def a_descriptor(place: Path, name: str, features: tuple[str, ...] = (), **more: Json) -> None:
    place.mkdir(exist_ok=True)
    for kind in ("code", "vars"):
        (place / f"{name}.{kind}").write_text(f"{kind} of {name}")

    def file(kind: str) -> Json:
        return {"filename": str(place / f"{name}.{kind}"), "format": "raw"}

    text: Json = {
        "interface-types": ["uefi"],
        "mapping": {"device": "flash", "executable": file("code"), "nvram-template": file("vars")},
        "targets": [{"architecture": "x86_64", "machines": ["pc-q35-*"]}],
        "features": list(features),
    }
    (place / f"{name}.json").write_text(json.dumps({**text, **more}))


def test_the_first_firmware_that_fits_is_taken(tmp_path: Path) -> None:
    share, etc = tmp_path / "share", tmp_path / "etc"
    a_descriptor(share, "40-secure", SECURE)
    a_descriptor(share, "50-half", ("secure-boot",))
    a_descriptor(share, "60-plain")
    a_descriptor(share, "70-later")
    a_descriptor(share, "10-bios", **{"interface-types": ["bios"]})
    a_descriptor(share, "11-arm", targets=[{"architecture": "aarch64", "machines": ["*"]}])
    (share / "12-damaged.json").write_text("{")

    def chosen(secure: bool, machine: str = "pc-q35-7.2") -> str:
        return kvm_firmware.choose([etc, share], machine, secure).code.stem

    assert (chosen(True), chosen(False)) == ("40-secure", "60-plain")
    a_descriptor(etc, "60-plain", **{"interface-types": ["bios"]})  # hides the other one
    assert chosen(False) == "70-later"
    (share / "70-later.code").unlink()
    with pytest.raises(HypervisorError, match="no firmware for UEFI on machine pc-q35-7.2"):
        chosen(False)
    with pytest.raises(HypervisorError, match="secure boot on machine pc-i440fx-7.2"):
        chosen(True, "pc-i440fx-7.2")


def test_variables_begin_as_the_firmware_says_and_are_then_the_guests_own(tmp_path: Path) -> None:
    a_descriptor(tmp_path, "60-plain")
    firmware = kvm_firmware.choose([tmp_path], "pc-q35-7.2", secure=False)
    file = kvm_firmware.variables_file(tmp_path / "disk.guest", secure=False)
    kvm_firmware.make_variables(firmware, file)
    assert file.read_text() == "vars of 60-plain"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    file.write_text("changed")
    kvm_firmware.make_variables(firmware, file)
    assert file.read_text() == "changed"
    assert kvm_firmware.variables_file(file.parent, secure=True) != file


def test_state_is_beside_a_file_or_on_the_node() -> None:
    assert guest_state.beside(Path("/srv/x.disk0")) == Path("/srv/x.disk0.guest")
    assert guest_state.on_node(Paths("/"), "u-1").name == "u-1"


@pytest.mark.parametrize(
    ("hvparams", "expected"),
    [
        ({}, []),
        ({"firmware": "bios", "secure_boot": False}, []),
        ({"firmware": "uefi"}, ["pflash0=firmware", "pflash1=variables"]),
        (
            {"firmware": "uefi", "secure_boot": True},
            ["pflash0=firmware", "pflash1=variables", "smm=on"],
        ),
    ],
)
def test_the_machine_is_told_of_its_flash(hvparams: dict[str, Json], expected: list[str]) -> None:
    assert kvm_firmware.machine_words(hvparams) == expected
    locked = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    assert kvm_firmware.machine_argv(hvparams) == (locked if "smm=on" in expected else [])


def test_a_tpm_has_the_interface_of_its_firmware() -> None:
    assert kvm_firmware.tpm_argv({}, FILES.tpm) == []
    assert kvm_firmware.tpm_argv({"tpm": True}, FILES.tpm)[-1] == "tpm-tis,tpmdev=tpm0"
    both = kvm_firmware.tpm_argv({"tpm": True, "firmware": "uefi"}, FILES.tpm)
    assert both[-1] == "tpm-crb,tpmdev=tpm0" and str(FILES.tpm) in both[1]


def test_an_arriving_tpm_has_a_state_that_nobody_holds_and_then_it_is_the_guests(
    tmp_path: Path,
) -> None:
    first = kvm_tpm.own_state(tmp_path)
    assert (first.name, kvm_tpm.own_state(tmp_path)) == ("tpm-1", first)
    failed = kvm_tpm.new_state(tmp_path)
    arriving = kvm_tpm.new_state(tmp_path)
    assert [failed.name, arriving.name] == ["tpm-2", "tpm-3"]
    assert (tmp_path / "tpm").resolve() == first  # until it has arrived
    kvm_tpm.adopt(tmp_path)
    assert first.is_dir()  # the source may not have ended yet
    assert kvm_tpm.own_state(tmp_path) == arriving
    assert {path.name for path in tmp_path.iterdir()} == {"tpm", "tpm-3"}


def test_a_tpm_ends_with_its_guest() -> None:
    argv = kvm_tpm.swtpm_argv(FILES, Path("/s"))
    assert argv[-2:] == ["--terminate", "--daemon"] and "dir=/s,mode=0600" in argv
