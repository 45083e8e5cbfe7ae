"""Hypervisor parameters of all hypervisors (facts/constants.json, facts/hypervisors.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from ganeti.errors import Code, OpPrereqError
from ganeti.model.cpu_mask import CPU_MASK_OR_EMPTY
from ganeti.model.params import (
    PATH,
    Kind,
    Param,
    ParamTable,
    at_least,
    check_params,
    check_values,
    table,
)
from ganeti.model.params_kvm import KVM_PARAMS, MIGRATION_MODE, check_kvm
from ganeti.model.params_xen import XEN_HVM_PARAMS, XEN_PVM_PARAMS, check_xen_pvm
from ganeti.serializer import Json

LXC_DEVICES: Final = (
    "c 1:3 rw,c 1:5 rw,c 1:7 rw,c 1:8 rw,c 1:9 rw,c 1:10 rw,c 5:0 rw,c 5:1 rw,c 5:2 rw,c 136:* rw"
)

FAKE_PARAMS = table(
    Param(
        "migration_mode",
        Kind.STRING,
        "live",
        "migrate live or paused when nothing is asked for",
        MIGRATION_MODE,
        cluster_only=True,
    ),
)

CHROOT_PARAMS = table(
    Param(
        "init_script",
        Kind.STRING,
        "/ganeti-chroot",
        "program in the container that starts and stops it",
        PATH,
    ),
)

LXC_PARAMS = table(
    Param("cpu_mask", Kind.STRING, "", "processors the guest may use", CPU_MASK_OR_EMPTY),
    Param(
        "devices", Kind.STRING, LXC_DEVICES, "devices the container may use, separated by commas"
    ),
    Param(
        "drop_capabilities",
        Kind.STRING,
        "mac_override,sys_boot,sys_module,sys_time,sys_admin",
        "capabilities the container lacks, separated by commas",
    ),
    Param("extra_cgroups", Kind.STRING, "", "further control groups, separated by commas"),
    Param("extra_config", Kind.STRING, "", "further lines of configuration, separated by commas"),
    Param("num_ttys", Kind.INT, 6, "terminals", at_least(0)),
    Param("startup_timeout", Kind.INT, 30, "seconds to wait for the start", at_least(0)),
)

HV_PARAMS: Final[Mapping[str, ParamTable]] = MappingProxyType(
    {
        "kvm": KVM_PARAMS,
        "xen-pvm": XEN_PVM_PARAMS,
        "xen-hvm": XEN_HVM_PARAMS,
        "fake": FAKE_PARAMS,
        "chroot": CHROOT_PARAMS,
        "lxc": LXC_PARAMS,
    }
)
"""By hypervisor."""

HV_GLOBALS: Final = frozenset(
    {"migration_bandwidth", "migration_mode", "migration_port", "xen_cmd"}
)
"""One value per cluster; an instance or an OS can't have its own."""

_TOGETHER: Final[Mapping[str, Callable[[Mapping[str, Json]], None]]] = MappingProxyType(
    {"kvm": check_kvm, "xen-pvm": check_xen_pvm}
)


def table_of(hypervisor: str) -> ParamTable:
    """OpPrereqError INVAL for an unknown hypervisor."""
    found = HV_PARAMS.get(hypervisor)
    if found is None:
        raise OpPrereqError(
            f"unknown hypervisor {hypervisor!r}; known: {', '.join(HV_PARAMS)}", Code.INVAL
        )
    return found


def check_own_hvparams(
    hypervisor: str, values: Mapping[str, Json], *, allow_default: bool = False
) -> dict[str, Json]:
    """Check what an instance or an OS sets for itself; the typed values.

    TypeEnforcementError; OpPrereqError INVAL also for parameters that are the cluster's only.
    """
    for name in values:
        if name in HV_GLOBALS:
            raise OpPrereqError(
                f"hypervisor parameter {name!r} has one value for the cluster", Code.INVAL
            )
    return check_params(table_of(hypervisor), values, allow_default=allow_default)


def check_hvparams(hypervisor: str, full: Mapping[str, Json]) -> None:
    """Check complete, typed parameters, each and together; OpPrereqError INVAL.

    Files and interfaces are not looked for: nodes do that.
    """
    params = table_of(hypervisor)
    unknown = sorted(full.keys() - params.keys())
    missing = sorted(params.keys() - full.keys())
    if unknown or missing:
        what, names = ("unknown", unknown) if unknown else ("missing", missing)
        raise OpPrereqError(
            f"hypervisor parameters of {hypervisor}: {what}: {', '.join(names)}", Code.INVAL
        )
    check_values(params, full)
    together = _TOGETHER.get(hypervisor)
    if together is not None:
        together(full)
