"""Names of instances that are to be: what they resolve to, and whether they are free.

Source: facts/master.md §C (name resolving) and D2 (rename).
"""

from __future__ import annotations

from ganeti import constants
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError, ReservationError, ResolverError
from ganeti.logic.base import INFO, Services
from ganeti.types import IpFamily
from ganeti.utils import hosts, net

IP_CHECK_S = 5.0  # how long an address may take to say that somebody has it


def refuse_known(config: Snapshot, name: str) -> None:
    """EXISTS when an instance bears exactly this name."""
    found = config.find_instance(name)
    if found is not None and found.name == name:
        raise OpPrereqError(f"instance {name} is already in the cluster", Code.EXISTS)


def resolve(services: Services, config: Snapshot, given: str) -> hosts.Host:
    """Full name and address; RESOLVER, or INVAL when it is another name than the given one."""
    given = hosts.normalize(given)
    family = IpFamily(config.cluster.primary_ip_family)
    try:
        host = hosts.look_up(services.paths, given, family)
    except ResolverError as error:
        raise OpPrereqError(
            f"instance name {given} does not resolve: {error}",
            Code.RESOLVER,
            hint="--no-name-check --no-ip-check takes it as it is",
        ) from error
    if host.name == given:
        return host
    if not host.name.startswith(f"{given}."):
        raise OpPrereqError(
            f"instance name {given} resolves to the other name {host.name}", Code.INVAL
        )
    services.feedback(f"{INFO}Resolved given name '{given}' to '{host.name}'")
    return host


def reserve(services: Services, name: str) -> None:
    """Nobody else may make an instance of this name while the job runs; EXISTS."""
    try:
        services.commit(
            lambda draft: services.reservations.reserve_name(
                draft.snapshot, services.owner, "instance", name
            )
        )
    except ReservationError as error:
        raise OpPrereqError(str(error), Code.EXISTS) from error


def refuse_used_address(host: hosts.Host) -> None:
    """NOTUNIQUE when a machine answers at the address."""
    if net.is_port_open(host.ip, constants.NODED_PORT, timeout_s=IP_CHECK_S):
        raise OpPrereqError(
            f"address {host.ip} of instance {host.name} is already used by a machine",
            Code.NOTUNIQUE,
        )
