"""Whether the policy of a node's group takes an instance; facts/master.md §F, ipolicy."""

from __future__ import annotations

from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic.base import WARNING, Services
from ganeti.logic.verify_instance import spec_of
from ganeti.model.inherit import fill_ipolicy
from ganeti.model.instance import Instance
from ganeti.model.ipolicy import InstanceSpec, violations
from ganeti.model.node import Node


def policy_problem(
    config: Snapshot, instance: Instance, spec: InstanceSpec, node: Node
) -> str | None:
    """A sentence when the policy of the node's group refuses an instance of these sizes."""
    group = config.group_of(node)
    found = violations(fill_ipolicy(config.cluster, group), spec)
    if not found:
        return None
    return (
        f"instance {instance.name} violates the policy of node group {group.name}:"
        f" {'; '.join(found)}"
    )


def check_policy(config: Snapshot, instance: Instance, spec: InstanceSpec, node: Node) -> None:
    """INVAL when it is refused."""
    problem = policy_problem(config, instance, spec, node)
    if problem is not None:
        raise OpPrereqError(problem, Code.INVAL, hint="--ignore-ipolicy does it all the same")


def check_target(
    services: Services, config: Snapshot, instance: Instance, target: Node, *, ignore: bool
) -> None:
    """The instance may go to `target`; INVAL, or with `ignore` a warning."""
    problem = policy_problem(config, instance, spec_of(config, instance), target)
    if problem is None:
        return
    if not ignore:
        raise OpPrereqError(problem, Code.INVAL, hint="--ignore-ipolicy does it all the same")
    services.feedback(f"{WARNING}{problem}")
