"""schemathesis against a live daemon: no server error, no answer against the description."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from cluster_bed import ClusterBed, virtual_cluster
from ganeti.rapi.client import GanetiApiError, GanetiRapiClient
from ganeti.utils import daemons
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

OS = "empty"
CASES = 6  # of each method
TIME_LIMIT_S = 300  # some 20 s on an idle machine
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance",
)  # fmt: skip
EVENTS = "/2/events"  # answers have no end
WAIT = "/2/jobs/{job_id}/wait"  # answers take their time where a job has not ended
OWN_CASES = 40  # of each of these, which have tests of their own
LOGIN = ("admin", "Example1")
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
    assert document["paths"].pop(EVENTS) and document["paths"].pop(WAIT)
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


def cases_of(document: dict[str, Any], path: str, mode: GenerationMode) -> Any:
    """Decorates a function that is called with each of OWN_CASES requests for a path."""
    described = schemathesis.openapi.from_dict(document)[path]["GET"]
    bounded = settings(
        max_examples=OWN_CASES,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    return lambda function: bounded(
        given(case=described.as_strategy(generation_mode=mode))(function)
    )


modes = pytest.mark.parametrize("mode", list(GenerationMode), ids=str)


@pytest.mark.timeout(TIME_LIMIT_S)
@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@modes
def test_waiting_for_jobs_that_have_ended(cluster: ClusterBed, mode: GenerationMode) -> None:
    address = cluster.cluster.address(1)
    client = GanetiRapiClient(address, 5080, *LOGIN)
    document = client._send("GET", "/2/openapi.json")
    ended = [one["id"] for one in client.GetJobs(bulk=True) if one["end_ts"]]
    for parameter in document["paths"][WAIT]["parameters"]:
        if parameter["name"] == "job_id":
            parameter["schema"] = {"enum": [*ended[:2], max(ended) + 1000]}
    seen: set[int] = set()

    @cases_of(document, WAIT, mode)
    def ask(case: schemathesis.Case) -> None:
        answer = case.call(base_url=f"https://{address}:5080", auth=LOGIN, verify=False, timeout=9)
        seen.add(answer.status_code)
        case.validate_response(answer, checks=[getattr(checks, name) for name in CHECKS])

    ask()
    assert seen & {400, 404}
    assert mode == GenerationMode.NEGATIVE or 200 in seen


def head_of_stream(address: str, case: schemathesis.Case) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer's head, and of an answer that is not a refusal its first lines. Then the client
    goes away."""
    asked = case.as_transport_kwargs(base_url=f"https://{address}:5080")
    sent = requests.Request(
        asked["method"], asked["url"], params=asked.get("params"), headers=asked.get("headers")
    ).prepare()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    line = http.client.HTTPSConnection(address, 5080, context=context, timeout=20)
    try:
        line.request(sent.method or "", sent.path_url, headers=dict(sent.headers))
        answer = line.getresponse()
        return answer, b"".join(iter(answer.readline, b"\n")) if answer.status == 200 else b""
    finally:
        line.close()


@pytest.mark.timeout(TIME_LIMIT_S)
@modes
def test_streams_of_events_begin_or_are_refused(cluster: ClusterBed, mode: GenerationMode) -> None:
    address = cluster.cluster.address(1)
    document = GanetiRapiClient(address, 5080)._send("GET", "/2/openapi.json")
    seen: set[int] = set()

    @cases_of(document, EVENTS, mode)
    def ask(case: schemathesis.Case) -> None:
        answer, begin = head_of_stream(address, case)
        seen.add(answer.status)
        known = document["paths"][EVENTS]["get"]["responses"]
        assert answer.status < 500 and str(answer.status) in known, case.as_curl_command()
        kind = "text/event-stream" if answer.status == 200 else "application/json"
        assert answer.headers.get_content_type() == kind, case.as_curl_command()
        assert answer.status != 200 or begin.startswith(b"retry: "), (begin, case)

    ask()
    assert seen & {200, 400}


def test_a_negative_part_of_a_list_is_refused(cluster: ClusterBed) -> None:
    client = GanetiRapiClient(cluster.cluster.address(1), 5080, "admin", "Example1")
    for query in ("offset=-1", "limit=-1", "limit=1&offset=-1"):
        with pytest.raises(GanetiApiError) as caught:
            client._send("GET", f"/2/jobs?{query}")
        assert caught.value.code == 400
