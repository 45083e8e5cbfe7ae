"""Network interfaces of a new instance: what is asked for, and what it gets.

Rules: facts/master.md D1, steps 9, 13 and 16.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganeti.config import pool6
from ganeti.config.reserve import Reservations
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import AddressPoolError, Code, OpPrereqError, ReservationError
from ganeti.logic import ask, communication, network_pool
from ganeti.logic.base import INFO, Services
from ganeti.model.base import EMPTY, empty_map
from ganeti.model.cluster import Cluster
from ganeti.model.inherit import fill_nicparams, update_params
from ganeti.model.network import Network
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.params import check_params
from ganeti.model.params_nic import NIC_PARAMS, check_nicparams, normalize_vlan
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.serializer import Json
from ganeti.types import NicMode
from ganeti.utils import net

MAX_NICS = 8  # facts/master.md §C, limits
NONE = "none"
POOL = "pool"
AUTO = "auto"
MADE_HERE = (AUTO, "generate")  # of a MAC address
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NicRequest:
    """One interface. `mac` None: the cluster makes one. `from_pool`: so it is with the address."""

    mac: str | None = None
    ip: str | None = None
    from_pool: bool = False
    network: str | None = None  # uuid
    name: str | None = None
    nicparams: Mapping[str, Json] = field(
        default_factory=empty_map
    )  # own ones; a network's come with it

    def without_defaults(self, cluster: Cluster) -> NicRequest:
        """Own parameters that equal the cluster's are left out."""
        defaults = fill_nicparams(cluster, EMPTY)
        own = {name: value for name, value in self.nicparams.items() if defaults[name] != value}
        return replace(self, nicparams=own)


# What is asked for: pure.


def read_nics(
    config: Snapshot, op: OpInstanceCreate, name: str, address: str | None
) -> tuple[NicRequest, ...]:
    """The interfaces, checked; OpPrereqError. `address`: what the instance's name resolves to."""
    given = list(op.nics)
    if op.instance_communication:
        given.append(communication.wanted_nic(config, name))
    if len(given) > MAX_NICS:
        raise OpPrereqError(
            f"{len(given)} network interfaces, at most {MAX_NICS} can be", Code.STATE
        )
    made = tuple(read_nic(config, number, nic, address) for number, nic in enumerate(given))
    check_device_names(config, "network interface", [nic.name for nic in made])
    return made


def read_nic(
    config: Snapshot, number: int, given: Mapping[str, str | None], address: str | None
) -> NicRequest:
    what = f"network interface {number}"
    name = given_text(given, "network")
    network = ask.network(config, name) if name is not None else None
    params = own_params(what, given, network)
    full = fill_nicparams(config.cluster, params)
    ip = read_ip(what, given, network, address)
    if network is None:
        check_nicparams(full)
        if full["mode"] == NicMode.ROUTED and ip is None:
            raise OpPrereqError(f"{what}: mode routed needs an IP address", Code.INVAL)
    return NicRequest(
        mac=read_mac(config, what, given),
        ip=None if ip == POOL else ip,
        from_pool=ip == POOL,
        network=network.uuid if network is not None else None,
        name=given_text(given, "name"),
        nicparams=params,
    )


def given_text(given: Mapping[str, str | None], key: str) -> str | None:
    value = given.get(key)
    return None if value is None or value.lower() == NONE else value


def own_params(
    what: str,
    given: Mapping[str, str | None],
    network: Network | None,
    own: Mapping[str, Json] = EMPTY,
) -> dict[str, Json]:
    """Mode, link and VLAN, upon the `own` ones there were; `bridge` is the old word for a link."""
    values = {name: given[name] for name in NIC_PARAMS if given.get(name) is not None}
    if given.get("bridge") is not None:
        if "link" in values:
            raise OpPrereqError(f"{what}: bridge and link mean the same, give one", Code.INVAL)
        values["link"] = given["bridge"]
    if network is not None and values:
        raise OpPrereqError(
            f"{what}: {sorted(values)[0]} can't be given, it comes with network {network.name}",
            Code.INVAL,
        )
    made = update_params(own, check_params(NIC_PARAMS, values, allow_default=True))
    if "vlan" in made:
        made["vlan"] = normalize_vlan(made["vlan"])
    return made


def read_ip(
    what: str, given: Mapping[str, str | None], network: Network | None, address: str | None
) -> str | None:
    """An address, `pool`, or None."""
    ip = given_text(given, "ip")
    if ip is None:
        return None
    if ip.lower() == AUTO:
        if address is None:
            raise OpPrereqError(f"{what}: address {AUTO} needs the name check", Code.INVAL)
        return address
    if ip.lower() == POOL:
        if network is None:
            raise OpPrereqError(f"{what}: address {POOL} needs a network", Code.INVAL)
        if network.network is None and network.network6 is None:
            raise OpPrereqError(
                f"{what}: network {network.name} has no subnet, and so no pool of addresses",
                Code.INVAL,
            )
        return POOL
    if not net.is_address(ip):
        raise OpPrereqError(f"{what}: {ip!r} is not an IP address", Code.INVAL)
    return pool6.canonical(ip)


def read_mac(config: Snapshot, what: str, given: Mapping[str, str | None]) -> str | None:
    mac = (given.get("mac") or AUTO).lower()
    if mac in MADE_HERE:
        return None
    if not _MAC.fullmatch(mac):
        raise OpPrereqError(f"{what}: {mac!r} is not a MAC address", Code.INVAL)
    if mac in config.index.macs:
        raise OpPrereqError(f"{what}: MAC address {mac} is already in use", Code.NOTUNIQUE)
    return mac


def check_device_names(config: Snapshot, what: str, names: Sequence[str | None]) -> None:
    """Names of an instance's devices can't be taken for something else (facts/master.md §C)."""
    seen = set()
    for name in names:
        if name is None:
            continue
        if name.isdigit():
            raise OpPrereqError(
                f"{what}: name {name!r} can't be a number, which is an index", Code.INVAL
            )
        if _UUID.fullmatch(name) and (name in config.disks or name in config.index.inner_uuids):
            raise OpPrereqError(f"{what}: name {name!r} is the uuid of a device", Code.INVAL)
        if name in seen:
            raise OpPrereqError(f"{what}: name {name!r} is given twice", Code.NOTUNIQUE)
        seen.add(name)


# What it gets. Reservations live on the loop: they are made in transactions that change nothing.


def reserve_macs(
    services: Services, requests: Sequence[NicRequest], uuids: int
) -> tuple[tuple[Nic, ...], list[str]]:
    """The interfaces with MAC addresses and uuids of their own, and as many more uuids.

    Explicit addresses that somebody else has just taken are NOTUNIQUE.
    """
    reservations, owner = services.reservations, services.owner

    def reserve(draft: Draft) -> tuple[tuple[Nic, ...], list[str]]:
        config = draft.snapshot
        nics = tuple(_with_mac(reservations, owner, config, request) for request in requests)
        return nics, [reservations.unique_id(config, owner) for _ in range(uuids)]

    return services.commit(reserve)


def _with_mac(reservations: Reservations, owner: str, config: Snapshot, request: NicRequest) -> Nic:
    mac = request.mac
    if mac is None:
        network = config.networks.get(request.network) if request.network else None
        mac = reservations.generate_mac(config, owner, network)
    else:
        try:
            reservations.reserve_mac(config, owner, mac)
        except ReservationError as error:
            raise OpPrereqError(str(error), Code.NOTUNIQUE) from error
    return Nic(
        mac=mac,
        uuid=reservations.unique_id(config, owner),
        ip=request.ip,
        nicparams=request.nicparams,
        network=request.network,
        name=request.name,
    )


def reserve_addresses(
    services: Services,
    requests: Sequence[NicRequest],
    nics: Sequence[Nic],
    primary: Node,
    *,
    conflicts_check: bool,
) -> tuple[Nic, ...]:
    """The interfaces with addresses, and with what their networks give them in this group.

    INVAL when a network is not connected to the primary node's group, STATE when it has no free
    address or an address lies in a network by accident, NOTUNIQUE when one is taken.
    """
    if not any(nic.network or nic.ip for nic in nics):
        return tuple(nics)

    def reserve(draft: Draft) -> list[tuple[Nic, str]]:
        pairs = zip(requests, nics)
        return [
            _with_address(services, draft.snapshot, primary, one, nic, conflicts_check)
            for one, nic in pairs
        ]

    made = services.commit(reserve)
    for _, text in made:
        if text:
            services.feedback(f"{INFO}{text}")
    return tuple(nic for nic, _ in made)


def _with_address(
    services: Services,
    config: Snapshot,
    primary: Node,
    request: NicRequest,
    nic: Nic,
    conflicts_check: bool,
) -> tuple[Nic, str]:
    """The interface, and what its owner should know."""
    if nic.network is None:
        if nic.ip is not None:
            if conflicts_check:
                _refuse_address_of_network(config, primary, nic.ip)
            _reserve_outside(services, config, nic)
        return nic, ""
    network = config.networks[nic.network]
    nic = replace(nic, nicparams=ask.connection(config, network, primary))
    if request.from_pool:
        try:
            ip = services.reservations.generate_ip(config, services.owner, network)
        except AddressPoolError as error:
            raise OpPrereqError(str(error), Code.STATE) from error
        return replace(nic, ip=ip), f"Chose IP {ip} from network {network.name}"
    if nic.ip is not None:
        try:
            services.reservations.reserve_ip(
                config, services.owner, network, nic.ip, check=conflicts_check
            )
        except (ReservationError, AddressPoolError) as error:
            raise OpPrereqError(str(error), Code.NOTUNIQUE) from error
    return nic, ""


def _reserve_outside(services: Services, config: Snapshot, nic: Nic) -> None:
    assert nic.ip is not None
    try:
        services.reservations.reserve_nic_ip(
            config, services.owner, nic.nicparams.get("link"), nic.ip
        )
    except ReservationError as error:
        raise OpPrereqError(str(error), Code.NOTUNIQUE) from error


def _refuse_address_of_network(config: Snapshot, primary: Node, ip: str) -> None:
    for uuid in config.group_of(primary).networks:
        network = config.networks.get(uuid)
        if network is not None and network_pool.contains(network, ip):
            raise OpPrereqError(
                f"address {ip} lies in network {network.name}",
                Code.STATE,
                hint="put the interface into that network, or skip the check of conflicts",
            )
