"""Two virtual nodes between which disks are really copied: import-export, socat, TLS."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fakes.guests import a_file_disk, allow_storage, an_instance
from fakes.nodes import a_root, server_pair
from ganeti.model.disk import Disk
from ganeti.model.report import ImportExportStatus
from ganeti.node import impexp, impexp_dir, x509_cert
from ganeti.node.context import NodeContext, NodeSettings, SystemClock
from ganeti.node.daemon import make_directories
from ganeti.serializer import Json, encode
from ganeti.storage.base import MIB

WAIT_S = 30.0
SIZE_MIB = 4


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, f"not within {WAIT_S:g} s: {what}"
        time.sleep(0.02)


def a_transfer_node(root: Path, number: int, network: str) -> NodeContext:
    name = f"node{number}.example.com"
    settings = NodeSettings(paths=a_root(root, name), hostname=name, bind=f"{network}.{number}")
    make_directories(settings)
    allow_storage(settings.paths)
    return NodeContext(settings=settings, clock=SystemClock())


@dataclass
class TransferBed:
    """node1 has the instance's disk, node2 an empty one in its place."""

    source: NodeContext
    target: NodeContext
    disk: Disk
    names: list[tuple[NodeContext, str]] = field(default_factory=list)

    def file(self, node: NodeContext) -> Path:
        return node.paths.below(str(self.disk.logical_id[1]))

    @property
    def raw(self) -> tuple[str, list[Json]]:
        return "raw", [encode(self.disk)]

    def keys(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """(name, PEM) of a certificate of each end: receiver, sender."""
        return (
            x509_cert.x509_cert_create(self.target, 3600),
            x509_cert.x509_cert_create(self.source, 3600),
        )

    def receive(self, dest: tuple[str, list[Json]] | None = None, **opts: Json) -> str:
        instance = an_instance("web1", disks=(self.disk,))
        name = impexp.import_start(
            self.target, {"magic": "abcdef", **opts}, instance, "disk0", dest or self.raw
        )
        self.names.append((self.target, name))
        return name

    def send(self, port: int, source: tuple[str, list[Json]] | None = None, **opts: Json) -> str:
        instance = an_instance("web1", disks=(self.disk,))
        host = self.target.settings.bind
        name = impexp.export_start(
            self.source, {"magic": "abcdef", **opts}, host, port, instance, "disk0",
            source or self.raw,
        )  # fmt: skip
        self.names.append((self.source, name))
        return name

    def status(self, node: NodeContext, name: str) -> ImportExportStatus:
        (found,) = impexp.impexp_status(node, [name])
        assert found is not None
        return found

    def port(self, name: str) -> int:
        until(
            lambda: bool(
                self.status(self.target, name).listen_port
                or self.status(self.target, name).exit_status
            ),
            "the receiver listens",
        )
        port = self.status(self.target, name).listen_port
        assert port is not None, self.status(self.target, name)
        return port

    def ended(self, node: NodeContext, name: str) -> ImportExportStatus:
        until(lambda: self.status(node, name).exit_status is not None, f"{name} has ended")
        return self.status(node, name)

    def copy(
        self, receiver: Mapping[str, Json], sender: Mapping[str, Json]
    ) -> tuple[ImportExportStatus, ImportExportStatus]:
        """How both ended: receiver, sender."""
        name = self.receive(**receiver)
        other = self.send(self.port(name), **sender)
        return self.ended(self.target, name), self.ended(self.source, other)

    def processes(self, name: str, program: str) -> list[int]:
        """Process ids of a program in the pipe of this end."""
        node = next(node for node, one in self.names if one == name)
        session = impexp_dir.running(impexp_dir.find(node, name))
        pids = impexp_dir.session_members(session) if session else []
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().strip() == program]


@contextmanager
def transfer_bed(root: Path, network: str) -> Iterator[TransferBed]:
    """Afterwards nothing of it runs."""
    server_pair()
    disk = a_file_disk("web1", size_mib=SIZE_MIB)
    source, target = (a_transfer_node(root / f"n{n}", n, network) for n in (1, 2))
    bed = TransferBed(source, target, disk)
    for node in (source, target):
        bed.file(node).parent.mkdir(parents=True)
    bed.file(source).write_bytes(os.urandom(SIZE_MIB * MIB))
    with bed.file(target).open("wb") as file:
        file.truncate(SIZE_MIB * MIB)
    try:
        yield bed
    finally:
        for node, name in bed.names:
            impexp.impexp_cleanup(node, name)
