"""Asking the nodes whom they take for the master; voting.py says what the answers mean."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ganeti.rpc import calls
from ganeti.rpc.base import Outcome, Target
from ganeti.rpc.client import RpcClient

OFFLINE_S: Final = 2.0  # an offline node that lives answers at once, and most do not live


@dataclass(frozen=True, slots=True)
class Ballot:
    """The answers of all nodes by their names; `offline`: the names of those marked so."""

    votes: Mapping[str, str | None]
    offline: frozenset[str]
    errors: Mapping[str, str]


async def hold(rpc: RpcClient, nodes: Sequence[Target], *, offline_s: float = OFFLINE_S) -> Ballot:
    """Every node is asked, offline ones too; these are not waited for longer than `offline_s`."""
    others = asyncio.gather(*(_ask_offline(rpc, node, offline_s) for node in nodes if node.offline))
    living = [node for node in nodes if not node.offline]
    outcomes = await rpc.all(living, calls.master_node_name)
    answers = [*outcomes.values(), *await others]
    return Ballot(
        votes={one.node.name: one.value for one in answers},
        offline=frozenset(node.name for node in nodes if node.offline),
        errors={one.node.name: one.error for one in answers if one.error is not None},
    )


async def _ask_offline(rpc: RpcClient, node: Target, limit_s: float) -> Outcome[str]:
    try:
        async with asyncio.timeout(limit_s):
            return await rpc.ask(replace(node, offline=False), calls.master_node_name)
    except TimeoutError:
        return Outcome(node, error=f"marked offline, and no answer within {limit_s:g} s")
