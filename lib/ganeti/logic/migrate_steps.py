"""A running instance goes to another node. Steps: facts/storage.md §6, Live migration.

At every moment it is known, or said that it is not, on which side the guest goes on:

* until the hypervisor of the source says that all has been sent, the source has it: after a failure
  the target's half is ended first, and only then the source goes on;
* from then on the target has it: it is recorded there before the source's half is ended;
* when the source does not answer in between, nothing is touched: `--cleanup` finds out later.

There are no undo steps: after a crash of the master only asking tells where the guest is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.logic import ask, disks, instance_config, instance_state
from ganeti.logic.base import WARNING, Services
from ganeti.logic.relocation import Way, refuse_inconsistent
from ganeti.model.disk import Disk
from ganeti.model.filled import FilledInstance
from ganeti.model.node import Node
from ganeti.model.report import MigrationStatus
from ganeti.rpc import calls
from ganeti.storage.layout import TRAITS

# Asked often at first: a small idle guest is over in a moment, and is not kept waiting.
FIRST_POLL_S = 0.05
POLL_S = 1.0
POLL_SHARE = 0.05  # of the time so far, by which the end may be noticed late
TELL_EVERY_S = 10.0
SILENCES = 10  # questions in a row that the source may leave unanswered
SILENCE_S = 3.0
# So long without a byte sent: the way to the target, or the target, is lost. The source's kernel
# would try for a quarter of an hour (tcp(7), tcp_retries2).
STALLED_S = 15.0
UNDER_WAY = frozenset(
    {
        *("none", "setup", "active", "pre-switchover", "device", "wait-unplug", "cancelling"),
        *("postcopy-active", "postcopy-paused", "postcopy-recover"),
    }
)
POSTCOPY = "postcopy"  # the guest runs on the target already; nothing can be taken back
COMPLETED = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """How. `balloon_mib`: memory to shrink to before, when the target has less than is in use."""

    way: Way
    live: bool
    balloon_mib: int | None
    ignore_versions: bool


@dataclass(frozen=True, slots=True)
class Sides:
    """The instance and its disks as each of the two nodes gets them."""

    source: Node
    target: Node
    at_source: FilledInstance
    at_target: FilledInstance
    source_disks: Sequence[Disk]
    target_disks: Sequence[Disk]

    @property
    def name(self) -> str:
        return self.at_source.name


def migrate(services: Services, todo: Migration) -> None:
    """The guest runs on the target, and is recorded there. OpExecError says where it is."""
    config, way = services.snapshot(), todo.way
    services.feedback(f"Migrating instance {way.instance.name}")
    _compare_versions(services, config, todo)
    services.feedback("* checking disk consistency between source and target")
    refuse_inconsistent(services, config, way)
    sides = _sides(config, way)
    if todo.balloon_mib is not None:
        services.feedback(f"* setting memory of {sides.name} to {todo.balloon_mib} MiB")
        services.rpc.ask(
            sides.source, calls.instance_balloon_memory, sides.at_source, todo.balloon_mib
        ).get(f"shrinking the memory of {sides.name}, which stays on node {sides.source.name}")
    info = _prepare(services, sides)
    services.feedback(f"* migrating instance to {sides.target.name}")
    _send(services, config, sides, info, live=todo.live)
    _arrive(services, sides, info, live=todo.live)
    services.feedback("* done")


def _sides(config: Snapshot, way: Way) -> Sides:
    own = config.disks_of(way.instance)
    there = replace(way.instance, nics=instance_config.nics_on(config, way.instance, way.target))
    return Sides(
        way.source,
        way.target,
        ask.filled(config, way.instance, target=way.source.uuid),
        ask.filled(config, there, target=way.target.uuid),
        [disks.as_on(config, way.source, disk) for disk in own],
        [disks.as_on(config, way.target, disk) for disk in own],
    )


def _compare_versions(services: Services, config: Snapshot, todo: Migration) -> None:
    """OpExecError when the hypervisors are not of one version, unless that is ignored."""
    way, kind = todo.way, todo.way.instance.hypervisor
    specs = [(kind.value, ask.cluster_hvparams(config, kind))]
    answers = services.rpc.all([way.source, way.target], calls.node_info, [], specs)
    source, target = (
        answers[node.uuid].get("version of the hypervisor").hypervisors[0].hv_version
        for node in (way.source, way.target)
    )
    if source is None or target is None or source == target:
        return
    text = (
        f"hypervisor {kind} is of version {source} on node {way.source.name} and of version"
        f" {target} on node {way.target.name}"
    )
    if not todo.ignore_versions:
        raise OpExecError(f"{text}; --ignore-hvversions migrates all the same")
    services.feedback(f"{WARNING}{text}")


# Before anything is sent: the source has it.


def _prepare(services: Services, sides: Sides) -> str:
    """Both sides can use the disks, and the target waits. The source's information for it."""
    stays = f"instance {sides.name} goes on running on node {sides.source.name}"
    info = services.rpc.ask(sides.source, calls.migration_info, sides.at_source).get(stays)
    text = info if isinstance(info, str) else ""
    services.feedback("* preparing the disks and the target node")
    try:
        for node, own in ((sides.source, sides.source_disks), (sides.target, sides.target_disks)):
            if own:
                services.rpc.ask(node, calls.blockdev_open, sides.name, own, False).get(stays)
        services.rpc.ask(
            sides.target,
            calls.accept_instance,
            sides.at_target,
            text,
            sides.target.secondary_ip,
        ).get(stays)
    except OpExecError:
        _give_up(services, sides, text, live=True, begun=False)
        raise
    return text


def _give_up(
    services: Services, sides: Sides, info: str, *, live: bool, begun: bool = True
) -> None:
    """The source has it: the target's half is ended, then the source goes on."""
    left = services.rpc.ask(
        sides.target, calls.instance_finalize_migration_dst, sides.at_target, info, False
    )
    if not left.ok:
        services.feedback(
            f"{WARNING}node {sides.target.name} may still hold a half of instance {sides.name}"
            f" that does not run: {left.error}"
        )
    if begun:
        back = services.rpc.ask(
            sides.source, calls.instance_finalize_migration_src, sides.at_source, False, live
        )
        if not back.ok:
            services.feedback(
                f"{WARNING}node {sides.source.name}: going on with {sides.name}: {back.error}"
            )
    if not sides.source_disks:
        return
    for node, call, own in (
        (sides.target, "close", sides.target_disks),
        (sides.source, "open", sides.source_disks),
    ):
        if call == "close":
            outcome = services.rpc.ask(node, calls.blockdev_close, sides.name, own)
        else:
            outcome = services.rpc.ask(node, calls.blockdev_open, sides.name, own, True)
        if not outcome.ok:
            services.feedback(f"{WARNING}disks on node {node.name}: {outcome.error}")
        elif call == "close":
            _let_go(services, node, own)


def _let_go(services: Services, node: Node, own: Sequence[Disk]) -> None:
    """Disks outside of the nodes are not connected here any more; what stays is told."""
    for disk in own:
        if TRAITS[disk.dev_type].shared:
            outcome = services.rpc.ask(node, calls.blockdev_shutdown, disk)
            if not outcome.ok:
                services.feedback(f"{WARNING}disks on node {node.name}: {outcome.error}")


# While it is being sent.


def _send(services: Services, config: Snapshot, sides: Sides, info: str, *, live: bool) -> None:
    """All has been sent. OpExecError: the guest runs on the source, or it is not known."""
    begun = services.rpc.ask(
        sides.source,
        calls.instance_migrate,
        config.cluster.cluster_name,
        sides.at_source,
        sides.target.secondary_ip,
        live,
    )
    problem = begun.error
    status = _await_end(services, sides, patient=begun.ok)
    if status is None and _runs_at_source(services, config, sides):
        problem = problem or "the hypervisor does not tell how far it is"
    elif status is None:
        raise OpExecError(
            f"migration of instance {sides.name}: node {sides.source.name} does not answer, so it"
            f" is not known whether it goes on there or on node {sides.target.name} (it runs in one"
            f" place only); when the node is back, gnt-instance migrate --cleanup {sides.name}"
            " finds it"
        )
    elif status.status == COMPLETED:
        return
    else:
        problem = problem or _why_ended(status)
    services.feedback(f"* migration failed ({problem}), going back to {sides.source.name}")
    _give_up(services, sides, info, live=live)
    raise OpExecError(
        f"migration of instance {sides.name} to node {sides.target.name} has failed: {problem};"
        f" it goes on running on node {sides.source.name}"
    )


def _why_ended(status: MigrationStatus) -> str:
    if status.status in UNDER_WAY:
        return f"nothing could be sent for {STALLED_S:.0f} s"
    return f"the hypervisor says {status.status}"


def _await_end(services: Services, sides: Sides, *, patient: bool) -> MigrationStatus | None:
    """How the migration ended; None when the source does not tell (any more).

    One that stands still is returned as it is: it is for the caller to end it.
    """
    silences, waited_s, still_s, told_s = 0, 0.0, 0.0, TELL_EVERY_S
    sent: int | None = None
    while True:
        outcome = services.rpc.ask(
            sides.source, calls.instance_get_migration_status, sides.at_source
        )
        if not outcome.ok:
            silences += 1
            if not patient or silences >= SILENCES:
                return None
            services.wait(SILENCE_S)
            continue
        silences = 0
        status = outcome.get()
        if status.status not in UNDER_WAY:
            return status
        pause_s = min(POLL_S, max(FIRST_POLL_S, POLL_SHARE * waited_s))
        moves = status.transferred_ram is None or status.transferred_ram != sent
        still_s = 0.0 if moves or status.status.startswith(POSTCOPY) else still_s + pause_s
        sent = status.transferred_ram
        if still_s >= STALLED_S:
            return status
        if told_s >= TELL_EVERY_S:
            _tell_progress(services, status)
            told_s = 0.0
        services.wait(pause_s)
        told_s += pause_s
        waited_s += pause_s


def _tell_progress(services: Services, status: MigrationStatus) -> None:
    if status.transferred_ram is not None and status.total_ram:
        percent = 100.0 * status.transferred_ram / status.total_ram
        services.feedback(f"* memory transfer progress: {percent:.2f} %")


def _runs_at_source(services: Services, config: Snapshot, sides: Sides) -> bool:
    """Whether the source answers, and has the guest."""
    instance = config.instances[sides.at_source.uuid]
    outcome = instance_state.ask_info(services.rpc, config, instance)
    return outcome.ok and instance_state.runs(outcome.get())


# All was sent: the target has it.


def _arrive(services: Services, sides: Sides, info: str, *, live: bool) -> None:
    """It is recorded on the target and in use only there. OpExecError names what is left to do."""
    arrived = services.rpc.ask(
        sides.target, calls.instance_finalize_migration_dst, sides.at_target, info, True
    )
    if not arrived.ok and _is_lost(services, sides):
        _give_up(services, sides, info, live=live)
        raise OpExecError(
            f"instance {sides.name} did not arrive on node {sides.target.name}"
            f" ({arrived.error}); it goes on running on node {sides.source.name}"
        )
    stored = instance_config.switch_primary(services, sides.at_source, sides.target.uuid)
    ended = services.rpc.ask(
        sides.source, calls.instance_finalize_migration_src, sides.at_source, True, live
    )
    there = f"instance {stored.name} runs on node {sides.target.name}"
    if not arrived.ok:
        raise OpExecError(
            f"{there}, to which all of it was sent, but that node does not answer"
            f" ({arrived.error}); if it is dead, gnt-instance failover --ignore-consistency starts"
            " the instance elsewhere"
        )
    if not ended.ok:
        services.feedback(
            f"{WARNING}{there}; what is left of it on node {sides.source.name} could not be"
            f" removed: {ended.error}"
        )
    _hand_over_disks(services, sides)


def _is_lost(services: Services, sides: Sides) -> bool:
    """Whether the target answers, and does not have the guest."""
    config = services.snapshot()
    kind = sides.at_target.hypervisor
    outcome = services.rpc.ask(
        sides.target,
        calls.instance_info,
        sides.name,
        kind.value,
        ask.cluster_hvparams(config, kind),
    )
    return outcome.ok and not instance_state.runs(outcome.get())


def _hand_over_disks(services: Services, sides: Sides) -> None:
    """Only the target may write; the source lets go."""
    if not sides.source_disks:
        return
    problems = [
        services.rpc.ask(sides.source, calls.blockdev_close, sides.name, sides.source_disks)
    ]
    problems.append(
        services.rpc.ask(sides.target, calls.blockdev_open, sides.name, sides.target_disks, True)
    )
    problems += [
        services.rpc.ask(sides.source, calls.blockdev_shutdown, disk) for disk in sides.source_disks
    ]
    for outcome in problems:
        if not outcome.ok:
            services.feedback(f"{WARNING}disks on node {outcome.node.name}: {outcome.error}")
