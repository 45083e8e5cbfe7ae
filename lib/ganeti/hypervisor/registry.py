"""Which driver serves which hypervisor. A new one is one file and one line here."""

from __future__ import annotations

from importlib import import_module
from typing import Final

from ganeti.errors import HypervisorError
from ganeti.hypervisor.base import HvHost, Hypervisor
from ganeti.types import HypervisorKind

DRIVERS: Final[dict[HypervisorKind, str]] = {
    HypervisorKind.KVM: "ganeti.hypervisor.kvm:KvmHypervisor",
    HypervisorKind.FAKE: "ganeti.hypervisor.fake:FakeHypervisor",
}
"""module:class of each driver; loaded at first use."""


def kinds() -> list[HypervisorKind]:
    """The hypervisors that this version can drive."""
    return list(DRIVERS)


def driver_class(kind: str) -> type[Hypervisor]:
    """HypervisorError when there is no such hypervisor, or no driver for it in this version."""
    try:
        known = HypervisorKind(kind)
    except ValueError:
        raise HypervisorError(
            f"hypervisor {kind!r} is not known; known are {', '.join(HypervisorKind)}"
        ) from None
    if known not in DRIVERS:
        raise HypervisorError(
            f"hypervisor {known}: this version has no driver for it; it has {', '.join(DRIVERS)}"
        )
    module, name = DRIVERS[known].split(":")
    found: type[Hypervisor] = getattr(import_module(module), name)
    return found


def make(kind: str, host: HvHost) -> Hypervisor:
    return driver_class(kind)(host)
