"""KVM: each instance is a QEMU process that outlives noded.

What runs is found anew each time, from the pid file and the process's command line; how it was
started stands in its runtime file. Sources: facts/hypervisors.md, KVM; qemu(1).
"""

from __future__ import annotations

import logging
import os
import pwd
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from ganeti.build import LIBDIR
from ganeti.errors import HypervisorError
from ganeti.hypervisor import (
    kvm_disk_io,
    kvm_firmware,
    kvm_ifdown,
    kvm_process,
    kvm_qmp,
    kvm_runtime,
    kvm_tpm,
    kvm_users,
    kvm_verdict,
    machine,
)
from ganeti.hypervisor.base import (
    Console,
    ConsoleKind,
    DiskIo,
    GuestDisk,
    HvCapabilities,
    HvHost,
    Hypervisor,
)
from ganeti.hypervisor.kvm_address import bind_address
from ganeti.hypervisor.kvm_argv import (
    VNC_BASE_PORT,
    StartOptions,
    machine_argv,
    memory_and_vcpus,
)
from ganeti.hypervisor.kvm_devices import machine_of, place_devices, wanted_devices
from ganeti.hypervisor.kvm_files import KvmDirectories, KvmFiles
from ganeti.hypervisor.kvm_hotplug import KvmHotplug
from ganeti.hypervisor.kvm_launch import KvmLaunch
from ganeti.hypervisor.kvm_migrate import KvmMigration
from ganeti.hypervisor.kvm_probe import Probe
from ganeti.hypervisor.kvm_runtime import Runtime
from ganeti.model.cpu_mask import parse_cpu_masks
from ganeti.model.report import SHUT_DOWN, HypervisorNodeInfo, RunningInfo
from ganeti.serializer import Json
from ganeti.types import HypervisorKind

if TYPE_CHECKING:
    from ganeti.model.filled import FilledInstance
    from ganeti.model.instance import Instance
    from ganeti.model.node import Node
    from ganeti.paths import Paths

log = logging.getLogger(__name__)

INFO_TIMEOUT_S: Final = 2.0  # a QEMU that hangs shall not hide the others
SOCAT: Final = "/usr/bin/socat"
CONSOLE_WRAPPER: Final = f"{LIBDIR}/tools/kvm-console-wrapper"

_FILES: Final = (
    *("kernel_path", "initrd_path", "vnc_password_file", "spice_password_file"),
    *("cdrom_image_path", "cdrom2_image_path", "floppy_image_path"),
)
_DIRECTORIES: Final = ("vnc_x509_path", "mem_path")


class KvmHypervisor(KvmLaunch, KvmMigration, KvmHotplug, Hypervisor):
    """The driver; it has no state but the node's files."""

    kind: ClassVar[HypervisorKind] = HypervisorKind.KVM
    capabilities: ClassVar[HvCapabilities] = HvCapabilities(
        migrate=True, pause=True, balloon=True, hotplug=True, console_port=True, uris=True
    )

    def __init__(self, host: HvHost, qmp: kvm_qmp.QmpPort = kvm_qmp.converse) -> None:
        super().__init__(host)
        self.qmp = qmp
        self.directories = KvmDirectories.of(host.paths)
        self.descriptors = kvm_firmware.DESCRIPTORS
        verdicts = kvm_verdict.place(host.paths, os.environ, self.directories.root)
        self.probe = Probe(self.directories.root, host.run, verdicts=verdicts, proc=host.proc)

    def files(self, name: str) -> KvmFiles:
        return self.directories.files(name)

    # What runs.
    def is_alive(self, name: str) -> bool:
        return kvm_process.find(self.host.proc, self.files(name).pid, name) is not None

    def info(self, name: str) -> RunningInfo | None:
        """Memory and processors as QEMU says, or as it was told when it does not answer."""
        files = self.files(name)
        found = kvm_process.find(self.host.proc, files.pid, name)
        if found is None:
            if files.shutdown_flag.exists():
                return RunningInfo(memory=0, vcpus=0, state=SHUT_DOWN)
            return None
        pid, argv = found
        memory, vcpus = memory_and_vcpus(argv)
        try:
            commands = [kvm_qmp.CPUS, kvm_qmp.BALLOON]
            cpus, balloon = self.qmp(files.qmp, commands, INFO_TIMEOUT_S)
            vcpus = kvm_qmp.vcpus_of(cpus) or vcpus
            memory = kvm_qmp.memory_of(balloon) or memory
        except HypervisorError as error:
            log.warning("instance %s: pid %d: %s", name, pid, error)
        time_s = kvm_process.cpu_time_s(self.host.proc, pid)
        return RunningInfo(memory=memory, vcpus=vcpus, time=time_s)

    def all_info(self) -> dict[str, RunningInfo]:
        """Also those that their user shut down: QEMU takes its pid file along when it ends."""
        flags = self.directories.control.glob("*.shutdown")
        names = sorted({*self._known(), *(flag.stem for flag in flags)})
        found = {name: self.info(name) for name in names}
        return {name: info for name, info in found.items() if info is not None}

    def disk_io(self, limit_s: float) -> dict[str, tuple[DiskIo, ...]]:
        guests = ((name, self.files(name)) for name in self.running())
        return kvm_disk_io.ask_guests(guests, self.qmp, self.host.monotonic, limit_s)

    def running(self) -> list[str]:
        return [name for name in self._known() if self.is_alive(name)]

    def _known(self) -> list[str]:
        try:
            return sorted(os.listdir(self.directories.pids))
        except FileNotFoundError:
            return []

    # Its life.
    def start(
        self, instance: FilledInstance, disks: Sequence[GuestDisk], *, paused: bool = False
    ) -> None:
        if self.is_alive(instance.name):
            raise HypervisorError(f"instance {instance.name}: runs already")
        self.cleanup(instance.name)
        runtime = self.new_runtime(instance, disks, paused)
        self.launch(instance.name, instance.tags, runtime)
        try:
            self._settle(instance, runtime, paused)
        except HypervisorError:
            self._abandon(instance.name)
            raise

    def new_runtime(
        self, instance: FilledInstance, disks: Sequence[GuestDisk], paused: bool
    ) -> Runtime:
        """How the instance is started from its parameters."""
        hv = instance.hvparams
        program = str(hv["kvm_path"])
        binary = self.probe.binary(program)
        options = StartOptions(
            accelerator=self._accelerator(hv),
            paused=paused,
            vnc_address=bind_address(str(hv["vnc_bind_address"] or ""), 0),
            spice_address=bind_address(str(hv["spice_bind"] or ""), int(hv["spice_ip_version"])),
            spice_files={
                "x509-cacert-file": str(self.host.paths.spice_ca_pem),
                "x509-key-file": str(self.host.paths.spice_pem),
                "x509-cert-file": str(self.host.paths.spice_pem),
            },
        )
        nics, placed = place_devices(instance.nics, disks, hv)
        argv = machine_argv(instance, self.files(instance.name), binary, options)
        return Runtime(tuple(argv), nics, dict(hv), placed)

    def _accelerator(self, hv: Mapping[str, Json]) -> str:
        """kvm_flag decides; when it is empty, whether KVM works here."""
        by_flag = {"enabled": "kvm", "disabled": "tcg"}
        flag = str(hv["kvm_flag"] or "")
        return by_flag.get(flag) or self.probe.accelerator(str(hv["kvm_path"]))

    def _settle(self, instance: FilledInstance, runtime: Runtime, paused: bool) -> None:
        """Passwords, processors and memory are set; the guest runs unless it shall wait."""
        hv = instance.hvparams
        commands = self._passwords(hv)
        limits = instance.beparams
        memory = machine.start_memory_mib(
            int(limits.get("minmem", instance.memory_mib)),
            instance.memory_mib,
            machine.read_node_info(self.host.proc).memory_free,
        )
        if memory < instance.memory_mib:
            commands.append(kvm_qmp.set_balloon(memory))
        if not paused:
            commands.append(kvm_qmp.CONTINUE)
        files = self.files(instance.name)
        cpus, *_ = self.qmp(files.qmp, [kvm_qmp.CPUS, *commands])
        self._pin(instance.name, str(hv["cpu_mask"] or "all"), kvm_qmp.threads_of(cpus))

    def _passwords(self, hv: Mapping[str, Json]) -> list[kvm_qmp.Command]:
        made = []
        for protocol, bind in (("vnc", "vnc_bind_address"), ("spice", "spice_bind")):
            path = str(hv[f"{protocol}_password_file"] or "")
            if hv[bind] and path:
                try:
                    first = Path(path).read_text().splitlines()[:1]
                except OSError as error:
                    raise HypervisorError(f"password file {path}: {error.strerror}") from error
                made.append(kvm_qmp.set_password(protocol, "".join(first)))
        return made

    def _pin(self, name: str, mask: str, threads: Sequence[int]) -> None:
        """Pinning helps, it is no condition: a guest that can't be pinned runs all the same."""
        masks = parse_cpu_masks(mask)
        found = kvm_process.find(self.host.proc, self.files(name).pid, name)
        if found is None or masks == (None,):
            return
        if len(masks) == 1:
            threads = [int(entry) for entry in os.listdir(self.host.proc / str(found[0]) / "task")]
            masks = masks * len(threads)
        for thread, cpus in zip(threads, masks):
            if cpus is None:
                continue
            try:
                os.sched_setaffinity(thread, cpus)
            except OSError as error:
                log.warning("instance %s: pin to %s: %s", name, cpus, error.strerror)

    def ask_shutdown(self, instance: FilledInstance, *, again: bool) -> None:
        """ACPI's power button; a guest without ACPI can only be ended."""
        if not instance.hvparams["acpi"]:
            self.kill(instance)
            return
        try:
            self.qmp(self.files(instance.name).qmp, [kvm_qmp.POWERDOWN])
        except HypervisorError as error:
            log.warning("instance %s: shutdown: %s", instance.name, error)

    def kill(self, instance: FilledInstance) -> None:
        self._end(instance.name)

    def _end(self, name: str) -> None:
        if not kvm_process.end(self.host.proc, self.files(name).pid, name):
            raise HypervisorError(f"instance {name}: its QEMU does not end, not even killed")

    def _abandon(self, name: str) -> None:
        """After a failure: nothing of the instance is left."""
        self._end(name)
        self.cleanup(name)

    def wait_gone(self, name: str, timeout_s: float) -> bool:
        return kvm_process.wait_end(self.host.proc, self.files(name).pid, name, timeout_s)

    def reboot(self, instance: FilledInstance) -> None:
        """QEMU is ended and started as before; its devices keep their places."""
        name = instance.name
        if not self.is_alive(name):
            raise HypervisorError(f"instance {name}: does not run, it can't be rebooted")
        runtime = kvm_runtime.load(self.files(name).runtime, name)
        self._end(name)
        self.cleanup(name)
        self.launch(name, instance.tags, runtime)
        try:
            self._settle(instance, runtime, paused=False)
        except HypervisorError:
            self._abandon(name)
            raise

    def cleanup(self, name: str) -> None:
        """Files of an instance that does not live are gone; those of a living one stay."""
        if self.is_alive(name):
            return
        files = self.files(name)
        kvm_tpm.end(self.host.proc, files)
        kvm_users.give_back(self.host.paths, files.uid)
        kvm_ifdown.disconnect_all(self.host, name)
        for path in (files.pid, files.runtime, files.shutdown_flag, *files.sockets):
            path.unlink(missing_ok=True)
        if files.nics.is_dir():
            for note in files.nics.iterdir():
                note.unlink(missing_ok=True)
            files.nics.rmdir()
        if files.chroot.is_dir():
            self._remove_chroot(files)

    def _remove_chroot(self, files: KvmFiles) -> None:
        """It must be empty; if it is not, something strange went on, which is kept to look at."""
        try:
            files.chroot.rmdir()
        except OSError:
            quarantine = self.directories.root / "chroot-quarantine"
            quarantine.mkdir(parents=True, exist_ok=True)
            prefix = f"{files.name}-{int(self.host.clock())}-"
            files.chroot.rename(tempfile.mkdtemp(prefix=prefix, dir=quarantine))

    def balloon(self, instance: FilledInstance, memory_mib: int) -> None:
        self.qmp(self.files(instance.name).qmp, [kvm_qmp.set_balloon(memory_mib)])

    # The node.
    def node_info(self, hvparams: Mapping[str, Json]) -> HypervisorNodeInfo:
        info = machine.read_node_info(self.host.proc)
        program = str(hvparams.get("kvm_path") or "")
        if not program:
            return info
        return replace(info, hv_version=list(self.probe.binary(program).version))

    def verify(self, hvparams: Mapping[str, Json]) -> str | None:
        problems = []
        try:
            self.probe.binary(str(hvparams["kvm_path"]))
        except HypervisorError as error:
            problems.append(str(error))
        if not os.access(SOCAT, os.X_OK):
            problems.append(f"the program {SOCAT} is missing, there are no consoles without it")
        return "; ".join(problems) or None

    def validate_params(self, hvparams: Mapping[str, Json]) -> None:
        program = str(hvparams["kvm_path"])
        if not (os.path.isfile(program) and os.access(program, os.X_OK)):
            raise HypervisorError(f"hvparam kvm_path: {program} is no program on this node")
        for name in _FILES:
            value = str(hvparams.get(name) or "")
            if value and "://" not in value and not os.path.isfile(value):
                raise HypervisorError(f"hvparam {name}: {value} is no file on this node")
        for name in _DIRECTORIES:
            value = str(hvparams.get(name) or "")
            if value and not os.path.isdir(value):
                raise HypervisorError(f"hvparam {name}: {value} is no directory on this node")
        bind_address(str(hvparams.get("vnc_bind_address") or ""), 0)
        bind_address(
            str(hvparams.get("spice_bind") or ""), int(hvparams.get("spice_ip_version") or 0)
        )
        if hvparams.get("security_model") == "user":
            self._check_user(str(hvparams.get("security_domain") or ""))
        self._check_board(hvparams, program)

    def _check_board(self, hvparams: Mapping[str, Json], program: str) -> None:
        """The program has the machine, the node its firmware and TPM."""
        version = machine_of(hvparams)
        if version and version not in self.probe.binary(program).machines:
            raise HypervisorError(f"hvparam machine_version: {program} has no machine {version!r}")
        if kvm_firmware.is_uefi(hvparams):
            binary = self.probe.binary(program)
            secure = bool(hvparams.get("secure_boot"))
            kvm_firmware.choose(self.descriptors, binary.machine(hvparams), secure)
        lacking = sorted(
            f"{device} (hvparam {name})"
            for name, device in wanted_devices(hvparams).items()
            if device not in self.probe.binary(program).devices
        )
        if lacking:
            raise HypervisorError(f"{program} has no device {', '.join(lacking)}")
        if hvparams.get("tpm") and not shutil.which(kvm_tpm.PROGRAM):
            raise HypervisorError("hvparam tpm: there is no program swtpm on this node")

    def _check_user(self, name: str) -> None:
        try:
            pwd.getpwnam(name)
        except KeyError:
            raise HypervisorError(
                f"hvparam security_domain: there is no user {name!r} on this node"
            ) from None

    # The master's side.
    @staticmethod
    def private_state(hvparams: Mapping[str, Json]) -> Sequence[str]:
        variables = ["UEFI variables"] if kvm_firmware.is_uefi(hvparams) else []
        return [*variables, "TPM"] if hvparams.get("tpm") else variables

    @staticmethod
    def console(
        instance: Instance,
        node: Node,
        hvparams: Mapping[str, Json],
        beparams: Mapping[str, Json],
        paths: Paths,
    ) -> Console:
        """The serial line if there is one, else VNC or SPICE."""
        name = instance.name
        files = KvmDirectories.of(paths).files(name)
        if hvparams["serial_console"]:
            command = [
                *(CONSOLE_WRAPPER, SOCAT, name, str(files.monitor)),
                *("STDIO,raw,echo=0,escape=0x1d", f"UNIX-CONNECT:{files.serial}"),
            ]
            return Console(
                instance=name, kind=ConsoleKind.SSH, host=node.name, user="root", command=command
            )
        port = instance.network_port
        if hvparams["vnc_bind_address"] and port is not None and port > VNC_BASE_PORT:
            return Console(
                instance=name,
                kind=ConsoleKind.VNC,
                host=node.name,
                port=port,
                display=port - VNC_BASE_PORT,
            )
        if hvparams["spice_bind"]:
            return Console(instance=name, kind=ConsoleKind.SPICE, host=node.name, port=port)
        return Console(
            instance=name,
            kind=ConsoleKind.MESSAGE,
            message=f"Instance {name} has no console: no serial line, no VNC, no SPICE",
        )
