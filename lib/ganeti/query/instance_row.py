"""One instance of a list, with all that can be said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from ganeti.config.snapshot import Snapshot
from ganeti.model.disk import Disk, template_of
from ganeti.model.inherit import (
    fill_beparams,
    fill_hvparams,
    fill_nicparams,
    fill_public_osparams,
)
from ganeti.model.instance import Instance
from ganeti.model.node import Node
from ganeti.model.report import SHUT_DOWN, RunningInfo
from ganeti.query.fields import Live
from ganeti.serializer import Json
from ganeti.types import AdminState, AdminStateSource, DiskTemplate, FieldStatus, InstanceStatus

DRBD_META_MIB: Final = 128  # facts/constants.json, DRBD_META_SIZE


@dataclass(slots=True)
class InstancesLive:
    """What nodes told, for all rows of a table; empty as long as nobody was asked."""

    running: Mapping[str, Live[Mapping[str, RunningInfo]]] = field(default_factory=dict)
    """Per node uuid, the instances that run there by name."""
    consoles: Mapping[str, Live[Json]] = field(default_factory=dict)
    """Per instance uuid."""
    strays: Mapping[str, tuple[str, RunningInfo]] = field(default_factory=dict)
    """Per name, node uuid and state of an instance that runs on a node of others."""


class InstanceRow:
    """What getters read."""

    def __init__(self, config: Snapshot, instance: Instance, live: InstancesLive) -> None:
        self.config = config
        self.instance = instance
        self.live = live

    @cached_property
    def primary(self) -> Node:
        return self.config.nodes[self.instance.primary_node]

    @cached_property
    def secondaries(self) -> tuple[Node, ...]:
        return tuple(self.config.nodes_of(self.instance)[1:])

    @cached_property
    def disks(self) -> tuple[Disk, ...]:
        disks = self.config.disks
        return tuple([disks[uuid] for uuid in self.instance.disks])

    @property
    def disk_template(self) -> str:
        return template_of(self.disks)

    @property
    def disk_usage_mib(self) -> int:
        """Space on the cluster's own storage, DRBD meta data included."""
        return sum(_usage_mib(disk) for disk in self.disks)

    @cached_property
    def beparams(self) -> Mapping[str, Json]:
        return fill_beparams(self.config.cluster, self.instance.beparams)

    @cached_property
    def hvparams(self) -> Mapping[str, Json]:
        """Filled, without those that are the same in the whole cluster."""
        own = self.instance
        return fill_hvparams(
            self.config.cluster, own.hypervisor, own.os, own.hvparams, skip_globals=True
        )

    @cached_property
    def osparams(self) -> Mapping[str, Json]:
        """Filled, without the private ones."""
        return fill_public_osparams(self.config.cluster, self.instance.os, self.instance.osparams)

    @cached_property
    def nicparams(self) -> list[Mapping[str, Json]]:
        """Filled, per network interface."""
        return [fill_nicparams(self.config.cluster, nic.nicparams) for nic in self.instance.nics]

    def network_name(self, uuid: str | None) -> str | None:
        network = self.config.networks.get(uuid) if uuid else None
        return network.name if network else None

    @cached_property
    def found(self) -> Live[tuple[str, RunningInfo] | None]:
        """Node uuid and state where the instance was seen; None when it was seen nowhere.

        The primary node is looked at first. OFFLINE or NO_DATA tells that the primary did not
        answer and that no other node that was asked has the instance.
        """
        name = self.instance.name
        at_home = self.live.running.get(self.instance.primary_node, FieldStatus.NO_DATA)
        if not isinstance(at_home, FieldStatus) and name in at_home:
            return self.instance.primary_node, at_home[name]
        if at_home is FieldStatus.OFFLINE:
            return at_home
        for node in self.secondaries:
            seen = self.live.running.get(node.uuid, FieldStatus.NO_DATA)
            if not isinstance(seen, FieldStatus) and name in seen:
                return node.uuid, seen[name]
        stray = self.live.strays.get(name)
        if stray is not None:
            return stray
        return at_home if isinstance(at_home, FieldStatus) else None

    @property
    def is_missed(self) -> bool:
        """It should run, and none of its own nodes has it, as far as they have told."""
        if self.instance.admin_state != AdminState.UP or self.primary.offline:
            return False
        name = self.instance.name
        nodes = (self.primary, *self.secondaries)
        told = [self.live.running.get(node.uuid, FieldStatus.NO_DATA) for node in nodes]
        return not any(not isinstance(seen, FieldStatus) and name in seen for seen in told)

    @property
    def runs(self) -> Live[bool]:
        found = self.found
        if isinstance(found, FieldStatus):
            return found
        return found is not None and found[1].state != SHUT_DOWN

    @property
    def memory_mib(self) -> Live[int | None]:
        found = self.found
        if isinstance(found, FieldStatus):
            return found
        return found[1].memory if found else None

    @property
    def vcpus(self) -> Live[int | None]:
        found = self.found
        if isinstance(found, FieldStatus):
            return found
        return found[1].vcpus if found else None

    @property
    def console(self) -> Live[Json]:
        return self.live.consoles.get(self.instance.uuid, FieldStatus.NO_DATA)

    @property
    def status(self) -> InstanceStatus:
        """Wanted and actual state in one word."""
        own = self.instance
        if self.primary.offline:
            return InstanceStatus.NODE_OFFLINE
        found = self.found
        if isinstance(found, FieldStatus):
            return InstanceStatus.NODE_DOWN
        if found is None or found[1].state == SHUT_DOWN:
            return _status_when_down(own, by_user=found is not None)
        if own.admin_state != AdminState.UP:
            return InstanceStatus.ERROR_UP
        if found[0] != own.primary_node:
            return InstanceStatus.ERROR_WRONG_NODE
        return InstanceStatus.RUNNING


def _status_when_down(instance: Instance, by_user: bool) -> InstanceStatus:
    """`by_user`: the hypervisor says that the guest was shut down from inside."""
    if instance.admin_state == AdminState.OFFLINE:
        return InstanceStatus.ADMIN_OFFLINE
    if instance.admin_state == AdminState.UP:
        return InstanceStatus.USER_DOWN if by_user else InstanceStatus.ERROR_DOWN
    if instance.admin_state_source == AdminStateSource.USER:
        return InstanceStatus.USER_DOWN
    return InstanceStatus.ADMIN_DOWN


def _usage_mib(disk: Disk) -> int:
    if disk.dev_type is DiskTemplate.DRBD:
        return disk.size + DRBD_META_MIB
    return 0 if disk.dev_type is DiskTemplate.BLOCKDEV else disk.size
