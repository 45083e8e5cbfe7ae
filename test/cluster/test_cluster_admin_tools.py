"""gnt-debug, gnt-cluster epo and gnt-job on real daemons: what tools/… and tests rely on."""

from __future__ import annotations

import json

from cluster_bed import ClusterBed, without_dates

OOB = """#!/bin/sh
echo "$1 $2" >> "$(dirname "$0")/oob.log"
case "$1" in
  power-status) echo '{"powered": true}' ;;
  health) echo '[["fan", "OK"]]' ;;
esac
"""


def test_the_job_queue_goes_through_its_states(cluster: ClusterBed) -> None:
    said = cluster.ok("gnt-debug test-jobqueue --priority=high")
    assert without_dates(said).endswith("The job queue works\n")
    listed = json.loads(cluster.ok("gnt-job list --format=json -o ops"))
    assert {op["priority"] for row in listed for op in row["ops"] if "JQUEUE" in op["OP_ID"]} == {
        -10
    }


def test_a_delay_ends_when_somebody_connects(cluster: ClusterBed) -> None:
    with cluster.running_delay() as number:
        ((entries,),) = cluster.call("QueryJobs", [number], ["oplog"])
        assert entries[0][0][2] == "delay-test"
    assert list(cluster.cluster.paths(1).sockets.glob("wake-*")) == []


def test_secret_parameters_are_seen_nowhere(cluster: ClusterBed) -> None:
    number = cluster.ok(
        "gnt-debug test-osparams --os-parameters-secret=pass=squeamish --print-jobid"
    ).split()[0]
    assert "squeamish" not in cluster.ok(f"gnt-job info {number}")
    seen = [
        place
        for place in cluster.cluster.base.rglob("*")
        if place.is_file() and b"squeamish" in place.read_bytes()
    ]
    assert seen == []


def test_an_allocator_is_asked_without_consequences(cluster: ClusterBed) -> None:
    new = "-m allocate -o noop --disks=1024 -t file web9.example.com"
    document = json.loads(cluster.ok(f"gnt-debug iallocator {new}"))
    assert document["request"]["name"] == "web9.example.com"
    assert len(document["nodes"]) == 3
    answer = json.loads(cluster.ok(f"gnt-debug iallocator --dir=out -I hail {new}"))
    assert answer["success"] and len(answer["result"]) == 1
    assert cluster.ok("gnt-instance list --no-headers") == ""


def test_nodes_are_switched_off_and_on(cluster: ClusterBed) -> None:
    paths = cluster.cluster.paths(1)
    program = paths.below("/srv/oob")
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(OOB)
    program.chmod(0o755)
    cluster.add_empty_os("noop")
    cluster.ok("gnt-node modify --node-parameters=oob_program=/srv/oob node2")
    cluster.ok(
        "gnt-instance add -t diskless -o noop+default -n node2 --no-name-check --no-ip-check web1"
    )
    refused = cluster("gnt-cluster epo -f node1 node2")
    assert refused.rc == 1 and "is the master" in refused.err
    off = cluster("gnt-cluster epo -f --power-delay=0 node2 node3")
    assert off.rc == 0 and "node3.example.com has no out-of-band program" in off.err
    fields = "gnt-node list --no-headers -o powered node2"
    assert cluster.ok(fields) == "N\n"
    assert "running" not in cluster.ok("gnt-instance list --no-headers -o status web1")
    cluster.ok("gnt-cluster epo -f --on --power-delay=0 node2")
    assert cluster.ok(fields) == "Y\n"
    assert cluster.ok("gnt-instance list --no-headers -o status web1") == "running\n"
    log = (program.parent / "oob.log").read_text().splitlines()
    assert log == ["power-off node2.example.com", "power-on node2.example.com"]
    cluster.ok("gnt-instance remove -f web1")
