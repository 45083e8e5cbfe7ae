"""Copying between two nodes: both ends are started, watched, and cleaned whatever happens.

Both ends get a new certificate for this one time, and accept no other from each other. What runs on
the nodes: node/impexp.py. What is left behind by a crash of the master is removed by the undo
steps; what runs then ends by itself when the other end is gone. Source: facts/node-behaviour.md §4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from ganeti.errors import OpExecError
from ganeti.logic.base import WARNING, Services, Undo
from ganeti.logic.transfer_state import Ends, Verdict, problem, progress_text
from ganeti.model.filled import FilledInstance
from ganeti.model.node import Node
from ganeti.rpc import calls
from ganeti.serializer import Json
from ganeti.types import IpFamily
from ganeti.utils.net import family_of

CERTIFICATE_S: Final = 86400  # facts/constants.json RIE_CERT_VALIDITY
CONNECT_S: Final = 60  # between nodes of one cluster
QUICK_POLL_S: Final = 0.2
POLL_S: Final = 1.0
QUICK_POLLS: Final = 25  # small disks are through by then
PROGRESS_S: Final = 15.0
SILENCES: Final = 10  # questions in a row that a node may leave unanswered: noded may restart
STALLED_S: Final = 600.0  # without a byte
SETTLE_S: Final = 5.0  # for the other end to say why, once one has failed
MAGIC_VERSION: Final = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One stream. `label` is for people ("disk/0"), `component` for names of files ("disk0").

    `source` and `target` are what is read and written: facts/node-rpc.json, impexp_io. The
    instances are as the nodes get them.
    """

    label: str
    component: str
    source: calls.ImpExpIo
    target: calls.ImpExpIo
    source_instance: FilledInstance
    target_instance: FilledInstance


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """Streams between two nodes, which run at the same time."""

    source: Node
    target: Node
    copies: Sequence[Copy]
    compress: str = "none"
    connect_timeout_s: int = CONNECT_S
    stalled_s: float = STALLED_S


@dataclass(slots=True)
class Stream:
    """A copy at work: the names of its ends, and what they told."""

    copy: Copy
    magic: str
    receiver: str
    sender: str = ""
    ends: Ends = field(default_factory=Ends)
    told: set[str] = field(default_factory=set)
    problem: str | None = None
    is_over: bool = False
    failing_s: float = 0.0
    idle_s: float = 0.0
    best_mib: float = 0.0


def magic(base: str, instance: str, component: str) -> str:
    """By which the ends of one stream know each other."""
    text = f"{MAGIC_VERSION}{base}{instance}{component}"
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def carry_out(services: Services, undo: Undo, plan: TransferPlan) -> None:
    """Everything has arrived. OpExecError tells what did not; nothing runs any more then."""
    with _certificates(services, undo, plan) as (receiver, sender):
        work = Transfer(services, undo, plan, receiver, sender)
        problems = work.run()
    if problems:
        raise OpExecError("; ".join(problems))


@contextmanager
def _certificates(
    services: Services, undo: Undo, plan: TransferPlan
) -> Iterator[tuple[dict[str, Json], dict[str, Json]]]:
    """Options of the receiver and of the sender: own key, and the other's certificate."""
    made = []
    for node in (plan.target, plan.source):
        name, pem = services.rpc.one(node, calls.x509_cert_create, CERTIFICATE_S)
        undo.before(node, calls.x509_cert_remove, name)
        made.append((node, name, pem))
    common: dict[str, Json] = {
        "compress": plan.compress,
        "ipv6": family_of(plan.target.secondary_ip) == IpFamily.IPV6,
        "connect_timeout": plan.connect_timeout_s,
    }
    (_, receiver, receiver_pem), (_, sender, sender_pem) = made
    yield (
        {**common, "key_name": receiver, "ca_pem": sender_pem},
        {**common, "key_name": sender, "ca_pem": receiver_pem},
    )
    for node, name, _ in made:
        services.rpc.ask(node, calls.x509_cert_remove, name)


class Transfer:
    """The loop over the streams of one plan."""

    def __init__(
        self,
        services: Services,
        undo: Undo,
        plan: TransferPlan,
        receiver: dict[str, Json],
        sender: dict[str, Json],
    ) -> None:
        self.services, self.undo, self.plan = services, undo, plan
        self.rpc, self.feedback = services.rpc, services.feedback
        self._options = {"receiver": receiver, "sender": sender}
        self._silent: dict[str, int] = {}
        self._since_told_s = 0.0
        self._streams: list[Stream] = []

    def run(self) -> list[str]:
        """A sentence for each stream that failed; both ends of all are cleaned."""
        plan = self.plan
        for copy in plan.copies:
            self.feedback(f"Exporting {copy.label} from {plan.source.name} to {plan.target.name}")
            self._streams.append(self._listen(copy))
        polls = 0
        while any(not stream.is_over for stream in self._streams):
            pause = QUICK_POLL_S if polls < QUICK_POLLS else POLL_S
            self.services.wait(pause)
            polls += 1
            self._look()
            self._since_told_s += pause
            for stream in self._streams:
                if not stream.is_over:
                    self._step(stream, pause)
            self._tell_progress()
            if any(stream.problem for stream in self._streams):
                break  # what has arrived of the others is of no use
        self._clean()
        return [f"{one.copy.label}: {one.problem}" for one in self._streams if one.problem]

    def _listen(self, copy: Copy) -> Stream:
        base = str(self._options["receiver"]["key_name"])
        secret = magic(base, copy.target_instance.name, copy.component)
        name = self.rpc.ask(
            self.plan.target,
            calls.import_start,
            {**self._options["receiver"], "magic": secret},
            copy.target_instance,
            copy.component,
            copy.target,
        ).get(f"receiving {copy.label}")
        self.undo.before(self.plan.target, calls.impexp_cleanup, name)
        return Stream(copy, secret, name)

    def _send(self, stream: Stream, port: int) -> None:
        copy = stream.copy
        self.feedback(f"{copy.label} is now listening, starting export")
        stream.sender = self.rpc.ask(
            self.plan.source,
            calls.export_start,
            {**self._options["sender"], "magic": stream.magic},
            self.plan.target.secondary_ip,
            port,
            copy.source_instance,
            copy.component,
            copy.source,
        ).get(f"sending {copy.label}")
        self.undo.before(self.plan.source, calls.impexp_cleanup, stream.sender)

    # Watching.

    def _look(self) -> None:
        """What all ends tell now, by one question to each node."""
        live = [stream for stream in self._streams if not stream.is_over]
        self._ask(self.plan.target, [(one, "receiver", one.receiver) for one in live])
        sent = [(one, "sender", one.sender) for one in live if one.sender]
        self._ask(self.plan.source, sent)

    def _ask(self, node: Node, ends: Sequence[tuple[Stream, str, str]]) -> None:
        if not ends:
            return
        outcome = self.rpc.ask(node, calls.impexp_status, [name for _, _, name in ends])
        if not outcome.ok:
            self._silent[node.uuid] = self._silent.get(node.uuid, 0) + 1
            if self._silent[node.uuid] >= SILENCES:
                raise OpExecError(f"node {node.name} does not tell its part: {outcome.error}")
            return
        self._silent[node.uuid] = 0
        for (stream, side, name), status in zip(ends, outcome.get()):
            if status is None:
                raise OpExecError(f"node {node.name}: transfer {name} is gone")
            other = stream.ends
            stream.ends = (
                Ends(status, other.sender) if side == "receiver" else Ends(other.receiver, status)
            )

    def _step(self, stream: Stream, passed_s: float) -> None:
        ends = stream.ends
        if not stream.sender and ends.port is not None and ends.verdict is Verdict.RUNNING:
            self._send(stream, ends.port)
            return
        self._tell_ends(stream)
        if ends.verdict is Verdict.FAILED:
            stream.failing_s += passed_s
            if ends.all_ended or stream.failing_s >= SETTLE_S:
                self._fail(stream, problem(ends, self.plan.source.name, self.plan.target.name))
        elif ends.verdict is Verdict.DONE:
            stream.is_over = True
        else:
            self._check_stall(stream, passed_s)

    def _check_stall(self, stream: Stream, passed_s: float) -> None:
        moved = stream.ends.moved_mib
        stream.idle_s = 0.0 if moved > stream.best_mib else stream.idle_s + passed_s
        stream.best_mib = max(moved, stream.best_mib)
        if stream.idle_s >= self.plan.stalled_s:
            self._fail(stream, f"no data for {self.plan.stalled_s:.0f} s")

    def _fail(self, stream: Stream, text: str) -> None:
        stream.problem, stream.is_over = text, True

    def _tell_ends(self, stream: Stream) -> None:
        ends = stream.ends
        for side, status, words in (
            ("receiver", ends.receiver, "finished receiving data"),
            ("sender", ends.sender, "finished sending data"),
        ):
            if status is not None and status.exit_status == 0 and side not in stream.told:
                stream.told.add(side)
                self.feedback(f"{stream.copy.label} {words}")

    def _tell_progress(self) -> None:
        if self._since_told_s < PROGRESS_S:
            return
        self._since_told_s = 0.0
        for stream in self._streams:
            if not stream.is_over and stream.ends.sender is not None:
                text = progress_text(stream.copy.label, stream.ends.sender)
                if text is not None:
                    self.feedback(text)

    def _clean(self) -> None:
        """No end runs, and none leaves anything. What can't be cleaned is told."""
        every = [
            (node, name)
            for stream in self._streams
            for node, name in (
                (self.plan.target, stream.receiver),
                (self.plan.source, stream.sender),
            )
            if name
        ]
        failed = any(stream.problem for stream in self._streams)
        for node, name in every if failed else []:
            self.rpc.ask(node, calls.impexp_abort, name)
        for node, name in every:
            outcome = self.rpc.ask(node, calls.impexp_cleanup, name)
            if not outcome.ok:
                self.feedback(f"{WARNING}transfer {name} on node {node.name}: {outcome.error}")
