"""Calls about SSH keys and the client certificate of a node."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Sequence

from ganeti.rpc.base import FAST, FOUR_HOURS, SLOW, call
from ganeti.rpc.calls.shapes import TokenRequest


@call(timeout_s=SLOW)
def node_crypto_tokens(token_request: Sequence[TokenRequest]) -> list[tuple[str, str]]:
    """Get, create or delete the client certificate; answers its digest."""


@call(timeout_s=FAST)
def node_ssh_key_add(
    node_uuid: str,
    node_name: str,
    potential_master_candidates: Sequence[str],
    to_authorized_keys: bool,
    to_public_keys: bool,
    get_public_keys: bool,
) -> list[tuple[str, str]]:
    """Distribute the SSH key of a node; [node, error] of the failures."""


@call(timeout_s=FAST)
def node_ssh_key_remove(
    node_uuid: str,
    node_name: str,
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    from_authorized_keys: bool,
    from_public_keys: bool,
    clear_authorized_keys: bool,
    clear_public_keys: bool,
    readd: bool,
) -> list[tuple[str, str]]:
    """Withdraw the SSH key of a node; [node, error] of the failures."""


@call(timeout_s=FOUR_HOURS)
def node_ssh_keys_renew(
    node_uuids: Sequence[str],
    node_names: Sequence[str],
    master_candidate_uuids: Sequence[str],
    potential_master_candidates: Sequence[str],
    old_key_type: str,
    new_key_type: str,
    new_key_bits: int,
) -> list[tuple[str, str]]:
    """New SSH keys for nodes; [node, error] of the failures."""
