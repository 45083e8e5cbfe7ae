"""Calls every method of a classic client library once; run by the Python that has it.

    python3 classic_client.py ADDRESS PASSWORD

Prints a JSON object: what was called, what the library has, and what went wrong. Stands alone.
"""

import json
import sys

from ganeti.rapi.client import GanetiApiError, GanetiRapiClient

NODES = [f"node{number}.example.com" for number in (1, 2, 3)]
OS = "empty+default"
PLAIN = {"os": OS, "name_check": False, "ip_check": False}


class Caller:
    """`call.GetNodes()` notes the method and what it raises."""

    def __init__(self, client):
        self.client = client
        self.called = []
        self.problems = []

    def __getattr__(self, name):
        def method(*args, **kwargs):
            self.called.append(name)
            try:
                return getattr(self.client, name)(*args, **kwargs)
            except Exception as error:
                self.problems.append(f"{name}{args!r}: {error}")

        return method

    def check(self, what, is_so):
        if not is_so:
            self.problems.append(what)

    def done(self, job):
        """The result of a job that must end well."""
        info = self._ended(job)
        self.check(f"job {job}: {info['opresult']}", info["status"] == "success")
        return info["opresult"][-1]

    def failed(self, job):
        info = self._ended(job)
        self.check(f"job {job} ended well: {info['summary']}", info["status"] == "error")

    def _ended(self, job):
        self.client.WaitForJobCompletion(job, period=0.05)
        return self.client.GetJobStatus(job)


def cluster(api):
    api.check("version", api.GetVersion() == 2)
    api.check("features", "instance-create-reqv1" in api.GetFeatures())
    api.check("info", api.GetInfo()["master"] == NODES[0])
    api.check("os", OS in api.GetOperatingSystems())
    api.done(api.ModifyCluster(candidate_pool_size=3))
    api.done(api.RedistributeConfig())
    try:
        api.client.ModifyCluster(compression_tools=["gzip"])
        api.problems.append("a forbidden parameter was taken")
    except GanetiApiError as error:
        api.check(f"forbidden: {error}", error.code == 403)


def tags(api):
    for kind, name in (("Cluster", ()), ("Node", NODES[1:2]), ("Instance", ["web.example.com"]),
                       ("Group", ["default"]), ("Network", ["lan"])):  # fmt: skip
        one = tuple(name)
        api.done(getattr(api, f"Add{kind}Tags")(*one, ["a", "b:c"]))
        api.done(getattr(api, f"Delete{kind}Tags")(*one, ["a"]))
        found = getattr(api, f"Get{kind}Tags")(*one)
        api.check(f"{kind} tags: {found}", "b:c" in found and "a" not in found)


def instances(api):
    name = "web.example.com"
    api.done(api.CreateInstance("create", name, "file", [{"size": 1024}], [{}],
                                pnode=NODES[0], **PLAIN))  # fmt: skip
    api.check("list", api.GetInstances() == [name])
    api.check("bulk", api.GetInstances(bulk=True)[0]["status"] == "running")
    api.check("one", api.GetInstance(name)["pnode"] == NODES[0])
    api.check("info", name in api.done(api.GetInstanceInfo(name, static=True)))
    api.check("console", api.GetInstanceConsole(name)["instance"] == name)
    api.done(api.RebootInstance(name, reboot_type="hard"))
    api.done(api.ModifyInstance(name, beparams={"maxmem": 256, "minmem": 256}))
    api.done(api.ShutdownInstance(name))
    api.done(api.StartupInstance(name))
    api.done(api.ReinstallInstance(name, os=OS, no_startup=True))
    api.done(api.ActivateInstanceDisks(name))
    api.done(api.DeactivateInstanceDisks(name))
    api.done(api.GrowInstanceDisk(name, 0, 8))
    api.failed(api.RecreateInstanceDisks(name, disks=[0]))
    api.failed(api.ReplaceInstanceDisks(name, disks=[0], remote_node=NODES[2]))
    api.PrepareExport(name, "local")
    api.ExportInstance(name, "local", NODES[1], shutdown=True)


def moves(api):
    name = "move.example.com"
    wanted = api.InstanceAllocation("create", name, "diskless", [], [{}], pnode=NODES[0], **PLAIN)
    for _, job in api.done(api.InstancesMultiAlloc([wanted]))["jobs"]:
        api.done(job)
    api.done(api.MigrateInstance(name, mode="live", target_node=NODES[1]))
    api.done(api.FailoverInstance(name, target_node=NODES[0], ignore_consistency=True))
    api.done(api.ShutdownInstance(name))
    api.done(api.RenameInstance(name, "new.example.com", ip_check=False, name_check=False))
    api.done(api.DeleteInstance("new.example.com"))
    api.done(api.MigrateNode(NODES[2], mode="live"))
    api.done(api.EvacuateNode(NODES[2], iallocator="hail", mode="primary-only"))


def jobs(api):
    number = api.AddClusterTags(["job"])
    api.check("completion", api.WaitForJobCompletion(number, period=0.05))
    api.check("listed", number in api.GetJobs())
    api.check("status", api.GetJobStatus(number)["summary"] == ["TAGS_SET"])
    api.check("change", api.WaitForJobChange(number, ["status"], None, None)["job_info"])
    api.CancelJob(number)
    uuid = api.AddFilter(5, [["jobid", [">", "id", 1000000]]], "ACCEPT")
    api.check("filters", [one["uuid"] for one in api.GetFilters(bulk=True)] == [uuid])
    api.check("filter", api.GetFilter(uuid)["priority"] == 5)
    api.check("replaced", api.ReplaceFilter(uuid, 6, [], "CONTINUE") == uuid)
    api.DeleteFilter(uuid)


def nodes(api):
    api.check("nodes", api.GetNodes() == NODES)
    api.check("bulk", len(api.GetNodes(bulk=True)) == 3)
    api.check("node", api.GetNode(NODES[1])["role"] == "C")
    api.check("role", api.GetNodeRole(NODES[0]) == "master")
    api.done(api.SetNodeRole(NODES[2], "regular", force=True, auto_promote=False))
    api.done(api.SetNodeRole(NODES[2], "master-candidate", force=True))
    api.done(api.ModifyNode(NODES[2], ndparams={"spindle_count": 2}))
    api.failed(api.PowercycleNode(NODES[2], force=True))
    api.done(api.GetNodeStorageUnits(NODES[1], "file", "name,size,free"))
    api.failed(api.ModifyNodeStorageUnits(NODES[1], "lvm-pv", "/dev/x", allocatable=True))
    api.failed(api.RepairNodeStorageUnits(NODES[1], "lvm-vg", "xenvg"))


def networks(api):
    api.done(api.CreateNetwork("lan", "10.1.0.0/28", gateway="10.1.0.1", tags="b:c"))
    api.check("networks", api.GetNetworks() == ["lan"])
    api.done(api.ConnectNetwork("lan", "default", "bridged", "br0"))
    api.check("connected", api.GetNetwork("lan")["group_list"][0][0] == "default")
    api.done(api.DisconnectNetwork("lan", "default"))
    api.done(api.ModifyNetwork("lan", gateway="10.1.0.2"))


def groups(api):
    api.done(api.CreateGroup("far", alloc_policy="last_resort"))
    api.check("groups", api.GetGroups() == ["default", "far"])
    api.done(api.AssignGroupNodes("far", [NODES[2]], force=True))
    api.check("group", api.GetGroup("far")["node_list"] == [NODES[2]])
    api.done(api.AssignGroupNodes("default", [NODES[2]], force=True))
    api.done(api.ModifyGroup("far", alloc_policy="preferred"))
    api.done(api.RenameGroup("far", "away"))
    api.done(api.DeleteGroup("away"))


def queries(api):
    found = api.Query("node", ["name"], ["=", "name", NODES[1]])
    api.check("query", found["data"] == [[[0, NODES[1]]]])
    api.check("fields", len(api.QueryFields("instance")["fields"]) > 50)


def main():
    address, password = sys.argv[1:]
    api = Caller(GanetiRapiClient(address, username="admin", password=password))
    try:
        for part in (cluster, nodes, networks, groups, instances, tags, moves, jobs, queries):
            part(api)
        api.done(api.DeleteNetwork("lan"))
    except Exception as error:  # what was noted before tells more
        api.problems.append(f"broken off: {error!r}")
    has = [name for name in vars(GanetiRapiClient) if name[0].isupper()]
    methods = [name for name in has if callable(getattr(GanetiRapiClient, name))]
    print(json.dumps({"called": api.called, "methods": methods, "problems": api.problems}))


if __name__ == "__main__":
    main()
