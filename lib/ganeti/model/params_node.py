"""Parameters of nodes, and the static state of hypervisors and storage (facts/config-data.json)."""

from __future__ import annotations

from ganeti.model.params import PATH_OR_EMPTY, Check, Kind, Param, at_least, between, table

ND_PARAMS = table(
    Param("oob_program", Kind.STRING, "", "program for out-of-band power control", PATH_OR_EMPTY),
    Param("spindle_count", Kind.INT, 1, "disk spindles of the node", at_least(0)),
    Param(
        "exclusive_storage",
        Kind.BOOL,
        False,
        "each physical volume belongs to one instance",
        cluster_only=True,
    ),
    Param("ovs", Kind.BOOL, False, "set up Open vSwitch on the node"),
    Param("ovs_name", Kind.MAYBE_STRING, "switch1", "name of the switch"),
    Param("ovs_link", Kind.MAYBE_STRING, "", "interface that connects the switch"),
    Param("ssh_port", Kind.INT, 22, "port of the SSH daemon", between(1, 65535)),
    Param(
        "cpu_speed",
        Kind.FLOAT,
        1.0,
        "speed of the processors relative to other nodes",
        Check(lambda value: value > 0, "more than 0"),
    ),
)

HV_STATE_PARAMS = table(
    Param("mem_total", Kind.INT, 0, "memory of the node, in MiB", at_least(0)),
    Param("mem_hv", Kind.INT, 0, "memory of the hypervisor, in MiB", at_least(0)),
    Param("mem_node", Kind.INT, 0, "memory of the node's own system, in MiB", at_least(0)),
    Param("cpu_total", Kind.INT, 1, "processors of the node", at_least(0)),
    Param("cpu_node", Kind.INT, 1, "processors of the node's own system", at_least(0)),
)

DISK_STATE_PARAMS = table(
    Param("disk_total", Kind.INT, 0, "storage, in MiB", at_least(0)),
    Param("disk_reserved", Kind.INT, 0, "storage kept free, in MiB", at_least(0)),
    Param("disk_overhead", Kind.INT, 0, "storage lost to management, in MiB", at_least(0)),
)
