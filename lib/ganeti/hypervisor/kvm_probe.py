"""What a QEMU program can do, and whether KVM really works on this node.

Both are asked once per program (by modification time and size). The first is kept in
RUN/kvm-hypervisor/probe.json, the second per boot of the machine, see kvm_verdict.py.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ganeti.errors import CommandError, HypervisorError, ParseError
from ganeti.hypervisor import kvm_verdict
from ganeti.hypervisor.kvm_argv import Binary
from ganeti.serializer import Json, dump_bytes, loads
from ganeti.utils.files import LocalDisk
from ganeti.utils.process import Result, Runner

log = logging.getLogger(__name__)

HELP_TIMEOUT_S: Final = 20.0
TRIAL_TIMEOUT_S: Final = 5.0  # it takes 0.1 s; a KVM that hangs never answers
# A KVM that hangs spins: a trial that had a second of processor time will never end, and the kernel
# ends it. One that only had to wait, on a busy node, runs into the timeout. See prlimit(1).
LIMITS: Final = ("/usr/bin/prlimit", "--cpu=1", "--core=0")
TRIAL_EXIT_CODE: Final = 33  # isa-debug-exit makes 2 * 0x10 + 1 of what the guest writes

_ROM_SIZE: Final = 65536
_ROM_CODE: Final = bytes.fromhex(
    "fab800f08ed831c08ec0bf0010b90018fcf3ab2666c7060010032000002666c7"
    "060020033000002666c7060030830000002666c7061820033000002666c706f8"
    "3f8300e0ff660f0116b80066b8001000000f22d866b8a00000000f22e066b980"
    "0000c00f32660d000100000f3066b8110000800f22c066ea7e00ffff080066b8"
    "10008ed88ed0bc0080000031c00fa2b9a08601005159e2fcb010e6f4f4ebfd90"
    "0000000000000000ffff0000009aaf00ffff00000092cf001700a000ffff"
)
"""Guest code of the trial: real mode; page tables at 0x1000 (2 MiB at 0, the top 2 MiB of 4 GiB);
PAE, long mode, paging; 64-bit code: CPUID, 100,000 pushes and pops, then 0x10 to port 0xf4. A
nested KVM that runs real mode but not this is known: a kernel hangs there at its first steps."""
_ROM_JUMP: Final = bytes.fromhex("e90d00")  # at 0xfff0, where a processor begins: jump to 0


def trial_rom() -> bytes:
    """A firmware of 64 KiB that leaves long mode only through the debug exit."""
    rom = bytearray(_ROM_SIZE)
    rom[: len(_ROM_CODE)] = _ROM_CODE
    rom[0xFFF0 : 0xFFF0 + len(_ROM_JUMP)] = _ROM_JUMP
    return bytes(rom)


def trial_argv(program: str, accelerator: str, rom: Path) -> list[str]:
    return [
        *(LIMITS if os.access(LIMITS[0], os.X_OK) else ()),
        *(program, "-accel", accelerator, "-machine", "pc", "-m", "16"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-bios", str(rom)),
        *("-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"),
    ]


def parse_version(text: str) -> tuple[int, int, int]:
    """From `QEMU emulator version 7.2.22 (…)`; HypervisorError for another text."""
    found = re.search(r"version (\d+)\.(\d+)(?:\.(\d+))?", text)
    if not found:
        raise HypervisorError(f"no QEMU version in {text.splitlines()[:1]!r}")
    return (int(found[1]), int(found[2]), int(found[3] or 0))


def parse_machines(text: str) -> frozenset[str]:
    """First words of `-machine help`, after its heading."""
    return frozenset(line.split()[0] for line in text.splitlines()[1:] if line.strip())


def parse_machine_aliases(text: str) -> dict[str, str]:
    """From lines as `q35  Standard PC (…) (alias of pc-q35-7.2)`; "" is the default machine."""
    made = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        found = re.search(r"\(alias of ([^)]+)\)", line)
        if found:
            made[words[0]] = found[1]
        if "(default)" in line:
            made[""] = words[0]
    return made


def parse_properties(text: str) -> frozenset[str]:
    """Names of `-machine pc,help`: `  acpi=<OnOffAuto>       - Enable ACPI`."""
    return frozenset(re.findall(r"^\s+([\w.-]+)=<", text, re.MULTILINE))


def parse_options(text: str) -> dict[str, str]:
    """Options of `--help` with their description, which may go on in further lines."""
    made: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("-"):
            name = line.split()[0]
            made[name] = f"{made.get(name, '')} {line}".strip()
        elif name and line.startswith(" "):
            made[name] += f" {line.strip()}"
        else:
            name = ""
    return made


def parse_devices(text: str) -> frozenset[str]:
    """Names and aliases of `-device help`: `name "virtio-blk-pci", bus PCI, alias "…", …`."""
    return frozenset(re.findall(r'(?:^name|, alias) "([^"]+)"', text, re.MULTILINE))


def parse_accelerators(text: str) -> frozenset[str]:
    """Words of `-accel help`, after its heading."""
    return frozenset(line.strip() for line in text.splitlines()[1:] if line.strip())


@dataclass(frozen=True, slots=True)
class Probe:
    """Asks programs, and keeps the answers below `directory`."""

    directory: Path
    run: Runner
    device: Path = Path("/dev/kvm")
    verdicts: Path | None = None  # where it stands whether KVM works; None: also in `directory`
    proc: Path = Path("/proc")

    @property
    def _cache(self) -> Path:
        return self.directory / "probe.json"

    def binary(self, program: str) -> Binary:
        """HypervisorError when there is no such program, or it is not QEMU."""
        key = self._key(program)
        known = self._load().get(key, {}).get("binary")
        if known is None or "options" not in known:
            known = self._ask(program)
            self._save(key, "binary", known)
        major, minor, point = known["version"]
        return Binary(
            version=(major, minor, point),
            machines=frozenset(known["machines"]),
            devices=frozenset(known["devices"]),
            accelerators=frozenset(known["accelerators"]),
            aliases=dict(known["aliases"]),
            options=dict(known["options"]),
            properties=frozenset(known["properties"]),
        )

    def accelerator(self, program: str) -> str:
        """`kvm` when the machine's KVM executes guest code, else `tcg`."""
        if not os.access(self.device, os.R_OK | os.W_OK):
            return "tcg"

        def find_out() -> tuple[str, bool]:
            result = self._try(program, "kvm")
            if result.code == TRIAL_EXIT_CODE:
                return "kvm", True
            log.warning("%s: KVM is not used, its trial: %s", program, result.reason)
            return "tcg", not result.stopped  # a busy node is slow as well: asked again then

        key = f"{self._key(program)} {self._boot_id()}"
        return kvm_verdict.verdict(self.verdicts or self.directory, key, find_out)

    def _boot_id(self) -> str:
        try:
            return (self.proc / "sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

    def trial(self, program: str, accelerator: str) -> bool:
        """Whether a guest of 0.1 s runs to its end."""
        return self._try(program, accelerator).code == TRIAL_EXIT_CODE

    def _try(self, program: str, accelerator: str) -> Result:
        self.directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.directory, prefix=".trial-") as rom:
            rom.write(trial_rom())
            rom.flush()
            argv = trial_argv(program, accelerator, Path(rom.name))
            try:
                return self.run(argv, timeout_s=TRIAL_TIMEOUT_S)
            except CommandError as error:
                raise HypervisorError(str(error)) from error

    def _ask(self, program: str) -> dict[str, Json]:
        def ask(*words: str) -> str:
            try:
                return self.run([program, *words], timeout_s=HELP_TIMEOUT_S).check().stdout
            except CommandError as error:
                raise HypervisorError(str(error)) from error

        machines = ask("-machine", "help")
        aliases = parse_machine_aliases(machines)
        default = aliases.get("", "none")
        return {
            "version": list(parse_version(ask("--version"))),
            "machines": sorted(parse_machines(machines)),
            "aliases": aliases,
            "properties": sorted(parse_properties(ask("-machine", f"{default},help"))),
            "options": parse_options(ask("--help")),
            "devices": sorted(parse_devices(ask("-device", "help"))),
            "accelerators": sorted(parse_accelerators(ask("-accel", "help"))),
        }

    def _key(self, program: str) -> str:
        try:
            found = os.stat(program)
        except OSError as error:
            raise HypervisorError(
                f"hypervisor program {program} (hvparam kvm_path): {error.strerror}"
            ) from error
        return f"{program} {found.st_mtime_ns} {found.st_size}"

    def _load(self) -> Mapping[str, Json]:
        try:
            kept = loads(self._cache.read_bytes(), str(self._cache))
        except (FileNotFoundError, ParseError):
            return {}
        return kept if isinstance(kept, dict) else {}

    def _save(self, key: str, what: str, value: Json) -> None:
        """A lost race with another worker costs asking again."""
        self.directory.mkdir(parents=True, exist_ok=True)
        kept = dict(self._load())
        kept[key] = {**kept.get(key, {}), what: value}
        LocalDisk().replace(self._cache, dump_bytes(kept))
