"""UEFI for guests: which firmware of the node fits, and the guest's own variables.

What firmware there is says the distribution, in descriptor files whose form QEMU defines
(docs/interop/firmware.json). Their directories, and the rule that a file hides one of the same name
in a later directory, are those of that document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from ganeti.errors import HypervisorError, ParseError
from ganeti.hypervisor.kvm_devices import escaped
from ganeti.serializer import Json, loads
from ganeti.storage import guest_state
from ganeti.utils.files import PRIVATE, LocalDisk

UEFI: Final = "uefi"
ARCHITECTURE: Final = "x86_64"
DESCRIPTORS: Final = (
    Path("/etc/qemu/firmware"),
    Path("/usr/local/share/qemu/firmware"),
    Path("/usr/share/qemu/firmware"),
)
SECURE_FEATURES: Final = frozenset({"secure-boot", "enrolled-keys", "requires-smm"})


@dataclass(frozen=True, slots=True)
class Firmware:
    """A firmware in two flash devices: its code, and what the variables begin with."""

    code: Path
    template: Path
    machines: tuple[str, ...]
    features: frozenset[str]

    def fits(self, machine: str, secure: bool) -> bool:
        """Without secure boot one that can't do it is wanted: it needs no SMM, and any system
        starts."""
        if not any(fnmatchcase(machine, pattern) for pattern in self.machines):
            return False
        return SECURE_FEATURES <= self.features if secure else not SECURE_FEATURES & self.features


def parse_descriptor(text: str, where: str) -> Firmware | None:
    """None for a firmware of another kind; ParseError when it is no descriptor."""
    match loads(text, where):
        case {
            "interface-types": [*kinds],
            "mapping": {
                "device": "flash",
                "executable": {"filename": str(code), "format": "raw"},
                "nvram-template": {"filename": str(template), "format": "raw"},
            },
            "targets": [*targets],
            "features": [*features],
        } if UEFI in kinds:
            machines = [
                pattern
                for target in targets
                if target.get("architecture") == ARCHITECTURE
                for pattern in target.get("machines", ())
            ]
            return Firmware(Path(code), Path(template), tuple(machines), frozenset(features))
        case {}:
            return None
    raise ParseError(f"{where}: no object")


def known(directories: Sequence[Path]) -> Iterator[Firmware]:
    """In the order in which they are preferred; what can't be read is left out."""
    files: dict[str, Path] = {}
    for directory in directories:
        if directory.is_dir():
            for path in directory.glob("*.json"):
                files.setdefault(path.name, path)
    for _, path in sorted(files.items()):
        try:
            found = parse_descriptor(path.read_text(), str(path))
        except (OSError, ParseError):
            continue
        if found is not None and found.code.exists() and found.template.exists():
            yield found


def choose(directories: Sequence[Path], machine: str, secure: bool) -> Firmware:
    """HypervisorError when the node has none for this machine."""
    for firmware in known(directories):
        if firmware.fits(machine, secure):
            return firmware
    what = "UEFI with secure boot" if secure else "UEFI"
    raise HypervisorError(
        f"this node has no firmware for {what} on machine {machine} (hvparam firmware);"
        " its package is called ovmf or edk2-ovmf"
    )


def variables_file(place: Path, secure: bool) -> Path:
    """Below the guest's state. A guest that begins with secure boot begins with other variables."""
    return place / ("uefi-variables-secure" if secure else "uefi-variables")


def make_variables(firmware: Firmware, file: Path) -> None:
    """They are there: those that the guest has, else the ones that the firmware comes with."""
    if not file.exists():
        guest_state.make(file.parent)
        LocalDisk().replace(file, firmware.template.read_bytes(), mode=PRIVATE)


# The command line. Pure.


def is_uefi(hvparams: Mapping[str, Json]) -> bool:
    return hvparams.get("firmware") == UEFI


def machine_words(hvparams: Mapping[str, Json]) -> list[str]:
    """Properties of `-machine`."""
    if not is_uefi(hvparams):
        return []
    secure = ["smm=on"] if hvparams.get("secure_boot") else []
    return ["pflash0=firmware", "pflash1=variables", *secure]


def machine_argv(hvparams: Mapping[str, Json]) -> list[str]:
    """With secure boot only the firmware itself may write the variables."""
    if is_uefi(hvparams) and hvparams.get("secure_boot"):
        return ["-global", "driver=cfi.pflash01,property=secure,value=on"]
    return []


def tpm_argv(hvparams: Mapping[str, Json], socket: Path) -> list[str]:
    """The TPM that a swtpm serves on `socket`; UEFI knows the newer interface."""
    if not hvparams.get("tpm"):
        return []
    model = "tpm-crb" if is_uefi(hvparams) else "tpm-tis"
    return [
        *("-chardev", f"socket,id=chrtpm,path={escaped(socket)}"),
        *("-tpmdev", "emulator,id=tpm0,chardev=chrtpm", "-device", f"{model},tpmdev=tpm0"),
    ]


def flash_nodes(firmware: Firmware, variables: Path) -> list[dict[str, Json]]:
    """Properties of `-blockdev`."""
    return [
        {
            "driver": "raw",
            "node-name": "firmware",
            "read-only": True,
            "file": {"driver": "file", "filename": str(firmware.code)},
        },
        {
            "driver": "raw",
            "node-name": "variables",
            "file": {"driver": "file", "filename": str(variables)},
        },
    ]
