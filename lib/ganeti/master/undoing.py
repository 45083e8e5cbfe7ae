"""Carrying undo steps out: right after a failure, after a crash, or when a node is back."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.config.store import ConfigStore
from ganeti.errors import GenericError
from ganeti.jobs.undo import Failed, Step
from ganeti.locking.names import Level
from ganeti.logic.config_steps import run_config_step
from ganeti.master.locks import JobLocks
from ganeti.model.disk import Disk
from ganeti.rpc import calls
from ganeti.rpc.base import CALLS, Target, target_of
from ganeti.rpc.client import RpcClient

logger = logging.getLogger(__name__)

CONFIG_STEP: Final = "config:"  # prefix of undo steps on the configuration, else it is a node call
SETTLED: Final = "settled"  # not a call: the steps before it are not to be undone any more

LATE: Final = frozenset(
    one.name
    for one in (
        calls.blockdev_remove,
        calls.file_storage_dir_remove,
        calls.file_storage_dir_rename,
        calls.impexp_cleanup,
        calls.x509_cert_remove,
    )
)
"""Calls that may also be made hours later, if `is_in_use` says that nobody needs their object."""


async def run_steps(rpc: RpcClient, store: ConfigStore, steps: Sequence[Step]) -> list[Failed]:
    """Carry undo steps out, last one first. Returns those that failed, in that order."""
    failed = []
    for step in reversed(steps):
        if step.call == SETTLED:
            break
        one = await _run_step(rpc, store, step)
        if one is not None:
            failed.append(one)
    return failed


async def run_late(
    rpc: RpcClient, store: ConfigStore, locks: JobLocks, step: Step
) -> Failed | None:
    """Carry a step out that was owed; not when its object has come into use since then.

    Nor while a job works with the node's storage: it may be about to use the very same place.
    """
    with locks.if_free(Level.NODE_RES, step.node) as is_free:
        if not is_free:
            return Failed(step, f"{step.call}: a job works with storage of {step.node}", away=True)
        if is_in_use(store.snapshot, step):
            logger.warning(
                "undo step %s on node %s: its object is in use again", step.call, step.node
            )
            return None
        return await _run_step(rpc, store, step)


def is_in_use(config: Snapshot, step: Step) -> bool:
    """An instance has the disk, or disks in the directory, that the step would take away there.

    A disk that a failed move has left at its target is in use elsewhere only.
    """
    match step.arguments:
        case [{"uuid": str(uuid)}, *_]:
            disk = config.disks.get(uuid)
            return disk is not None and _is_on(disk, step.node)
        case [str(path), *_]:
            return any(
                str(part).startswith(f"{path}/")
                for disk in config.disks.values()
                if _is_on(disk, step.node)
                for part in disk.logical_id or ()
            )
    return False


def _is_on(disk: Disk, node: str) -> bool:
    """Its storage is shared, or the node (its uuid) is one of its own."""
    return not disk.nodes or node in disk.nodes


async def _run_step(rpc: RpcClient, store: ConfigStore, step: Step) -> Failed | None:
    try:
        if step.call.startswith(CONFIG_STEP):
            await store.commit(run_config_step(step.call.removeprefix(CONFIG_STEP), step.arguments))
            return None
        node = store.snapshot.nodes.get(step.node)
        if node is None:
            return Failed(step, f"{step.call}: node {step.node} is no longer in the cluster")
        target, call = target_of(node), CALLS[step.call]
        outcome = await rpc.ask(target, call, *call.decode_arguments(list(step.arguments)))
        if outcome.error is None:
            return None
        away = step.call in LATE and not await _answers(rpc, target)
        return Failed(step, f"{step.call}: node {node.name}: {outcome.error}", away)
    except (GenericError, OSError) as error:  # of the configuration: the disk may have room later
        return Failed(step, f"{step.call}: {error}", step.call.startswith(CONFIG_STEP))


async def _answers(rpc: RpcClient, target: Target) -> bool:
    """Whether the node is there, so that the step itself was refused."""
    return (await rpc.ask(target, calls.version)).error is None
