"""OP_CLUSTER_SET_PARAMS and OP_CLUSTER_RENAME: every setting, what is refused, hooks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.admin_services import AdminServices, own_variables
from fakes.configs import a_nic, a_snapshot
from ganeti.errors import Code, GenericError
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.logic.cluster_rename import renamed_hosts
from ganeti.logic.registry import unit_for
from ganeti.opcodes.cluster import (
    OpClusterActivateMasterIp,
    OpClusterDeactivateMasterIp,
    OpClusterRename,
    OpClusterSetParams,
)
from ganeti.types import ChangeAction, DiskTemplate, HypervisorKind

INVAL = ("OpPrereqError", Code.INVAL)
NO_CODE = ("OpPrereqError", None)
WRONG_TYPE = ("TypeEnforcementError", None)


@pytest.fixture
def services(tmp_path: Path) -> AdminServices:
    return AdminServices(tmp_path)


def modify(**given: Any) -> OpClusterSetParams:
    return OpClusterSetParams(**given)


@pytest.mark.parametrize(
    ("given", "field", "stored"),
    [
        ({"max_running_jobs": 7}, "max_running_jobs", 7),
        ({"max_tracked_jobs": 8}, "max_tracked_jobs", 8),
        ({"maintain_node_health": True}, "maintain_node_health", True),
        ({"prealloc_wipe_disks": True}, "prealloc_wipe_disks", True),
        ({"use_external_mip_script": True}, "use_external_mip_script", True),
        ({"modify_etc_hosts": False}, "modify_etc_hosts", False),
        ({"enabled_user_shutdown": True}, "enabled_user_shutdown", True),
        ({"default_iallocator_params": {"a": "b"}}, "default_iallocator_params", {"a": "b"}),
        ({"default_iallocator": ""}, "default_iallocator", ""),
        ({"default_iallocator": "hail"}, "default_iallocator", "hail"),
        ({"mac_prefix": "AA:bb:01"}, "mac_prefix", "aa:bb:01"),
        ({"uid_pool": [(5, 9), (1, 2)]}, "uid_pool", ((1, 2), (5, 9))),
        ({"uid_pool": [(1, 2)], "add_uids": [(4, 4)]}, "uid_pool", ((1, 2), (4, 4))),
        ({"uid_pool": [(1, 2), (4, 4)], "remove_uids": [(1, 2)]}, "uid_pool", ((4, 4),)),
        ({"reserved_lvs": ["xenvg/.*"]}, "reserved_lvs", ("xenvg/.*",)),
        ({"reserved_lvs": []}, "reserved_lvs", ()),
        ({"hidden_os": [(ChangeAction.ADD, "a")]}, "hidden_os", ("a",)),
        ({"hidden_os": [(ChangeAction.REMOVE, "a")]}, "hidden_os", ()),
        ({"blacklisted_os": [(ChangeAction.ADD, "b")]}, "blacklisted_os", ("b",)),
        ({"install_image": "/i.img"}, "install_image", "/i.img"),
        ({"zeroing_image": "https://x/y"}, "zeroing_image", "https://x/y"),
        ({"compression_tools": ["gzip", "lz4"]}, "compression_tools", ("gzip", "lz4")),
        ({"file_storage_dir": "/srv/other"}, "file_storage_dir", "/srv/other"),
        ({"gluster_storage_dir": ""}, "gluster_storage_dir", ""),
        ({"vg_name": ""}, "volume_group_name", None),
        ({"master_netmask": 24}, "master_netmask", 24),
        ({"master_netdev": "eth7"}, "master_netdev", "eth7"),
        ({"hv_state": {"kvm": {"mem_node": 5}}}, "hv_state_static", {"kvm": {"mem_node": 5}}),
    ],
)
def test_a_setting_is_stored(
    services: AdminServices, given: dict[str, Any], field: str, stored: Any
) -> None:
    ran = services.run(modify(**given))
    assert ran.result is None
    assert getattr(services.config.cluster, field) == stored
    assert (ran.locks.instances, ran.locks.groups, ran.locks.nodes) == (SHARED, SHARED, SHARED)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        ({"default_iallocator": "nosuch"}, INVAL),
        ({"mac_prefix": "aa:bb"}, INVAL),
        ({"uid_pool": [(5, 1)]}, INVAL),
        ({"uid_pool": [(0, 2**32)]}, INVAL),
        ({"add_uids": [(1, 2), (1, 2)]}, INVAL),
        ({"remove_uids": [(1, 2)]}, INVAL),
        ({"reserved_lvs": ["("]}, INVAL),
        ({"hidden_os": [(ChangeAction.ATTACH, "a")]}, INVAL),
        ({"install_image": ""}, NO_CODE),
        ({"zeroing_image": "relative"}, NO_CODE),
        ({"compression_tools": ["lz4"]}, INVAL),
        ({"compression_tools": ["gzip", "none"]}, INVAL),
        ({"compression_tools": ["gzip", "a b"]}, INVAL),
        ({"file_storage_dir": "relative"}, INVAL),
        ({"file_storage_dir": ""}, INVAL),
        ({"master_netmask": 33}, INVAL),
        ({"master_netmask": 0}, INVAL),
        ({"master_netdev": ""}, INVAL),
        ({"enabled_data_collectors": {"nosuch": True}}, INVAL),
        ({"enabled_hypervisors": []}, INVAL),
        ({"enabled_disk_templates": []}, INVAL),
        ({"hvparams": {"nosuch": {}}}, INVAL),
        ({"hvparams": {"fake": {"nosuch": 1}}}, WRONG_TYPE),
        ({"hvparams": {"kvm": {"kernel_path": "relative"}}}, INVAL),
        ({"os_hvp": {"os": {"fake": {"x": 1}}}}, WRONG_TYPE),
        ({"os_hvp": {"os": {"kvm": {"migration_port": 1}}}}, INVAL),
        ({"beparams": {"nosuch": 1}}, WRONG_TYPE),
        ({"beparams": {"minmem": 2000, "maxmem": 1000}}, INVAL),
        ({"nicparams": {"mode": "routed", "vlan": "5"}}, INVAL),
        ({"nicparams": {"link": ""}}, INVAL),
        ({"ndparams": {"nosuch": 1}}, WRONG_TYPE),
        ({"diskparams": {DiskTemplate.FILE: {"access": "kernelspace"}}}, INVAL),
        ({"diskparams": {DiskTemplate.PLAIN: {"stripes": "x"}}}, WRONG_TYPE),
        ({"ipolicy": {"vcpu-ratio": "default"}}, INVAL),
        ({"ipolicy": {"std": {"memory-size": 1}}}, INVAL),
        ({"ipolicy": {"disk-templates": ["rbd"]}}, INVAL),
        ({"osparams": {"noop": {"a": "b"}}, "osparams_private_cluster": {"noop": {"a": 1}}}, INVAL),
    ],
)
def test_what_can_not_be_is_refused(
    services: AdminServices, given: dict[str, Any], refusal: tuple[str, Code | None]
) -> None:
    assert services.refused(modify(**given)) == refusal


# Inherited parameters.


def test_parameters_are_typed_and_default_is_the_software_s(services: AdminServices) -> None:
    services.run(
        modify(
            beparams={"memory": "1G", "vcpus": "3"},
            ndparams={"spindle_count": "5"},
            nicparams={"link": "br7"},
            diskparams={DiskTemplate.PLAIN: {"stripes": "2"}},
            hvparams={"kvm": {"kernel_path": "/boot/k"}},
        )
    )
    cluster = services.config.cluster
    be = cluster.beparams["default"]
    assert (be["minmem"], be["maxmem"], be["vcpus"]) == (1024, 1024, 3)
    assert cluster.ndparams["spindle_count"] == 5
    assert cluster.nicparams["default"]["link"] == "br7"
    assert cluster.diskparams["plain"]["stripes"] == 2
    assert cluster.hvparams["kvm"]["kernel_path"] == "/boot/k"
    services.run(modify(beparams={"vcpus": "default"}, ndparams={"spindle_count": None}))
    cluster = services.config.cluster
    assert cluster.beparams["default"]["vcpus"] == 1
    assert cluster.ndparams["spindle_count"] == 1


def test_parameters_of_an_os_come_and_go(services: AdminServices) -> None:
    services.run(
        modify(
            osparams={"noop": {"a": "b", "c": "d"}},
            osparams_private_cluster={"noop": {"e": "f"}},
            os_hvp={"noop": {"kvm": {"kernel_args": "x"}}},
        )
    )
    cluster = services.config.cluster
    assert cluster.osparams["noop"] == {"a": "b", "c": "d"}
    assert cluster.osparams_private_cluster["noop"] == {"e": "f"}
    assert cluster.os_hvp["noop"] == {"kvm": {"kernel_args": "x"}}
    assert "os_validate" in services.calls.names
    services.run(
        modify(
            osparams={"noop": {"a": "none", "c": None}},
            osparams_private_cluster={"noop": {"e": "none"}},
            os_hvp={"noop": {"kvm": {"kernel_args": "default"}}},
        )
    )
    cluster = services.config.cluster
    assert (cluster.osparams, cluster.osparams_private_cluster, cluster.os_hvp) == ({}, {}, {})


def test_nodes_have_a_say_about_hypervisor_and_os_parameters(services: AdminServices) -> None:
    for call, given in (
        ("hypervisor_validate_params", {"hvparams": {"kvm": {"kernel_path": "/boot/k"}}}),
        ("os_validate", {"osparams": {"noop": {"a": "b"}}}),
    ):
        services.calls.failures = {call: "not here"}
        assert services.refused(modify(**given))[0] == "OpExecError"


def test_collectors_are_switched_and_timed(services: AdminServices) -> None:
    name = next(iter(services.config.cluster.data_collectors))
    services.run(
        modify(enabled_data_collectors={name: False}, data_collector_interval={name: 7_000_000})
    )
    collectors = services.config.cluster.data_collectors
    assert collectors[name] == {"active": False, "interval": 7_000_000}


def test_a_routed_default_needs_addresses(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    services.change(lambda draft: draft.update(replace(instance, nics=(a_nic(1),))))
    op = modify(nicparams={"mode": "routed", "link": "100"})
    assert services.refused(op) == INVAL


# Storage and hypervisors in use.


def test_a_used_disk_template_or_hypervisor_stays_enabled(tmp_path: Path) -> None:
    services = AdminServices(tmp_path, a_snapshot())
    (instance,) = services.config.instances.values()
    state = ("OpPrereqError", Code.STATE)
    op = modify(enabled_disk_templates=[DiskTemplate.DISKLESS])
    assert services.refused(op) == state
    services.change_instance(instance.name, hypervisor=HypervisorKind.KVM)
    services.run(modify(enabled_hypervisors=[HypervisorKind.KVM, HypervisorKind.FAKE]))
    op = modify(enabled_hypervisors=[HypervisorKind.FAKE])
    assert services.refused(op) == state
    assert services.refused(modify(vg_name="")) == INVAL
    assert services.refused(modify(drbd_helper="")) == INVAL


def test_lvm_needs_a_volume_group_on_all_nodes(services: AdminServices) -> None:
    services.run(modify(vg_name=""))
    templates = [DiskTemplate.FILE, DiskTemplate.SHARED_FILE, DiskTemplate.PLAIN]
    wanted: dict[str, Any] = {
        "enabled_disk_templates": templates,
        "ipolicy": {"disk-templates": ["file", "plain"]},
    }
    assert services.refused(modify(**wanted)) == INVAL
    with_group = modify(**wanted, vg_name="xenvg")
    assert services.refused(with_group) == INVAL
    services.calls.volume_groups = {"xenvg": 20480}
    services.calls.failures = {"vg_list": "no lvm"}
    assert services.refused(with_group) == ("OpPrereqError", Code.ENVIRON)
    services.calls.failures = {}
    services.run(with_group)
    assert services.config.cluster.volume_group_name == "xenvg"


def test_templates_of_the_policy_must_stay_enabled(services: AdminServices) -> None:
    services.run(modify(ipolicy={"disk-templates": ["file", "diskless"]}))
    assert services.refused(modify(enabled_disk_templates=[DiskTemplate.FILE])) == INVAL
    services.run(
        modify(enabled_disk_templates=[DiskTemplate.FILE], ipolicy={"disk-templates": ["file"]})
    )
    assert services.config.cluster.enabled_disk_templates == (DiskTemplate.FILE,)


# Candidates, the master's address, jobs.


def test_a_larger_pool_is_filled_and_certified(services: AdminServices) -> None:
    services.run(modify(candidate_pool_size=1))
    for name in ("node2", "node3"):
        services.change_node(name, master_candidate=False)
    op = modify(candidate_pool_size=3)
    unit = unit_for(op.OP_ID)(op, services)
    unit.arguments()
    unit.execute(unit.check(services.config))
    assert unit.config_hook
    assert all(node.master_candidate for node in services.config.nodes.values())
    assert set(services.config.cluster.candidate_certs) == set(services.config.nodes)


def test_the_masters_address_moves_with_the_device(services: AdminServices) -> None:
    services.run(modify(master_netdev="eth7"))
    assert services.calls.names == ["node_deactivate_master_ip", "node_activate_master_ip"]
    down, up = (args[0]["netdev"] for _, args in services.calls.arguments)
    assert (up, down != up) == ("eth7", True)


def test_an_address_that_stays_up_stops_the_move_unless_forced(services: AdminServices) -> None:
    services.calls.failures = {"node_deactivate_master_ip": "busy"}
    op = modify(master_netdev="eth7")
    assert services.refused(op)[0] == "OpExecError"
    services.run(op.replace(force=True))
    assert services.config.cluster.master_netdev == "eth7"
    assert any("busy" in text for text in services.messages)


def test_a_netmask_that_can_not_be_set_is_a_warning(services: AdminServices) -> None:
    services.calls.failures = {"node_change_master_netmask": "no such device"}
    services.run(modify(master_netmask=20))
    assert "no such device" in services.messages[-1]


def test_a_communication_network_is_made_by_a_job(services: AdminServices) -> None:
    ((add, connect),) = services.jobs(modify(instance_communication_network="comm"))
    (group,) = services.config.groups.values()
    assert (add["OP_ID"], add["network"]) == ("OP_NETWORK_ADD", "169.254.0.0/16")
    assert (connect["OP_ID"], connect["group_name"]) == ("OP_NETWORK_CONNECT", group.uuid)


def test_hooks_have_the_recorded_variables(services: AdminServices, samples: Path) -> None:
    line = (samples / "hooks/cluster-modify.jsonl").read_text().splitlines()[0]
    wanted = own_variables(json.loads(line)["env"])
    before = services.run(modify(beparams={"maxmem": "200M"})).before
    assert before is not None
    name = services.config.cluster.cluster_name
    assert before.env == {**wanted, "OP_TARGET": name}
    assert list(before.pre_nodes) == [services.config.cluster.master_node]


# Name and address.


def virtual(tmp_path: Path, hosts: str) -> AdminServices:
    services = AdminServices(tmp_path)
    services.paths.etc_hosts.parent.mkdir(parents=True, exist_ok=True)
    services.paths.etc_hosts.write_text(hosts)
    services.paths.known_hosts.parent.mkdir(parents=True, exist_ok=True)
    name = services.config.cluster.cluster_name
    services.paths.known_hosts.write_text(f"{name} ssh-rsa AAAA\n")
    return services


def test_a_renamed_cluster_has_the_new_address_and_host_key_name(
    tmp_path: Path, samples: Path
) -> None:
    services = virtual(tmp_path, "192.0.2.251 new.example.com new\n")
    old = services.config.cluster.cluster_name
    ran = services.run(OpClusterRename(name="new"))
    cluster = services.config.cluster
    assert ran.result == cluster.cluster_name == "new.example.com"
    assert cluster.master_ip == "192.0.2.251"
    assert services.paths.known_hosts.read_text() == "new.example.com ssh-rsa AAAA\n"
    assert ran.locks.cluster is EXCLUSIVE
    record = json.loads((samples / "hooks/cluster-rename.jsonl").read_text().splitlines()[0])
    assert ran.before is not None and ran.after is not None
    assert set(ran.before.env) == set(own_variables(record["env"]))
    assert ran.before.env == {"OP_TARGET": old, "NEW_NAME": "new.example.com"}
    assert ran.after.env["OP_TARGET"] == "new.example.com"
    assert set(ran.after.post_nodes) == set(services.config.nodes)
    addresses = [args[0]["ip"] for name, args in services.calls.arguments if "master_ip" in name]
    assert addresses[-1] == "192.0.2.251" and len(addresses) == 2


def test_the_same_name_and_address_are_no_new_ones(tmp_path: Path) -> None:
    services = virtual(tmp_path, "")
    cluster = services.config.cluster
    services.paths.etc_hosts.write_text(f"{cluster.master_ip} {cluster.cluster_name}\n")
    assert services.refused(OpClusterRename(name=cluster.cluster_name)) == INVAL
    with pytest.raises(GenericError):
        services.run(OpClusterRename(name="unknown.example.com"))


def test_an_address_that_stays_up_keeps_the_name(tmp_path: Path) -> None:
    services = virtual(tmp_path, "192.0.2.251 new.example.com\n")
    services.calls.failures = {"node_deactivate_master_ip": "busy"}
    assert services.refused(OpClusterRename(name="new.example.com"))[0] == "OpExecError"


def test_other_hosts_keep_their_keys() -> None:
    text = "old.example.com,192.0.2.9 ssh-rsa A\nother ssh-rsa B\n"
    wanted = "new.example.com,192.0.2.9 ssh-rsa A\nother ssh-rsa B\n"
    assert renamed_hosts(text, "old.example.com", "new.example.com") == wanted


def test_the_masters_address_goes_up_and_down(services: AdminServices) -> None:
    for op in (OpClusterActivateMasterIp(), OpClusterDeactivateMasterIp()):
        ran = services.run(op)
        assert (ran.result, ran.locks.cluster) == (None, EXCLUSIVE)
    services.calls.failures = dict.fromkeys(
        ("node_activate_master_ip", "node_deactivate_master_ip"), "busy"
    )
    for op in (OpClusterActivateMasterIp(), OpClusterDeactivateMasterIp()):
        assert services.refused(op)[0] == "OpExecError"
