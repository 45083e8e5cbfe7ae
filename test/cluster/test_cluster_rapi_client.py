"""A cluster driven only through the remote API, by every method of the client."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from fact_tables import facts
from ganeti.rapi.client import (
    NODE_EVAC_PRI,
    NODE_ROLE_MASTER,
    NODE_ROLE_MASTER_CANDIDATE,
    NODE_ROLE_REGULAR,
    GanetiApiError,
    GanetiRapiClient,
    GenericCurlConfig,
)
from ganeti.utils import daemons

OS = "empty"
NODES = [f"node{number}.example.com" for number in (1, 2, 3)]
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
FIELDS = {
    kind: {name for name, _ in fields} for kind, fields in facts("rapi")["field_lists"].items()
}
WITHOUT_CHECKS = {"os": f"{OS}+default", "name_check": False, "ip_check": False}


class Api(GanetiRapiClient):
    """The client, with shorter ways to wait."""

    def done(self, job: int) -> Any:
        """The result of the only opcode of a job that must end well."""
        ended = self.WaitForJob(job, timeout=60)
        assert ended["status"] == "success", ended["opresult"]
        return ended["opresult"][-1]

    def failed(self, job: int) -> str:
        """The error of a job that must fail: its text."""
        ended = self.WaitForJob(job, timeout=60)
        assert ended["status"] == "error", ended["summary"]
        return str(ended["opresult"])

    def make(self, name: str, template: str = "diskless", **more: Any) -> str:
        disks = [{"size": 1024}] if template == "file" else []
        more = {**WITHOUT_CHECKS, "start": False, "pnode": NODES[0]} | more
        self.done(self.CreateInstance("create", name, template, disks, [{}], **more))
        return name


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as bed:
        bed.init_all()
        bed.add_empty_os(OS)
        bed.stop(daemons.RAPI)
        users = bed.cluster.paths(1).rapi_users
        users.parent.mkdir(parents=True, exist_ok=True)
        users.write_text("admin Example1 write\nviewer Example2 read\n")
        bed.start(daemons.RAPI)
        yield bed


@pytest.fixture(scope="module")
def api(cluster: ClusterBed) -> Iterator[Api]:
    client = client_of(cluster, "admin", "Example1")
    yield client
    client.Close()


def client_of(bed: ClusterBed, user: str, password: str) -> Api:
    """Trusts the certificate that the cluster made for itself."""
    certificate: Path = bed.cluster.paths(1).rapi_pem
    config = GenericCurlConfig(cafile=str(certificate), timeout=60)
    return Api(bed.cluster.address(1), 5080, user, password, curl_config_fn=config)


def test_the_interface_and_the_cluster_are_described(api: Api) -> None:
    assert api.GetVersion() == 2
    assert set(api.GetFeatures()) == {
        "instance-create-reqv1", "instance-reinstall-reqv1", "node-migrate-reqv1", "node-evac-res1",
    }  # fmt: skip
    assert f"{OS}+default" in api.GetOperatingSystems()
    info = api.GetInfo(reason="test")
    assert FIELDS["info"] <= set(info)
    assert (info["name"], info["master"]) == ("cluster.example.com", NODES[0])


def test_the_cluster_is_modified_and_its_configuration_sent(api: Api) -> None:
    assert api.done(api.ModifyCluster(candidate_pool_size=3, reason="test")) is None
    assert api.GetInfo()["candidate_pool_size"] == 3
    assert api.done(api.RedistributeConfig()) is None
    with pytest.raises(GanetiApiError) as caught:
        api.ModifyCluster(compression_tools=["gzip"])
    assert caught.value.code == 403


def test_tags_of_every_kind_of_object_are_changed(api: Api) -> None:
    name = api.make("tags.example.com")
    api.done(api.CreateNetwork("tags-net", "10.9.0.0/28"))
    api.done(api.AddClusterTags(["a:b", "c"], reason="test"))
    assert sorted(api.GetClusterTags()) == ["a:b", "c"]
    api.done(api.DeleteClusterTags(["c"]))
    assert api.GetClusterTags() == ["a:b"]
    for add, delete, get, of in (
        (api.AddNodeTags, api.DeleteNodeTags, api.GetNodeTags, NODES[1]),
        (api.AddInstanceTags, api.DeleteInstanceTags, api.GetInstanceTags, name),
        (api.AddGroupTags, api.DeleteGroupTags, api.GetGroupTags, "default"),
        (api.AddNetworkTags, api.DeleteNetworkTags, api.GetNetworkTags, "tags-net"),
    ):
        api.done(add(of, ["one", "two"]))
        assert sorted(get(of)) == ["one", "two"]
        api.done(add(of, ["three"], dry_run=True))
        api.done(delete(of, ["two"]))
        assert get(of) == ["one"]


def test_an_instance_lives_its_life(api: Api) -> None:
    name = api.make("life.example.com", "file", start=True)
    assert name in api.GetInstances()
    (listed,) = [one for one in api.GetInstances(bulk=True) if one["name"] == name]
    assert set(listed) == FIELDS["instance"]
    found = api.GetInstance(name)
    assert set(found) == FIELDS["instance"]
    assert (found["status"], found["disk.sizes"]) == ("running", [1024])
    assert api.done(api.GetInstanceInfo(name, static=True))[name]["name"] == name
    assert "kind" in api.GetInstanceConsole(name)
    api.done(api.RebootInstance(name, reboot_type="hard", reason="test"))
    api.done(api.ShutdownInstance(name, timeout=5))
    assert api.GetInstance(name)["status"] == "ADMIN_down"
    with pytest.raises(GanetiApiError) as caught:
        api.GetInstanceConsole(name)
    assert caught.value.code == 503
    api.done(api.StartupInstance(name))
    api.done(api.ModifyInstance(name, beparams={"maxmem": 256, "minmem": 256}))
    assert api.GetInstance(name)["beparams"]["memory"] == 256
    api.done(api.ReinstallInstance(name, os=f"{OS}+default", no_startup=True))
    assert api.GetInstance(name)["status"] == "ADMIN_down"
    api.done(api.RenameInstance(name, "renamed.example.com", ip_check=False, name_check=False))
    api.done(api.DeleteInstance("renamed.example.com", shutdown_timeout=5))
    with pytest.raises(GanetiApiError) as caught:
        api.GetInstance("renamed.example.com")
    assert caught.value.code == 404


def test_disks_are_changed(api: Api) -> None:
    name = api.make("disks.example.com", "file")
    assert api.done(api.ActivateInstanceDisks(name))[0][0] == NODES[0]
    api.done(api.DeactivateInstanceDisks(name))
    api.done(api.GrowInstanceDisk(name, 0, 8, wait_for_sync=True))
    assert api.GetInstance(name)["disk.sizes"] == [1032]
    assert "exists" in api.failed(api.RecreateInstanceDisks(name, disks=[0]))
    assert api.failed(api.ReplaceInstanceDisks(name, disks=[0], remote_node=NODES[2]))


def test_exports_are_asked_for(api: Api) -> None:
    name = api.make("export.example.com", "file")
    job = api.WaitForJob(api.PrepareExport(name, "local"), timeout=60)
    assert job["summary"] == [f"BACKUP_PREPARE({name})"]
    job = api.WaitForJob(api.ExportInstance(name, "local", NODES[1], shutdown=True), timeout=60)
    assert job["summary"] == [f"BACKUP_EXPORT({name})"]
    assert job["status"] == "success" or job["opresult"][0][0] == "OpPrereqError"


def test_instances_move(api: Api) -> None:
    name = api.make("move.example.com")
    assert "must be up" in api.failed(api.MigrateInstance(name, mode="non-live"))
    api.done(api.StartupInstance(name))
    api.done(api.MigrateInstance(name, mode="live", target_node=NODES[1]))
    assert api.GetInstance(name)["pnode"] == NODES[1]
    api.done(api.FailoverInstance(name, target_node=NODES[0], ignore_consistency=True))
    assert api.GetInstance(name)["pnode"] == NODES[0]
    assert api.done(api.MigrateNode(NODES[2], mode="live")) == {"jobs": []}
    assert api.done(api.EvacuateNode(NODES[2], iallocator="hail", mode=NODE_EVAC_PRI)) == {
        "jobs": []
    }


def test_several_instances_are_placed_together(api: Api) -> None:
    wanted = [
        api.InstanceAllocation("create", f"multi{number}.example.com", "diskless", [], [{}],
                               pnode=NODES[number], **WITHOUT_CHECKS, start=False)
        for number in (0, 1)
    ]  # fmt: skip
    result = api.done(api.InstancesMultiAlloc(wanted))
    for good, job in result["jobs"]:
        assert good
        api.done(job)
    assert {"multi0.example.com", "multi1.example.com"} <= set(api.GetInstances())


def test_jobs_are_followed_and_canceled(cluster: ClusterBed, api: Api) -> None:
    number = api.AddClusterTags(["job"])
    assert api.WaitForJobCompletion(number, period=0.02)
    assert number in api.GetJobs()
    (listed,) = [one for one in api.GetJobs(bulk=True) if one["id"] == number]
    assert set(listed) == FIELDS["job_bulk"]
    found = api.GetJobStatus(number)
    assert set(found) == FIELDS["job"]
    assert found["summary"] == ["TAGS_SET"]
    changed = api.WaitForJobChange(number, ["status"], None, None)
    assert changed is not None and changed["job_info"] == ["success"]
    first = cluster.delay(60)
    second = cluster.call("SubmitJob", [{
        "OP_ID": "OP_TEST_DELAY", "duration": 0, "no_locks": True, "reason": [],
        "depends": [[first, []]],
    }])  # fmt: skip
    assert api.CancelJob(second)[0] is True
    assert not api.WaitForJobCompletion(second, period=0.02)
    assert isinstance(api.CancelJob(number)[1], str)
    cluster.call("CancelJob", first, True)
    cluster.await_status(first)


def test_nodes_are_read_and_changed(api: Api) -> None:
    assert api.GetNodes() == NODES
    assert {frozenset(one) for one in api.GetNodes(bulk=True)} == {frozenset(FIELDS["node"])}
    assert set(api.GetNode(NODES[1])) == FIELDS["node"] | {"secondary_ip"}
    assert api.GetNodeRole(NODES[0]) == NODE_ROLE_MASTER
    api.done(api.SetNodeRole(NODES[2], NODE_ROLE_REGULAR, force=True, auto_promote=False))
    assert api.GetNodeRole(NODES[2]) == NODE_ROLE_REGULAR
    api.done(api.SetNodeRole(NODES[2], NODE_ROLE_MASTER_CANDIDATE, force=True))
    api.done(api.ModifyNode(NODES[2], ndparams={"spindle_count": 2}))
    assert api.GetNode(NODES[2])["ndparams"]["spindle_count"] == 2
    assert "virtual node" in api.failed(api.PowercycleNode(NODES[2], force=True))


def test_storage_units_are_read(api: Api) -> None:
    units = api.done(api.GetNodeStorageUnits(NODES[1], "file", ["name", "size", "free"]))
    assert units and all(len(unit) == 3 for unit in units)
    assert api.failed(api.ModifyNodeStorageUnits(NODES[1], "lvm-pv", "/dev/x", allocatable=True))
    assert api.failed(api.RepairNodeStorageUnits(NODES[1], "lvm-vg", "xenvg"))


def test_networks_are_made_connected_and_removed(api: Api) -> None:
    made = api.CreateNetwork("lan", "10.1.0.0/28", gateway="10.1.0.1", add_reserved_ips="10.1.0.9",
                             tags="one,two")  # fmt: skip
    api.done(made)
    assert "lan" in api.GetNetworks()
    assert {frozenset(one) for one in api.GetNetworks(bulk=True)} == {frozenset(FIELDS["network"])}
    assert sorted(api.GetNetwork("lan")["tags"]) == ["one", "two"]
    api.done(api.ConnectNetwork("lan", "default", "bridged", "br0"))
    assert api.GetNetwork("lan")["group_list"] == [["default", "bridged", "br0", ""]]
    api.done(api.DisconnectNetwork("lan", "default"))
    api.done(api.ModifyNetwork("lan", gateway="10.1.0.2"))
    api.done(api.RenameNetwork("lan", "wan"))
    assert api.GetNetwork("wan")["gateway"] == "10.1.0.2"
    api.done(api.DeleteNetwork("wan"))
    assert "wan" not in api.GetNetworks()


def test_groups_are_made_filled_and_removed(api: Api) -> None:
    api.done(api.CreateGroup("far", alloc_policy="last_resort"))
    assert sorted(api.GetGroups()) == ["default", "far"]
    assert {frozenset(one) for one in api.GetGroups(bulk=True)} == {frozenset(FIELDS["group"])}
    api.done(api.AssignGroupNodes("far", [NODES[2]], force=True))
    assert api.GetGroup("far")["node_list"] == [NODES[2]]
    api.done(api.AssignGroupNodes("default", [NODES[2]], force=True))
    api.done(api.ModifyGroup("far", alloc_policy="preferred"))
    assert api.GetGroup("far")["alloc_policy"] == "preferred"
    api.done(api.RenameGroup("far", "away"))
    api.done(api.DeleteGroup("away"))
    assert api.GetGroups() == ["default"]


def test_queries_have_fields_and_filters(api: Api) -> None:
    found = api.Query("node", ["name", "role"], ["=", "name", NODES[1]])
    assert [one["name"] for one in found["fields"]] == ["name", "role"]
    assert [row[0] for row in found["data"]] == [[0, NODES[1]]]
    fields = api.QueryFields("instance", ["name"])["fields"]
    assert [(one["name"], set(one)) for one in fields] == [
        ("name", {"name", "title", "kind", "doc"})
    ]
    assert len(api.QueryFields("instance")["fields"]) > 50


def test_job_filters_are_made_replaced_and_removed(api: Api) -> None:
    rule = [["jobid", [">", "id", 1000000]]]
    uuid = api.AddFilter(5, rule, "ACCEPT", reason_trail=[["me", "test", 1]])
    assert UUID.fullmatch(uuid)
    assert uuid in api.GetFilters()
    assert {frozenset(one) for one in api.GetFilters(bulk=True)} == {frozenset(FIELDS["filter"])}
    assert api.GetFilter(uuid)["action"] == "ACCEPT"
    assert api.ReplaceFilter(uuid, 6, rule, "PAUSE") == uuid
    assert api.GetFilter(uuid)["priority"] == 6
    api.DeleteFilter(uuid)
    assert api.GetFilters() == []


def test_a_user_who_may_only_read_is_told_so(cluster: ClusterBed) -> None:
    viewer = client_of(cluster, "viewer", "Example2")
    assert viewer.GetNodes() == NODES
    with pytest.raises(GanetiApiError) as caught:
        viewer.AddClusterTags(["x"])
    assert caught.value.code == 403


def test_wrong_credentials_are_refused(cluster: ClusterBed) -> None:
    with pytest.raises(GanetiApiError) as caught:
        client_of(cluster, "admin", "wrong").GetInfo()
    assert caught.value.code == 401


def test_a_kept_connection_outlives_a_restart_of_the_daemon(cluster: ClusterBed, api: Api) -> None:
    assert api.GetVersion() == 2
    cluster.stop(daemons.RAPI)
    until(lambda: cluster.pid(daemons.RAPI) is None, "it has ended")
    cluster.start(daemons.RAPI)
    assert api.GetVersion() == 2


def test_every_method_of_the_client_stands_above() -> None:
    here = Path(__file__).read_text()
    methods = [name for name in vars(GanetiRapiClient) if name[0].isupper() and inspect.isroutine(
        getattr(GanetiRapiClient, name))]  # fmt: skip
    assert len(methods) > 80
    assert [name for name in methods if not re.search(rf"\.{name}\b", here)] == []
