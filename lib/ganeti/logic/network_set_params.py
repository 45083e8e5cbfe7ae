"""OP_NETWORK_SET_PARAMS: change gateway, IPv6 side, MAC prefix and reservations of a network.

Source: facts/master.md §F. Addresses that can't be reserved or released are only warned of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ganeti.config import pool6
from ganeti.config.reserve import USED, internal, position
from ganeti.config.snapshot import Snapshot
from ganeti.config.transaction import Draft
from ganeti.errors import AddressPoolError, Code, OpPrereqError
from ganeti.locking.names import EXCLUSIVE
from ganeti.logic import ask
from ganeti.logic import network_pool as pool
from ganeti.logic.base import Held, HookEnv, LockRequest, LogicalUnit
from ganeti.logic.registry import implements
from ganeti.model.network import Network
from ganeti.opcodes.network import NONE, OpNetworkSetParams
from ganeti.serializer import Json

Change = Callable[[Network, str], Network]


def _new(given: str | None, now: str | None) -> str | None:
    """The value after the request: `none` clears."""
    if given is None:
        return now
    return None if given == NONE else given


@implements(OpNetworkSetParams)
class NetworkSetParams(LogicalUnit[OpNetworkSetParams, Network]):
    """The plan is the network as it will be, but for its reservations."""

    def arguments(self) -> None:
        op = self.op
        if op.gateway and (op.add_reserved_ips or op.remove_reserved_ips):
            raise OpPrereqError(
                "gateway and reserved addresses can't be changed at once",
                Code.INVAL,
                hint="use two commands",
            )

    def locks(self, config: Snapshot, held: Held) -> LockRequest:
        return LockRequest(networks={ask.network(config, self.op.network_name).uuid: EXCLUSIVE})

    def check(self, config: Snapshot) -> Network:
        op, network = self.op, ask.network(config, self.op.network_name)
        gateway = _new(op.gateway, network.gateway)
        if gateway is not None and gateway != network.gateway:
            self._check_gateway(network, gateway)
        prefix = op.mac_prefix
        if prefix and prefix != NONE:
            prefix = pool.read_mac_prefix(prefix)
        wanted = replace(
            network,
            gateway=gateway,
            network6=_new(op.network6, network.network6),
            gateway6=_new(op.gateway6, network.gateway6),
            mac_prefix=_new(prefix, network.mac_prefix),
        )
        if (wanted.network6, wanted.gateway6) != (network.network6, network.gateway6):
            self._check_ipv6(config, network, wanted)
        return wanted

    def _check_ipv6(self, config: Snapshot, network: Network, wanted: Network) -> None:
        """The new IPv6 side is possible, and has what instances use of the old one."""
        try:
            pool6.check_gateway(wanted.network6, wanted.gateway6)
        except AddressPoolError as error:
            raise OpPrereqError(str(error), Code.INVAL) from error
        gateway = wanted.gateway6 and pool6.canonical(wanted.gateway6)
        lost = [
            f"{name} has {ip}"
            for name, ip in addresses6(config, network)
            if not pool6.contains(wanted, ip) or ip == gateway
        ]
        if lost:
            raise OpPrereqError(
                f"instances use IPv6 addresses of network {network.name}: {'; '.join(lost)}",
                Code.STATE,
                hint="change or remove those interfaces first",
            )

    def _check_gateway(self, network: Network, gateway: str) -> None:
        try:
            used = internal(network)[position(network, gateway)] == USED
        except AddressPoolError as error:
            raise OpPrereqError(str(error), Code.INVAL) from error
        if used:
            raise OpPrereqError(
                f"IP address {gateway} of network {network.name} is used by an instance",
                Code.STATE,
            )

    def hooks(self, config: Snapshot, plan: Network) -> HookEnv:
        master = [config.cluster.master_node]
        return HookEnv("network-modify", "NETWORK", pool.network_env(plan), master, master)

    def execute(self, plan: Network) -> Json:
        problems: list[str] = []

        def change(draft: Draft) -> None:
            problems.clear()
            stored = draft.snapshot.networks[plan.uuid]
            made = replace(
                plan,
                reservations=stored.reservations,
                ext_reservations=stored.ext_reservations,
                serial_no=stored.serial_no,
            )
            if plan.gateway != stored.gateway:
                made = self._move_gateway(made, stored.gateway, problems)
            config = draft.snapshot

            def reserve(network: Network, ip: str) -> Network:
                return pool.reserve(network, ip, lambda ip: pool6.is_used(config, network, ip))

            made = replace(made, ext_reservations6=self._reserved6(stored, plan))
            made = _each(made, self.op.add_reserved_ips or (), reserve, problems)
            made = _each(made, self.op.remove_reserved_ips or (), self._release, problems)
            draft.update(made)

        self.commit(change)
        for problem in problems:
            self.warn(problem)
        return None

    def _reserved6(self, stored: Network, plan: Network) -> tuple[str, ...]:
        """What is reserved by hand and lies in the IPv6 subnet as it will be."""
        return tuple(ip for ip in stored.ext_reservations6 if pool6.contains(plan, ip))

    def _move_gateway(self, network: Network, old: str | None, problems: list[str]) -> Network:
        made = _each(network, [old] if old else (), pool.release, problems)
        new = network.gateway
        if new is None or pool.is_reserved(made, new):
            return made  # an administrator had reserved it by hand
        return pool.reserve(made, new)

    def _release(self, network: Network, ip: str) -> Network:
        if ip == network.gateway:
            raise AddressPoolError(f"IP address {ip} is the gateway of network {network.name}")
        return pool.release(network, ip)


def addresses6(config: Snapshot, network: Network) -> list[tuple[str, str]]:
    """(instance, IPv6 address) of the interfaces in a network."""
    owners = {claim.partition("/")[0] for claim in config.index.by_network.get(network.uuid, ())}
    return sorted(
        (config.instances[owner].name, nic.ip)
        for owner in owners
        for nic in config.instances[owner].nics
        if nic.network == network.uuid and nic.ip is not None and pool6.is_ipv6(nic.ip)
    )


def _each(network: Network, ips: Sequence[str], change: Change, problems: list[str]) -> Network:
    """The network after all the changes that are possible."""
    for ip in ips:
        try:
            network = change(network, ip)
        except AddressPoolError as error:
            problems.append(str(error))
    return network
