"""Whether an instance runs, what it needs on its node, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.logic import ask, disks
from ganeti.logic.base import WARNING, NodeCalls, Services
from ganeti.model.filled import FilledInstance
from ganeti.model.inherit import fill_nic
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.report import SHUT_DOWN, RunningInfo
from ganeti.rpc import calls
from ganeti.rpc.base import Outcome
from ganeti.types import AdminState, NicMode


def ask_info(rpc: NodeCalls, config: Snapshot, instance: Instance) -> Outcome[RunningInfo | None]:
    """The instance as its primary node's hypervisor knows it."""
    return rpc.ask(
        config.nodes[instance.primary_node],
        calls.instance_info,
        instance.name,
        instance.hypervisor.value,
        ask.cluster_hvparams(config, instance.hypervisor),
    )


def info(rpc: NodeCalls, config: Snapshot, instance: Instance) -> RunningInfo | None:
    """The same for a check: ENVIRON when the node can't tell."""
    outcome = ask_info(rpc, config, instance)
    if not outcome.ok:
        raise OpPrereqError(
            f"node {outcome.node.name} can't tell whether instance {instance.name} runs:"
            f" {outcome.error}",
            Code.ENVIRON,
        )
    return outcome.get()


def runs(found: RunningInfo | None) -> bool:
    """Whether the guest runs; one that was shut down from inside does not."""
    return found is not None and found.state != SHUT_DOWN


def user_has_shut_down(found: RunningInfo | None) -> bool:
    """The guest was shut down from inside, and the hypervisor still holds what is left of it."""
    return found is not None and found.state == SHUT_DOWN


def not_running(services: Services, config: Snapshot, instance: Instance, doing: str) -> None:
    """The instance is neither marked up nor running; STATE.

    Whether it runs can't be asked of an offline node, which is only told.
    """
    ask.admin_state(instance, (AdminState.DOWN, AdminState.OFFLINE), doing)
    node = config.nodes[instance.primary_node]
    if node.offline:
        services.feedback(
            f"{WARNING}primary node {node.name} is offline: can't see whether instance"
            f" {instance.name} runs"
        )
    elif runs(info(services.rpc, config, instance)):
        raise OpPrereqError(
            f"instance {instance.name} runs, must be stopped for {doing}",
            Code.STATE,
            hint="gnt-instance shutdown stops it",
        )


def bridges(services: Services, config: Snapshot, node: Node, nics: Sequence[Nic]) -> None:
    """The node has the bridges of these interfaces; ENVIRON.

    In a virtual cluster there are none: guests get user-mode networking.
    """
    group = config.group_of(node)
    params = [fill_nic(config.cluster, nic, group) for nic in nics]
    wanted = sorted({str(one["link"]) for one in params if one["mode"] == NicMode.BRIDGED})
    if not wanted or services.paths.is_virtual:
        return
    outcome = services.rpc.ask(node, calls.bridges_exist, wanted)
    if not outcome.ok:
        raise OpPrereqError(
            f"bridges of node {node.name}: {outcome.error}",
            Code.ENVIRON,
            hint="make the bridge there, or use another link",
        )


def start(
    services: Services,
    filled: FilledInstance,
    *,
    reason: calls.ReasonTrail,
    ignore_secondaries: bool = False,
    paused: bool = False,
) -> None:
    """Its disks are active and it runs on its primary node; one that runs already is no error.

    After OpExecError the disks are inactive.
    """
    config = services.snapshot()
    node = config.nodes[filled.primary_node]
    disks.activate(services, config, filled, ignore_secondaries=ignore_secondaries)
    outcome = services.rpc.ask(node, calls.instance_start, filled, paused, reason)
    if not outcome.ok:
        try:
            disks.deactivate(services, services.snapshot(), filled)
        except GenericError as error:
            services.feedback(f"{WARNING}{error}")
    outcome.get(f"starting instance {filled.name}")
