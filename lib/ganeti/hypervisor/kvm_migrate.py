"""Moving a running KVM instance to another node. Source: facts/hypervisors.md, KVM, Control.

The target starts QEMU with the source's runtime and waits; the source sends memory until the rest
is small enough; whoever has won goes on, the other one ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ganeti.errors import HypervisorError
from ganeti.hypervisor import kvm_runtime, kvm_tap, kvm_tpm
from ganeti.hypervisor.kvm_address import bind_address
from ganeti.hypervisor.kvm_argv import agent_socket, bracketed, server_socket
from ganeti.hypervisor.kvm_qmp import CONTINUE, CPUS, Command, threads_of
from ganeti.hypervisor.kvm_runtime import Runtime
from ganeti.model.report import MigrationStatus
from ganeti.serializer import Json
from ganeti.storage import guest_state
from ganeti.types import NicMode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ganeti.hypervisor.base import GuestDisk, HvHost
    from ganeti.hypervisor.kvm_files import KvmFiles
    from ganeti.hypervisor.kvm_qmp import QmpPort
    from ganeti.model.filled import FilledInstance
    from ganeti.model.nic import Nic

DEFAULT_PORT: Final = 8102
POSTCOPY: Final = "postcopy-ram"
POSTCOPY_ROUNDS: Final = 2  # facts/hypervisors.md: dirty-sync-count


def capability_commands(text: str) -> list[Command]:
    """hvparam migration_caps: names of QEMU capabilities, separated by `:`."""
    names = [name for name in text.split(":") if name]
    if not names:
        return []
    rows = [{"capability": name, "state": True} for name in names]
    return [Command("migrate-set-capabilities", {"capabilities": rows})]


def has_postcopy(hvparams: Mapping[str, Json]) -> bool:
    """Whether the guest may go on at its target before all of its memory is there."""
    return POSTCOPY in str(hvparams.get("migration_caps") or "").split(":")


def is_ripe_for_postcopy(answer: Json) -> bool:
    """The whole memory was sent once, and the guest was quicker in changing it than the link."""
    match answer:
        case {"status": "active", "ram": {"dirty-sync-count": int(rounds)}}:
            return rounds >= POSTCOPY_ROUNDS
    return False


def migrate_commands(hvparams: Mapping[str, Json], target: str, live: bool) -> list[Command]:
    """What the source is told. Bandwidth is MiB/s there and bytes/s here, the pause is ms."""
    address = f"[{target}]" if ":" in target else target
    limits = {
        "max-bandwidth": int(hvparams["migration_bandwidth"]) << 20,
        "downtime-limit": int(hvparams["migration_downtime"]),
    }
    bandwidth = {"max-postcopy-bandwidth": limits["max-bandwidth"]}
    uri = f"tcp:{address}:{hvparams['migration_port']}"
    return [
        *([] if live else [Command("stop")]),
        *capability_commands(str(hvparams.get("migration_caps") or "")),
        Command("migrate-set-parameters", limits),
        *([Command("migrate-set-parameters", bandwidth)] if has_postcopy(hvparams) else []),
        Command("migrate", {"uri": uri}),
    ]


def listening_here(option: str, value: str, hvparams: Mapping[str, Json]) -> str:
    """The value of -vnc or -spice on this node: an interface has another address on each."""
    name = {"-vnc": "vnc_bind_address", "-spice": "spice_bind"}[option]
    bind = str(hvparams.get(name) or "")
    version = int(hvparams.get("spice_ip_version") or 0) if option == "-spice" else 0
    here = bind_address(bind, version)
    if here == bind:
        return value  # no interface
    first, comma, rest = value.partition(",")
    if option == "-spice":
        return f"addr={here}{comma}{rest}"
    return f"{bracketed(here)}:{first.rpartition(':')[2]}{comma}{rest}"


def status_of(answer: Json) -> MigrationStatus:
    """The answer to query-migrate."""
    match answer:
        case {"status": str(status), "ram": dict(ram)}:
            return MigrationStatus(
                status=status, transferred_ram=ram.get("transferred"), total_ram=ram.get("total")
            )
        case {"status": str(status)}:
            return MigrationStatus(status=status)
    raise HypervisorError("QEMU does not say that a migration was begun")


def _nics_here(instance: FilledInstance, runtime: Runtime) -> tuple[Nic, ...]:
    """An interface in a network may have another link on the nodes of another group."""
    given = {nic.uuid: nic for nic in instance.nics if nic.network is not None}
    return tuple(
        replace(nic, nicparams=given[nic.uuid].nicparams)
        if nic.uuid in given and given[nic.uuid].network == nic.network
        else nic
        for nic in runtime.nics
    )


class KvmMigration:
    """The part of the KVM driver that moves instances."""

    qmp: QmpPort
    host: HvHost

    if TYPE_CHECKING:

        def files(self, name: str) -> KvmFiles: ...
        def is_alive(self, name: str) -> bool: ...
        def _notes(self, name: str) -> list[str]: ...
        def _passwords(self, hv: Mapping[str, Json]) -> list[Command]: ...
        def _pin(self, name: str, mask: str, threads: Sequence[int]) -> None: ...
        def _state_place(self, runtime: Runtime) -> Path: ...
        def kill(self, instance: FilledInstance) -> None: ...
        def cleanup(self, name: str) -> None: ...
        def launch(
            self,
            name: str,
            tags: Sequence[str],
            runtime: Runtime,
            incoming: tuple[str, int] | None = None,
        ) -> None: ...

    def migration_info(self, instance: FilledInstance) -> str:
        """The source's runtime."""
        return kvm_runtime.load(self.files(instance.name).runtime, instance.name).to_text()

    def accept(
        self, instance: FilledInstance, info: str, target: str, disks: Sequence[GuestDisk]
    ) -> None:
        name = instance.name
        if self.is_alive(name):
            raise HypervisorError(f"instance {name}: runs here already")
        runtime = self._as_here(instance, Runtime.from_text(info, name), disks)
        port = int(runtime.hvparams.get("migration_port", DEFAULT_PORT))
        self.launch(name, instance.tags, runtime, incoming=(target, port))
        hv = runtime.hvparams
        commands = capability_commands(str(hv.get("migration_caps") or ""))
        try:
            # None of it comes with the guest: it belongs to the process.
            commands += [*self._passwords(hv), CPUS]
            *_, cpus = self.qmp(self.files(name).qmp, commands)
            self._pin(name, str(hv.get("cpu_mask") or "all"), threads_of(cpus))
        except HypervisorError:
            self.kill(instance)  # nobody would end the waiting QEMU
            self.cleanup(name)
            raise

    def _as_here(
        self, instance: FilledInstance, runtime: Runtime, disks: Sequence[GuestDisk]
    ) -> Runtime:
        """The source's runtime with this node's paths: control files and links of the disks.

        On real nodes they are the same; virtual nodes have a root each.
        """
        links = {one.disk.uuid: one for one in disks}
        moved = tuple(
            replace(one, link=links[one.disk.uuid].link, uri=links[one.disk.uuid].uri)
            if one.disk.uuid in links
            else one
            for one in runtime.disks
        )
        files = self.files(instance.name)
        own = {
            "-pidfile": str(files.pid),
            "-D": str(files.log),
            "-monitor": server_socket(files.monitor),
        }
        if runtime.hvparams.get("serial_console"):
            own["-serial"] = server_socket(files.serial)
        argv = list(runtime.argv)
        for place, word in enumerate(argv[:-1]):
            following = argv[place + 1]
            if word == "-chardev" and following.endswith(",id=qga0"):
                argv[place + 1] = agent_socket(files)
            elif word in ("-vnc", "-spice"):
                argv[place + 1] = listening_here(word, following, runtime.hvparams)
            elif word in own:
                argv[place + 1] = own[word]
        return replace(runtime, argv=tuple(argv), disks=moved, nics=_nics_here(instance, runtime))

    def migrate(self, cluster_name: str, instance: FilledInstance, target: str, live: bool) -> None:
        if not self.is_alive(instance.name):
            raise HypervisorError(f"instance {instance.name}: does not run, it can't be migrated")
        runtime = kvm_runtime.load(self.files(instance.name).runtime, instance.name)
        hvparams = {**runtime.hvparams, **instance.hvparams}
        self.qmp(self.files(instance.name).qmp, migrate_commands(hvparams, target, live))

    def migration_status(self, instance: FilledInstance) -> MigrationStatus:
        """Asking also begins the second half of a post-copy migration, when its time has come."""
        socket = self.files(instance.name).qmp
        (answer,) = self.qmp(socket, [Command("query-migrate")])
        if has_postcopy(instance.hvparams) and is_ripe_for_postcopy(answer):
            self.qmp(socket, [Command("migrate-start-postcopy", optional=True)])
        return status_of(answer)

    def finalize_target(self, instance: FilledInstance, info: str, success: bool) -> None:
        """After success QEMU goes on by itself; its runtime was saved when it was launched."""
        if success:
            if not self.is_alive(instance.name):
                raise HypervisorError(f"instance {instance.name}: has not arrived here")
            self.qmp(self.files(instance.name).qmp, [CONTINUE])
            runtime = kvm_runtime.load(self.files(instance.name).runtime, instance.name)
            if runtime.hvparams.get("tpm"):
                kvm_tpm.adopt(self._state_place(runtime))
            self._connect_routed(instance, runtime)
            return
        self.kill(instance)
        self.cleanup(instance.name)

    def _connect_routed(self, instance: FilledInstance, runtime: Runtime) -> None:
        """Until now the guest's addresses belonged to the source."""
        for index, (nic, interface) in enumerate(zip(runtime.nics, self._notes(instance.name))):
            if nic.nicparams.get("mode") == NicMode.ROUTED:
                kvm_tap.connect(self.host, instance.name, instance.tags, nic, index, interface)

    def _drop_state(self, name: str) -> None:
        """What the guest has taken along is not left here, to be used again after years."""
        try:
            place = self._state_place(kvm_runtime.load(self.files(name).runtime, name))
        except HypervisorError:
            return  # an earlier call has cleaned up
        if guest_state.is_on_node(self.host.paths, place):
            kvm_tpm.end(self.host.proc, self.files(name))
            guest_state.remove(place)

    def finalize_source(self, instance: FilledInstance, success: bool, live: bool) -> None:
        if success:
            self.kill(instance)
            self._drop_state(instance.name)
            self.cleanup(instance.name)
        elif self.is_alive(instance.name):
            cancel = Command("migrate_cancel", optional=True)
            self.qmp(self.files(instance.name).qmp, [cancel, replace(CONTINUE, optional=True)])
