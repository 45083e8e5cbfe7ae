"""The remote API as a part of the cluster: who starts and ends it, its certificate, its options,
and another program's client.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.utils.daemons import MASTERD, RAPI

CLASSIC_PYTHON = "/usr/bin/python3"
CLASSIC_PACKAGE = Path("/var/lib/dpkg/info/python3-ganeti-rapi.list")
CLIENT = Path(__file__).with_name("classic_client.py")
USERS = "admin Example1 write\n"
PORT = 5080


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    with virtual_cluster(3) as bed:
        bed.init_all()
        bed.add_empty_os("empty")
        yield bed


def ask(
    bed: ClusterBed, path: str, *, node: int = 1, user: str = "", method: str = "GET"
) -> tuple[int, Any]:
    """Status and parsed body."""
    context = ssl.create_default_context(cafile=str(bed.cluster.paths(node).rapi_pem))
    context.check_hostname = False
    line = http.client.HTTPSConnection(bed.cluster.address(node), PORT, context=context, timeout=30)
    headers = {"Authorization": "Basic " + b64encode(user.encode()).decode()} if user else {}
    try:
        line.request(method, path, headers=headers)
        answer = line.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        line.close()


def know_users(bed: ClusterBed) -> None:
    """The daemon has read the users file. That is written once only: who reads it while it is
    written anew finds nobody."""
    place = bed.cluster.paths(1).rapi_users
    if not place.exists() or place.read_text() != USERS:
        place.write_text(USERS)
    until(lambda: ask(bed, "/version", user="admin:Example1")[0] == 200, "the user is known")


def shown_certificate(bed: ClusterBed) -> str:
    return ssl.get_server_certificate((bed.cluster.address(1), PORT))


def is_open(bed: ClusterBed, node: int) -> bool:
    with socket.socket() as line:
        return line.connect_ex((bed.cluster.address(node), PORT)) == 0


def test_it_runs_with_the_cluster_and_anybody_may_read(cluster: ClusterBed) -> None:
    assert ask(cluster, "/version") == (200, 2)
    status, info = ask(cluster, "/2/info")
    assert (status, info["name"]) == (200, "cluster.example.com")
    assert ask(cluster, "/2/tags?tag=x", method="PUT")[0] == 401
    assert not is_open(cluster, 2)


def test_users_are_read_when_their_file_changes(cluster: ClusterBed) -> None:
    put = {"user": "admin:Example1", "method": "PUT"}
    assert ask(cluster, "/2/tags?tag=x", **put)[0] == 401
    know_users(cluster)
    assert ask(cluster, "/2/tags?tag=x", **put)[0] == 200


@pytest.mark.skipif(not CLASSIC_PACKAGE.exists(), reason="needs Debian's python3-ganeti-rapi")
def test_a_classic_client_can_do_all_it_has(cluster: ClusterBed) -> None:
    know_users(cluster)
    argv = [CLASSIC_PYTHON, "-I", str(CLIENT), cluster.cluster.address(1), "Example1"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["problems"] == []
    assert set(told["methods"]) <= set(told["called"])
    assert len(told["methods"]) > 70


def test_it_is_not_for_other_nodes(cluster: ClusterBed) -> None:
    done = cluster("ganeti-rapi", node=2)
    assert done.rc == 11
    assert "that is node1.example.com" in done.err


def test_a_new_certificate_is_used_without_a_restart(cluster: ClusterBed) -> None:
    before, pid = shown_certificate(cluster), cluster.pid(RAPI)
    cluster.ok("gnt-cluster renew-crypto -f --new-rapi-certificate")
    until(lambda: shown_certificate(cluster) != before, "the new certificate is shown")
    assert ask(cluster, "/version") == (200, 2)
    assert cluster.pid(RAPI) == pid


def test_a_damaged_certificate_does_not_end_it(cluster: ClusterBed) -> None:
    place = cluster.cluster.paths(1).rapi_pem
    good = place.read_bytes()
    log = cluster.cluster.paths(1).daemon_log("rapi")
    place.write_bytes(b"damaged")
    until(lambda: "the certificate that was read before stays" in log.read_text(), "it is told")
    place.write_bytes(good)
    assert ask(cluster, "/version") == (200, 2)


def test_a_master_daemon_that_restarts_is_told_and_noticed(cluster: ClusterBed) -> None:
    assert ask(cluster, "/2/nodes")[0] == 200
    cluster.kill(MASTERD)
    assert ask(cluster, "/2/nodes")[0] == 502
    cluster.start(MASTERD)
    assert ask(cluster, "/2/nodes")[0] == 200


def test_a_drained_queue_is_told(cluster: ClusterBed) -> None:
    know_users(cluster)
    cluster.ok("gnt-cluster queue drain")
    put = {"user": "admin:Example1", "method": "PUT"}
    status, body = ask(cluster, "/2/tags?tag=y", **put)
    cluster.ok("gnt-cluster queue undrain")
    assert (status, body["code"]) == (503, 503)
    assert ask(cluster, "/2/tags?tag=y", **put)[0] == 200


def test_options_of_the_program(cluster: ClusterBed, tmp_path: Path) -> None:
    know_users(cluster)
    cluster.stop(RAPI)
    try:
        for line, text in (
            ("ganeti-rapi --max-clients=0", "1 or more"),
            ("ganeti-rapi -C /nosuch", "can't be read"),
            ("ganeti-rapi --ssl-chain=/nosuch", "can't be read"),
            ("ganeti-rapi -b 127.0.0.1 -i lo", "not allowed with"),
        ):
            done = cluster(line)
            assert done.rc in (1, 2) and text in done.err, (line, done.rc, done.err)
        place = cluster.cluster.paths(1)
        chain = tmp_path / "chain.pem"
        chain.write_bytes(place.server_pem.read_bytes())
        cluster.ok(f"ganeti-rapi --require-authentication --ssl-chain={chain}")
        assert ask(cluster, "/version")[0] == 401
        assert ask(cluster, "/version", user="admin:Example1") == (200, 2)
    finally:
        cluster.stop(RAPI)
        cluster.start(RAPI)


def test_it_moves_with_the_master(cluster: ClusterBed) -> None:
    cluster.ok("gnt-cluster master-failover", node=2)
    assert ask(cluster, "/2/info", node=2)[1]["master"] == "node2.example.com"
    until(lambda: cluster.pid(RAPI, 1) is None, "the former one has ended")
    assert not is_open(cluster, 1)


def test_it_ends_with_the_cluster(bare: ClusterBed) -> None:
    assert bare.init().rc == 0
    assert bare.pid(RAPI) is not None
    bare.ok("gnt-cluster destroy --yes-do-it")
    until(lambda: not bare.cluster.leftovers(), "all processes have ended")


def test_a_taken_port_costs_only_the_remote_api(bare: ClusterBed) -> None:
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind((bare.cluster.address(1), PORT))
        line.listen()
        done = bare.init()
    assert done.rc == 0
    assert "there is no remote API" in done.err
    assert bare("gnt-cluster master-ping").rc == 0
