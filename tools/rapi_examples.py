"""Records what a running cluster answers over the remote API; for the examples of doc/rapi.rst."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganeti.rapi.client import GanetiRapiClient, Transport
from ganeti.utils import daemons
from virtual_cluster import FILE_STORAGE, VirtualCluster

USER, PASSWORD = "admin", "Example1"
JOB_TIMEOUT_S = 60.0
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAC = re.compile(r"\baa:00:00(:[0-9a-f]{2}){3}\b")
HEX = re.compile(r"\b[0-9a-f]{32,}\b")
OF_THIS_RUN = re.compile(r"^(mfree|mtotal|mnode|dfree|dtotal|ctotal|cnodes|csockets|cnos)$")
MOST_ITEMS = 3
MOST_KEYS = {0: 100, 1: 8}  # by depth
MOST_DEEP_KEYS = 4
MOMENT = [1767225600, 500000]
PLAIN = {"name_check": False, "ip_check": False}
WEB1 = {
    "__version__": 1, "mode": "create", "instance_name": "web1.example.com",
    "disk_template": "file", "disks": [{"size": 1024}], "nics": [{}], "os_type": "busybox+default",
    "pnode": "node1.example.com", "start": False, "no_install": True, **PLAIN,
}  # fmt: skip
RULE = {"priority": 5, "predicates": [["jobid", [">", "id", 1000000]]], "action": "PAUSE"}
AT_INSTANCE = "/2/instances/{instance}"
WEB = "/2/instances/web1.example.com"
SHOP = "/2/instances/shop.example.com"
AT_NODE, NODE2 = "/2/nodes/{node}", "/2/nodes/node2.example.com"
AT_NETWORK, LAN = "/2/networks/{network}", "/2/networks/lan"
AT_GROUP, RACK2 = "/2/groups/{group}", "/2/groups/rack2"

# (method, path of the table, target, body); jobs are waited for.
SCENE: list[tuple[str, str, str, Any]] = [
    ("GET", "/version", "/version", None),
    ("GET", "/2/features", "/2/features", None),
    ("GET", "/2/info", "/2/info", None),
    ("GET", "/2/os", "/2/os", None),
    ("POST", "/2/instances", "/2/instances?reason=order+7", WEB1),
    ("GET", "/2/jobs", "/2/jobs", None),
    ("GET", "/2/jobs/{job_id}", "/2/jobs/{job}", None),
    ("GET", "/2/jobs/{job_id}/wait", "/2/jobs/{job}/wait",
     {"fields": ["status"], "previous_job_info": ["running"], "previous_log_serial": None}),
    ("DELETE", "/2/jobs/{job_id}", "/2/jobs/{job}", None),
    ("GET", "/2/instances", "/2/instances", None),
    ("GET", "/2/instances", "/2/instances?bulk=1&fields=name,pnode,status&limit=1", None),
    ("GET", AT_INSTANCE, WEB, None),
    ("PUT", AT_INSTANCE + "/startup", WEB + "/startup", None),
    ("GET", AT_INSTANCE + "/console", WEB + "/console", None),
    ("GET", AT_INSTANCE + "/info", WEB + "/info?static=1", None),
    ("POST", AT_INSTANCE + "/reboot", WEB + "/reboot?type=hard", None),
    ("PUT", AT_INSTANCE + "/shutdown", WEB + "/shutdown", {"timeout": 10}),
    ("PUT", AT_INSTANCE + "/modify", WEB + "/modify",
     {"beparams": {"vcpus": 2}, "osparams": {}}),
    ("POST", AT_INSTANCE + "/disk/{index}/grow", WEB + "/disk/0/grow", {"amount": 512}),
    ("PUT", AT_INSTANCE + "/tags", WEB + "/tags?tag=shop&tag=blue", None),
    ("GET", AT_INSTANCE + "/tags", WEB + "/tags", None),
    ("DELETE", AT_INSTANCE + "/tags", WEB + "/tags?tag=blue", None),
    ("PUT", AT_INSTANCE + "/rename", WEB + "/rename",
     {"new_name": "shop.example.com", **PLAIN}),
    ("DELETE", AT_INSTANCE, SHOP, None),
    ("GET", AT_INSTANCE, SHOP, None),
    ("GET", "/2/nodes", "/2/nodes", None),
    ("GET", AT_NODE, NODE2, None),
    ("GET", AT_NODE + "/role", NODE2 + "/role", None),
    ("PUT", AT_NODE + "/role", NODE2 + "/role?force=1", "drained"),
    ("POST", AT_NODE + "/evacuate", NODE2 + "/evacuate", {"mode": "primary-only"}),
    ("POST", AT_NODE + "/modify", NODE2 + "/modify", {"drained": False}),
    ("GET", AT_NODE + "/storage",
     NODE2 + "/storage?storage_type=file&output_fields=name,size,free", None),
    ("POST", "/2/networks", "/2/networks",
     {"network_name": "lan", "network": "10.1.0.0/28", "gateway": "10.1.0.1"}),
    ("PUT", AT_NETWORK + "/connect", LAN + "/connect",
     {"group_name": "default", "network_mode": "bridged", "network_link": "br0"}),
    ("GET", "/2/networks", "/2/networks", None),
    ("GET", AT_NETWORK, LAN, None),
    ("PUT", AT_NETWORK + "/disconnect", LAN + "/disconnect", {"group_name": "default"}),
    ("DELETE", AT_NETWORK, LAN, None),
    ("POST", "/2/groups", "/2/groups", {"group_name": "rack2", "alloc_policy": "last_resort"}),
    ("PUT", AT_GROUP + "/assign-nodes", RACK2 + "/assign-nodes", {"nodes": ["node2.example.com"]}),
    ("GET", "/2/groups", "/2/groups", None),
    ("GET", AT_GROUP, RACK2, None),
    ("GET", "/2/query/{resource}", "/2/query/node?fields=name,role", None),
    ("PUT", "/2/query/{resource}", "/2/query/node",
     {"fields": ["name", "group"], "qfilter": ["=", "group", "rack2"]}),
    ("GET", "/2/query/{resource}/fields", "/2/query/node/fields?fields=name", None),
    ("POST", "/2/filters", "/2/filters", RULE),
    ("GET", "/2/filters", "/2/filters?bulk=1", None),
    ("DELETE", "/2/filters/{uuid}", "/2/filters/{filter}", None),
    ("PUT", "/2/tags", "/2/tags?tag=production", None),
    ("GET", "/2/tags", "/2/tags", None),
    ("PUT", "/2/modify", "/2/modify", {"candidate_pool_size": 5}),
    ("PUT", "/2/modify", "/2/modify", {"candidate_pool_size": "five"}),
    ("PUT", "/2/redistribute-config", "/2/redistribute-config", None),
]  # fmt: skip


@dataclass
class Evener:
    """Makes what differs from run to run the same; `network` is the cluster's."""

    network: str
    uuids: dict[str, str] = field(default_factory=dict)

    def text(self, text: str) -> str:
        text = text.replace(self.network + ".", "192.0.2.")
        text = UUID.sub(lambda found: self._uuid(found[0]), text)
        text = MAC.sub("aa:00:00:12:34:56", text)
        return HEX.sub("0123456789abcdef", text)

    def _uuid(self, given: str) -> str:
        number = len(self.uuids) + 1
        return self.uuids.setdefault(given, f"00000000-0000-4000-8000-{number:012}")

    def value(self, value: Any, key: str = "", depth: int = 0) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, bool) or value is None:
            return value
        if isinstance(value, (int, float)):
            return _number(value, key)
        if isinstance(value, list):
            if len(value) == 2 and all(type(one) is int for one in value) and value[0] > 10**9:
                return MOMENT
            made = [self.value(item, key, depth + 1) for item in value]
            return made if depth == 0 or len(made) <= MOST_ITEMS else [*made[:2], "…"]
        return self._object(value, depth)

    def _object(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        made = {self.text(key): self.value(item, key, depth + 1) for key, item in value.items()}
        most = MOST_KEYS.get(depth, MOST_DEEP_KEYS)
        if len(made) <= most:
            return made
        return {**dict(list(made.items())[: most - 1]), "…": "…"}


def _number(value: float, key: str) -> float:
    if OF_THIS_RUN.match(key):
        return 16 if key.startswith("c") else 32768
    if value > 10**17:
        return 1767225600000000000
    if value > 10**9:
        return 1767225600 if isinstance(value, int) else 1767225600.5
    return value


@contextmanager
def cluster() -> Iterator[VirtualCluster]:
    """Two nodes with the remote API; nothing of it is left afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="gnt-", dir="/tmp"))
    made = VirtualCluster.create(directory, 2)
    try:
        options = (
            "--enabled-hypervisors=fake", "--enabled-disk-templates=diskless,file",
            f"--file-storage-dir={FILE_STORAGE}",
        )  # fmt: skip
        _run(made, "gnt-cluster", "init", *options, "cluster.example.com")
        _run(made, "gnt-node", "add", made.names[1])
        daemons.stop(made.paths(1), daemons.RAPI)  # it would read the users a moment later
        users = made.paths(1).rapi_users
        users.parent.mkdir(parents=True, exist_ok=True)
        users.write_text(f"{USER} {PASSWORD} write\n")
        daemons.start(made.paths(1), made.names[0], daemons.RAPI)
        yield made
    finally:
        made.stop()
        made.remove()


def _run(made: VirtualCluster, *argv: str) -> None:
    done = made.run(1, *argv)
    if done.rc:
        raise SystemExit(f"{' '.join(argv)}: {done.err or done.out}")


def record() -> list[dict[str, Any]]:
    """The examples, in the order of the scene."""
    with cluster() as made:
        return list(_play(made))


def _play(made: VirtualCluster) -> Iterator[dict[str, Any]]:
    client = GanetiRapiClient(made.address(1), username=USER, password=PASSWORD)
    transport = Transport()
    evener = Evener(made.network)
    known: dict[str, Any] = {}
    for method, path, target, body in SCENE:
        sent = target.format_map(known)
        content = b"" if body is None else json.dumps(body).encode()
        status, reason, answer = transport.perform(
            made.address(1), 5080, method, sent, client._headers, content
        )
        value = json.loads(answer)
        if path == "/2/filters" and method == "POST":
            known["filter"] = value
        elif isinstance(value, int) and path != "/version":
            known["job"] = value
            _wait(client, value, sent)
        yield {
            "method": method,
            "path": path,
            "target": evener.text(sent),
            "body": body,
            "status": f"{status} {reason}",
            "answer": evener.value(value),
        }
    transport.close()
    client.Close()


def _wait(client: GanetiRapiClient, job: int, what: str) -> None:
    ended = client.WaitForJob(job, JOB_TIMEOUT_S)
    if ended["status"] != "success":
        raise SystemExit(f"{what}: job {job} failed: {ended['opresult']}")
