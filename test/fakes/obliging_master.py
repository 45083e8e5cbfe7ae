"""A master for command-line tests that has one object of each kind, and does whatever is asked."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from fact_tables import facts
from fakes.luxi_replay import LuxiReplay

NODE = "node2.example.com"
INSTANCE = "web1.example.com"
GROUP = "default"
UUID = "22222222-0000-4000-8000-000000000001"

BY_KIND: dict[str, Any] = {
    "text": "word", "bool": True, "number": 3, "float": 0.5, "unit": 2048,
    "timestamp": 1262304000.0, "other": [],
}  # fmt: skip
NAMES = {"node": NODE, "instance": INSTANCE, "group": GROUP, "network": "lan", "job": 7}
POLICY: dict[str, Any] = {
    "minmax": [{"min": {"memory-size": 128}, "max": {"memory-size": 4096}}],
    "disk-templates": ["file"], "vcpu-ratio": 4.0, "spindle-ratio": 32.0,
}  # fmt: skip
BY_FIELD: dict[str, Any] = {
    "uuid": UUID, "pnode": NODE, "node": NODE, "pinst_list": [INSTANCE], "sinst_list": [],
    "tags": ["blue"], "role": "R", "offline": False, "master": False, "group": GROUP,
    "group.uuid": UUID, "status": "success", "admin_state": "up", "console": {},
    "node_list": [NODE], "summary": ["X"], "ops": [], "opresult": [], "opstatus": [], "oplog": [],
    "sip": "192.0.2.2", "pip": "192.0.2.2", "powered": True, "id": 7, "name_": "",
    "reason_trail": [], "predicates": [], "reason": [], "action": "ACCEPT", "ndparams": {},
    "group_list": [], "inst_list": [], "disk_template": "file", "size": 1024,
    "ipolicy": POLICY, "custom_ipolicy": {}, "custom_ndparams": {}, "diskparams": {},
    "custom_diskparams": {}, "ctime": 1262304000.0, "mtime": 1262304000.0,
    "vm_capable": True, "master_capable": True,
}  # fmt: skip
INSTANCE_INFO: dict[str, Any] = {
    "name": INSTANCE, "uuid": UUID, "serial_no": 3, "ctime": 1262304000, "mtime": 1262304000,
    "config_state": "up", "run_state": "up", "pnode": NODE, "pnode_group_name": GROUP,
    "pnode_group_uuid": UUID, "snodes": [], "snodes_group_names": [], "snodes_group_uuids": [],
    "os": "noop", "os_actual": {}, "os_instance": {}, "network_port": None, "hypervisor": "fake",
    "hv_instance": {}, "hv_actual": {}, "be_instance": {}, "be_actual": {"maxmem": 512},
    "nics": [], "disk_template": "diskless", "disks": [],
}  # fmt: skip
CLUSTER_INFO: dict[str, Any] = {
    "name": "cluster.example.com", "software_version": "4.0.0", "enabled_hypervisors": ["fake"],
    "ctime": 1262304000, "mtime": 1262304000, "architecture": ["64bits", "x86_64"],
    "candidate_pool_size": 10, "primary_ip_version": 4, "ipolicy": POLICY,
    "hvparams": {"fake": {}},
}  # fmt: skip


class ObligingMaster(LuxiReplay):
    """Every job succeeds; `outcomes` has the results that commands read."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        fields = facts("query_fields")["resources"]
        self._kinds = {
            what: {name: row["kind"] for name, row in one["fields"].items()}
            for what, one in fields.items()
        }

    def _definition(self, what: str, name: str) -> dict[str, str]:
        kind = self._kinds.get(what, {}).get(name, "text")
        return {"name": name, "title": name, "kind": kind, "doc": name}

    def _value(self, what: str, name: str) -> Any:
        if name == "name":
            return NAMES.get(what, "word")
        if name in BY_FIELD:
            return BY_FIELD[name]
        return BY_KIND[self._definition(what, name)["kind"]]

    def _Query(self, what: str, fields: list[str], condition: Any) -> Any:
        return {
            "fields": [self._definition(what, name) for name in fields],
            "data": [[[0, self._value(what, name)] for name in fields]],
        }

    def _QueryFields(self, what: str, fields: list[str] | None) -> Any:
        return {"fields": [self._definition(what, name) for name in fields or ["name"]]}

    def _rows(self, what: str, fields: list[str]) -> list[list[Any]]:
        return [[self._value(what, name) for name in fields]]

    def _QueryNodes(self, names: list[str], fields: list[str], locking: bool) -> Any:
        return self._rows("node", fields)

    def _QueryInstances(self, names: list[str], fields: list[str], locking: bool) -> Any:
        return self._rows("instance", fields)

    def _QueryGroups(self, names: list[str], fields: list[str], locking: bool) -> Any:
        return self._rows("group", fields)

    def _QueryNetworks(self, names: list[str], fields: list[str], locking: bool) -> Any:
        return self._rows("network", fields)

    def _QueryFilters(self, uuids: list[str] | None, fields: list[str]) -> Any:
        return self._rows("filter", fields)

    def _QueryTags(self, kind: str, name: str | None = None) -> Any:
        return ["blue"]

    def _QueryJobs(self, numbers: list[int] | None, fields: list[str]) -> Any:
        known = [number for number in numbers or [] if number in self.jobs]
        if known:
            return super()._QueryJobs(known, fields)
        return self._rows("job", fields)

    def _QueryConfigValues(self, names: list[str]) -> Any:
        known = {
            "cluster_name": "cluster.example.com", "master_node": "node1.example.com",
            "drain_flag": False, "modify_ssh_setup": True, "ssh_key_type": "rsa",
            "ssh_key_bits": 2048, "watcher_pause": None,
        }  # fmt: skip
        return [known.get(name, "word") for name in names]

    def _QueryClusterInfo(self) -> Any:
        return defaultdict(dict, CLUSTER_INFO)

    def _ArchiveJob(self, number: int) -> Any:
        return True

    def _AutoArchiveJobs(self, age: int, timeout_s: int) -> Any:
        return [1, 0]

    def _CancelJob(self, number: int, *more: Any) -> Any:
        return [True, "canceled"]

    def _ChangeJobPriority(self, number: int, priority: int) -> Any:
        return [True, "changed"]

    def _DeleteFilter(self, uuid: str) -> Any:
        return None

    def _ReplaceFilter(self, *rule: Any) -> Any:
        return UUID

    def _SetDrainFlag(self, flag: bool) -> Any:
        return flag

    def _SetWatcherPause(self, until: Any) -> Any:
        return until
