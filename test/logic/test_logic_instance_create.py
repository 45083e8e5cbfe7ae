"""Making instances: plans, refusals, order of calls, and that nothing stays after a failure."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_network, an_instance
from fakes.services import FILE_DIR, FakeServices, a_cluster, contents, run_unit
from ganeti.errors import ConfigurationError, GenericError, OpExecError, OpPrereqError
from ganeti.locking.names import EXCLUSIVE, SHARED, Level
from ganeti.locking.request import Held
from ganeti.logic.hook_env import instance_env
from ganeti.model.report import BlockDeviceStatus
from ganeti.opcodes.instance import OpInstanceCreate
from ganeti.types import AdminState, AdminStateSource

NODE1, NODE2 = "node1.example.com", "node2.example.com"
NAME = "web1.example.com"


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return FakeServices(a_cluster(), tmp_path)


def op(**values: Any) -> OpInstanceCreate:
    """An order for a diskless instance on node2; the given values replace its own."""
    return OpInstanceCreate(
        **{
            "instance_name": NAME,
            "mode": "create",
            "disk_template": "diskless",
            "disks": [],
            "nics": [{}],
            "os_type": "noop",
            "pnode": "node2",
            "name_check": False,
            "ip_check": False,
            **values,
        }
    )


def with_disks(**values: Any) -> OpInstanceCreate:
    disks = [{"size": 1024, "name": "root"}, {"size": "2g", "mode": "ro"}]
    return op(**{"disk_template": "file", "disks": disks, **values})


def connect(services: FakeServices, **params: str) -> str:
    """A network, connected to the group; its uuid."""
    network = a_network(mac_prefix="aa:bb:cc")
    (group,) = services.config.groups.values()
    given = {"mode": "bridged", "link": "br7", "vlan": "", **params}

    def change(draft: Any) -> None:
        draft.add(network)
        draft.update(replace(group, networks={network.uuid: given}))

    services.change(change)
    return network.uuid


def refused(services: FakeServices, order: OpInstanceCreate) -> tuple[str | None, str]:
    """Code and text of a refusal, which has changed nothing."""
    before = services.config
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, order)
    assert services.config is before
    assert not services.undo.steps
    return caught.value.code, str(caught.value)


# What is made.


def test_a_diskless_instance_is_stored_and_started_with_few_calls(services: FakeServices) -> None:
    ran = run_unit(services, op(tags=["web", "prod"]))
    assert ran.result == [NODE2]
    assert services.rpc.names == [
        "hypervisor_validate_params", "os_validate", "node_info", "instance_start",
    ]  # fmt: skip
    assert services.undo.names == []  # it is there as a whole or not at all
    assert services.commits == 1
    assert services.messages == [
        "* creating instance disks...",
        f"adding instance {NAME} to cluster config",
        "* starting instance...",
    ]
    instance = services.config.find_instance(NAME)
    assert instance is not None
    assert (instance.admin_state, instance.disks_active) == (AdminState.UP, True)
    assert instance.admin_state_source is AdminStateSource.ADMIN
    assert instance.nics[0].mac.startswith("aa:00:00:")
    assert (instance.hvparams, instance.beparams, instance.nics[0].nicparams) == ({}, {}, {})
    assert NAME in services.place(NODE2).running


def test_an_instance_that_shall_not_start_costs_one_change(services: FakeServices) -> None:
    run_unit(services, op(start=False))
    assert services.rpc.names == ["hypervisor_validate_params", "os_validate"]
    assert services.commits == 1
    instance = services.config.find_instance(NAME)
    assert instance is not None
    assert (instance.admin_state, instance.disks_active) == (AdminState.DOWN, False)


def test_disks_are_made_in_the_instances_directory_and_the_os_is_installed(
    services: FakeServices,
) -> None:
    run_unit(services, with_disks(osparams_secret={"key": "x"}))
    assert services.rpc.names[3:] == [
        "file_storage_dir_create",
        "blockdev_create",
        "blockdev_create",
        "blockdev_getmirrorstatus",
        "instance_os_add",
        "instance_start",
    ]
    assert services.undo.names == [
        "file_storage_dir_remove",
        "blockdev_remove",
        "blockdev_remove",
        "forget_instance",
        "settled",
    ]
    instance = services.config.find_instance(NAME)
    assert instance is not None
    first, second = services.config.disks_of(instance)
    assert (first.size, first.mode, first.name, first.iv_name) == (1024, "rw", "root", "disk/0")
    assert (second.size, second.mode, second.name, second.iv_name) == (2048, "ro", None, "disk/1")
    assert first.logical_id[0] == "loop"
    assert str(first.logical_id[1]).startswith(f"{FILE_DIR}/{NAME}/")
    assert str(first.logical_id[1]).endswith(".file.disk0")
    assert first.nodes == (services.node(NODE2).uuid,)
    assert services.place(NODE2).devices == {first.uuid: 1024, second.uuid: 2048}
    installed = services.rpc.sent("instance_os_add")[0]
    assert installed.osparams == {"key": "x"}
    assert instance.osparams == {}
    assert services.messages == [
        "* disk 0, size 1024M",
        "* disk 1, size 2048M",
        "* creating instance disks...",
        f"adding instance {NAME} to cluster config",
        f" - INFO: Waiting for instance {NAME} to sync disks",
        f" - INFO: Instance {NAME}'s disks are in sync",
        "* running the instance OS create scripts...",
        "* starting instance...",
    ]


def test_without_installation_nothing_is_installed_or_started(services: FakeServices) -> None:
    run_unit(services, with_disks(no_install=True))
    assert "instance_os_add" not in services.rpc.names
    assert services.place(NODE2).running == {}
    assert " - INFO: No-installation mode selected, disabling startup" in services.messages


def test_disks_of_an_instance_that_is_not_started_are_shut_down(services: FakeServices) -> None:
    run_unit(services, with_disks(start=False))
    assert services.rpc.names[-2:] == ["blockdev_shutdown", "blockdev_shutdown"]


def test_shared_files_are_made_once_and_belong_to_no_node(services: FakeServices) -> None:
    run_unit(services, with_disks(disk_template="sharedfile", disks=[{"size": 1024}]))
    instance = services.config.find_instance(NAME)
    assert instance is not None
    (disk,) = services.config.disks_of(instance)
    assert disk.nodes == ()
    assert ".sharedfile.disk0" in str(disk.logical_id[1])


def test_a_size_is_rounded_up_to_4_mib(services: FakeServices) -> None:
    ran = run_unit(services, with_disks(disks=[{"size": 1025}]))
    assert ran.plan.disks[0].size == 1028


def test_disks_are_wiped_in_pieces_when_the_cluster_wants_it(tmp_path: Path) -> None:
    services = FakeServices(a_cluster(prealloc_wipe_disks=True), tmp_path)
    run_unit(services, with_disks(disks=[{"size": 1024}]))
    pieces = [args[1:] for name, args in services.rpc.arguments if name == "blockdev_wipe"]
    assert pieces[0] == [0, 102]
    assert sum(size for _, size in pieces) == 1024


def test_a_hypervisor_with_consoles_on_ports_gets_one(services: FakeServices) -> None:
    params = {"kernel_path": "", "vnc_bind_address": "127.0.0.1"}
    run_unit(services, op(hypervisor="kvm", hvparams=params, start=False))
    instance = services.config.find_instance(NAME)
    assert instance is not None
    assert instance.network_port == 11000
    assert services.config.cluster.highest_used_port == 11000


def test_a_dry_run_tells_the_nodes_by_uuid_and_changes_nothing(services: FakeServices) -> None:
    before = services.config
    ran = run_unit(services, op(dry_run=True))
    assert ran.result == [services.node(NODE2).uuid]
    assert services.config is before


def test_hooks_run_on_the_master_and_the_instances_nodes(services: FakeServices) -> None:
    ran = run_unit(services, with_disks(start=False))
    assert ran.before is not None and ran.after is not None
    nodes = [services.node(NODE1).uuid, services.node(NODE2).uuid]
    for env in (ran.before, ran.after):
        assert (env.path, env.object_type) == ("instance-add", "INSTANCE")
        assert list(env.pre_nodes) == list(env.post_nodes) == nodes
    assert ran.before.env == ran.after.env
    assert ran.before.env["ADD_MODE"] == "create"
    assert ran.before.env["INSTANCE_STATUS"] == "False"
    assert ran.before.env["INSTANCE_DISK0_UUID"] == ""
    plain = instance_env(services.config, ran.plan.instance, ran.plan.disks)
    assert plain["INSTANCE_DISK0_UUID"]


# Parameters.


def test_own_parameters_are_kept_and_words_for_defaults_are_not(services: FakeServices) -> None:
    order = op(
        beparams={"memory": "256m", "vcpus": "auto", "auto_balance": "default"},
        osparams={"root": "9"},
        start=False,
    )
    instance = run_unit(services, order).plan.instance
    assert instance.beparams == {"minmem": 256, "maxmem": 256}
    assert instance.osparams == {"root": "9"}


def test_values_equal_to_the_clusters_are_dropped_on_request(services: FakeServices) -> None:
    order = op(
        beparams={"maxmem": 128, "vcpus": 2},
        nics=[{"mode": "bridged", "link": "br9"}],
        identify_defaults=True,
        start=False,
    )
    instance = run_unit(services, order).plan.instance
    assert instance.beparams == {"vcpus": 2}
    assert instance.nics[0].nicparams == {"link": "br9"}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"forthcoming": True, "commit": True}, "wrong_input"),
        ({"forthcoming": True}, "environment_error"),
        ({"mode": "import"}, "environment_error"),
        ({"ip_check": True}, "wrong_input"),
        ({"instance_name": "a..b"}, "wrong_input"),
        ({"iallocator": "hail"}, "wrong_input"),
        ({"opportunistic_locking": True}, "wrong_input"),
        ({"pnode": "node9"}, "unknown_entity"),
        ({"disk_template": "plain"}, None),
        ({"hypervisor": "xen-pvm"}, "wrong_state"),
        ({"os_type": None}, "wrong_input"),
        ({"hvparams": {"migration_mode": "live"}}, "wrong_input"),
        ({"beparams": {"minmem": 512, "maxmem": 256}}, "wrong_input"),
        ({"disks": [{"size": 1}]}, "wrong_input"),
        ({"nics": [{}] * 9}, "wrong_state"),
        ({"beparams": {"memory": 64}}, "wrong_input"),
        ({"beparams": {"memory": 8192}}, "insufficient_resources"),
        ({"compress": "lzma"}, "wrong_input"),
        ({"nics": [{"mac": "zz"}]}, "wrong_input"),
        ({"nics": [{"mode": "routed"}]}, "wrong_input"),
        ({"nics": [{"ip": "auto"}]}, "wrong_input"),
        ({"nics": [{"ip": "pool"}]}, "wrong_input"),
        ({"nics": [{"ip": "1.2.3"}]}, "wrong_input"),
        ({"nics": [{"network": "lan9"}]}, "unknown_entity"),
        ({"nics": [{"name": "7"}]}, "wrong_input"),
        ({"nics": [{"name": "a"}, {"name": "a"}]}, "resource_not_unique"),
        ({"nics": [{"link": "a", "bridge": "a"}]}, "wrong_input"),
        ({"nics": [{"mac": "aa:00:00:00:00:01"}] * 2}, "resource_not_unique"),
        ({"nics": [{"ip": "192.0.2.7"}] * 2}, "resource_not_unique"),
    ],
    ids=str,
)  # fmt: skip
def test_what_can_not_be_is_refused_with_its_code(
    services: FakeServices, values: dict[str, Any], code: str | None
) -> None:
    assert refused(services, op(**values))[0] == code


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"disks": [{"mode": "rw"}]}, "wrong_input"),
        ({"disks": [{"size": "1x"}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "mode": "w"}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "adopt": "lv"}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "spindles": 2}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "flavour": "x"}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "provider": "x"}]}, "wrong_input"),
        ({"disks": [{"size": 1024, "dev_type": "plain"}]}, "wrong_input"),
        ({"disks": [{"size": 4}]}, "wrong_input"),
        ({"disks": [{"size": 1024}] * 17}, "wrong_state"),
        ({"file_storage_dir": "../up"}, "wrong_input"),
    ],
    ids=str,
)
def test_disks_that_can_not_be_are_refused_with_their_code(
    services: FakeServices, values: dict[str, Any], code: str
) -> None:
    assert refused(services, with_disks(**values))[0] == code


def test_a_violation_of_the_policy_can_be_accepted(services: FakeServices) -> None:
    run_unit(services, with_disks(disks=[{"size": 4}], ignore_ipolicy=True))
    assert services.config.find_instance(NAME) is not None


def test_a_template_without_driver_is_refused_by_a_sentence(tmp_path: Path) -> None:
    cluster = a_cluster(enabled_disk_templates=("rbd", "diskless"))
    code, text = refused(
        FakeServices(cluster, tmp_path), op(disk_template="rbd", disks=[{"size": 1}])
    )
    assert code == "environment_error"
    assert "rbd" in text and "no driver" in text


def test_file_disks_need_a_directory_of_the_cluster(tmp_path: Path) -> None:
    services = FakeServices(a_cluster(file_storage_dir=""), tmp_path)
    assert refused(services, with_disks())[0] == "wrong_state"


def test_a_blacklisted_os_is_refused(tmp_path: Path) -> None:
    services = FakeServices(a_cluster(blacklisted_os=("noop",)), tmp_path)
    assert refused(services, op())[0] == "wrong_state"


@pytest.mark.parametrize("state", ["offline", "drained", "vm_capable"])
def test_nodes_that_take_no_instances_are_refused(services: FakeServices, state: str) -> None:
    values = {"master_candidate": False, state: state != "vm_capable"}
    services.change_node("node2", **values)
    assert refused(services, op())[0] == "wrong_state"


def test_a_name_in_use_is_refused_before_locks_are_asked_for(services: FakeServices) -> None:
    run_unit(services, op())
    assert refused_again(services) == "already_exists"


def refused_again(services: FakeServices) -> str | None:
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, op())
    return caught.value.code


def test_errors_of_nodes_in_checks_name_the_node(services: FakeServices) -> None:
    with pytest.raises(OpExecError, match=f"OS nosuch: node {NODE2}: .*not in the search path"):
        run_unit(services, op(os_type="nosuch"))
    services.rpc.failures = {"hypervisor_validate_params": "no such kernel"}
    with pytest.raises(OpExecError, match=f"node {NODE2}: no such kernel"):
        run_unit(services, op())


def test_bridges_are_asked_for_on_real_nodes_only(services: FakeServices) -> None:
    services.paths = type(services.paths)("/")
    assert refused(services, op())[0] == "environment_error"
    assert services.rpc.sent("bridges_exist") == [("br0",)]


# Names.


def hosts_file(services: FakeServices, *lines: str) -> None:
    path = services.paths.etc_hosts
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def test_a_short_name_becomes_the_full_one_and_gives_the_address(services: FakeServices) -> None:
    hosts_file(services, "192.0.2.99\tweb9.example.com web9")
    order = op(instance_name="web9", name_check=True, nics=[{"ip": "auto"}], start=False)
    instance = run_unit(services, order).plan.instance
    assert instance.name == "web9.example.com"
    assert instance.nics[0].ip == "192.0.2.99"


def test_a_name_that_does_not_resolve_is_refused(services: FakeServices) -> None:
    code, text = refused(services, op(name_check=True))
    assert code == "resolver_error"
    assert "--no-name-check" in text


def test_a_name_that_resolves_to_another_one_is_refused(services: FakeServices) -> None:
    hosts_file(services, f"192.0.2.99\tother.example.com {NAME}")
    assert refused(services, op(name_check=True))[0] == "wrong_input"


# Networks.


def test_an_interface_in_a_network_gets_its_parameters_prefix_and_address(
    services: FakeServices,
) -> None:
    uuid = connect(services)
    run_unit(services, op(nics=[{"network": "lan1", "ip": "pool"}]))
    instance = services.config.find_instance(NAME)
    assert instance is not None
    (nic,) = instance.nics
    assert (nic.network, nic.ip) == (uuid, "10.0.1.1")
    assert nic.mac.startswith("aa:bb:cc:")
    assert nic.nicparams == {"mode": "bridged", "link": "br7", "vlan": ""}
    assert services.config.networks[uuid].reservations == "01" + "0" * 14
    assert " - INFO: Chose IP 10.0.1.1 from network lan1" in services.messages


@pytest.mark.parametrize(
    ("nic", "code"),
    [
        ({"network": "lan1", "link": "br1"}, "wrong_input"),
        ({"network": "lan1", "ip": "10.0.1.0"}, "resource_not_unique"),
        ({"network": "lan1", "ip": "10.9.1.1"}, "resource_not_unique"),
        ({"ip": "10.0.1.3"}, "wrong_state"),
    ],
    ids=str,
)
def test_addresses_that_do_not_fit_the_network_are_refused(
    services: FakeServices, nic: dict[str, str], code: str
) -> None:
    connect(services)
    assert refused(services, op(nics=[nic]))[0] == code


def test_a_network_that_is_not_connected_is_refused(services: FakeServices) -> None:
    services.change(lambda draft: draft.add(a_network()))
    assert refused(services, op(nics=[{"network": "lan1"}]))[0] == "wrong_input"


def test_a_full_network_is_refused(services: FakeServices) -> None:
    uuid = connect(services)
    full = replace(services.config.networks[uuid], reservations="1" * 16)
    services.change(lambda draft: draft.update(full))
    order = op(nics=[{"network": "lan1", "ip": "pool"}])
    assert refused(services, order)[0] == "wrong_state"


# Locks.


def test_given_nodes_are_locked_with_their_groups(services: FakeServices) -> None:
    locks = run_unit(services, op()).locks
    node = services.node(NODE2)
    assert locks.instances == {NAME: EXCLUSIVE}
    assert locks.nodes == locks.node_res == {node.uuid: EXCLUSIVE}
    assert locks.groups == {node.group: SHARED}


def test_nodes_are_released_once_the_instance_is_stored(services: FakeServices) -> None:
    run_unit(services, with_disks())
    node = services.node(NODE2).uuid
    first, second = services.released
    assert (first.nodes, first.node_res) == ({}, {node: EXCLUSIVE})
    assert (second.nodes, second.node_res) == ({}, {})
    assert first.instances == second.instances == {NAME: EXCLUSIVE}


def test_with_an_allocator_all_nodes_are_locked_and_the_chosen_ones_stay(
    services: FakeServices,
) -> None:
    ran = run_unit(services, op(pnode=None))
    assert (ran.locks.nodes, ran.locks.node_res, ran.locks.groups) == (EXCLUSIVE, EXCLUSIVE, SHARED)
    chosen = services.node(ran.result[0])
    assert services.released[0].nodes == {chosen.uuid: EXCLUSIVE}
    assert services.released[0].node_res == {chosen.uuid: EXCLUSIVE}


def test_opportunistic_locks_limit_the_choice(services: FakeServices) -> None:
    free = services.node("node3").uuid
    held = Held({Level.NODE: {free: EXCLUSIVE}})
    ran = run_unit(services, op(pnode=None, opportunistic_locking=True), held)
    assert ran.locks.at_least(Level.NODE) == 1
    assert ran.locks.node_res == {free: EXCLUSIVE}
    assert ran.result == ["node3.example.com"]


def test_too_little_room_on_opportunistic_nodes_is_only_temporary(services: FakeServices) -> None:
    services.place("node3").memory_mib = 10
    held = Held({Level.NODE: {services.node("node3").uuid: EXCLUSIVE}})
    order = op(pnode=None, opportunistic_locking=True)
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, order, held)
    assert caught.value.code == "temp_insufficient_resources"


# Failures.


ORDERS = {
    "diskless": op(),
    "files": with_disks(),
    "not started": with_disks(start=False),
    "allocated": with_disks(pnode=None),
}


MAY_FAIL = {
    "blockdev_shutdown",  # the instance is good nevertheless
    "blockdev_getmirrorstatus",  # asked again
    "node_figures",  # of a node that is not considered then
}


def nothing_is_left(services: FakeServices, before: Any) -> None:
    assert contents(services.config) == before
    assert all(place.is_bare for place in services.rpc.places.values())
    assert services.undo.problems == []
    assert not services.reservations.held(services.owner, "MAC address")  # type: ignore[arg-type]


def stays_marked_up(services: FakeServices) -> None:
    """facts/master.md D1: an instance that was made and only does not start."""
    instance = services.config.find_instance(NAME)
    assert instance is not None and instance.admin_state is AdminState.UP


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_nothing_is_left_whichever_call_fails(tmp_path: Path, order: OpInstanceCreate) -> None:
    for nth in itertools.count(1):
        services = FakeServices(a_cluster(), tmp_path)
        before = contents(services.config)
        services.rpc.fail_at = nth
        try:
            run_unit(services, order)
        except GenericError as error:
            assert "connection lost" in str(error)
            if services.rpc.names[nth - 1] == "instance_start":
                stays_marked_up(services)
                continue
        else:
            if len(services.rpc.log) < nth:
                assert nth > 4
                return
            assert services.rpc.names[nth - 1] in MAY_FAIL
            continue
        nothing_is_left(services, before)


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())
def test_nothing_is_left_whichever_change_fails(tmp_path: Path, order: OpInstanceCreate) -> None:
    for nth in itertools.count(1):
        services = FakeServices(a_cluster(), tmp_path)
        before = contents(services.config)
        services.fail_commit_at = nth
        try:
            run_unit(services, order)
        except ConfigurationError:
            nothing_is_left(services, before)
        else:
            assert nth > 1
            return


def test_a_script_that_fails_leaves_nothing(services: FakeServices) -> None:
    before = contents(services.config)
    services.rpc.failures = {"instance_os_add": "script failed"}
    with pytest.raises(OpExecError, match="installing OS noop .* script failed"):
        run_unit(services, with_disks())
    nothing_is_left(services, before)


def test_addresses_and_ports_are_free_again_after_a_failed_script(services: FakeServices) -> None:
    uuid = connect(services)
    services.rpc.failures = {"instance_os_add": "no memory"}
    params = {"kernel_path": "", "vnc_bind_address": "127.0.0.1"}
    nics = [{"network": "lan1", "ip": "pool"}]
    with pytest.raises(OpExecError, match="no memory"):
        run_unit(services, with_disks(hypervisor="kvm", hvparams=params, nics=nics))
    assert services.config.find_instance(NAME) is None
    assert services.config.networks[uuid].reservations == "0" * 16
    assert services.config.cluster.tcpudp_port_pool == (11000,)


def test_degraded_disks_are_an_error_and_leave_nothing(services: FakeServices) -> None:
    before = contents(services.config)
    bad = [BlockDeviceStatus(dev_path="/x", is_degraded=True)]
    services.rpc.sync = [bad] * 11
    with pytest.raises(OpExecError, match="degraded"):
        run_unit(services, with_disks(disks=[{"size": 1024}]))
    assert services.waits == [1.0] * 10
    nothing_is_left(services, before)


def test_other_instances_are_left_alone_by_the_undo(services: FakeServices) -> None:
    other = an_instance(9, services.node(NODE1).uuid, name="db1.example.com")
    services.change(lambda draft: draft.add(other))
    before = contents(services.config)
    services.rpc.failures = {"instance_os_add": "no"}
    with pytest.raises(OpExecError):
        run_unit(services, with_disks())
    assert contents(services.config) == before


def test_an_instance_that_does_not_start_stays_marked_up(services: FakeServices) -> None:
    services.rpc.failures = {"instance_start": "no memory"}
    with pytest.raises(OpExecError, match=f"starting instance {NAME}: node {NODE2}: no memory"):
        run_unit(services, op())
    stays_marked_up(services)
