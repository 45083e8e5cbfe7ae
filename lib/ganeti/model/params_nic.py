"""Parameters of network interfaces (facts/config-data.json, nicparams; facts/master.md D1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ganeti.constants import DEFAULT_BRIDGE
from ganeti.errors import Code, OpPrereqError
from ganeti.model.params import Kind, Param, one_of, table
from ganeti.serializer import Json
from ganeti.types import NicMode

NIC_PARAMS = table(
    Param(
        "mode",
        Kind.STRING,
        "bridged",
        "how the interface is attached",
        one_of("bridged", "routed", "openvswitch", "ext"),
    ),
    Param("link", Kind.STRING, DEFAULT_BRIDGE, "bridge, switch, or routing table"),
    Param("vlan", Kind.STRING, "", "VLAN tag and trunks, for bridges and switches"),
)

_VLAN: Final = re.compile(r"\d+|\.\d+(:\d+)*|(:\d+)+")


def normalize_vlan(text: str) -> str:
    """`N` becomes `.N`; `.N`, `.N:M…` and `:N:M…` stay; OpPrereqError INVAL for other forms.

    A leading dot is the untagged VLAN, what follows colons are tagged ones.
    """
    if not text:
        return ""
    if _VLAN.fullmatch(text) is None:
        raise OpPrereqError(f"VLAN {text!r} is not of the form N, .N, .N:M or :N:M", Code.INVAL)
    if any(int(tag) > 4094 for tag in re.findall(r"\d+", text)):
        raise OpPrereqError(f"VLAN {text!r}: tags are at most 4094", Code.INVAL)
    return f".{text}" if text.isdigit() else text


def check_nicparams(full: Mapping[str, Json]) -> None:
    """Conditions between complete parameters of one interface; OpPrereqError INVAL."""
    if full["mode"] in (NicMode.BRIDGED, NicMode.OPENVSWITCH) and not full["link"]:
        raise OpPrereqError(f"mode {full['mode']} needs a link", Code.INVAL)
    if full["mode"] == NicMode.ROUTED and full["vlan"]:
        raise OpPrereqError("mode routed has no VLAN", Code.INVAL)
