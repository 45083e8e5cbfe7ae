"""What a logical unit in a worker thread may use, built upon the bridge."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, TypeVar

from ganeti.config.reserve import Reservations
from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore
from ganeti.config.transaction import Draft
from ganeti.errors import JobCanceled, OpExecError
from ganeti.jobs.queue import OpRun
from ganeti.jobs.undo import Step
from ganeti.locking.request import LockRequest
from ganeti.logic.base import DEGRADED, WARNING, LogicalUnit, Services, step_arguments
from ganeti.master.bridge import Bridge
from ganeti.master.hooks import Hooks
from ganeti.master.locks import JobLocks
from ganeti.master.queries import MasterQueries
from ganeti.master.undoing import CONFIG_STEP, SETTLED, run_steps
from ganeti.model.node import Node
from ganeti.paths import Paths
from ganeti.rpc.base import Call, Outcome, target_of
from ganeti.rpc.client import FAN_OUT, RpcClient, Transport
from ganeti.serializer import Json

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

LONGEST_WAIT_S = (
    900.0  # for the master itself: a change that is durable, a list, ssconf on all nodes
)
SLACK_S = 60.0  # a call to a node is ended by its own deadline, by this only if that fails
SLICE_S = 0.5  # how long a wait may go on without looking whether the job is to be killed


class Kill:
    """A flag that ends a running job at its next step."""

    __slots__ = ("job_id", "is_set")

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self.is_set = False

    def check(self) -> None:
        if self.is_set:
            raise JobCanceled(f"job {self.job_id} was killed")


@dataclass(slots=True)
class LoopSide:
    """The parts of the master that workers reach through the bridge."""

    bridge: Bridge
    rpc: RpcClient
    store: ConfigStore
    locks: JobLocks
    queries: MasterQueries
    paths: Paths
    transport: Callable[[Paths], Transport]
    stop_master: Callable[[], None]
    now: Callable[[], float]


class WorkerCalls:
    """Calls to nodes from a worker; see logic.base.NodeCalls."""

    def __init__(self, loop_side: LoopSide, kill: Kill) -> None:
        self._loop_side = loop_side
        self._kill = kill

    def one(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return self.ask(node, call, *args, **kwargs).get()

    def ask(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        return self.all([node], call, *args, **kwargs)[node.uuid]

    def all(
        self, nodes: Sequence[Node], call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Outcome[R]]:
        targets = [target_of(node) for node in nodes]
        deadline_s = call.deadline_s(call.positional(args, kwargs))
        task = self._loop_side.rpc.all(targets, call, *args, **kwargs)
        return self._wait(task, call.name, deadline_s, len(targets))

    def each(
        self, work: Sequence[tuple[Node, tuple[Any, ...]]], call: Call[P, R]
    ) -> dict[str, Outcome[R]]:
        targets = {target_of(node): args for node, args in work}
        deadlines = [call.deadline_s(call.positional(args, {})) for args in targets.values()]
        task = self._loop_side.rpc.each(targets, call)
        return self._wait(task, call.name, max(deadlines, default=0.0), len(targets))

    def _wait(self, task: Coroutine[Any, Any, T], what: str, deadline_s: float, nodes: int) -> T:
        """No longer than a fan-out may take in which every node takes its whole deadline."""
        try:
            self._kill.check()
        except JobCanceled:
            task.close()
            raise
        rounds = max(1, math.ceil(nodes / FAN_OUT))
        return wait_for(self._loop_side.bridge, task, f"call {what}", rounds * deadline_s + SLACK_S)


@dataclass(slots=True)
class OpServices:
    """Everything one opcode may use; see logic.base.Services."""

    loop_side: LoopSide
    job_id: int
    run: OpRun
    kill: Kill
    rpc: WorkerCalls = field(init=False)
    undo: OpUndo = field(init=False)
    told_degraded: bool = False
    has_committed: bool = False

    def __post_init__(self) -> None:
        self.rpc = WorkerCalls(self.loop_side, self.kill)
        self.undo = OpUndo(self)

    @property
    def paths(self) -> Paths:
        return self.loop_side.paths

    @property
    def reservations(self) -> Reservations:
        return self.loop_side.store.reservations

    @property
    def owner(self) -> str:
        return str(self.job_id)

    def snapshot(self) -> Snapshot:
        return self.loop_side.store.snapshot

    def commit(self, transaction: Callable[[Draft], T]) -> T:
        self.kill.check()
        result = self.wait_for(self.loop_side.store.commit(self._noted(transaction)))
        if self.is_degraded and not self.told_degraded:
            self.told_degraded = True
            self.feedback(f"{WARNING}{DEGRADED}")
        return result

    def _noted(self, transaction: Callable[[Draft], T]) -> Callable[[Draft], T]:
        def run(draft: Draft) -> T:
            result = transaction(draft)
            self.has_committed |= draft.differs
            return result

        return run

    @property
    def is_degraded(self) -> bool:
        return self.loop_side.store.degraded

    def feedback(self, text: Json, kind: str = "message") -> None:
        self.loop_side.bridge.tell(self.run.log, kind, text)

    def release(self, request: LockRequest) -> None:
        self.loop_side.bridge.tell(self.loop_side.locks.keep_only, self.job_id, request)

    def now(self) -> float:
        return self.loop_side.now()

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.kill.check()
            time.sleep(min(left, SLICE_S))

    def flush(self) -> None:
        self.wait_for(self.loop_side.store.flush())

    def distribute(self, *, anew: bool = False) -> None:
        self.wait_for(distribute(self.loop_side.store, anew=anew))

    def renew_tls(self) -> None:
        self.wait_for(self.loop_side.rpc.renew(self.loop_side.transport(self.paths)))

    def query(self, what: str, fields: Sequence[str], qfilter: Json) -> dict[str, Json]:
        return self.wait_for(self.loop_side.queries.query(what, fields, qfilter))

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Json]:
        return self.loop_side.queries.query_fields(what, fields)

    def cluster_info(self) -> dict[str, Json]:
        return self.loop_side.queries.cluster_info()

    def config_values(self, fields: Sequence[str]) -> list[Json]:
        return self.loop_side.queries.config_values(fields)

    def run_post_hooks(
        self, unit: LogicalUnit[Any, Any], plan: object, nodes: Sequence[str]
    ) -> None:
        config = self.snapshot()
        env = unit.hooks(config, plan)
        if env is not None:
            env = replace(env, post_nodes=nodes)
            Hooks(unit.op, self).after(config, env, env)

    def stop_master(self) -> None:
        self.loop_side.bridge.tell(self.loop_side.stop_master)

    def wait_for(self, task: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and block for it; OpExecError when it takes too long."""
        return wait_for(self.loop_side.bridge, task, "the master's own work", LONGEST_WAIT_S)


class OpUndo:
    """Undo steps of one opcode; see logic.base.Undo."""

    def __init__(self, services: OpServices) -> None:
        self._services = services
        self._steps: list[Step] = []
        self._gathered: list[Step] | None = None  # inside of `together`

    def before(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        arguments = step_arguments(call, call.positional(args, kwargs))
        self._add(Step(call.name, arguments, node.uuid))

    def before_config(self, name: str, *arguments: Json) -> None:
        self._add(Step(CONFIG_STEP + name, arguments))

    @contextmanager
    def together(self) -> Iterator[None]:
        steps: list[Step] = []
        self._gathered = steps
        try:
            yield
        finally:
            self._gathered = None
        self._write(steps)

    def settle(self) -> None:
        if self._steps:
            self._add(Step(SETTLED))
            self._steps = []

    def _add(self, step: Step) -> None:
        if self._gathered is None:
            self._write([step])
        else:
            self._gathered.append(step)

    def _write(self, steps: Sequence[Step]) -> None:
        self._services.wait_for(self._services.run.before(*steps))
        self._steps += steps

    def run(self) -> None:
        if not self._steps:
            return
        steps, self._steps = self._steps, []
        side = self._services.loop_side
        failed = side.bridge.wait(run_steps(side.rpc, side.store, steps))
        problems = [one.text for one in failed]
        late = [one.step for one in failed if one.away]
        if late:
            problems += side.bridge.wait(self._services.run.owe(late))
        for problem in problems:
            self._services.feedback(f" - WARNING: undoing: {problem}")


def wait_for(bridge: Bridge, task: Coroutine[Any, Any, T], what: str, timeout_s: float) -> T:
    """The result; OpExecError when there is none within that time, and the task is cancelled."""
    try:
        return bridge.wait(task, timeout_s)
    except TimeoutError as error:
        raise OpExecError(
            f"{what} did not end within {timeout_s:.0f} s: a disk or a node hangs; see the log of"
            " the master daemon"
        ) from error


async def distribute(store: ConfigStore, *, anew: bool) -> None:
    """Nodes that can be reached have the newest ssconf."""
    if anew:
        store.distributor.send_again(store.snapshot)
    await store.distributor.flush()


def _conforms(services: OpServices) -> Services:
    return services
