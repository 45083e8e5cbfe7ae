"""What a logical unit may use, in memory: configuration, nodes with devices and guests, undo steps.

`run_unit` does what the processor does with a unit, without queue, locks and threads.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from fakes.configs import NOW, a_node, example, opened
from fakes.more_calls import InstanceCalls
from ganeti.config.reserve import Reservations
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import ConfigurationError, GenericError, OpExecError
from ganeti.locking.request import Held, LockRequest
from ganeti.logic import identity
from ganeti.logic.base import GeneratedJobs, HookEnv, LogicalUnit, step_arguments
from ganeti.logic.config_steps import run_config_step
from ganeti.logic.registry import unit_for
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.node import Node
from ganeti.model.report import (
    SHUT_DOWN,
    AssembledDevice,
    BlockDeviceStatus,
    HypervisorNodeInfo,
    MirrorOutcome,
    NodeFigures,
    NodeInfo,
    OsReport,
    RunningInfo,
    StorageInfo,
)
from ganeti.opcodes.base import Opcode
from ganeti.paths import Paths
from ganeti.rpc.base import Call, Outcome, Target
from ganeti.serializer import Json, dumps, encode, loads
from ganeti.types import DiskTemplate, HypervisorKind

T = TypeVar("T")

FILE_DIR = "/srv/ganeti/file-storage"
SHARED_DIR = "/srv/ganeti/shared-file-storage"


def a_cluster(nodes: int = 3, **changes: Any) -> Snapshot:
    """A cluster with fake and kvm, and with disks in files."""
    document = opened(example())
    (group,) = document.nodegroups.values()
    cluster = replace(
        document.cluster,
        **{
            "enabled_hypervisors": (HypervisorKind.FAKE, HypervisorKind.KVM),
            "enabled_disk_templates": (
                DiskTemplate.FILE, DiskTemplate.SHARED_FILE, DiskTemplate.DISKLESS,
            ),
            "file_storage_dir": FILE_DIR,
            "shared_file_storage_dir": SHARED_DIR,
            "default_iallocator": "",
            "ipolicy": {},
            **changes,
        },
    )  # fmt: skip
    more = {one.uuid: one for one in (a_node(n, group.uuid) for n in range(2, nodes + 1))}
    return Snapshot.of(replace(document, cluster=cluster, nodes={**document.nodes, **more}))


@dataclass
class Place:
    """What is on one node."""

    devices: dict[str, int] = field(default_factory=dict)  # disk uuid: size in MiB
    directories: set[str] = field(default_factory=set)
    active: set[str] = field(default_factory=set)
    installed: list[str] = field(default_factory=list)
    running: dict[str, RunningInfo] = field(default_factory=dict)
    memory_mib: int = 4096
    disk_mib: int = 100_000
    systems: tuple[str, ...] = ("noop",)
    hotplug: bool = False
    plugged: list[tuple[str, str, int, Json]] = field(default_factory=list)
    resized: dict[str, int] = field(default_factory=dict)  # disk uuid: bytes
    migration: list[str] = field(default_factory=list)  # what its guest's migration will tell
    sent: int = 0  # memory of a migration

    @property
    def is_bare(self) -> bool:
        return not (self.devices or self.directories or self.running)


@dataclass
class FakeCalls(InstanceCalls):
    """Nodes that answer. The `fail_at`th call fails, and each call named in `failures`."""

    places: dict[str, Place] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)  # call, node name
    arguments: list[tuple[str, list[Any]]] = field(default_factory=list)
    fail_at: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)  # node names
    sync: list[list[BlockDeviceStatus]] = field(default_factory=list)  # next answers
    allocator: Callable[[str, Json], str] = lambda name, document: ""
    _count: int = 0

    def place(self, node: Node) -> Place:
        return self.places.setdefault(node.uuid, Place())

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.log]

    def sent(self, name: str) -> list[Any]:
        """The arguments of the only call of this name."""
        (found,) = [args for one, args in self.arguments if one == name]
        return found

    # logic.base.NodeCalls

    def one(self, node: Node, call: Call[Any, Any], *args: Any, **kwargs: Any) -> Any:
        return self.ask(node, call, *args, **kwargs).get()

    def ask(self, node: Node, call: Call[Any, Any], *args: Any, **kwargs: Any) -> Outcome[Any]:
        return self._answer(node, call, call.positional(args, kwargs))

    def all(
        self, nodes: Sequence[Node], call: Call[Any, Any], *args: Any, **kwargs: Any
    ) -> dict[str, Outcome[Any]]:
        given = call.positional(args, kwargs)
        return {node.uuid: self._answer(node, call, given) for node in nodes}

    def each(
        self, work: Sequence[tuple[Node, tuple[Any, ...]]], call: Call[Any, Any]
    ) -> dict[str, Outcome[Any]]:
        return {node.uuid: self._answer(node, call, args) for node, args in work}

    def _answer(self, node: Node, call: Call[Any, Any], args: tuple[Any, ...]) -> Outcome[Any]:
        target = Target(node.uuid, node.name, node.primary_ip, node.offline)
        if node.offline:
            return Outcome(target, error="node is marked offline", offline=True)
        typed = call.decode_arguments(loads(dumps(call.encode_arguments(args))))
        self._count += 1
        self.log.append((call.name, node.name))
        self.arguments.append((call.name, typed))
        if self._count == self.fail_at or node.name in self.silent:
            return Outcome(target, error="connection lost")
        if call.name in self.failures:
            return Outcome(target, error=self.failures[call.name])
        try:
            value = getattr(self, call.name)(self.place(node), *typed)
        except GenericError as error:
            return Outcome(target, error=str(error))
        return Outcome(target, call.decode_result(loads(dumps(call.encode_result(value)))))

    # What nodes do.

    def file_storage_dir_create(self, place: Place, directory: str) -> None:
        place.directories.add(directory)

    def file_storage_dir_remove(self, place: Place, directory: str) -> None:
        if place.devices:
            raise OpExecError(f"{directory} is not empty")
        place.directories.discard(directory)

    def blockdev_create(
        self, place: Place, disk: Disk, size: int, owner: str, primary: bool, info: str, es: bool
    ) -> Json:
        if disk.uuid in place.devices:
            raise OpExecError(f"device {disk.uuid} exists")
        if disk.dev_type is DiskTemplate.FILE and not place.directories:
            raise OpExecError("there is no directory")
        place.devices[disk.uuid] = size
        return disk.logical_id

    def blockdev_remove(self, place: Place, disk: Disk) -> None:
        for one in disk.walk():
            place.devices.pop(one.uuid, None)

    def blockdev_wipe(self, place: Place, disk: Disk, offset: int, size: int) -> None:
        assert offset + size <= place.devices[disk.uuid]

    def blockdev_assemble(
        self, place: Place, disk: Disk, instance: FilledInstance, on_primary: bool, index: int
    ) -> AssembledDevice:
        if disk.uuid not in place.devices:
            raise OpExecError(f"device {disk.uuid} does not exist")
        place.active.add(disk.uuid)
        path = str(disk.logical_id[1])
        return (
            AssembledDevice(path, f"/links/{index}") if on_primary else AssembledDevice(path, None)
        )

    def blockdev_shutdown(self, place: Place, disk: Disk) -> None:
        place.active.discard(disk.uuid)

    def blockdev_getmirrorstatus(
        self, place: Place, disks: Sequence[Disk]
    ) -> list[BlockDeviceStatus]:
        if self.sync:
            return self.sync.pop(0)
        return [BlockDeviceStatus(dev_path=str(disk.logical_id[1])) for disk in disks]

    def blockdev_getmirrorstatus_multi(
        self, place: Place, disks: Sequence[Disk]
    ) -> list[MirrorOutcome]:
        return [
            MirrorOutcome(True, BlockDeviceStatus(dev_path=f"/dev/{disk.uuid}"))
            if disk.uuid in place.devices
            else MirrorOutcome(False, "is not there")
            for disk in disks
        ]

    def hypervisor_validate_params(self, place: Place, kind: str, full: Json) -> None:
        assert full

    def os_validate(
        self, place: Place, required: bool, name: str, checks: Any, params: Any, force: bool
    ) -> bool:
        if name not in place.systems:
            raise OpExecError(f"OS {name} is not in the search path")
        return True

    def os_diagnose(self, place: Place) -> list[OsReport]:
        return [OsReport(name, f"/os/{name}", True, "") for name in place.systems]

    def bridges_exist(self, place: Place, bridges: Sequence[str]) -> None:
        raise OpExecError(f"missing bridges: {', '.join(bridges)}")

    def node_info(self, place: Place, units: Any, specs: Any) -> NodeInfo:
        used = sum(info.memory for info in place.running.values())
        figures = HypervisorNodeInfo(
            memory_total=place.memory_mib, memory_free=place.memory_mib - used, memory_dom0=0,
            cpu_total=4, cpu_dom0=1,
        )  # fmt: skip
        storage = tuple(
            StorageInfo(type=kind, name=name, storage_free=place.disk_mib, storage_size=10**6)
            for kind, name, _ in units
        )
        return NodeInfo("boot", storage, tuple(figures for _ in specs))

    def instance_info(self, place: Place, name: str, kind: str, params: Any) -> RunningInfo | None:
        return place.running.get(name)

    def all_instances_info(self, place: Place, kinds: Any, params: Any) -> dict[str, RunningInfo]:
        return place.running

    def node_figures(
        self, place: Place, units: Any, specs: Any, kinds: Any, params: Any
    ) -> NodeFigures:
        return NodeFigures(
            self.node_info(place, units, specs), self.all_instances_info(place, kinds, params)
        )

    def instance_os_add(
        self, place: Place, instance: FilledInstance, reinstall: bool, debug: int
    ) -> None:
        place.installed.append(instance.name)

    def instance_start(
        self, place: Place, instance: FilledInstance, paused: bool, reason: Any
    ) -> None:
        place.running[instance.name] = RunningInfo(memory=instance.memory_mib, vcpus=1)

    def instance_shutdown(
        self, place: Place, instance: FilledInstance, timeout: int, reason: Any
    ) -> None:
        place.running.pop(instance.name, None)

    def instance_reboot(
        self, place: Place, instance: FilledInstance, kind: str, timeout: int, reason: Any
    ) -> None:
        assert instance.name in place.running

    def iallocator_runner(self, place: Place, name: str, text: str, params: Any) -> str:
        return self.allocator(name, loads(text))


class FakeUndo:
    """Steps in the form in which the journal keeps them; the nodes do them without faults."""

    def __init__(self, services: FakeServices) -> None:
        self.services = services
        self.steps: list[tuple[str, Node | None, tuple[Json, ...]]] = []
        self.calls: dict[str, Call[Any, Any]] = {}
        self.problems: list[str] = []
        self.ran = False

    def before(self, node: Node, call: Call[Any, Any], *args: Any, **kwargs: Any) -> None:
        self.calls[call.name] = call
        arguments = step_arguments(call, call.positional(args, kwargs))
        self.steps.append((call.name, node, loads(dumps(arguments))))

    def before_config(self, name: str, *arguments: Json) -> None:
        self.steps.append((name, None, arguments))

    def together(self) -> AbstractContextManager[None]:
        return nullcontext()

    def settle(self) -> None:
        if self.steps:
            self.steps.append(("settled", None, ()))

    def run(self) -> None:
        self.ran = True
        rpc = self.services.rpc
        rpc.fail_at, rpc.failures, rpc.silent = 0, {}, set()
        self.services.fail_commit_at = 0
        for name, node, arguments in reversed(self.steps):
            if name == "settled":
                break
            if node is None:
                self.services.commit(run_config_step(name, tuple(arguments)))
                continue
            call = self.calls[name]
            outcome = rpc.ask(node, call, *call.decode_arguments(list(arguments)))
            if not outcome.ok:
                self.problems.append(f"{name}: {outcome.error}")

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.steps]


class FakeServices:
    """See logic.base.Services. The `fail_commit_at`th commit that changes something fails."""

    job_id = 7
    owner = "7"
    is_degraded = False

    def __init__(self, config: Snapshot, root: Path) -> None:
        self.config = config
        self.paths = Paths(root)
        self.rpc = FakeCalls()
        self.reservations = Reservations(random.Random(3))
        self.undo = FakeUndo(self)
        self.messages: list[str] = []
        self.released: list[LockRequest] = []
        self.waits: list[float] = []
        self.commits = 0
        self.fail_commit_at = 0

    def snapshot(self) -> Snapshot:
        return self.config

    def commit(self, transaction: Callable[[Draft], T]) -> T:
        draft = Draft(self.config, NOW + self.commits)
        result = transaction(draft)
        made, delta = draft.finish()
        if delta is not None:
            self.commits += 1
            if self.commits == self.fail_commit_at:
                raise ConfigurationError("the journal can't be written")
            self.config = made
        return result

    def feedback(self, text: str, kind: str = "message") -> None:
        self.messages.append(text)

    def release(self, request: LockRequest) -> None:
        self.released.append(request)

    def now(self) -> float:
        return NOW

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    @property
    def has_committed(self) -> bool:
        return self.commits > 0

    def flush(self) -> None:
        return None

    def distribute(self, *, anew: bool = False) -> None:
        raise NotImplementedError

    def renew_tls(self) -> None:
        raise NotImplementedError

    def query(self, what: str, fields: Sequence[str], qfilter: Json) -> dict[str, Json]:
        raise NotImplementedError

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Json]:
        raise NotImplementedError

    def run_post_hooks(self, unit: LogicalUnit[Any, Any], plan: object, nodes: Any) -> None:
        raise NotImplementedError

    def stop_master(self) -> None:
        raise NotImplementedError

    # For tests.

    def node(self, name: str) -> Node:
        found = self.config.find_node(name)
        assert found is not None
        return found

    def place(self, name: str) -> Place:
        return self.rpc.place(self.node(name))

    def change(self, function: Callable[[Draft], object]) -> None:
        """A change of the configuration that does not count as one of the unit."""
        draft = Draft(self.config, NOW)
        function(draft)
        self.config = draft.finish()[0]

    def change_node(self, name: str, **values: Any) -> None:
        self.change(lambda draft: draft.update(replace(self.node(name), **values)))

    def change_instance(self, name: str, **values: Any) -> None:
        found = self.config.find_instance(name)
        assert found is not None
        self.change(lambda draft: draft.update(replace(found, **values)))

    def user_stops(self, name: str, node: str) -> None:
        place = self.place(node)
        place.running[name] = replace(place.running[name], state=SHUT_DOWN)


@dataclass
class Ran:
    """What became of an opcode."""

    result: Json
    plan: Any
    locks: LockRequest
    before: HookEnv | None
    after: HookEnv | None


def run_unit(services: FakeServices, op: Opcode, held: Held | None = None) -> Ran:
    """What the processor does; reservations end with it."""
    op = identity.with_names(services.snapshot(), op)
    unit = unit_for(op.OP_ID)(op, services)
    unit.arguments()
    identity.confirm(services.snapshot(), op)
    locks = unit.locks(services.snapshot(), held or Held())
    try:
        config = services.snapshot()
        plan = unit.check(config)
        before = unit.hooks(config, plan)
        if op.dry_run:
            return Ran(unit.dry_run_result(plan), plan, locks, before, None)
        done = unit.execute(plan)
        result: Json = done if isinstance(done, GeneratedJobs) else encode(done)
        if not isinstance(done, GeneratedJobs):
            op.check_result(result)
        after = unit.hooks(services.snapshot(), plan) if before else None
        return Ran(result, plan, locks, before, after)
    finally:
        services.reservations.release(services.owner)


def contents(config: Snapshot) -> Any:
    """The configuration without what counts changes."""
    document = encode(config.document())

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            skipped = ("serial_no", "mtime")
            return {key: plain(item) for key, item in value.items() if key not in skipped}
        return value

    return plain(document)
