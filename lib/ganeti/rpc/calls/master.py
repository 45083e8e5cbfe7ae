"""Calls about the master's daemons, its IP address, and who is master."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from ganeti.rpc.base import FAST, URGENT, call
from ganeti.rpc.calls.shapes import MasterParams


@call(timeout_s=FAST)
def node_start_master_daemons(no_voting: bool) -> None:
    """Start the daemons of the master."""


@call(timeout_s=FAST)
def node_activate_master_ip(master_params: MasterParams, use_external_mip_script: bool) -> None:
    """Configure the master IP address here."""


@call(timeout_s=FAST)
def node_stop_master() -> None:
    """Stop the daemons of the master."""


@call(timeout_s=FAST)
def node_deactivate_master_ip(master_params: MasterParams, use_external_mip_script: bool) -> None:
    """Take the master IP address away."""


@call(timeout_s=FAST)
def node_change_master_netmask(
    old_netmask: int, netmask: int, master_ip: str, master_netdev: str
) -> None:
    """Change the prefix length of the master IP address."""


@call(timeout_s=URGENT, express=True)
def master_node_name() -> str:
    """The master as this node knows it."""
