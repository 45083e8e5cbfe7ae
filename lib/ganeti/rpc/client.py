"""Calling nodes: kept connections, bounded fan-out, one outcome per node.

Lives on the loop. A fan-out never raises: an unreachable, slow or refusing node is an `Outcome`
with an error text. What a node that does not answer costs, `health.py` limits.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from ganeti.errors import ParseError, decode_error
from ganeti.http.client import CONNECT_S, HttpAnswer, HttpClient, Unreachable
from ganeti.rpc import calls
from ganeti.rpc.base import Call, Outcome, P, R, Target
from ganeti.rpc.health import COSTLY_S, Health
from ganeti.serializer import Json, dump_bytes, loads

__all__ = ["Call", "HttpTransport", "Outcome", "RpcClient", "Target", "Transport"]

logger = logging.getLogger(__name__)

FAN_OUT = 64  # nodes asked at the same time by one fan-out
PROBE_S = 10.0  # for a node that did not answer before; a living one takes milliseconds
PATIENCE_S = 0.5  # of who would like to call such a node; the probe goes on without it
OFFLINE = "Node is marked offline"
NO_ANSWER, ERROR = "no_answer", "error"  # what observers are told


class Transport(Protocol):
    """What carries a call: HTTPS, or a fake network in memory."""

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        """The node's answer; Unreachable when none came."""

    async def close(self) -> None:
        """Connections are closed."""


class HttpTransport:
    """Calls over HTTPS. `tls` as of `http.tls.client_context`."""

    def __init__(self, tls: ssl.SSLContext, *, connect_s: float = CONNECT_S) -> None:
        self._http = HttpClient(tls, connect_s=connect_s)

    async def post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        return await self._http.post(node.address, node.port, call, body, timeout_s)

    async def close(self) -> None:
        await self._http.close()


class RpcClient:
    """The master's way to its nodes. `now` is a monotonic clock.

    Each of `observers` is called after a call with the node, the seconds it took, and what went
    wrong: `no_answer`, `error` (that is what the node answered), or nothing.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        health: Health | None = None,
        fan_out: int = FAN_OUT,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.health = health or Health()
        self.observers: list[Callable[[Target, float, str], None]] = []
        self._transport = transport
        self._carrying: Counter[Transport] = Counter()  # calls under way
        self._fan_out = fan_out
        self._now = now
        self._probes: set[asyncio.Task[str | None]] = set()

    async def all(
        self, nodes: Sequence[Target], call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, Outcome[R]]:
        """The same call on every node; outcomes by node uuid."""
        arguments = call.positional(args, kwargs)
        body = _body(call, arguments)
        deadline_s = call.deadline_s(arguments)
        return await self._fan([(node, self._ask(node, call, body, deadline_s)) for node in nodes])

    async def each(
        self, work: Mapping[Target, tuple[Any, ...]], call: Call[..., R]
    ) -> dict[str, Outcome[R]]:
        """The same call with other arguments per node; outcomes by node uuid."""
        jobs = []
        for node, args in work.items():
            arguments = call.positional(tuple(args), {})
            body = _body(call, arguments)
            jobs.append((node, self._ask(node, call, body, call.deadline_s(arguments))))
        return await self._fan(jobs)

    async def ask(
        self, node: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Outcome[R]:
        """One node's outcome; never raises."""
        arguments = call.positional(args, kwargs)
        return await self._ask(node, call, _body(call, arguments), call.deadline_s(arguments))

    async def one(self, node: Target, call: Call[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """One node's answer; OpExecError "call: node X: error" when there is none."""
        return (await self.ask(node, call, *args, **kwargs)).get(call.name)

    async def renew(self, transport: Transport) -> None:
        """Further calls use `transport` (the certificates are new).

        The old one is closed when the calls that it carries have ended.
        """
        old, self._transport = self._transport, transport
        if old not in self._carrying:
            await old.close()

    async def _post(self, node: Target, call: str, body: bytes, timeout_s: float) -> HttpAnswer:
        transport = self._transport
        self._carrying[transport] += 1
        try:
            return await transport.post(node, call, body, timeout_s)
        finally:
            self._carrying[transport] -= 1
            if not self._carrying[transport]:
                del self._carrying[transport]
                if transport is not self._transport:
                    await transport.close()

    async def close(self) -> None:
        for probe in self._probes:
            probe.cancel()
        await self._transport.close()

    async def _fan(
        self, jobs: Sequence[tuple[Target, Awaitable[Outcome[R]]]]
    ) -> dict[str, Outcome[R]]:
        if len(jobs) == 1:
            return {jobs[0][0].uuid: await jobs[0][1]}
        gate = asyncio.Semaphore(self._fan_out)

        async def wait(job: Awaitable[Outcome[R]]) -> Outcome[R]:
            async with gate:
                return await job

        outcomes: Iterable[Outcome[R]] = await asyncio.gather(*(wait(job) for _, job in jobs))
        return {outcome.node.uuid: outcome for outcome in outcomes}

    async def _ask(
        self, node: Target, call: Call[..., R], body: bytes, deadline_s: float
    ) -> Outcome[R]:
        if node.offline and not call.offline_too:
            return Outcome(node, error=OFFLINE, offline=True)
        # A call that offline nodes get too is a question whether the node lives: always asked.
        refusal = self.health.refusal(node.uuid, self._now())
        if refusal is not None and not call.offline_too:
            return Outcome(node, error=refusal)
        if refusal is None and self.health.is_probed(node.uuid):
            refusal = await self._wait_for_probe(node, deadline_s)
            if refusal is not None:
                return Outcome(node, error=refusal)
        began = self._now()
        try:
            answer = await self._post(node, call.name, body, deadline_s)
        except Unreachable as error:
            now = self._now()
            cost_s = 0.0 if error.closed else now - began
            self.health.failed(node.uuid, now, cost_s, str(error))
            logger.warning("call %s: node %s: %s", call.name, node.name, error)
            self._observe(node, now - began, NO_ANSWER)
            return Outcome(node, error=str(error))
        except asyncio.CancelledError:
            self._given_up(node, call, self._now() - began)
            raise
        except BaseException:  # a mistake of ours: nothing is known of the node
            self.health.given_up(node.uuid)
            raise
        self.health.succeeded(node.uuid)
        took_s = self._now() - began
        logger.debug("call %s: node %s: %.4f s", call.name, node.name, took_s)
        outcome = read_answer(node, call, answer)
        self._observe(node, took_s, "" if outcome.ok else ERROR)
        return outcome

    def _given_up(self, node: Target, call: Call[..., Any], cost_s: float) -> None:
        """A call may take long, and its caller may lose interest: that says nothing of the node.
        But an express call is short and has workers of its own there: silence is a failure."""
        if call.express and cost_s >= COSTLY_S:
            reason = f"no answer to {call.name} within {cost_s:.1f} s"
            self.health.failed(node.uuid, self._now(), cost_s, reason)
        else:
            self.health.given_up(node.uuid)

    def _observe(self, node: Target, took_s: float, failure: str) -> None:
        for observer in self.observers:
            observer(node, took_s, failure)

    def _unreachable(
        self, node: Target, call: Call[..., Any], began: float, error: Unreachable
    ) -> str:
        now = self._now()
        cost_s = 0.0 if error.closed else now - began
        self.health.failed(node.uuid, now, cost_s, str(error))
        logger.warning("call %s: node %s: %s", call.name, node.name, error)
        return str(error)

    async def _wait_for_probe(self, node: Target, deadline_s: float) -> str | None:
        """None when a node that is tried again has answered; otherwise why it is not called.

        Who asks hundreds of nodes, some of them dead for long, does not wait for those.
        """
        probe = asyncio.create_task(self._probe(node, min(deadline_s, PROBE_S)))
        self._probes.add(probe)
        probe.add_done_callback(self._probes.discard)
        done, _ = await asyncio.wait({probe}, timeout=PATIENCE_S)
        return probe.result() if done else self.health.refusal(node.uuid, self._now())

    async def _probe(self, node: Target, timeout_s: float) -> str | None:
        """The node's version is asked before the call itself, which may be one that waits for an
        hour. None when an answer came, else why not."""
        probe = calls.version
        began = self._now()
        try:
            await self._post(node, probe.name, _body(probe, ()), timeout_s)
        except Unreachable as error:
            return self._unreachable(node, probe, began, error)
        except BaseException:  # as in _ask
            self.health.given_up(node.uuid)
            raise
        self.health.succeeded(node.uuid)
        return None


def _body(call: Call[..., Any], arguments: tuple[Any, ...]) -> bytes:
    return dump_bytes(call.encode_arguments(arguments)) + b"\n"


def read_answer(node: Target, call: Call[..., R], answer: HttpAnswer) -> Outcome[R]:
    """The outcome that an HTTP answer means (facts/node-rpc.json, client_result_rules)."""
    if answer.status != 200:
        text = answer.body.decode("utf-8", "replace").strip()
        return Outcome(node, error=text or f"HTTP status {answer.status}")
    try:
        pair = loads(answer.body, f"answer of {call.name}")
        if not isinstance(pair, list):
            return Outcome(node, error=f"invalid result type: {type(pair).__name__}")
        if len(pair) != 2:
            return Outcome(node, error=f"invalid result length: {len(pair)}")
        ok, payload = pair
        if not ok:
            return Outcome(node, error=_failure_text(payload))
        return Outcome(node, value=call.decode_result(payload))
    except ParseError as error:
        return Outcome(node, error=str(error))


def _failure_text(payload: Json) -> str:
    if not payload:
        return "No error information"
    error = decode_error(payload)
    return str(error) if error is not None else str(payload)
