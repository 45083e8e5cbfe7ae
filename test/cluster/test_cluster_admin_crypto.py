"""gnt-cluster renew-crypto on real daemons: the cluster works on, old certificates end."""

from __future__ import annotations

import shutil
import socket
import ssl
import time
from pathlib import Path

from cluster_bed import ClusterBed, until
from ganeti.constants import NODED_PORT
from ganeti.http.tls import client_context, digest_of_pem
from ganeti.master import crypto
from ganeti.paths import Paths

VERSION = b"POST /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n[]"


def answer(cluster: ClusterBed, certificates: Paths, node: int) -> str:
    """What the node says to the owner of these certificates: a status line, or TLS's refusal."""
    context = client_context(certificates)
    try:
        with (
            socket.create_connection((cluster.cluster.address(node), NODED_PORT), 10) as plain,
            context.wrap_socket(plain) as secure,
        ):
            secure.sendall(VERSION)
            return secure.recv(4096).partition(b"\r\n")[0].decode()
    except (ssl.SSLError, ConnectionError) as error:
        return type(error).__name__


def kept(cluster: ClusterBed, place: Path) -> Paths:
    """A copy of the master's certificates, as somebody may have taken it."""
    paths = Paths(place)
    paths.data.mkdir(parents=True)
    for name in ("server.pem", "client.pem"):
        shutil.copy(cluster.cluster.paths(1).data / name, paths.data / name)
    return paths


def digests(cluster: ClusterBed, name: str) -> list[str]:
    return [digest_of_pem(cluster.cluster.paths(node).data / name) for node in (1, 2, 3)]


def leftovers(cluster: ClusterBed) -> list[str]:
    return [
        place.name
        for node in (1, 2, 3)
        for place in cluster.cluster.paths(node).data.glob("*.pem.*")
        if place.suffix in (".new", ".old")
    ]


def verify_soon(cluster: ClusterBed) -> None:
    until(lambda: cluster("gnt-cluster verify").rc == 0, "verify finds nothing wrong")


def test_new_node_certificates_end_the_old_ones(cluster: ClusterBed, tmp_path: Path) -> None:
    old, former = kept(cluster, tmp_path / "old"), digests(cluster, "client.pem")
    assert answer(cluster, old, 2) == "HTTP/1.1 200 OK"
    running = cluster.delay(0.01)
    said = cluster.ok("gnt-cluster renew-crypto -f --new-node-certificates")
    assert "3 of 3 nodes have new certificates" in said
    assert not set(digests(cluster, "client.pem")) & set(former)
    assert {answer(cluster, old, node) for node in (1, 2, 3)} == {"HTTP/1.1 403 Forbidden"}
    cluster.await_status(running, "success")
    verify_soon(cluster)


def test_a_new_cluster_certificate_ends_the_old_one(cluster: ClusterBed, tmp_path: Path) -> None:
    old = kept(cluster, tmp_path / "old")
    masters = cluster.pid("ganeti-masterd"), cluster.pid("ganeti-noded", 2)
    cluster.ok(
        "gnt-cluster renew-crypto -f --new-cluster-certificate --new-rapi-certificate"
        " --new-confd-hmac-key --new-cluster-domain-secret --new-spice-certificate"
    )
    assert (cluster.pid("ganeti-masterd"), cluster.pid("ganeti-noded", 2)) == masters
    assert len(set(digests(cluster, "server.pem"))) == 1
    assert digests(cluster, "server.pem")[0] != digest_of_pem(old.server_pem)
    assert len(set(digests(cluster, "rapi.pem"))) == 1
    assert "200" not in "".join(answer(cluster, old, node) for node in (1, 2, 3))
    assert leftovers(cluster) == []
    cluster.stop("ganeti-masterd")
    cluster.start("ganeti-masterd")
    cluster.await_status(cluster.delay(0.01), "success")
    verify_soon(cluster)


def test_a_node_that_was_down_is_told_and_comes_back_by_readd(cluster: ClusterBed) -> None:
    cluster.stop("ganeti-noded", 3)
    done = cluster("gnt-cluster renew-crypto -f --new-cluster-certificate")
    assert done.rc == 0 and "gnt-node add --readd node3.example.com" in done.out
    assert leftovers(cluster) == []
    cluster.start("ganeti-noded", 3)
    unreachable = cluster("gnt-cluster verify --error-codes")
    assert unreachable.rc == 1 and ":ENODERPC:node:node3.example.com:" in unreachable.out
    cluster.ok("gnt-node add --readd node3")
    assert len(set(digests(cluster, "server.pem"))) == 1
    verify_soon(cluster)


def test_a_broken_off_renewal_leaves_a_cluster_that_works_and_is_completed(
    cluster: ClusterBed,
) -> None:
    old = digests(cluster, "server.pem")[0]
    assert crypto.stage_cluster_certificate(cluster.cluster.paths(1), time.time())
    with cluster.paused("ganeti-noded", 3):  # the renewal waits for it
        began = cluster.cluster.paths(2).client_pem_new
        number = int(
            cluster.call(
                "SubmitJob",
                [{"OP_ID": "OP_CLUSTER_RENEW_CRYPTO", "node_certificates": True, "reason": []}],
            )
        )
        until(began.exists, "node2 has its next certificate")
        cluster.kill("ganeti-masterd")
    cluster.start("ganeti-masterd")
    cluster.await_status(number, "error")
    cluster.await_status(cluster.delay(0.01, on_nodes=["node2", "node3"]), "success")
    cluster.ok("gnt-cluster renew-crypto -f --new-cluster-certificate")
    assert old not in digests(cluster, "server.pem")
    assert leftovers(cluster) == []
    verify_soon(cluster)


def test_what_makes_no_sense_is_refused(cluster: ClusterBed) -> None:
    for line, said in (
        ("", "Nothing is to be renewed"),
        ("-f --new-rapi-certificate --rapi-certificate=x", "not both"),
        ("-f --spice-certificate=x", "needed together"),
        ("-f --rapi-certificate=/nosuch", "No such file"),
        ("--new-node-certificates", "no terminal"),
        ("-f --new-ssh-keys --ssh-key-type=ecdsa --ssh-key-bits=2048", "can't have 2048 bits"),
    ):
        done = cluster(f"gnt-cluster renew-crypto {line}")
        assert done.rc == 1 and said in done.err, line
