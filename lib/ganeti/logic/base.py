"""What a logical unit is, and what it may use.

The processor drives it: `arguments` → `locks` (level by level, and once more when all is held) →
`check` → pre hooks → `execute` → post hooks. `locks` is pure; `check` reads and asks and changes
nothing; `execute` carries out the plan that `check` made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, ParamSpec, Protocol, TypeVar

from ganeti.config.reserve import Reservations
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import GenericError
from ganeti.locking.request import Held, LockRequest
from ganeti.model.node import Node
from ganeti.model.report import HookResult
from ganeti.opcodes.base import Opcode
from ganeti.paths import Paths
from ganeti.rpc.base import Call, Outcome
from ganeti.serializer import Json, encode

O = TypeVar("O", bound=Opcode)  # noqa: E741  # O for opcode
Plan = TypeVar("Plan")
T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")

WARNING = " - WARNING: "
INFO = " - INFO: "

DEGRADED = (
    "the configuration is not on a majority of the master candidates; if this node is lost now, the"
    " newest changes are lost: bring the candidates back, gnt-node list shows them"
)


class NodeCalls(Protocol):
    """Calls to nodes, as a worker makes them: they block."""

    def one(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The answer of one node; OpExecError when there is none."""

    def ask(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> Outcome[R]:
        """The outcome of one node; never raises."""

    def all(
        self, nodes: Sequence[Node], call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Outcome[R]]:
        """One outcome per node, by uuid; never raises."""

    def each(
        self, work: Sequence[tuple[Node, tuple[Any, ...]]], call: Call[P, R]
    ) -> dict[str, Outcome[R]]:
        """As `all`, with other arguments for each node."""


class Undo(Protocol):
    """Undo steps of one opcode, journalled before what they undo."""

    def before(self, node: Node, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> None:
        """Returns when the step is durable. It must bear that its cause was never begun."""

    def before_config(self, name: str, *arguments: Json) -> None:
        """As `before`, for a step of logic/config_steps.py on the configuration."""

    def together(self) -> AbstractContextManager[None]:
        """Steps that are named inside become durable in one write, when it is left."""

    def settle(self) -> None:
        """What was done so far stays, whatever happens; durable when it returns."""

    def run(self) -> None:
        """Carry the steps out, last one first; failures are logged."""


class Services(Protocol):
    """What a logical unit may use; made by the processor for one opcode of one job."""

    @property
    def job_id(self) -> int: ...

    @property
    def paths(self) -> Paths: ...

    @property
    def rpc(self) -> NodeCalls: ...

    @property
    def reservations(self) -> Reservations: ...

    @property
    def owner(self) -> str:
        """The job's name in reservations; they end with the opcode."""

    @property
    def undo(self) -> Undo: ...

    @property
    def is_degraded(self) -> bool:
        """Changes of the configuration are not on a majority of the master candidates."""

    @property
    def has_committed(self) -> bool:
        """This opcode itself has changed the configuration."""

    def snapshot(self) -> Snapshot:
        """The newest durable configuration."""

    def commit(self, transaction: Callable[[Draft], T]) -> T:
        """One change of the configuration; durable when it returns."""

    def feedback(self, text: Json, kind: str = "message") -> None:
        """A line of the job's log; an entry of another kind may be more than a text."""

    def release(self, request: LockRequest) -> None:
        """Give back all locks but those that `request` names."""

    def now(self) -> float:
        """Unix seconds."""

    def wait(self, seconds: float) -> None:
        """Let time pass; JobCanceled when the job is to be killed."""

    def flush(self) -> None:
        """Returns when `config.data`, its copies and ssconf are as new as `snapshot`.

        Nodes that can't be reached have older ones; that is logged.
        """

    def distribute(self, *, anew: bool = False) -> None:
        """Returns when ssconf has been sent to all nodes that can be reached.

        `anew`: even if it has not changed since it was last sent.
        """

    def renew_tls(self) -> None:
        """Further calls to nodes are made with the certificates that are now in the files."""

    def query(self, what: str, fields: Sequence[str], qfilter: Json) -> dict[str, Json]:
        """A query as LUXI's Query answers it."""

    def query_fields(self, what: str, fields: Sequence[str] | None) -> dict[str, Json]:
        """As LUXI's QueryFields."""

    def cluster_info(self) -> dict[str, Json]:
        """As LUXI's QueryClusterInfo."""

    def config_values(self, fields: Sequence[str]) -> list[Json]:
        """As LUXI's QueryConfigValues."""

    def run_post_hooks(
        self, unit: LogicalUnit[Any, Any], plan: object, nodes: Sequence[str]
    ) -> None:
        """Run the unit's post hooks now, on these nodes (uuids), as they are about to go."""

    def stop_master(self) -> None:
        """The cluster is gone: end the master daemon once this job has been answered."""


@dataclass(frozen=True, slots=True)
class HookEnv:
    """Variables (without GANETI_) of an opcode's hooks and the nodes where they run.

    Source: facts/hooks.json.
    """

    path: str
    object_type: str
    env: Mapping[str, str]
    pre_nodes: Sequence[str] = ()  # node uuids
    post_nodes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class GeneratedJobs:
    """A result whose jobs the processor submits; they are shown as `jobs` beside `other`."""

    jobs: Sequence[Sequence[Opcode]]
    other: Mapping[str, Json] = field(default_factory=dict)


class LogicalUnit(Generic[O, Plan]):
    """What one opcode means."""

    opcode: ClassVar[type[Opcode]]
    config_hook: bool = False
    """Whether the config-update hook runs when this opcode has changed the configuration."""

    def __init__(self, op: O, services: Services) -> None:
        self.op = op
        self.services = services
        self.rpc = services.rpc
        self.feedback = services.feedback
        self.commit = services.commit

    def arguments(self) -> None:
        """Refuse combinations of parameters that make no sense; looks at the opcode only."""

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        """All locks that the opcode needs, as far as they are known with what is held.

        Pure; facts/locks.json. Unknown objects raise OpPrereqError NOENT.
        """
        return LockRequest()

    def check(self, config: Snapshot) -> Plan:
        """Everything is as it has to be: the plan. Else OpPrereqError; nothing was changed."""
        raise NotImplementedError

    def hooks(self, config: Snapshot, plan: Plan) -> HookEnv | None:
        """Asked before and, for the post phase, again after the execution."""
        return None

    def dry_run_result(self, plan: Plan) -> Json:
        """What a dry run answers."""
        return None

    def execute(self, plan: Plan) -> Json | GeneratedJobs:
        """Do it. What was changed when it raises is undone by the steps in `undo`."""
        raise NotImplementedError

    def after_hooks(self, outcomes: Mapping[str, Outcome[list[HookResult]]], result: Json) -> Json:
        """The result, once the post hooks have answered (by node uuid)."""
        return result

    def warn(self, text: str) -> None:
        self.feedback(f"{WARNING}{text}")

    def info(self, text: str) -> None:
        self.feedback(f"{INFO}{text}")

    @contextmanager
    def undo(self) -> Iterator[Undo]:
        """`with self.undo() as undo: undo.before(node, call, …); self.rpc.one(…)`.

        On any error the steps run backwards, and the first error is the one that is raised.
        """
        undo = self.services.undo
        try:
            yield undo
        except BaseException:
            undo.run()
            raise


def step_arguments(call: Call[P, R], args: Sequence[object]) -> tuple[Json, ...]:
    """Arguments of a call in the form in which a journal keeps them."""
    return tuple(encode(argument) for argument in args)


class QueryUnit(LogicalUnit[O, None]):
    """A unit that only reads: no plan."""

    def check(self, config: Snapshot) -> None:
        return None


__all__ = [
    "GeneratedJobs",
    "GenericError",
    "Held",
    "HookEnv",
    "LockRequest",
    "LogicalUnit",
    "NodeCalls",
    "QueryUnit",
    "Services",
    "Undo",
    "step_arguments",
]
