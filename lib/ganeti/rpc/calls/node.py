"""Calls about a node itself: figures, checks, network, membership, power."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ganeti.model.report import NodeFigures, NodeInfo
from ganeti.rpc.base import FAST, NORMAL, URGENT, call
from ganeti.rpc.calls.shapes import Params
from ganeti.serializer import Json


def _delay_deadline(duration: float) -> float:
    return int(duration) + 5.0


@call(timeout_s=FAST)
def node_has_ip_address(address: str) -> bool:
    """Whether an address is configured here."""


@call(timeout_s=URGENT)
def node_info(
    storage_units: Sequence[tuple[str, str | None, Sequence[Json]]],
    hv_specs: Sequence[tuple[str, Params | None]],
) -> NodeInfo:
    """Boot id, storage and hypervisor figures."""


@call(timeout_s=URGENT)
def node_figures(
    storage_units: Sequence[tuple[str, str | None, Sequence[Json]]],
    hv_specs: Sequence[tuple[str, Params | None]],
    hypervisor_list: Sequence[str],
    all_hvparams: Mapping[str, Params],
) -> NodeFigures:
    """Ours: node_info and all_instances_info in one, as allocators need both of all nodes."""


@call(timeout_s=NORMAL)
def node_verify(
    checkdict: Params, cluster_name: str, all_hvparams: Mapping[str, Params]
) -> dict[str, Json]:
    """Answers of the asked checks (facts/node-rpc.json, node_verify_items)."""


@call(timeout_s=FAST)
def node_demote_from_mc() -> None:
    """Put the configuration away; refused on the master."""


@call(timeout_s=NORMAL, offline_too=True)
def node_powercycle(hypervisor: str, hvparams: Params) -> str:
    """Reboot the node in 5 s."""


@call(timeout_s=NORMAL)
def node_configure_ovs(ovs_name: str, ovs_link: str | None) -> None:
    """Make an Open vSwitch and its uplink."""


@call(timeout_s=URGENT)
def node_ensure_daemon(daemon: str, run: bool) -> bool:
    """Start or stop a daemon; only ganeti-kvmd."""


@call(timeout_s=URGENT)
def bridges_exist(bridges_list: Sequence[str]) -> None:
    """Fails naming the missing bridges."""


@call(timeout_s=_delay_deadline)
def test_delay(duration: float) -> None:
    """Wait."""


@call(timeout_s=URGENT)
def get_watcher_pause() -> float | None:
    """Until when the watcher rests here; None: it does not."""


@call(timeout_s=URGENT)
def set_watcher_pause(until: float | None) -> None:
    """Let the watcher rest until then (Unix seconds); None: go on."""


@call(timeout_s=NORMAL)
def node_leave_cluster(modify_ssh_setup: bool) -> str:
    """Remove all of the cluster's files; noded ends afterwards."""


@call(timeout_s=URGENT, offline_too=True, express=True)
def version() -> int:
    """Version of the protocol between nodes."""


@call(timeout_s=NORMAL)
def node_verify_light(checkdict: Params, cluster_name: str, hvparams: Params) -> dict[str, Json]:
    """node_verify, for callers without a configuration."""
