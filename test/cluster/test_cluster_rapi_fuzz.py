"""schemathesis against a live daemon: no server error, no answer against the description."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import ClusterBed, virtual_cluster
from ganeti.rapi.client import GanetiApiError, GanetiRapiClient
from ganeti.utils import daemons

OS = "empty"
CASES = 6  # of each method
TIME_LIMIT_S = 110
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance",
)  # fmt: skip
WAITING = frozenset({"/2/jobs/{job_id}/wait", "/2/events"})  # take their time
ABSENT = "absent.example.com"
UNCHANGED = {
    "node": [f"node{number}.example.com" for number in (1, 2, 3)],
    "instance": ["web1.example.com", "web2.example.com"],
    "group": ["default"],
    "network": ["lan"],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as bed:
        bed.init_all()
        bed.add_empty_os(OS)
        bed.stop(daemons.RAPI)
        users = bed.cluster.paths(1).rapi_users
        users.parent.mkdir(parents=True, exist_ok=True)
        users.write_text("admin Example1 write\n")
        name = bed.cluster.full_name(1)
        daemons.start(bed.cluster.paths(1), name, daemons.RAPI, ["--max-requests=1000000"])
        bed.ok("gnt-network add --network=10.1.0.0/28 lan")
        for instance in UNCHANGED["instance"]:
            add = f"gnt-instance add -t diskless -o {OS}+default -n node1 --no-name-check"
            bed.ok(f"{add} --no-ip-check {instance}")
        yield bed


def with_names(document: dict[str, Any]) -> dict[str, Any]:
    """The description with the names of this cluster in it, so that requests reach something."""
    for path in WAITING:
        document["paths"].pop(path, None)
    for item in document["paths"].values():
        for parameter in item.get("parameters", ()):
            if parameter["name"] in UNCHANGED:
                parameter["schema"] = {"enum": [*UNCHANGED[parameter["name"]], ABSENT]}
            elif parameter["name"] in ("job_id", "index"):
                parameter["schema"] = {"type": "integer", "minimum": 0, "maximum": 40}
    return document


@pytest.mark.timeout(TIME_LIMIT_S)
def test_no_request_is_answered_with_a_server_error(cluster: ClusterBed, tmp_path: Path) -> None:
    address = cluster.cluster.address(1)
    client = GanetiRapiClient(address, 5080, "admin", "Example1")
    described = tmp_path / "openapi.json"
    document = client._send("GET", "/2/openapi.json")
    described.write_text(json.dumps(with_names(document)))
    methods = sum(name != "parameters" for item in document["paths"].values() for name in item)
    argv = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", str(described)),
        *("-u", f"https://{address}:5080", "--tls-verify", "false", "-a", "admin:Example1"),
        *("-c", ",".join(CHECKS), "--phases", "fuzzing", "--mode", "all"),
        *("--seed", "1", "-n", str(CASES), "--generation-database", "none"),
        *("--suppress-health-check", "all", "--continue-on-failure", "--warnings", "off"),
    ]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=TIME_LIMIT_S)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert re.search(rf"Tested: +{methods}$", done.stdout, re.MULTILINE), done.stdout[-2000:]
    assert set(client.GetNodes()) == set(UNCHANGED["node"])


def test_a_negative_part_of_a_list_is_refused(cluster: ClusterBed) -> None:
    client = GanetiRapiClient(cluster.cluster.address(1), 5080, "admin", "Example1")
    for query in ("offset=-1", "limit=-1", "limit=1&offset=-1"):
        with pytest.raises(GanetiApiError) as caught:
            client._send("GET", f"/2/jobs?{query}")
        assert caught.value.code == 400
