"""Parameter tables against the facts, conversions and checks."""

from __future__ import annotations

from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import OpPrereqError, ParseError, TypeEnforcementError
from ganeti.model.cpu_mask import parse_cpu_mask, parse_cpu_masks
from ganeti.model.params import Kind, ParamTable, check_params, check_values, convert, defaults
from ganeti.model.params_be import BE_PARAMS, check_beparams, split_memory
from ganeti.model.params_disk import DISK_PARAMS, device_params
from ganeti.model.params_hv import HV_GLOBALS, HV_PARAMS, check_hvparams, check_own_hvparams
from ganeti.model.params_kvm import KVM_ADDED
from ganeti.model.params_nic import NIC_PARAMS, check_nicparams, normalize_vlan
from ganeti.model.params_node import DISK_STATE_PARAMS, HV_STATE_PARAMS, ND_PARAMS

CONSTANTS: dict[str, Any] = facts("constants")
GROUPS: dict[str, Any] = CONSTANTS["groups"]


@pytest.mark.parametrize("hypervisor", sorted(HV_PARAMS))
def test_hypervisor_tables_are_the_documented_ones(hypervisor: str) -> None:
    known = CONSTANTS["hypervisor_parameters"][hypervisor]["params"]
    own = HV_PARAMS[hypervisor]
    assert set(own) == {*known, *(KVM_ADDED if hypervisor == "kvm" else ())}
    for name, row in known.items():
        assert own[name].kind == row["type"], name
        assert own[name].cluster_only == row.get("cluster_wide_only", False), name
        if not str(row["default"]).startswith("<build"):
            assert own[name].default == row["default"], name


def test_every_hypervisor_is_there() -> None:
    assert set(HV_PARAMS) == set(CONSTANTS["hypervisor_parameters"]) - {"_about"}
    assert HV_GLOBALS == set(GROUPS["hv_params"]["values"]["HVC_GLOBALS"])


@pytest.mark.parametrize("hypervisor", sorted(HV_PARAMS))
def test_defaults_pass_their_own_checks(hypervisor: str) -> None:
    check_hvparams(hypervisor, defaults(HV_PARAMS[hypervisor]))


@pytest.mark.parametrize(
    "table, group, types, values",
    [
        (BE_PARAMS, "be_params", "BES_PARAMETER_TYPES", "BEC_DEFAULTS"),
        (NIC_PARAMS, "nic_params", "NICS_PARAMETER_TYPES", "NICC_DEFAULTS"),
        (ND_PARAMS, "nd_params", "NDS_PARAMETER_TYPES", "NDC_DEFAULTS"),
        (HV_STATE_PARAMS, "state_params", "HVSTS_PARAMETER_TYPES", "HVST_DEFAULTS"),
        (DISK_STATE_PARAMS, "state_params", "DSS_PARAMETER_TYPES", "DS_DEFAULTS"),
    ],
)
def test_other_tables_are_the_documented_ones(
    table: ParamTable, group: str, types: str, values: str
) -> None:
    assert {n: p.kind.value for n, p in table.items()} == GROUPS[group]["values"][types]
    assert defaults(table) == GROUPS[group]["values"][values]
    check_values(table, defaults(table))


def test_disk_tables_are_the_documented_ones() -> None:
    known = GROUPS["disk_params"]["values"]
    assert {t: defaults(table) for t, table in DISK_PARAMS.items()} == known["DISK_DT_DEFAULTS"]
    for template, table in DISK_PARAMS.items():
        for name, param in table.items():
            assert param.kind == known["DISK_DT_TYPES"][name], (template, name)
        check_values(table, defaults(table))


def test_device_parameters_are_the_documented_ones() -> None:
    known = GROUPS["disk_params"]["values"]["DISK_LD_DEFAULTS"]
    for template, table in DISK_PARAMS.items():
        own, *below = device_params(template, defaults(table))
        assert own == known.get(template, {}), template
        assert below == ([{"stripes": 1}, {"stripes": 1}] if template == "drbd" else [])


@pytest.mark.parametrize(
    "kind, value, wanted",
    [
        (Kind.STRING, "x", "x"),
        (Kind.STRING, None, ""),
        (Kind.STRING, False, ""),
        (Kind.MAYBE_STRING, None, None),
        (Kind.MAYBE_STRING, False, None),
        (Kind.MAYBE_STRING, "none", None),
        (Kind.MAYBE_STRING, "", ""),
        (Kind.BOOL, "True", True),
        (Kind.BOOL, "false", False),
        (Kind.BOOL, True, True),
        (Kind.SIZE, "1g", 1024),
        (Kind.SIZE, 128, 128),
        (Kind.SIZE, "0.5t", 524288),
        (Kind.INT, "12", 12),
        (Kind.INT, 3.0, 3),
        (Kind.FLOAT, "1.5", 1.5),
        (Kind.FLOAT, 2, 2.0),
    ],
)
def test_values_are_converted(kind: Kind, value: Any, wanted: Any) -> None:
    made = convert(kind, value, "p")
    assert made == wanted and type(made) is type(wanted)


@pytest.mark.parametrize(
    "kind, value",
    [
        (Kind.STRING, 1),
        (Kind.STRING, True),
        (Kind.MAYBE_STRING, 1),
        (Kind.BOOL, "yes"),
        (Kind.BOOL, "no"),
        (Kind.BOOL, 2),
        (Kind.BOOL, None),
        (Kind.SIZE, "lots"),
        (Kind.SIZE, True),
        (Kind.SIZE, -1),
        (Kind.INT, "x"),
        (Kind.INT, 1.5),
        (Kind.INT, True),
        (Kind.INT, None),
        (Kind.INT, float("inf")),
        (Kind.FLOAT, "x"),
        (Kind.FLOAT, float("nan")),
        (Kind.FLOAT, []),
    ],
)
def test_wrong_types_are_refused_with_name_and_value(kind: Kind, value: Any) -> None:
    with pytest.raises(TypeEnforcementError, match="'p'") as refused:
        convert(kind, value, "p")
    assert str(value) in str(refused.value)


def test_an_unknown_parameter_is_refused() -> None:
    with pytest.raises(TypeEnforcementError, match="Unknown parameter 'nosuch'"):
        check_params(BE_PARAMS, {"nosuch": 1})


def test_the_word_default_passes_only_on_request() -> None:
    assert check_params(BE_PARAMS, {"vcpus": "default"}, allow_default=True) == {"vcpus": "default"}
    with pytest.raises(TypeEnforcementError):
        check_params(BE_PARAMS, {"vcpus": "default"})


@pytest.mark.parametrize(
    "hypervisor, values",
    [
        ("kvm", {"boot_order": "tape"}),
        ("kvm", {"kernel_path": "boot/vmlinuz"}),
        ("kvm", {"kernel_path": "/boot/../vmlinuz"}),
        ("kvm", {"serial_speed": 9601}),
        ("kvm", {"cpu_mask": "3-1"}),
        ("kvm", {"virtio_net_queues": 9}),
        ("kvm", {"cdrom_image_path": "gopher://x/y"}),
        ("xen-hvm", {"boot_order": "cx"}),
        ("xen-hvm", {"vnc_bind_address": "::1"}),
        ("xen-pvm", {"kernel_path": ""}),
        ("lxc", {"cpu_mask": "all"}),
    ],
)
def test_wrong_values_are_refused(hypervisor: str, values: dict[str, Any]) -> None:
    with pytest.raises(OpPrereqError, match="must be") as refused:
        check_own_hvparams(hypervisor, values)
    assert refused.value.code == "wrong_input"


def test_cluster_wide_parameters_are_not_for_instances() -> None:
    with pytest.raises(OpPrereqError, match="migration_port"):
        check_own_hvparams("kvm", {"migration_port": 8103})


@pytest.mark.parametrize(
    "values, words",
    [
        ({"kernel_path": "/k", "root_path": None}, "root_path"),
        ({"vnc_x509_verify": True}, "vnc_x509_path"),
        ({"boot_order": "cdrom"}, "cdrom_image_path"),
        ({"security_model": "user"}, "security_domain"),
        ({"security_domain": "x"}, "security_model"),
        ({"spice_bind": "eth0", "vnc_bind_address": "0.0.0.0"}, "exclude"),
        ({"disk_aio": "native"}, "disk_cache none"),
    ],
)
def test_kvm_parameters_must_fit_together(values: dict[str, Any], words: str) -> None:
    full = {**defaults(HV_PARAMS["kvm"]), **values}
    with pytest.raises(OpPrereqError, match=words):
        check_hvparams("kvm", full)


def test_complete_parameters_lack_none_and_have_no_others() -> None:
    full = defaults(HV_PARAMS["fake"])
    with pytest.raises(OpPrereqError, match="unknown: x"):
        check_hvparams("fake", {**full, "x": 1})
    with pytest.raises(OpPrereqError, match="missing: migration_mode"):
        check_hvparams("fake", {})
    with pytest.raises(OpPrereqError, match="unknown hypervisor"):
        check_hvparams("vmm", {})


def test_old_memory_becomes_minimum_and_maximum() -> None:
    assert split_memory({"memory": 512, "vcpus": 2}) == {
        "minmem": 512, "maxmem": 512, "vcpus": 2
    }  # fmt: skip
    with pytest.raises(OpPrereqError):
        split_memory({"memory": 512, "minmem": 1})
    with pytest.raises(OpPrereqError):
        check_beparams({**defaults(BE_PARAMS), "minmem": 256})


@pytest.mark.parametrize(
    "text, wanted", [("", ""), ("5", ".5"), (".5", ".5"), (".5:6:7", ".5:6:7"), (":6:7", ":6:7")]
)
def test_vlans_have_one_form(text: str, wanted: str) -> None:
    assert normalize_vlan(text) == wanted


@pytest.mark.parametrize("text", ["x", "5:6", ".", ":", ".5:", "5000"])
def test_wrong_vlans_are_refused(text: str) -> None:
    with pytest.raises(OpPrereqError, match="VLAN"):
        normalize_vlan(text)


def test_nic_parameters_must_fit_together() -> None:
    check_nicparams(defaults(NIC_PARAMS))
    with pytest.raises(OpPrereqError, match="link"):
        check_nicparams({"mode": "bridged", "link": "", "vlan": ""})


@pytest.mark.parametrize("value", ["n", "b", "bf", "fd", "bdf"])
def test_barriers_are_letters(value: str) -> None:
    check_params(DISK_PARAMS["drbd"], {"disk-barriers": value})


@pytest.mark.parametrize("value", ["", "x", "bb", "nb"])
def test_other_barriers_are_refused(value: str) -> None:
    with pytest.raises(OpPrereqError):
        check_params(DISK_PARAMS["drbd"], {"disk-barriers": value})


def test_cpu_masks_are_parsed() -> None:
    assert parse_cpu_mask("0-2,5") == (0, 1, 2, 5)
    assert parse_cpu_masks("all:1-2") == (None, (1, 2))
    for wrong in ("", "x", "3-1", "1,,2", "1-2-3"):
        with pytest.raises(ParseError):
            parse_cpu_mask(wrong)
