"""Filters narrow before nodes are asked; what nodes do not tell has a status."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.live_data import FakeCluster
from ganeti.config.snapshot import Snapshot
from ganeti.errors import OpPrereqError, ParameterError
from ganeti.jobs.job import Job
from ganeti.locking.manager import LockInfo
from ganeti.locking.names import EXCLUSIVE, SHARED
from ganeti.model.config import ConfigDocument
from ganeti.model.report import (
    SHUT_DOWN,
    ExtStorageReport,
    HypervisorNodeInfo,
    OsReport,
    RunningInfo,
    StorageInfo,
)
from ganeti.opcodes.filter import from_json
from ganeti.query import extstorage, guest_os
from ganeti.query.cluster import cluster_info
from ganeti.query.fields import Need
from ganeti.query.sources import NodeReport
from ganeti.serializer import decode
from ganeti.types import AdminState, AdminStateSource, FieldStatus, QueryResource


@pytest.fixture
def cluster() -> FakeCluster:
    """Two nodes, one DRBD instance on both: the example of the facts."""
    document = facts("config-data")["example_3_0_two_nodes_one_drbd_instance"]
    return FakeCluster(Snapshot.of(decode(ConfigDocument, document, "example")))


def the_instance(cluster: FakeCluster) -> Any:
    (instance,) = cluster.config.instances.values()
    return instance


def change_instance(cluster: FakeCluster, **values: Any) -> None:
    changed = replace(the_instance(cluster), **values)
    instances = cluster.config.instances.set(changed.uuid, changed)
    cluster.config = replace(cluster.config, instances=instances)


def home(cluster: FakeCluster) -> Any:
    return cluster.config.nodes[the_instance(cluster).primary_node]


def peer(cluster: FakeCluster) -> Any:
    return cluster.config.nodes_of(the_instance(cluster))[1]


def runs_on(cluster: FakeCluster, node: Any, state: int = 0) -> None:
    nodes = cluster.config.nodes.values()
    cluster.nodes.instances = {one.name: {} for one in nodes}
    running = RunningInfo(memory=64, vcpus=2, state=state)
    cluster.nodes.instances[node.name] = {the_instance(cluster).name: running}


def ask(
    cluster: FakeCluster, what: str, fields: list[str], tree: Any = None
) -> list[list[list[Any]]]:
    answer = asyncio.run(cluster.engine.query(QueryResource(what), fields, from_json(tree)))
    return [[list(cell) for cell in row] for row in answer.plain()["data"]]


def status_of(cluster: FakeCluster) -> Any:
    ((cell,),) = ask(cluster, "instance", ["status"])
    return cell


# Instances and their nodes.


def test_an_instance_that_runs_at_home_is_running(cluster: FakeCluster) -> None:
    change_instance(cluster, admin_state=AdminState.UP)
    runs_on(cluster, home(cluster))
    row = ask(cluster, "instance", ["status", "oper_state", "oper_ram", "oper_vcpus"])[0]
    assert row == [[0, "running"], [0, True], [0, 64], [0, 2]]


def test_an_instance_on_its_secondary_is_on_the_wrong_node(cluster: FakeCluster) -> None:
    change_instance(cluster, admin_state=AdminState.UP)
    runs_on(cluster, peer(cluster))
    assert status_of(cluster) == [0, "ERROR_wrongnode"]


def add_stranger(cluster: FakeCluster, name: str = "stranger.example.com") -> Any:
    """A node that none of the instance's disks is on."""
    node = replace(home(cluster), uuid=f"uuid of {name}", name=name, primary_ip="192.0.2.77")
    nodes = cluster.config.nodes.set(node.uuid, node)
    cluster.config = replace(cluster.config, nodes=nodes)
    return node


def test_an_instance_on_a_node_of_others_is_on_the_wrong_node(cluster: FakeCluster) -> None:
    change_instance(cluster, admin_state=AdminState.UP)
    stranger = add_stranger(cluster)
    runs_on(cluster, stranger)
    assert status_of(cluster) == [0, "ERROR_wrongnode"]
    own = sorted([home(cluster).name, peer(cluster).name])
    assert cluster.nodes.asked == [("running", own), ("running", [stranger.name])]


@pytest.mark.parametrize("wanted", [AdminState.UP, AdminState.DOWN])
def test_other_nodes_are_not_asked_for_what_is_as_it_should_be(
    cluster: FakeCluster, wanted: AdminState
) -> None:
    change_instance(cluster, admin_state=wanted)
    add_stranger(cluster)
    runs_on(cluster, home(cluster))
    if wanted is AdminState.DOWN:
        cluster.nodes.instances[home(cluster).name] = {}
    status_of(cluster)
    assert len(cluster.nodes.asked) == 1


@pytest.mark.parametrize(
    ("wanted", "source", "state", "word"),
    [
        (AdminState.UP, AdminStateSource.ADMIN, None, "ERROR_down"),
        (AdminState.UP, AdminStateSource.ADMIN, SHUT_DOWN, "USER_down"),
        (AdminState.DOWN, AdminStateSource.ADMIN, 0, "ERROR_up"),
        (AdminState.DOWN, AdminStateSource.ADMIN, None, "ADMIN_down"),
        (AdminState.DOWN, AdminStateSource.USER, None, "USER_down"),
        (AdminState.OFFLINE, AdminStateSource.ADMIN, None, "ADMIN_offline"),
    ],
)
def test_status_joins_wanted_and_actual_state(
    cluster: FakeCluster, wanted: AdminState, source: AdminStateSource, state: Any, word: str
) -> None:
    change_instance(cluster, admin_state=wanted, admin_state_source=source)
    runs_on(cluster, home(cluster), state or 0)
    if state is None:
        cluster.nodes.instances[home(cluster).name] = {}
    assert status_of(cluster) == [0, word]


def test_a_primary_that_does_not_answer_is_no_data(cluster: FakeCluster) -> None:
    row = ask(cluster, "instance", ["status", "oper_state", "oper_ram"])[0]
    assert row == [[0, "ERROR_nodedown"], [2, None], [2, None]]


def test_an_offline_primary_is_told_as_offline(cluster: FakeCluster) -> None:
    cluster.change_node(home(cluster).name, offline=True, master_candidate=False)
    row = ask(cluster, "instance", ["status", "oper_state", "oper_ram"])[0]
    assert row == [[0, "ERROR_nodeoffline"], [4, None], [4, None]]


def test_memory_of_a_stopped_instance_is_not_available(cluster: FakeCluster) -> None:
    cluster.nodes.instances = {one.name: {} for one in cluster.config.nodes.values()}
    assert ask(cluster, "instance", ["oper_state", "oper_ram"])[0] == [[0, False], [3, None]]


# What is asked.


def test_fields_of_the_configuration_ask_no_node(cluster: FakeCluster) -> None:
    ask(cluster, "instance", ["name", "pnode", "snodes", "disk.sizes", "be/maxmem"])
    ask(cluster, "node", ["name", "role", "pinst_list"])
    assert cluster.nodes.asked == []


def test_several_live_fields_are_one_question(cluster: FakeCluster) -> None:
    ask(cluster, "instance", ["status", "oper_ram"], ["?", "oper_state"])
    both = sorted(node.name for node in cluster.config.nodes_of(the_instance(cluster)))
    assert cluster.nodes.asked == [("running", both)]


def test_a_filter_on_the_configuration_spares_the_nodes_of_others(cluster: FakeCluster) -> None:
    ask(cluster, "instance", ["status"], ["=~", "name", "^nothing"])
    assert cluster.nodes.asked == [("running", [])]


def test_node_fields_ask_for_what_they_need(cluster: FakeCluster) -> None:
    ask(cluster, "node", ["mfree"])
    ask(cluster, "node", ["dfree", "bootid"])
    assert cluster.nodes.needed == [
        frozenset({Need.HYPERVISOR}),
        frozenset({Need.STORAGE, Need.BOOT}),
    ]


def test_a_live_condition_is_decided_after_the_nodes_answered(cluster: FakeCluster) -> None:
    change_instance(cluster, admin_state=AdminState.UP)
    runs_on(cluster, home(cluster))
    for wanted, rows in (("running", 1), ("ERROR_down", 0)):
        assert len(ask(cluster, "instance", ["name"], ["==", "status", wanted])) == rows
        assert len(ask(cluster, "instance", ["name"], ["!", ["==", "status", wanted]])) == 1 - rows


def test_what_is_not_known_passes_a_condition(cluster: FakeCluster) -> None:
    assert len(ask(cluster, "instance", ["name"], [">", "oper_ram", 10_000])) == 1


# Names and filters.


def test_an_object_that_is_asked_for_by_name_must_exist(cluster: FakeCluster) -> None:
    for what, noun in (("instance", "Instance"), ("node", "Node"), ("group", "NodeGroup")):
        with pytest.raises(OpPrereqError) as refused:
            ask(cluster, what, ["name"], ["|", ["==", "name", "nosuch"]])
        assert refused.value.args == (f"{noun} name nosuch not found", "unknown_entity")
        with pytest.raises(OpPrereqError, match="--x not found; options come before names"):
            ask(cluster, what, ["name"], ["|", ["==", "name", "--x"]])


def test_objects_come_in_the_order_of_the_names(cluster: FakeCluster) -> None:
    names = [node.name for node in cluster.config.nodes.values()]
    for wanted in (names, names[::-1]):
        tree = ["|", *(["==", "name", name.split(".")[0]] for name in wanted)]
        assert [row[0][1] for row in ask(cluster, "node", ["name"], tree)] == wanted


@pytest.mark.parametrize(
    "tree",
    [["==", "nosuch", 1], ["<", "be/vcpus", "x"], ["?", "beparams"], ["=[]", "name", "x"]],
)
def test_a_filter_that_makes_no_sense_is_refused(cluster: FakeCluster, tree: Any) -> None:
    with pytest.raises(ParameterError):
        ask(cluster, "instance", ["name"], tree)


def test_unknown_fields_have_their_status_and_no_value(cluster: FakeCluster) -> None:
    assert ask(cluster, "instance", ["nosuch"]) == [[[FieldStatus.UNKNOWN.value, None]]]


# Nodes.


def test_an_offline_node_and_one_without_instances_tell_nothing(cluster: FakeCluster) -> None:
    first, second = sorted(node.name for node in cluster.config.nodes.values())
    cluster.change_node(first, offline=True)
    cluster.change_node(second, vm_capable=False)
    rows = ask(cluster, "node", ["name", "mfree", "dtotal", "bootid"])
    assert rows == [
        [[0, first], [4, None], [4, None], [4, None]],
        [[0, second], [3, None], [3, None], [3, None]],
    ]
    assert cluster.nodes.asked == [("reports", [first])]


def test_figures_that_a_node_can_not_tell_are_no_data(cluster: FakeCluster) -> None:
    name = home(cluster).name
    cluster.nodes.reports[name] = NodeReport(
        boot_id="b",
        hypervisor=HypervisorNodeInfo(memory_free=5),
        storage=StorageInfo(type="lvm-vg", name="vg", storage_free=None, storage_size=9),
    )
    tree = ["==", "name", name]
    rows = ask(cluster, "node", ["mfree", "mtotal", "dtotal", "dfree", "sptotal"], tree)
    assert rows == [[[0, 5], [2, None], [0, 9], [2, None], [2, None]]]


def test_power_is_known_with_a_program_only(cluster: FakeCluster) -> None:
    name = home(cluster).name
    cluster.change_node(name, ndparams={"oob_program": "/bin/oob"}, powered=False)
    rows = ask(cluster, "node", ["powered"], ["==", "name", name])
    assert rows == [[[0, False]]]


def test_drbd_disks_count_with_their_meta_data(cluster: FakeCluster) -> None:
    instance = the_instance(cluster)
    sizes = [disk.size for disk in cluster.config.disks_of(instance)]
    row = ask(cluster, "instance", ["disk_template", "disk_usage", "snodes"])[0]
    assert row == [
        [0, "drbd"],
        [0, sum(sizes) + 128 * len(sizes)],
        [0, [peer(cluster).name]],
    ]


# The other kinds.


def test_each_export_has_a_row_and_a_node_without_any_has_one(cluster: FakeCluster) -> None:
    first, second = sorted(node.name for node in cluster.config.nodes.values())
    cluster.nodes.kept = {first: ["a", "b"], second: []}
    assert ask(cluster, "export", ["node", "export"]) == [
        [[0, first], [0, "a"]],
        [[0, first], [0, "b"]],
        [[0, second], [2, None]],
    ]


def test_a_lock_shows_owners_and_waiting_jobs_as_texts(cluster: FakeCluster) -> None:
    cluster.locks.locks = [
        LockInfo("node/b", None, (), ((SHARED, (7,)),)),
        LockInfo("node/a", EXCLUSIVE, (12,), ()),
    ]
    assert ask(cluster, "lock", ["name", "mode", "owner", "pending"]) == [
        [[0, "node/a"], [0, "exclusive"], [0, ["12"]], [3, None]],
        [[0, "node/b"], [3, None], [3, None], [0, [["shared", ["7"]]]]],
    ]


def test_a_job_that_does_not_exist_has_a_row_without_values(cluster: FakeCluster) -> None:
    cluster.queue.jobs = [Job(3, [], (1, 2))]
    rows = ask(cluster, "job", ["id", "received_ts"], ["|", ["=", "id", 9], ["=", "id", 3]])
    assert rows == [[[0, 9], [3, None]], [[0, 3], [0, [1, 2]]]]


def test_jobs_are_sorted_by_number_and_compared_by_seconds(cluster: FakeCluster) -> None:
    cluster.queue.jobs = [Job(n, [], (n, 999_999)) for n in (10, 9, 100)]
    assert ask(cluster, "job", ["id"]) == [[[0, 9]], [[0, 10]], [[0, 100]]]
    assert ask(cluster, "job", ["id"], [">", "received_ts", 10]) == [[[0, 100]]]


def test_archived_jobs_are_listed_when_the_field_is_asked_for(cluster: FakeCluster) -> None:
    job = Job(1, [], None)
    job.archived = True
    cluster.queue.jobs = [job]
    assert ask(cluster, "job", ["id"]) == []
    assert ask(cluster, "job", ["id", "archived"]) == [[[0, 1], [0, True]]]


def test_an_os_is_valid_when_every_node_has_it_in_order(cluster: FakeCluster) -> None:
    first, second = sorted(node.name for node in cluster.config.nodes.values())
    good = OsReport("noop", "/os/noop", True, "", ("b", "a"), (("p", "help"),), (20, 5), True)
    broken = OsReport("bad", "/os/bad", False, "no script")
    cluster.nodes.systems = {first: [good, broken], second: [good._replace(variants=("a",))]}
    rows = ask(cluster, "os", ["name", "valid", "variants", "api_versions", "parameters"])
    assert rows == [
        [[0, "bad"], [0, False], [0, []], [0, []], [0, []]],
        [[0, "noop"], [0, True], [0, ["a"]], [0, [5, 20]], [0, [["p", "help"]]]],
    ]


def test_a_plain_os_list_leaves_out_what_can_not_be_used(cluster: FakeCluster) -> None:
    node = home(cluster)
    told = {node.uuid: [OsReport("bad", "/os/bad", False, "?"), OsReport("ok", "/o", True, "")]}
    config = cluster.config
    assert guest_os.diagnose(config, told, [], ["name"]) == [["ok"]]
    assert guest_os.diagnose(config, told, [], ["name", "valid"]) == [["bad", False], ["ok", True]]
    hidden = replace(config, cluster=replace(config.cluster, hidden_os=("ok",)))
    assert guest_os.diagnose(hidden, told, [], ["name"]) == []
    assert guest_os.diagnose(hidden, told, [], ["name", "hidden"]) == [["ok", True]]


def test_os_definitions_are_diagnosed_as_recorded(samples: Path, cluster: FakeCluster) -> None:
    body = next(
        json.loads(line)["response"]["body"]
        for line in (samples / "noded" / "calls.jsonl").read_text().splitlines()
        if json.loads(line)["request"]["path"] == "/os_diagnose"
    )
    reports = [decode(OsReport, one, "report") for one in json.loads(body)[1]]
    result = json.loads((samples / "state" / "5-late" / "queue" / "job-78").read_text())["ops"][0]
    fields = result["input"]["output_fields"]
    config = cluster.config
    config = replace(config, cluster=replace(config.cluster, hidden_os=("brokenos",)))
    told = {node.uuid: reports for node in config.nodes.values()}
    made = guest_os.diagnose(config, told, [], fields)
    assert made == result["result"]


def test_a_provider_is_valid_in_a_group_whose_nodes_all_have_it(cluster: FakeCluster) -> None:
    first, second = cluster.config.nodes.values()
    report = ExtStorageReport("san", "/es/san", True, "", (("pool", "which"),))
    group = cluster.config.groups[first.group].name
    fields = ["name", "nodegroup_status", "parameters"]
    told = {first.uuid: [report], second.uuid: [report]}
    made = extstorage.diagnose(cluster.config, told, [], fields)
    assert made == [["san", {group: True}, [["pool", "which"]]]]
    told[second.uuid] = []
    assert extstorage.diagnose(cluster.config, told, [], fields) == [["san", {group: False}, []]]


def test_a_filter_that_would_take_years_ends_the_question(cluster: FakeCluster) -> None:
    change_instance(cluster, name="a" * 60 + "b.example.com")
    with pytest.raises(ParameterError, match="takes more than"):
        ask(cluster, "instance", ["name"], ["=~", "name", "^(a|aa)+$"])


def test_whole_numbers_are_told_without_a_fraction(cluster: FakeCluster) -> None:
    """As recorded, where ndparams and ipolicy are shown: `cpu_speed` is 1, `vcpu-ratio` 16."""
    fields = ["ndp/cpu_speed", "ndparams"]
    nodes = asyncio.run(cluster.engine.query(QueryResource.NODE, fields, None)).plain()["data"]
    (speed, params), *_ = [[cell[1] for cell in row] for row in nodes]
    assert repr((speed, params["cpu_speed"])) == "(1, 1)"
    groups = asyncio.run(cluster.engine.query(QueryResource.GROUP, ["ipolicy"], None)).plain()
    assert repr(groups["data"][0][0][1]["vcpu-ratio"]) in ("4", "16")
    info = cluster_info(cluster.config, cluster.master)
    assert ".0" not in repr((info["ndparams"], info["ipolicy"]))
