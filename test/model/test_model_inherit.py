"""Inheritance of parameters, instance policies, and the instance that a node gets."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fact_tables import facts
from ganeti.errors import OpPrereqError, TypeEnforcementError
from ganeti.model import inherit, ipolicy
from ganeti.model.config import ConfigDocument
from ganeti.model.fill import filled_instance, node_disk, nodes_of_disks
from ganeti.model.filled import FilledInstance
from ganeti.serializer import decode, encode
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture(scope="module")
def config() -> ConfigDocument:
    raw = facts("config-data")["example_3_0_two_nodes_one_drbd_instance"]
    return decode(ConfigDocument, raw, "config")


def test_each_layer_of_hypervisor_parameters_wins_over_the_one_below(
    config: ConfigDocument,
) -> None:
    cluster = replace(
        config.cluster,
        hvparams={"kvm": {"acpi": False, "vga": "std", "keymap": "de"}},
        os_hvp={"deb": {"kvm": {"vga": "qxl", "keymap": "fr"}}},
    )
    full = inherit.fill_hvparams(cluster, "kvm", "deb", {"keymap": "us"})
    assert (full["acpi"], full["vga"], full["keymap"]) == (False, "qxl", "us")
    assert full["serial_speed"] == 38400
    assert inherit.fill_hvparams(cluster, "kvm", "other", {})["vga"] == "std"
    assert "migration_port" not in inherit.fill_hvparams(
        cluster, "kvm", "deb", {}, skip_globals=True
    )


def test_back_end_parameters(config: ConfigDocument) -> None:
    cluster = replace(config.cluster, beparams={"default": {"vcpus": 2}})
    full = inherit.fill_beparams(cluster, {"maxmem": 512})
    assert (full["vcpus"], full["maxmem"], full["minmem"]) == (2, 512, 128)


def test_a_nic_on_a_network_takes_the_groups_connection(config: ConfigDocument) -> None:
    group = next(iter(config.nodegroups.values()))
    group = replace(group, networks={"net": {"mode": "routed", "link": "100", "vlan": ""}})
    assert inherit.fill_nicparams(config.cluster, {}, group, "net")["link"] == "100"
    assert inherit.fill_nicparams(config.cluster, {}, group, None)["link"] == "br0"
    own = inherit.fill_nicparams(config.cluster, {"link": "101"}, group, "net")
    assert (own["mode"], own["link"]) == ("routed", "101")


def test_exclusive_storage_is_not_for_single_nodes(config: ConfigDocument) -> None:
    group = next(iter(config.nodegroups.values()))
    node = next(iter(config.nodes.values()))
    node = replace(node, ndparams={"exclusive_storage": True, "ssh_port": 2222})
    group = replace(group, ndparams={"ssh_port": 2200, "spindle_count": 7})
    full = inherit.fill_ndparams(config.cluster, group, node)
    assert (full["exclusive_storage"], full["ssh_port"], full["spindle_count"]) == (False, 2222, 7)


def test_disk_parameters_come_from_cluster_and_group(config: ConfigDocument) -> None:
    group = next(iter(config.nodegroups.values()))
    group = replace(group, diskparams={"drbd": {"data-stripes": 2}})
    full = inherit.fill_diskparams(config.cluster, group, "drbd")
    assert (full["data-stripes"], full["meta-stripes"]) == (2, 1)


def test_os_parameters_of_os_variant_and_instance(config: ConfigDocument) -> None:
    cluster = replace(
        config.cluster,
        osparams={"deb": {"a": "1", "b": "1"}, "deb+x": {"b": "2", "c": "2"}},
        osparams_private_cluster={"deb": {"p": "1"}},
    )
    full = inherit.fill_osparams(
        cluster, "deb+x", {"c": "3"}, private={"q": "3"}, secret={"s": "4"}
    )
    assert full == {"a": "1", "b": "2", "c": "3", "p": "1", "q": "3", "s": "4"}
    with pytest.raises(OpPrereqError, match="'a' is both public and secret"):
        inherit.fill_osparams(cluster, "deb", {}, secret={"a": "x"})
    with pytest.raises(OpPrereqError, match="'p' is both public and private"):
        inherit.fill_osparams(cluster, "deb", {"p": "x"})


def test_default_drops_a_parameter() -> None:
    own = {"a": 1, "b": 2}
    assert inherit.update_params(own, {"a": "default", "c": 3, "x": "default"}) == {"b": 2, "c": 3}
    assert inherit.update_params(own, {"a": None}) == {"a": None, "b": 2}
    assert inherit.update_osparams({"a": "1", "b": "2"}, {"a": None, "b": "none"}) == {}
    assert own == {"a": 1, "b": 2}


params = st.dictionaries(st.sampled_from("abcd"), st.integers())


@given(params, params)
def test_an_update_is_a_merge_that_drops_what_is_reset(
    own: dict[str, int], changes: dict[str, int]
) -> None:
    resets = {name: "default" for name in changes}
    assert inherit.update_params(own, changes) == {**own, **changes}
    assert inherit.update_params(own, resets) == {
        name: value for name, value in own.items() if name not in changes
    }


# Instance policies.


def test_policy_defaults_are_the_documented_ones() -> None:
    known = facts("constants")["groups"]["ipolicy"]["values"]["IPOLICY_DEFAULTS"]
    assert ipolicy.default_ipolicy() == known
    ipolicy.check_std(known)
    assert ipolicy.check_ipolicy(known, for_group=False) == known


def test_std_merges_by_key_and_groups_replace_whole_keys(config: ConfigDocument) -> None:
    cluster = replace(config.cluster, ipolicy={"std": {"cpu-count": 2}, "vcpu-ratio": 8})
    group = next(iter(config.nodegroups.values()))
    group = replace(group, ipolicy={"disk-templates": ["plain"], "std": {"cpu-count": 9}})
    full = inherit.fill_ipolicy(cluster, group)
    assert full["std"]["cpu-count"] == 2
    assert full["std"]["memory-size"] == 128
    assert (full["vcpu-ratio"], full["disk-templates"]) == (8, ["plain"])


def spec(**changes: Any) -> ipolicy.InstanceSpec:
    values: dict[str, Any] = {
        "memory": 512, "vcpus": 1, "disk_sizes": (2048,), "disk_templates": ("plain",),
        "nic_count": 1, "spindle_use": 1, **changes,
    }  # fmt: skip
    return ipolicy.InstanceSpec(**values)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"memory": 1 << 20}, "memory-size value 1048576 is not in range [128, 32768]"),
        ({"vcpus": 9}, "cpu-count"),
        ({"nic_count": 0}, "nic-count"),
        ({"spindle_use": 13}, "spindle-use"),
        ({"disk_sizes": (2048, 12)}, "disk-size value 12"),
        ({"disk_sizes": (2048,) * 17}, "disk-count value 17"),
    ],
)
def test_an_instance_outside_the_bounds_is_told(changes: dict[str, Any], words: str) -> None:
    found = ipolicy.violations(ipolicy.default_ipolicy(), spec(**changes))
    assert len(found) == 1 and words in found[0]


def test_a_good_instance_has_no_violations() -> None:
    policy = ipolicy.default_ipolicy()
    assert ipolicy.violations(policy, spec()) == []
    assert ipolicy.violations(policy, spec(memory=None, spindle_use=None)) == []


def test_no_disks_are_fine_where_diskless_is_allowed() -> None:
    policy = ipolicy.default_ipolicy()
    diskless = spec(disk_sizes=(), disk_templates=())
    assert ipolicy.violations(policy, diskless) == []
    policy["disk-templates"] = ["plain"]
    assert len(ipolicy.violations(policy, diskless)) == 2


def test_a_disk_template_must_be_allowed() -> None:
    policy = {**ipolicy.default_ipolicy(), "disk-templates": ["drbd"]}
    assert "plain" in ipolicy.violations(policy, spec())[0]


def test_one_pair_of_bounds_is_enough_and_the_nearest_is_told() -> None:
    low = {key: 0 for key in ipolicy.SPEC_KEYS}
    small = {"min": low, "max": {**{key: 100 for key in low}, "disk-size": 100}}
    large = {"min": {**low, "memory-size": 400}, "max": {key: 10000 for key in low}}
    policy = {**ipolicy.default_ipolicy(), "minmax": [small, large]}
    assert ipolicy.violations(policy, spec()) == []
    assert len(ipolicy.violations(policy, spec(memory=20000))) == 1


@pytest.mark.parametrize(
    "values, group, error",
    [
        ({"std": {}}, True, OpPrereqError),
        ({"nosuch": 1}, False, OpPrereqError),
        ({"vcpu-ratio": "default"}, False, OpPrereqError),
        ({"vcpu-ratio": 0}, False, OpPrereqError),
        ({"vcpu-ratio": "x"}, False, TypeEnforcementError),
        ({"minmax": []}, False, OpPrereqError),
        ({"minmax": [{"min": {}}]}, False, OpPrereqError),
        ({"minmax": [{"min": {"cpu-count": 1}, "max": {}}]}, False, OpPrereqError),
        ({"std": {"cores": 1}}, False, TypeEnforcementError),
        ({"std": {"cpu-count": "x"}}, False, TypeEnforcementError),
        ({"disk-templates": ["tape"]}, True, OpPrereqError),
        ({"disk-templates": []}, True, OpPrereqError),
    ],
)
def test_wrong_policies_are_refused(
    values: dict[str, Any], group: bool, error: type[Exception]
) -> None:
    with pytest.raises(error):
        ipolicy.check_ipolicy(values, for_group=group, allow_default=True)


def test_minimum_above_maximum_is_refused() -> None:
    swapped = {"min": dict(ipolicy.DEFAULT_MAX), "max": dict(ipolicy.DEFAULT_MIN)}
    with pytest.raises(OpPrereqError, match="more than max"):
        ipolicy.check_ipolicy({"minmax": [swapped]}, for_group=False)


def test_standard_specs_lie_within_the_bounds() -> None:
    policy = ipolicy.default_ipolicy()
    policy["std"] = {**policy["std"], "cpu-count": 100}
    with pytest.raises(OpPrereqError, match="cpu-count 100"):
        ipolicy.check_std(policy)


def test_templates_must_be_enabled() -> None:
    policy = ipolicy.default_ipolicy()
    with pytest.raises(OpPrereqError, match="not enabled"):
        ipolicy.check_enabled(policy, ["plain"])
    cut = ipolicy.restrict_templates(policy, ["plain"])
    assert cut["disk-templates"] == ["plain"]


# What a node gets.


def filled(config: ConfigDocument, **changes: Any) -> FilledInstance:
    instance = next(iter(config.instances.values()))
    return filled_instance(
        config.cluster,
        next(iter(config.nodegroups.values())),
        instance,
        [config.disks[uuid] for uuid in instance.disks],
        config.networks,
        nodes=config.nodes,
        **changes,
    )


def test_a_filled_instance_is_complete(config: ConfigDocument) -> None:
    made = filled(config, beparams={"maxmem": 640}, osparams={"x": "y"})
    assert (made.memory_mib, made.vcpus, made.osparams["x"]) == (640, 1, "y")
    assert made.hvparams == {"migration_mode": "live"}
    nic = made.nics[0]
    assert nic.nicparams == {"mode": "bridged", "link": "br0", "vlan": ""}
    assert nic.netinfo is not None and nic.netinfo["uuid"] == nic.network
    assert len(made.secondary_nodes) == 1
    disk = made.disks_info[0]
    assert disk.params is not None and disk.params["default-metavg"] == "xenvg"
    assert [child.params["stripes"] for child in disk.children if child.params] == [1, 1]


def test_a_filled_instance_goes_over_the_wire(config: ConfigDocument) -> None:
    made = filled(config)
    assert decode(FilledInstance, encode(made), "instance") == made


def test_drbd_addresses_are_those_of_the_target(config: ConfigDocument) -> None:
    disk = next(iter(config.disks.values()))
    ids = disk.drbd
    for target, peer in ((ids.node_a, ids.node_b), (ids.node_b, ids.node_a)):
        made = node_disk(config.cluster, None, disk, target, config.nodes)
        assert made.dynamic_params == {
            "local-ip": config.nodes[target].secondary_ip,
            "remote-ip": config.nodes[peer].secondary_ip,
            "local-minor": ids.minor_on(target),
            "remote-minor": ids.minor_on(peer),
        }
    assert nodes_of_disks(ids.node_b, [disk]) == (ids.node_b, ids.node_a)
