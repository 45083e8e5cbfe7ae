"""The figures that tools/bench measures: what each means and what it has to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Values = dict[str, Any]
"""Figures by key; None for one that could not be measured."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table. `per`: the figure of the machine that it is a multiple of."""

    key: str
    what: str
    reach: float | None = None
    classic: str = ""  # what Ganeti 3.0.2 needs on a like machine
    more_is_better: bool = False
    per: str = ""

    def is_met(self, value: float | None) -> bool | None:
        """None when there is nothing to compare."""
        if value is None or self.reach is None:
            return None
        return value >= self.reach if self.more_is_better else value <= self.reach

    def multiple(self, value: float | None, machine: Values) -> float | None:
        """How often the machine's own figure is in this one; of a rate, in the time of one."""
        unit = machine.get(self.per)
        if not value or not unit:
            return None
        return (1 / value if self.more_is_better else value) / float(unit)


START, APPEND, CALL, ENCODE, MEMORY = (
    "interpreter_start_s",
    "synced_append_s",
    "tls_call_s",
    "encode_1mb_s",
    "interpreter_rss_mib",
)

MACHINE = {
    START: "bare interpreter, start to end",
    APPEND: "500 bytes appended and synced",
    CALL: "one mutual-TLS call on a kept connection",
    ENCODE: "encoding 1 MB of JSON",
    MEMORY: "peak memory of the bare interpreter",
}

FIGURES = (
    Figure("cli_version_s", "gnt-cluster --version", 0.08, "0.30 s", per=START),
    Figure(
        "cli_instance_list_s", "gnt-instance list, 50 instances, live", 0.12, "0.51 s", per=START
    ),
    Figure("cli_instance_list_config_s", "the same, configuration only", 0.10, "0.44 s", per=START),
    Figure("cli_rss_mib", "peak memory of that command", 25, "33 MiB", per=MEMORY),
    Figure("job_latency_p50_s", "a trivial job, to its end", 0.015, "1.06 s", per=APPEND),
    Figure("job_latency_p99_s", "the same, 99th of 100", 0.05, "1.06 s", per=APPEND),
    Figure("jobs_per_s", "500 trivial jobs at once", 300, "1.4", True, APPEND),
    Figure("config_jobs_per_s", "tag jobs, 4 clients", 150, "0.7", True, APPEND),
    Figure("instance_add_s", "one diskless instance by command", 0.25, "2.0 s", per=START),
    Figure("instances_add_per_s", "50 diskless instances at once", 25, "0.8", True, CALL),
    Figure("cluster_init_s", "gnt-cluster init, new keys", 1.5, "8.2 s", per=START),
    Figure("node_add_s", "gnt-node add, new keys", 1.5, "6.9 s", per=START),
    Figure("verify_s", "gnt-cluster verify, 3 nodes, 50 instances", 0.5, "6.0 s", per=CALL),
    Figure("master_daemons_pss_mib", "masterd and noded, idle", 110, "151 MiB, all", per=MEMORY),
    Figure("list_10000_s", "list of 10,000 instances", 0.6, "about 56 s", per=ENCODE),
    Figure("tag_job_10000_s", "a tag job beside 10,000 instances", 0.05, "about 49 s", per=APPEND),
    Figure("masterd_10000_rss_mib", "masterd at that size", 300, "over 1,500 MiB", per=MEMORY),
    Figure("job_cost_growth_10000_to_100", "CPU of a tag job, 10,000 to 100", 1.5, "over 20"),
    Figure("job_latency_busy_p99_s", "a trivial job while 10,000 are listed", 0.1, per=APPEND),
    Figure(
        "instance_full_add_s", "one instance, all NIC and disk fields but spindles", 0.25, per=START
    ),
    Figure("instances_full_add_per_s", "50 of those at once", 25, "", True, CALL),
    Figure("cli_instance_list_full_s", "list of these, all NIC and disk fields", 0.12, per=START),
    Figure("live_migration_ratio", "live migration, command to by hand", 1.3),
    Figure("live_migration_s", "gnt-instance migrate, 256 MiB, idle"),
    Figure("live_migration_by_hand_s", "the same two QEMU, driven by hand"),
    Figure("list_300_nodes_first_s", "live list of 300 nodes, 10 just died", 12),
    Figure("list_300_nodes_s", "the same, once they are known to be dead", 1.5, per=CALL),
    Figure("rapi_info_per_s_1", "GET /2/info, one client", 400, "18", True, CALL),
    Figure("rapi_info_per_s_16", "the same, 16 clients", 900, "56", True, CALL),
    Figure("rapi_bulk50_per_s_1", "GET 50 whole instances, one client", 60, "3.8", True, CALL),
    Figure("rapi_bulk50_per_s_16", "the same, 16 clients", 100, "5.3", True, CALL),
    Figure("rapi_bulk_10000_s", "GET 10,000 whole instances", 1.5, "minutes", per=ENCODE),
    Figure("rapi_tag_jobs_per_s", "PUT tags, one by one, until done", 100, "0.7", True, APPEND),
    Figure("rapi_rss_mib", "ganeti-rapi after that", 80, "33 MiB, idle", per=MEMORY),
    Figure("rapi_events_2000_mib", "ganeti-rapi with 2,000 readers of events, TLS", 200),
    Figure("rapi_events_2000_told_s", "one event, until all of them have it"),
    Figure("fsyncs_per_job", "500 trivial jobs at once: syncs of the master"),
    Figure("bytes_written_per_job", "… bytes written by the master"),
    Figure("rpcs_per_job", "… calls to nodes"),
)

KEYS = tuple(figure.key for figure in FIGURES)
