"""An instance is stopped on one node and started on another. Steps: facts/storage.md §6, Failover.

When the instance is up and anything fails after the switch, it stays marked up on its new node.
"""

from __future__ import annotations

from dataclasses import dataclass

from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpExecError
from ganeti.hypervisor.registry import driver_class
from ganeti.logic import ask, disks, instance_config, instance_state
from ganeti.logic.base import WARNING, Services
from ganeti.logic.relocation import Way, check_consistency, will_run
from ganeti.rpc import calls
from ganeti.storage import guest_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """How: `ignore_consistency` goes on with disks and a source that are not as they should be."""

    way: Way
    shutdown_timeout_s: int
    ignore_consistency: bool
    reason: calls.ReasonTrail


def fail_over(services: Services, todo: Failover) -> None:
    """The instance is on its new node, and runs there when it should run. OpExecError."""
    config, way = services.snapshot(), todo.way
    instance = way.instance
    services.feedback(f"Failover instance {instance.name}")
    _check(services, config, todo)
    services.feedback("* shutting down instance on source node")
    _stop(services, config, todo)
    services.feedback("* deactivating the instance's disks on source node")
    _release_disks(services, todo)
    _tell_state(services, config, way)
    stored = instance_config.switch_primary(services, instance, way.target.uuid)
    if not will_run(instance):
        return
    config = services.snapshot()
    services.feedback(
        f"* activating the instance's disks and starting it on target node {way.target.name}"
    )
    instance_state.start(
        services,
        ask.filled(config, stored, target=way.target.uuid),
        reason=todo.reason,
        ignore_secondaries=True,
    )


def _check(services: Services, config: Snapshot, todo: Failover) -> None:
    """The target's disks are good, as far as that can be seen and matters."""
    way = todo.way
    if not way.instance.disks_active:
        services.feedback("* not checking disk consistency as instance is not running")
        return
    services.feedback("* checking disk consistency between source and target")
    for problem in check_consistency(services, config, way):
        if not (todo.ignore_consistency or way.source.offline):
            raise OpExecError(
                f"instance {way.instance.name} can't fail over: {problem};"
                " --ignore-consistency does it all the same"
            )
        services.feedback(f"{WARNING}{problem}")


def _tell_state(services: Services, config: Snapshot, way: Way) -> None:
    """What is kept on the node that is left, and so is not there any more."""
    filled = ask.filled(config, way.instance)
    state = driver_class(way.instance.hypervisor).private_state(filled.hvparams)
    if state and not guest_state.follows([disk.dev_type for disk in filled.disks_info]):
        services.feedback(
            f"{WARNING}instance {filled.name}: {' and '.join(state)} stay on node"
            f" {way.source.name}; on node {way.target.name} it begins with new ones (live"
            " migration takes them along)"
        )


def _stop(services: Services, config: Snapshot, todo: Failover) -> None:
    """It does not run on the source. When that can't be known, it is said."""
    way = todo.way
    filled = ask.filled(config, way.instance, target=way.source.uuid)
    outcome = services.rpc.ask(
        way.source, calls.instance_shutdown, filled, todo.shutdown_timeout_s, todo.reason
    )
    if outcome.ok:
        return
    text = f"instance {filled.name} can't be stopped on node {way.source.name}: {outcome.error}"
    if not (todo.ignore_consistency or way.source.offline):
        raise OpExecError(
            f"{text}; it is still there. Mark the node offline when it is dead, or use"
            " --ignore-consistency"
        )
    services.feedback(f"{WARNING}{text}; make sure that the node is really off")


def _release_disks(services: Services, todo: Failover) -> None:
    """OpExecError when the source can't, unless it is ignored."""
    way = todo.way
    config = services.snapshot()
    stored = instance_config.record(services, way.instance, disks_active=False)
    ignore = todo.ignore_consistency or way.source.offline
    if not disks.shut_down(services, config, stored, ignore_primary=ignore):
        raise OpExecError(
            f"disks of instance {stored.name} can't be deactivated on node {way.source.name}"
        )
