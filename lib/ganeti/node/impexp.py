"""Transfers of disk contents between nodes: one end of each runs here (facts/node-behaviour.md §4).

What is read or written ("io mode"): `file`, below the export directory; `raw`, a device; `script`,
through the import or export script of the guest OS; `guest` (ours), what belongs to the guest
beside its first disk, such as UEFI variables.
"""

from __future__ import annotations

import logging
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ganeti.errors import GenericError, OpExecError
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.report import ImportExportStatus
from ganeti.node import impexp_command as command
from ganeti.node import impexp_dir, x509_cert
from ganeti.node.context import NodeContext
from ganeti.node.disk import assemble
from ganeti.node.guest_os import script_disks
from ganeti.node.os_task import script_host
from ganeti.os_defs import find
from ganeti.os_defs import run as os_run
from ganeti.rpc import calls
from ganeti.rpc.base import serves
from ganeti.serializer import Json, decode
from ganeti.storage import guest_state
from ganeti.storage.stream import BLOCK
from ganeti.utils.net import is_address

logger = logging.getLogger(__name__)

CONNECT_RETRIES: Final = 10  # facts/constants.json RIE_CONNECT_RETRIES
DUMP_DIRECTORY_MODE: Final = 0o750


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The first argument of both calls. Without key and authority: those of the cluster."""

    key_name: str | None = None
    ca_pem: str | None = None
    compress: str = command.NO_COMPRESSION
    magic: str | None = None
    ipv6: bool = False
    connect_timeout: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is at this end of the pipe, as shell text: a source or a sink."""

    text: str
    disks: tuple[str, ...] = ()  # uuids
    environment: Mapping[str, str] = field(default_factory=dict)
    size: str = ""  # MiB, or that the source tells it


@serves(calls.import_start)
def import_start(
    node: NodeContext,
    opts: calls.Params,
    instance: FilledInstance,
    component: str,
    dest: calls.ImpExpIo,
) -> str:
    sink = _sink(node, instance, dest)
    more = ["--cmd-suffix", f"| {sink.text}"]
    if node.is_virtual and is_address(node.settings.bind):
        more += ["--bind", node.settings.bind]
    return _start(node, command.IMPORT, opts, instance, component, sink, more)


@serves(calls.export_start)
def export_start(
    node: NodeContext,
    opts: calls.Params,
    host: str,
    port: int,
    instance: FilledInstance,
    component: str,
    source: calls.ImpExpIo,
) -> str:
    made = _source(node, instance, source)
    more = ["--cmd-prefix", f"{made.text} |", "--host", host, "--port", str(port)]
    more += ["--connect-retries", str(CONNECT_RETRIES)]
    return _start(node, command.EXPORT, opts, instance, component, made, more)


def _start(
    node: NodeContext,
    mode: str,
    opts: calls.Params,
    instance: FilledInstance,
    component: str,
    channel: Channel,
    more: Sequence[str],
) -> str:
    """The name of a new transfer, which runs. Nothing is left when it can't be started."""
    options = decode(Options, dict(opts), "options of the transfer")
    _check_tool(options.compress)
    about = impexp_dir.About(instance=instance.name, disks=channel.disks)
    place = impexp_dir.make(node, mode, component, about)
    try:
        argv = [mode, *_security(node, options, place), *more]
        argv += ["--ipv6" if options.ipv6 else "--ipv4", "--compress", options.compress]
        argv += ["--connect-timeout", str(options.connect_timeout)]
        argv += ["--magic", options.magic] if options.magic else []
        argv += ["--expected-size", channel.size] if channel.size else []
        impexp_dir.start(node, place, argv, channel.environment)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    logger.info("instance %s: %s of %s begins: %s", instance.name, mode, component, place.name)
    return place.name


def _check_tool(tool: str) -> None:
    if tool == command.NO_COMPRESSION:
        return
    program = command.program_of(tool)
    if command.TOOL.fullmatch(tool) is None or shutil.which(program) is None:
        raise OpExecError(f"compression tool {tool!r}: there is no program {program} on this node")


def _security(node: NodeContext, options: Options, place: Path) -> list[str]:
    """Own key and certificate, and the only certificate that is accepted from the other end."""
    own = node.paths.server_pem
    key, certificate = own, own
    if options.key_name is not None:
        directory = x509_cert.find(node, options.key_name)
        key, certificate = directory / x509_cert.KEY, directory / x509_cert.CERTIFICATE
    ca = place / "ca"
    pem = own.read_text() if options.ca_pem is None else options.ca_pem
    _, begin, rest = pem.partition("-----BEGIN CERTIFICATE-----")
    node.files.place(ca, f"{begin}{rest}".encode())
    return ["--key", str(key), "--cert", str(certificate), "--ca", str(ca)]


# What is read and written.


def _source(node: NodeContext, instance: FilledInstance, io: calls.ImpExpIo) -> Channel:
    match io:
        case ("file", [str(path)]):
            return Channel(text=f"cat {shlex.quote(str(dump_path(node, path)))}")
        case ("raw", [{} as given]):
            disk = _disk(node, given)
            argv = node.storage(disk.dev_type).dump_argv(disk)
            return Channel(text=shlex.join(argv), disks=(disk.uuid,), size=str(disk.size))
        case ("script", [{} as given, int(index)]):
            return _script(node, instance, _disk(node, given), index, find.EXPORT)
        case ("guest", [{} as given]):
            return _guest_source(_guest_place(node, _disk(node, given)))
    raise GenericError(f"a transfer can't begin at {io[0]!r} with these arguments")


def _sink(node: NodeContext, instance: FilledInstance, io: calls.ImpExpIo) -> Channel:
    match io:
        case ("file", [str(path)]):
            place = dump_path(node, path)
            place.parent.mkdir(DUMP_DIRECTORY_MODE, parents=True, exist_ok=True)
            argv = ["dd", f"of={place}", f"bs={BLOCK}", "iflag=fullblock", "conv=fsync"]
            return Channel(text=shlex.join([*argv, "status=none"]))
        case ("raw", [{} as given]):
            disk = _disk(node, given)
            argv = node.storage(disk.dev_type).load_argv(disk)
            return Channel(text=shlex.join(argv), disks=(disk.uuid,), size=str(disk.size))
        case ("script", [{} as given, int(index)]):
            return _script(node, instance, _disk(node, given), index, find.IMPORT)
        case ("guest", [{} as given]):
            return _guest_sink(_guest_place(node, _disk(node, given)))
    raise GenericError(f"a transfer can't end at {io[0]!r} with these arguments")


def _disk(node: NodeContext, given: Mapping[str, Json]) -> Disk:
    """The disk, which can be used on this node."""
    disk = decode(Disk, dict(given), "disk of the transfer")
    assemble(node, disk, on_primary=True)
    return disk


def dump_path(node: NodeContext, path: str) -> Path:
    """The file, below the export directory; GenericError for any other place."""
    place, top = node.paths.below(path).resolve(), node.paths.export.resolve()
    if not path.startswith("/") or top not in place.parents:
        raise GenericError(f"file {path}: is not below {node.paths.virtual(node.paths.export)}")
    return place


def _script(
    node: NodeContext, instance: FilledInstance, disk: Disk, index: int, name: str
) -> Channel:
    """The script in its directory, with its log; its variables come through the environment."""
    script = os_run.transfer_script(
        script_host(node), name, instance, script_disks(node, instance), index
    )
    script.log.parent.mkdir(0o750, parents=True, exist_ok=True)
    text = f"cd {shlex.quote(script.cwd)}; exec {shlex.join(script.argv)} 2>>"
    return Channel(
        text=f"( {text}{shlex.quote(str(script.log))} )",
        disks=(disk.uuid,),
        environment=script.environment,
        size=command.SIZE_FROM_SCRIPT if name == find.EXPORT else "",
    )


def _guest_place(node: NodeContext, disk: Disk) -> Path:
    """Where what belongs to the guest lies; see storage/guest_state.py."""
    driver = node.storage(disk.dev_type)
    attached = driver.assemble(disk)
    if driver.capabilities.file_based and attached.path is not None:
        return guest_state.beside(attached.path)
    return guest_state.on_node(node.paths, disk.uuid)


def _guest_source(place: Path) -> Channel:
    """An archive without files when the guest has nothing there."""
    quoted = shlex.quote(str(place))
    pack = f"tar -C {quoted} -cf - ."
    return Channel(text=f"if [ -d {quoted} ]; then {pack}; else tar -cf - -T /dev/null; fi")


def _guest_sink(place: Path) -> Channel:
    quoted = shlex.quote(str(place))
    steps = (
        f"mkdir -p -m 700 {quoted}",
        f"tar -C {quoted} -xpf -",
        f"rmdir --ignore-fail-on-non-empty {quoted}",
    )
    return Channel(text=f"( {'; '.join(steps)} )")


# While it runs, and afterwards.


@serves(calls.impexp_status)
def impexp_status(node: NodeContext, names: Sequence[str]) -> list[ImportExportStatus | None]:
    return [impexp_dir.status(impexp_dir.find(node, name)) for name in names]


@serves(calls.impexp_abort)
def impexp_abort(node: NodeContext, name: str) -> None:
    logger.info("transfer %s is to end", name)
    impexp_dir.ask_to_end(impexp_dir.find(node, name))


@serves(calls.impexp_cleanup)
def impexp_cleanup(node: NodeContext, name: str) -> None:
    impexp_dir.remove(node, impexp_dir.find(node, name))
