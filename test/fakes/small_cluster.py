"""A whole cluster in one process: a real master daemon and real nodes, with power switches.

Every machine has a root directory and a `MirroredDisk`; calls to nodes go through memory. All
steps (of disks, of calls) are told to one `Steps`, which cuts the master's power at a chosen one.
A machine that boots finds what had been synced, and of the rest a part.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import threading
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.mirrored_disk import MirroredDisk
from ganeti.config.checkpoint import CheckpointSettings
from ganeti.config.distribute import ssconf_of
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import StoreSettings
from ganeti.http.client import HttpAnswer, Unreachable
from ganeti.luxi.methods import read_arguments
from ganeti.master.bootstrap import InitRequest, ssconf_bytes
from ganeti.master.daemon import Master, MasterSettings
from ganeti.master.new_cluster import Identity, build_document
from ganeti.model.config import ConfigDocument
from ganeti.model.node import Node
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.daemon import load_served, make_directories
from ganeti.paths import Paths
from ganeti.rpc.base import CALLS, SERVED, Target
from ganeti.rpc.dispatch import Dispatcher
from ganeti.rpc.follow import ReplicationSettings
from ganeti.serializer import dump_bytes, encode
from ganeti.types import IpFamily

logger = logging.getLogger(__name__)

DOMAIN = "example.com"
STORAGE = "/srv/ganeti/file-storage"
OS_NAME = "noop"
NOW = 1_700_000_000.0
ENDED = ("success", "error", "canceled")
WAIT_S = 20.0
MOST_TURNS = 2000  # of the loop, a millisecond each, until everything has ended
QUICK = StoreSettings(
    replication=ReplicationSettings(
        deadline_s=1.0, first_retry_s=0.005, longest_retry_s=0.05, stop_s=1.0
    ),
    checkpoint=CheckpointSettings(gap_s=0.005, share=0.9, retry_s=0.02),
)


def node_name(number: int) -> str:
    return f"node{number}.{DOMAIN}"


def node_uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


class Steps:
    """Counts what happens, and calls `act` at one chosen step: the nth of that name, or of all."""

    def __init__(self) -> None:
        self.act: Callable[[], None] = lambda: None
        self._turn = threading.Lock()
        self.restart()

    def restart(self, *, at: tuple[str, int] | None = None, at_any: int | None = None) -> None:
        """Count from 1 again."""
        self.seen: Counter[str] = Counter()
        self.order: list[tuple[str, int]] = []
        self.at = at
        self.at_any = at_any
        self.reached = False

    def tell(self, text: str) -> None:
        text = re.sub(r"\bssconf_\S+", "ssconf", re.sub(r"\bjob-\d+", "job", text))
        with self._turn:
            self.seen[text] += 1
            step = (text, self.seen[text])
            self.order.append(step)
            hit = (step == self.at or len(self.order) == self.at_any) and not self.reached
            self.reached = self.reached or hit
        if hit:
            self.act()


@dataclass
class Machine:
    """One node: its files, and its node daemon when there is power."""

    name: str
    paths: Paths
    disk: MirroredDisk = field(default_factory=MirroredDisk)
    up: bool = True

    def __post_init__(self) -> None:
        make_directories(self.settings)
        self.boot(self.disk)

    @property
    def settings(self) -> NodeSettings:
        return NodeSettings(paths=self.paths, hostname=self.name)

    def boot(self, disk: MirroredDisk) -> None:
        self.disk = disk
        context = NodeContext(settings=self.settings, files=disk)
        self.dispatcher = Dispatcher(context, CALLS, SERVED)

    def reboot(self) -> None:
        """What was not synced is lost; the node daemon is there again."""
        self.disk.stop()
        self.boot(self.disk.power_on())


class MemoryTransport:
    """A `rpc.client.Transport` to the machines of one cluster.

    `fail` maps (node name, call) to the error text that the node answers.
    """

    def __init__(self, cluster: SmallCluster) -> None:
        self._cluster = cluster
        self.fail: dict[tuple[str, str], str] = {}

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        what = f"call {call} to {node.name.split('.')[0]}"
        machine = self._cluster.machines.get(node.name)
        self._refuse_dead(node)
        self._cluster.steps.tell(what)
        self._refuse_dead(node)
        if machine is None or not machine.up:
            raise Unreachable(f"can't connect to {node.name}: No route to host", sent=False)
        error = self.fail.get((node.name, call))
        if error is not None:
            return HttpAnswer(200, dump_bytes([False, error]))
        answer = await asyncio.to_thread(machine.dispatcher.answer, call, body)
        if machine.disk.stopped:
            raise Unreachable(f"{node.name} closed the connection", sent=True)
        self._cluster.steps.tell(f"{what} answered")
        self._refuse_dead(node)
        return HttpAnswer(200, answer)

    def _refuse_dead(self, node: Target) -> None:
        if self._cluster.master_machine.disk.stopped:
            raise Unreachable(f"no power to reach {node.name}", sent=False)

    async def close(self) -> None:
        pass


class SmallCluster:
    """Nodes 1 to `nodes`, all master candidates; node 1 is the master. Made without commands.

    A `document` of three such nodes takes the place of the one that is made.
    """

    def __init__(
        self, root: Path, nodes: int = 3, *, document: ConfigDocument | None = None
    ) -> None:
        load_served()
        self.steps = Steps()
        self.transport = MemoryTransport(self)
        self.machines: dict[str, Machine] = {}
        for number in range(1, nodes + 1):
            name = node_name(number)
            self.machines[name] = Machine(name, Paths(root / f"n{number}"))
        self.document = document or a_document(nodes, self.paths)
        for machine in self.machines.values():
            self._prepare(machine)
        self.paths.queue.mkdir(exist_ok=True)
        self.paths.config_data.write_bytes(dump_bytes(encode(self.document)))
        self.paths.sockets.mkdir(exist_ok=True)
        self._watch()

    def _prepare(self, machine: Machine) -> None:
        paths = machine.paths
        for key, value in ssconf_of(Snapshot.of(self.document)).items():
            paths.ssconf(key).write_bytes(ssconf_bytes(value))
        paths.conf.mkdir(parents=True)
        paths.file_storage_paths.write_text(f"{STORAGE}\n")
        paths.below(STORAGE).mkdir(parents=True)
        paths.etc_hosts.write_text(
            "".join(f"127.9.9.{n} {node_name(n)}\n" for n in range(1, len(self.machines) + 1))
            + f"127.9.9.250 cluster.{DOMAIN}\n"
        )
        put_os(paths.below("/srv/ganeti/os") / OS_NAME)

    @property
    def master_machine(self) -> Machine:
        return self.machines[node_name(1)]

    @property
    def paths(self) -> Paths:
        """Of the master."""
        return self.master_machine.paths

    def _watch(self) -> None:
        self.master_machine.disk.on_event = lambda text: self.steps.tell(f"disk: {text}")

    def reboot_master(self) -> None:
        self.master_machine.reboot()
        self._watch()

    def settings(self, **more: Any) -> MasterSettings:
        return MasterSettings(
            **{
                "paths": self.paths,
                "hostname": self.master_machine.name,
                "disk": self.master_machine.disk,
                "transport": lambda paths: self.transport,
                "limits": QUICK,
                **more,
            }
        )

    @asynccontextmanager
    async def master(self, **more: Any) -> AsyncIterator[Client]:
        """A running master, which is stopped in good order; or cleaned away when it is dead."""
        others = asyncio.all_tasks()
        master = Master(self.settings(**more))
        client = Client(master)
        try:
            await master.open()
            yield client
            if not self.master_machine.disk.stopped:
                await master.stop()
        finally:
            await clean_away(master, spare=others)


async def clean_away(master: Master, spare: set[asyncio.Task[Any]]) -> None:
    """What the kernel does with a process that was killed: no task or thread is left.

    What its tasks raise is told in a line. asyncio would format tracebacks when they are collected,
    at any moment: inside an `ast.parse` of pytest that is a SystemError with Python 3.11.
    """
    asyncio.get_running_loop().set_exception_handler(tell_briefly)
    pool = master.bridge.pool if hasattr(master, "bridge") else None
    if hasattr(master, "processor"):
        master.processor.end_all()
    if pool is not None:
        pool.shutdown(wait=False, cancel_futures=True)
    for _ in range(MOST_TURNS):
        others = asyncio.all_tasks() - spare
        for task in others:
            task.cancel()
        await asyncio.sleep(0.001)
        threads = [thread for thread in pool._threads if thread.is_alive()] if pool else []
        if not threads and all(task.done() for task in others):
            return
    frames = sys._current_frames()
    stacks = ["".join(traceback.format_stack(frames[one.ident])) for one in threads if one.ident]
    raise AssertionError("\n".join(["these do not end:", *map(repr, others), *stacks]))


def tell_briefly(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.info("%s: %r", context.get("message"), context.get("exception"))


class Client:
    """What a client on the master's socket can do."""

    def __init__(self, master: Master) -> None:
        self.master = master

    async def __call__(self, method: str, *args: Any) -> Any:
        """The result, as if the arguments had come as JSON."""
        sent = encode(list(args))
        answer = await self.master.service.handle(method, read_arguments(method, sent))
        if hasattr(answer, "__aiter__"):
            answer = b"".join([piece async for piece in answer])
        return encode(answer) if not isinstance(answer, bytes) else answer

    async def submit(self, *ops: dict[str, Any]) -> int:
        return int(await self("SubmitJob", list(ops)))

    async def wait(self, number: int) -> str:
        """The status in which the job has ended."""
        values, serial = None, 0
        async with asyncio.timeout(WAIT_S):
            while values is None or values[0] not in ENDED:
                values, lines = await self(
                    "WaitForJobChange", number, ["status"], values, serial, 10
                )
                serial = lines[-1][0] if lines else serial
        return str(values[0])

    async def run(self, *ops: dict[str, Any]) -> str:
        return await self.wait(await self.submit(*ops))

    async def result(self, number: int) -> Any:
        return (await self("QueryJobs", [number], ["opresult"]))[0][0]

    async def error(self, *ops: dict[str, Any]) -> Any:
        """[class, arguments] of the error in which a job ends."""
        number = await self.submit(*ops)
        assert await self.wait(number) == "error"
        return (await self.result(number))[0]


# What the cluster is made of.


def a_document(nodes: int, paths: Paths) -> ConfigDocument:
    request = InitRequest(
        cluster_name=f"cluster.{DOMAIN}",
        enabled_hypervisors=["fake"],
        enabled_disk_templates=["diskless", "file"],
        file_storage_dir=STORAGE,
        modify_etc_hosts=False,
        modify_ssh_setup=False,
    )
    identity = Identity(
        cluster_name=f"cluster.{DOMAIN}",
        master_ip="127.9.9.250",
        node_name=node_name(1),
        primary_ip="127.9.9.1",
        secondary_ip="127.9.9.1",
        family=IpFamily.IPV4,
        netdev="lo",
        host_key="",
        now=NOW,
        cluster_uuid="99999999-0000-4000-8000-000000000000",
        node_uuid=node_uuid(1),
        group_uuid="88888888-0000-4000-8000-000000000000",
        certificate_digest="aa:bb",
    )
    made = build_document(request, identity, paths)
    for number in range(2, nodes + 1):
        node = Node(
            uuid=node_uuid(number),
            ctime=NOW,
            mtime=NOW,
            name=node_name(number),
            primary_ip=f"127.9.9.{number}",
            secondary_ip=f"127.9.9.{number}",
            group=identity.group_uuid,
            master_candidate=True,
            offline=False,
            drained=False,
        )
        made = _with_node(made, node)
    return made


def _with_node(document: ConfigDocument, node: Node) -> ConfigDocument:
    from dataclasses import replace

    certs = {**document.cluster.candidate_certs, node.uuid: "aa:bb"}
    return replace(
        document,
        cluster=replace(document.cluster, candidate_certs=certs),
        nodes={**document.nodes, node.uuid: node},
    )


def put_os(directory: Path, *variants: str) -> None:
    """An OS definition whose scripts do nothing."""
    directory.mkdir(parents=True)
    (directory / "ganeti_api_version").write_text("20\n")
    (directory / "parameters.list").write_text("")
    (directory / "variants.list").write_text("\n".join(variants or ["default"]) + "\n")
    for name in ("create", "import", "export", "rename", "verify"):
        script = directory / name
        script.write_text("#!/bin/sh\nexit 0\n")
        script.chmod(0o755)


# Opcodes.

REASON: list[Any] = []


def delay(seconds: float = 0.001, **more: Any) -> dict[str, Any]:
    return {
        **{"OP_ID": "OP_TEST_DELAY", "duration": seconds, "no_locks": True, "reason": REASON},
        **more,
    }


def add_tags(*tags: str, kind: str = "cluster", name: str | None = None) -> dict[str, Any]:
    return {
        "OP_ID": "OP_TAGS_SET",
        "kind": kind,
        "name": name,
        "tags": list(tags),
        "reason": REASON,
    }


def create(
    name: str, *, node: int | None = 2, template: str = "file", **more: Any
) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "OP_ID": "OP_INSTANCE_CREATE",
        "instance_name": name,
        "mode": "create",
        "disk_template": template,
        "disks": [{"size": 128}] if template != "diskless" else [],
        "nics": [{}],
        "os_type": f"{OS_NAME}+default",
        "name_check": False,
        "ip_check": False,
        "beparams": {"minmem": 16, "maxmem": 16},
        "ignore_ipolicy": True,
        "reason": REASON,
    }
    if node is not None:
        wanted["pnode"] = node_name(node)
    return {**wanted, **more}


def on_instance(op_id: str, name: str, **more: Any) -> dict[str, Any]:
    return {"OP_ID": op_id, "instance_name": name, "reason": REASON, **more}


# What lies on nodes.


def disk_files(paths: Paths) -> set[Path]:
    """Disks of instances in files."""
    return {path for path in paths.below(STORAGE).rglob("*") if path.is_file()}


def running(paths: Paths) -> set[str]:
    """Names of the guests."""
    directory = paths.run / "fake-hypervisor"
    names = os.listdir(directory) if directory.exists() else []
    return {name for name in names if not name.startswith(".")}
