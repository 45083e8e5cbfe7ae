"""Where the KVM driver keeps the files of an instance. Source: facts/hypervisors.md, KVM, Files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ganeti.paths import Paths


@dataclass(frozen=True, slots=True)
class KvmDirectories:
    """The directories below RUN/kvm-hypervisor."""

    root: Path
    log: Path

    @classmethod
    def of(cls, paths: Paths) -> KvmDirectories:
        return cls(paths.run / "kvm-hypervisor", paths.log / "kvm")

    @property
    def pids(self) -> Path:
        return self.root / "pid"

    @property
    def control(self) -> Path:
        return self.root / "ctrl"

    @property
    def runtimes(self) -> Path:
        return self.root / "conf"

    def make(self) -> None:
        """They exist; only root may look at the sockets."""
        for place in (self.pids, self.control, self.runtimes, self.root / "nic", self.log):
            place.mkdir(parents=True, exist_ok=True, mode=0o750)

    def files(self, name: str) -> KvmFiles:
        return KvmFiles(self, name)


@dataclass(frozen=True, slots=True)
class KvmFiles:
    """The files of one instance."""

    directories: KvmDirectories
    name: str

    @property
    def pid(self) -> Path:
        return self.directories.pids / self.name

    @property
    def uid(self) -> Path:
        return self.directories.root / "uid" / self.name

    @property
    def runtime(self) -> Path:
        return self.directories.runtimes / f"{self.name}.runtime"

    @property
    def monitor(self) -> Path:
        return self._control("monitor")

    @property
    def serial(self) -> Path:
        return self._control("serial")

    @property
    def qmp(self) -> Path:
        return self._control("qmp")

    @property
    def kvmd(self) -> Path:
        return self._control("kvmd")

    @property
    def guest_agent(self) -> Path:
        return self._control("qga")

    @property
    def tpm(self) -> Path:
        return self._control("tpm")

    @property
    def tpm_pid(self) -> Path:
        return self._control("tpm-pid")

    @property
    def tpm_log(self) -> Path:
        return self.directories.log / f"{self.name}.tpm.log"

    @property
    def shutdown_flag(self) -> Path:
        return self._control("shutdown")

    @property
    def chroot(self) -> Path:
        return self.directories.root / "chroot" / self.name

    @property
    def nics(self) -> Path:
        return self.directories.root / "nic" / self.name

    @property
    def log(self) -> Path:
        return self.directories.log / f"{self.name}.log"

    def _control(self, kind: str) -> Path:
        return self.directories.control / f"{self.name}.{kind}"

    @property
    def sockets(self) -> tuple[Path, ...]:
        return (self.monitor, self.serial, self.qmp, self.kvmd, self.guest_agent, self.tpm)
