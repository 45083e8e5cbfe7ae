"""Network interfaces of an instance, changed. Rules: facts/master.md D4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import Code, OpPrereqError, ReservationError
from ganeti.logic import ask, create_nics, instance_state
from ganeti.logic.base import WARNING, Services
from ganeti.logic.create_nics import MADE_HERE, MAX_NICS, POOL, NicRequest
from ganeti.logic.modify_items import Plug, PlugStep, Row, find, find_gap
from ganeti.model.base import EMPTY
from ganeti.model.inherit import fill_nic, fill_nicparams
from ganeti.model.instance import Instance
from ganeti.model.nic import Nic
from ganeti.model.node import Node
from ganeti.model.params_nic import check_nicparams
from ganeti.types import ChangeAction, NicMode

Given = Mapping[str, str | None]
NicChange = tuple[ChangeAction, int | str, Given]
WHAT = "network interface"
TOLD = ("name", "mac", "ip", "network")
PARAMS = ("link", "mode", "vlan")


@dataclass(slots=True)
class NicPlan:
    """The interfaces as they will be, and what goes with it. `freed`: no longer so."""

    nics: list[Nic]
    rows: list[Row] = field(default_factory=list)
    plugs: list[PlugStep] = field(default_factory=list)
    freed: list[Nic] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the opcode says besides the changes."""

    primary: Node
    force: bool
    conflicts_check: bool


def plan_nics(
    services: Services,
    config: Snapshot,
    instance: Instance,
    changes: Sequence[NicChange],
    wish: Wish,
) -> NicPlan:
    """The plan; MAC and IP addresses are reserved. OpPrereqError, OpExecError."""
    plan = NicPlan(list(instance.nics))
    for action, which, given in changes:
        match action:
            case ChangeAction.ADD:
                _add(services, config, plan, which, given, wish)
            case ChangeAction.REMOVE:
                _remove(plan, which, given)
            case ChangeAction.MODIFY:
                _modify(services, config, plan, which, given, wish)
            case _:
                raise OpPrereqError(f"a {WHAT} can't be {action}ed", Code.INVAL)
    if len(plan.nics) > MAX_NICS:
        raise OpPrereqError(
            f"instance {instance.name}: {len(plan.nics)} network interfaces, at most {MAX_NICS}"
            " can be",
            Code.STATE,
        )
    create_nics.check_device_names(config, WHAT, [nic.name for nic in plan.nics])
    return plan


def _add(
    services: Services,
    config: Snapshot,
    plan: NicPlan,
    which: int | str,
    given: Given,
    wish: Wish,
) -> None:
    index = find_gap(plan.nics, which, WHAT)
    request = create_nics.read_nic(config, index, given, None)
    made, _ = create_nics.reserve_macs(services, [request], 0)
    (nic,) = create_nics.reserve_addresses(
        services, [request], made, wish.primary, conflicts_check=wish.conflicts_check
    )
    _check_bridge(services, config, nic, wish)
    plan.nics.insert(index, nic)
    full = fill_nic(config.cluster, nic, config.group_of(wish.primary))
    text = f"mac={nic.mac},ip={nic.ip},mode={full['mode']},link={full['link']}"
    plan.rows.append((f"nic.{index}", f"add:{text},network={nic.network}"))
    plan.plugs.append(PlugStep(Plug.ADD, nic, index))


def _remove(plan: NicPlan, which: int | str, given: Given) -> None:
    if given:
        raise OpPrereqError(f"removing a {WHAT} takes no parameters", Code.INVAL)
    index = find(plan.nics, which, WHAT)
    nic = plan.nics.pop(index)
    plan.freed.append(nic)
    plan.rows.append((f"NIC/{index}", "remove"))
    plan.plugs.append(PlugStep(Plug.REMOVE, nic, index))


def _modify(
    services: Services,
    config: Snapshot,
    plan: NicPlan,
    which: int | str,
    given: Given,
    wish: Wish,
) -> None:
    index = find(plan.nics, which, WHAT)
    before = plan.nics[index]
    request = _read_change(config, index, before, given)
    nic = _reserved(services, config, before, request, wish)
    _check_bridge(services, config, nic, wish)
    if (before.network, before.ip) != (nic.network, nic.ip):
        plan.freed.append(before)
    plan.nics[index] = nic
    full = fill_nic(config.cluster, nic, config.group_of(wish.primary))
    plan.rows += [(f"nic.{key}/{index}", getattr(nic, key)) for key in TOLD if key in given]
    plan.rows += [(f"nic.{key}/{index}", full[key]) for key in PARAMS]
    plan.plugs.append(PlugStep(Plug.MODIFY, nic, index))


def _read_change(config: Snapshot, index: int, nic: Nic, given: Given) -> NicRequest:
    """The interface as it is wanted, checked; INVAL, NOTUNIQUE."""
    what = f"{WHAT} {index}"
    uuid = nic.network
    if "network" in given:
        name = create_nics.given_text(given, "network")
        uuid = None if name is None else ask.network(config, name).uuid
    network = config.networks[uuid] if uuid is not None else None
    own = nic.nicparams if nic.network is None else EMPTY
    params = create_nics.own_params(what, given, network, own)
    ip = create_nics.read_ip(what, given, network, None) if "ip" in given else nic.ip
    if network is None:
        full = fill_nicparams(config.cluster, params)
        check_nicparams(full)
        if full["mode"] == NicMode.ROUTED and ip is None:
            raise OpPrereqError(f"{what}: mode routed needs an IP address", Code.INVAL)
    return NicRequest(
        mac=_mac(config, what, nic, given),
        ip=None if ip == POOL else ip,
        from_pool=ip == POOL,
        network=uuid,
        name=create_nics.given_text(given, "name") if "name" in given else nic.name,
        nicparams=nic.nicparams if uuid is not None and uuid == nic.network else params,
    )


def _mac(config: Snapshot, what: str, nic: Nic, given: Given) -> str:
    mac = (given.get("mac") or nic.mac).lower()
    if mac in MADE_HERE:
        raise OpPrereqError(f"{what}: address {mac!r} is for new interfaces only", Code.INVAL)
    if mac == nic.mac:
        return mac
    return create_nics.read_mac(config, what, given) or mac


def _reserved(
    services: Services, config: Snapshot, before: Nic, request: NicRequest, wish: Wish
) -> Nic:
    """The interface with what is new of its addresses reserved; NOTUNIQUE, STATE, INVAL."""
    assert request.mac is not None
    nic = replace(
        before,
        mac=request.mac,
        ip=request.ip,
        network=request.network,
        name=request.name,
        nicparams=request.nicparams,
    )
    if nic.mac != before.mac:
        _reserve_mac(services, nic.mac)
    place = (nic.network, nic.ip, nic.nicparams.get("link"))
    if place == (before.network, before.ip, before.nicparams.get("link")):
        if not request.from_pool:
            return nic
    (made,) = create_nics.reserve_addresses(
        services, [request], [nic], wish.primary, conflicts_check=wish.conflicts_check
    )
    return made


def _reserve_mac(services: Services, mac: str) -> None:
    def reserve(draft: Draft) -> None:
        services.reservations.reserve_mac(draft.snapshot, services.owner, mac)

    try:
        services.commit(reserve)
    except ReservationError as error:
        raise OpPrereqError(str(error), Code.NOTUNIQUE) from error


def _check_bridge(services: Services, config: Snapshot, nic: Nic, wish: Wish) -> None:
    """ENVIRON when the node has no such bridge; with force that is only told."""
    try:
        instance_state.bridges(services, config, wish.primary, [nic])
    except OpPrereqError as error:
        if not wish.force:
            raise
        services.feedback(f"{WARNING}{error}")
