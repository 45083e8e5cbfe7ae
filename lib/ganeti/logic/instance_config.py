"""Instances in the configuration: how one comes in, changes its state, and how all of it goes."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ganeti.config.index import nic_scope
from ganeti.config.reserve import FREE, internal, position, return_port, take_port
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import AddressPoolError
from ganeti.logic import ask
from ganeti.logic.base import Services
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.nic import COMMUNICATION_PREFIX, Nic
from ganeti.model.node import Node
from ganeti.storage.layout import TRAITS
from ganeti.types import AdminState, AdminStateSource, DiskTemplate


def record(
    services: Services,
    instance: Instance,
    *,
    admin_state: AdminState | None = None,
    source: AdminStateSource = AdminStateSource.ADMIN,
    disks_active: bool | None = None,
) -> Instance:
    """The configuration says so, in one change; None leaves a value as it is.

    `source` goes with `admin_state`.
    """

    def change(draft: Draft) -> Instance:
        made = draft.snapshot.instances[instance.uuid]
        if admin_state is not None:
            made = replace(made, admin_state=admin_state, admin_state_source=source)
        if disks_active is not None:
            made = replace(made, disks_active=disks_active)
        return draft.update(made)

    return services.commit(change)


def add(
    draft: Draft, instance: Instance, disks: Sequence[Disk], *, with_port: bool = False
) -> Instance:
    """The instance and its disks are there; `with_port` gives it a network port of its own."""
    if with_port:
        instance = replace(instance, network_port=take_port(draft))
    for disk in disks:
        draft.add(disk)
    return draft.add(instance)


def drop(draft: Draft, instance: Instance) -> None:
    """Instance and disks are gone; its ports and its addresses in networks are free."""
    disks = draft.snapshot.disks_of(instance)
    draft.remove(instance)
    for disk in disks:
        draft.remove(disk)
    free(draft, instance, disks)


def set_disks(draft: Draft, instance: Instance, uuids: Sequence[str]) -> Instance:
    """The instance has these disks, which are numbered in this order."""
    for index, uuid in enumerate(uuids):
        disk = draft.snapshot.disks[uuid]
        draft.update(replace(disk, iv_name=f"disk/{index}"))
    return draft.update(replace(instance, disks=tuple(uuids)))


def rename(draft: Draft, uuid: str, new_name: str) -> Instance:
    """The instance has this name; the paths of its disks' files and its NIC's name follow."""
    instance = draft.snapshot.instances[uuid]
    for disk in draft.snapshot.disks_of(instance):
        if TRAITS[disk.dev_type].file_based:
            driver, path = disk.logical_id
            folder = renamed_directory(posixpath.dirname(path), new_name)
            new_path = posixpath.join(folder, posixpath.basename(path))
            draft.update(replace(disk, logical_id=(driver, new_path)))
    nics = [
        replace(nic, name=COMMUNICATION_PREFIX + new_name) if nic.is_communication else nic
        for nic in instance.nics
    ]
    return draft.update(replace(instance, name=new_name, nics=tuple(nics)))


def renamed_directory(directory: str, new_name: str) -> str:
    """The directory of an instance's files when the instance has another name."""
    return posixpath.join(posixpath.dirname(directory), new_name)


def nics_on(config: Snapshot, instance: Instance, target: Node) -> tuple[Nic, ...]:
    """The interfaces as they are on a node that may be of another group; INVAL.

    Those in networks take what the other group's connections give them.
    """
    if config.nodes[instance.primary_node].group == target.group:
        return instance.nics
    return tuple(
        replace(nic, nicparams=ask.connection(config, config.networks[nic.network], target))
        if nic.network is not None
        else nic
        for nic in instance.nics
    )


def switch_primary(services: Services, instance: Instance, primary: str) -> Instance:
    """The instance is recorded on another node (by uuid), and so are its disks.

    Mirrored disks are on both nodes already, and shared ones on none.
    """

    def change(draft: Draft) -> Instance:
        made = draft.snapshot.instances[instance.uuid]
        for disk in draft.snapshot.disks_of(made):
            if disk.nodes and not TRAITS[disk.dev_type].mirrored:
                draft.update(replace(disk, nodes=(primary,)))
        group = draft.snapshot.group_of(draft.snapshot.nodes[primary])
        nics = tuple(
            replace(nic, nicparams=dict(group.networks[nic.network]))
            if made.primary_node != primary and nic.network and nic.network in group.networks
            else nic
            for nic in made.nics
        )
        return draft.update(replace(made, primary_node=primary, nics=nics))

    return services.commit(change)


def free(draft: Draft, instance: Instance, disks: Iterable[Disk]) -> None:
    """Ports and addresses are free, as far as nobody in the configuration has them."""
    ports = [] if instance.network_port is None else [instance.network_port]
    ports += [disk.drbd.port for disk in disks if disk.dev_type is DiskTemplate.DRBD]
    for port in ports:
        if port not in draft.snapshot.index.ports:
            return_port(draft, port)
    for nic in instance.nics:
        free_address(draft, nic)


def free_address(draft: Draft, nic: Nic) -> None:
    """The interface's address in its network is free, as far as nobody has it any more."""
    network = draft.snapshot.networks.get(nic.network) if nic.network else None
    if network is None or nic.ip is None:
        return
    if (nic_scope(network.uuid, None), nic.ip) in draft.snapshot.index.ips:
        return
    try:
        index = position(network, nic.ip)
    except AddressPoolError:  # the address was given by hand, outside of the pool
        return
    bits = list(internal(network))
    if bits[index] != FREE:
        bits[index] = FREE
        draft.update(replace(network, reservations="".join(bits)))
