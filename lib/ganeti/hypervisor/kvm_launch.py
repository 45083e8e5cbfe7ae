"""Starting the QEMU of an instance: files, taps, TPM and user first, then the process."""

from __future__ import annotations

import logging
import os
import random
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ganeti.errors import CommandError, HypervisorError
from ganeti.hypervisor import (
    kvm_communication,
    kvm_firmware,
    kvm_runtime,
    kvm_tap,
    kvm_tpm,
    kvm_users,
    kvm_words,
)
from ganeti.hypervisor.kvm_argv import Binary, option_value, start_argv
from ganeti.hypervisor.kvm_devices import Tap
from ganeti.serializer import Json
from ganeti.storage import guest_state

if TYPE_CHECKING:
    from ganeti.hypervisor.base import HvHost
    from ganeti.hypervisor.kvm_files import KvmDirectories, KvmFiles
    from ganeti.hypervisor.kvm_probe import Probe
    from ganeti.hypervisor.kvm_runtime import Runtime
    from ganeti.model.nic import Nic

log = logging.getLogger(__name__)

START_TIMEOUT_S: Final = 120.0  # until QEMU is a daemon; it allocates guest memory before
SOCKET_PATH_BYTES: Final = 107  # sun_path, less its end; see unix(7)


class KvmLaunch:
    """The part of the KVM driver that starts a QEMU."""

    host: HvHost
    directories: KvmDirectories
    probe: Probe
    descriptors: Sequence[Path]

    if TYPE_CHECKING:

        def files(self, name: str) -> KvmFiles: ...
        def is_alive(self, name: str) -> bool: ...
        def _abandon(self, name: str) -> None: ...

    def launch(
        self,
        name: str,
        tags: Sequence[str],
        runtime: Runtime,
        incoming: tuple[str, int] | None = None,
    ) -> None:
        """QEMU is a daemon and holds its sockets; the guest is stopped.

        After a failure nothing of it is left. The runtime file is written before QEMU starts, so
        that a noded that dies meanwhile finds what it needs.
        """
        files = self.files(name)
        self._check_sockets(files)
        taps: list[Tap] = []
        try:
            self.directories.make()
            if runtime.hvparams["use_chroot"]:
                files.chroot.mkdir(parents=True, exist_ok=True)
            kvm_runtime.save(files.runtime, runtime)
            for nic in runtime.nics:
                taps.append(self._tap(nic, runtime.hvparams))
            nics = list(zip(runtime.nics, taps))
            if runtime.hvparams.get("tpm"):
                place = self._state_place(runtime)
                kvm_tpm.start(self.host, files, place, incoming=incoming is not None)
            self._connect(name, tags, nics, incoming is not None)
            with self._account(files, runtime.hvparams) as account:
                argv = self._command(files, runtime, nics, incoming, account)
                self._run_qemu(name, argv, taps)
            self._note_taps(files, taps)
        except OSError as error:
            self._abandon(name)
            raise HypervisorError(f"instance {name}: {error}") from error
        except HypervisorError:
            self._abandon(name)
            raise
        finally:
            for tap in taps:
                kvm_tap.close_tap(tap)

    def _command(
        self,
        files: KvmFiles,
        runtime: Runtime,
        nics: Sequence[tuple[Nic, Tap]],
        incoming: tuple[str, int] | None,
        account: str,
    ) -> list[str]:
        binary = self.probe.binary(runtime.argv[0])
        return start_argv(
            runtime.argv,
            files,
            runtime.hvparams,
            nics,
            [(disk, disk.link.is_block_device()) for disk in runtime.disks],
            binary,
            incoming=incoming,
            flash=self._flash(runtime, binary),
            account=account,
        )

    @contextmanager
    def _account(self, files: KvmFiles, hv: Mapping[str, Json]) -> Iterator[str]:
        """Who QEMU becomes; "" for the user that noded is."""
        if hv["security_model"] == "user":
            yield str(hv["security_domain"])
        elif hv["security_model"] == "pool":
            host = self.host
            with kvm_users.taken(host.paths, host.proc, files.uid, random.Random()) as uid:
                yield kvm_users.runas(uid)
        else:
            yield ""

    def _flash(self, runtime: Runtime, binary: Binary) -> list[dict[str, Json]]:
        """The firmware's block devices; the guest's variables are there."""
        hv = runtime.hvparams
        if not kvm_firmware.is_uefi(hv):
            return []
        secure = bool(hv.get("secure_boot"))
        firmware = kvm_firmware.choose(self.descriptors, binary.machine(hv), secure)
        variables = kvm_firmware.variables_file(self._state_place(runtime), secure)
        kvm_firmware.make_variables(firmware, variables)
        return kvm_firmware.flash_nodes(firmware, variables)

    def _state_place(self, runtime: Runtime) -> Path:
        if not runtime.disks:
            uuid = option_value(runtime.argv, "-uuid") or ""
            return guest_state.on_node(self.host.paths, uuid)
        first = runtime.disks[0]
        device = first.link.resolve()
        if device.is_file():
            return guest_state.beside(device)
        return guest_state.on_node(self.host.paths, first.disk.uuid)

    def _check_sockets(self, files: KvmFiles) -> None:
        longest = max(files.sockets, key=lambda path: len(os.fsencode(path)))
        length = len(os.fsencode(longest))
        if length > SOCKET_PATH_BYTES:
            raise HypervisorError(
                f"instance {files.name}: socket {longest} has {length} bytes in its path, a Unix"
                f" socket takes {SOCKET_PATH_BYTES}; use a shorter root directory or name"
            )

    def _tap(self, nic: Nic, hv: Mapping[str, Json]) -> Tap:
        """A tap, or QEMU's user mode networking where no devices may be made."""
        if not self.host.privileged:
            return Tap()
        virtio = hv["nic_type"] == "paravirtual"
        return kvm_tap.open_tap(
            int(hv["virtio_net_queues"]) if virtio else 1,
            vnet_hdr=virtio and bool(hv["vnet_hdr"]),
            vhost=virtio and bool(hv["vhost_net"]),
            names=_names(nic),
        )

    def _connect(
        self, name: str, tags: Sequence[str], nics: Sequence[tuple[Nic, Tap]], incoming: bool
    ) -> None:
        """Routed interfaces of a migrating guest still belong to the other node."""
        for index, (nic, tap) in enumerate(nics):
            if tap.name and not (incoming and nic.nicparams.get("mode") == "routed"):
                kvm_tap.connect(self.host, name, tags, nic, index, tap.name)

    def _run_qemu(self, name: str, argv: Sequence[str], taps: Sequence[Tap]) -> None:
        fds = [fd for tap in taps for fd in (*tap.fds, *tap.vhost_fds)]
        file = self.files(name).log
        before = kvm_words.size(file)
        try:
            result = self.host.run(argv, pass_fds=fds, timeout_s=START_TIMEOUT_S)
        except CommandError as error:
            raise HypervisorError(f"instance {name}: {error}") from error
        if not result.ok or not self.is_alive(name):
            fate = "has ended at once" if result.ok else result.reason
            log.error("instance %s: QEMU %s: %s", name, fate, shlex.join(argv))
            said = result.output + kvm_words.since(file, before)
            raise HypervisorError(kvm_words.failure(name, fate, said))

    def _note_taps(self, files: KvmFiles, taps: Sequence[Tap]) -> None:
        for index, tap in enumerate(taps):
            if tap.name:
                files.nics.mkdir(parents=True, exist_ok=True)
                (files.nics / str(index)).write_text(tap.name)


def _names(nic: Nic) -> Iterable[str]:
    """What its tap may be called; "" leaves it to the kernel."""
    if nic.is_communication:
        return kvm_communication.tap_names(kvm_communication.devices())
    return ("",)
