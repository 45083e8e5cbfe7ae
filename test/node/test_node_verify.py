"""The node's answers to `gnt-cluster verify`."""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

import pytest
from fact_tables import facts
from fakes.nodes import JumpingClock, a_node, a_root, client_pair
from ganeti.node import verify
from ganeti.node.context import NodeContext
from ganeti.node.daemon import load_served
from ganeti.version import CONFIG_VERSION, RELEASE


def ask(node: NodeContext, name: str, argument: object = None) -> object:
    load_served()
    answers = verify.node_verify(node, {name: argument}, "cluster.example.com", {"fake": {}})
    return answers.get(name, "left out")


def test_all_checks_are_those_of_the_facts() -> None:
    assert set(verify.CHECKS) <= set(facts("node-rpc")["node_verify_items"])


def test_checks_that_are_not_there_yet_become_fewer() -> None:
    later = {"pvlist", "exclusive-pvs", "drbd-version", "drbd-list"}
    missing = set(facts("node-rpc")["node_verify_items"]) - set(verify.CHECKS)
    assert missing - {"nonvmnodes"} <= later


def test_an_unknown_check_is_left_out(tmp_path: Path) -> None:
    assert verify.node_verify_light(a_node(tmp_path), {"nosuchcheck": 1}, "c", {}) == {}


def test_fingerprints_of_readable_files_only(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    node.paths.etc_hosts.parent.mkdir(parents=True)
    node.paths.etc_hosts.write_text("x")
    found = ask(node, "filelist", ["/etc/hosts", "/nosuch", "/etc"])
    assert found == {"/etc/hosts": hashlib.sha1(b"x").hexdigest()}


def test_version_and_time(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    assert isinstance(node.clock, JumpingClock)
    node.clock.time = 12.25
    assert ask(node, "version") == (CONFIG_VERSION, RELEASE)
    assert ask(node, "time") == (12, 250_000)
    assert ask(node, "nodesetup") == []


def test_the_fake_hypervisor_is_fine_and_an_unknown_one_is_told(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    found = ask(node, "hypervisor", ["fake", "nosuch"])
    assert isinstance(found, dict) and found["fake"] is None and "'nosuch'" in found["nosuch"]
    assert "memory_total" in ask(node, "hvinfo", "fake")  # type: ignore[operator]
    assert ask(node, "instancelist", ["fake"]) == []
    assert ask(node, "hvparms", [["cluster", "nosuch", {}]])[0][:2] == ("cluster", "nosuch")  # type: ignore[index]


def test_a_node_that_is_not_vm_capable_skips_hypervisors(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    asked = {"hypervisor": ["fake"], "nonvmnodes": [node.hostname], "time": None}
    assert set(verify.node_verify(node, asked, "c", {})) == {"time"}


def test_programs_that_can_not_run_are_told(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    (tmp_path / "ok").write_text("#!/bin/sh\n")
    (tmp_path / "ok").chmod(0o755)
    (tmp_path / "plain").write_text("")
    assert ask(node, "user-scripts", ["/ok", "/plain", "/none"]) == ["/plain", "/none"]
    assert ask(node, "oob-paths", ["/ok", "/plain", "/none"]) == [
        None,
        "/plain is not an executable file",
        "/none does not exist",
    ]


def test_file_storage_directories_have_to_be_allowed_and_there(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    node.paths.conf.mkdir(parents=True)
    node.paths.file_storage_paths.write_text("/srv/files\n/etc/x\n")
    assert ask(node, "file-storage-path", "/srv/files") == "/srv/files is no directory"
    (tmp_path / "srv/files").mkdir(parents=True)
    assert ask(node, "file-storage-path", "/srv/files") == "left out"
    assert "not below an allowed" in str(ask(node, "shared-file-storage-path", "/srv/other"))
    assert ask(node, "allowed-file-storage-paths", node.hostname) == ["/etc/x"]
    assert ask(node, "allowed-file-storage-paths", "other") == "left out"


def test_the_client_certificate_is_checked(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    a_root(tmp_path)
    pair = client_pair(node.hostname)
    assert isinstance(node.clock, JumpingClock)
    node.clock.time = pair.certificate.not_valid_before_utc.timestamp() + 60
    assert ask(node, "client-cert") == [None, pair.digest]
    node.clock.time = pair.certificate.not_valid_after_utc.timestamp() - 86400 * 3
    assert ask(node, "client-cert")[0] == "ERROR"  # type: ignore[index]
    node.paths.client_pem.write_bytes(client_pair("x", "theirs").pem())
    assert "not accepted" in ask(node, "client-cert")[1]  # type: ignore[index]


@pytest.mark.parametrize("nested", [True, False])
def test_nodes_that_do_not_answer_are_named(tmp_path: Path, nested: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        node = a_node(tmp_path, port=listening.getsockname()[1])
        rows = [
            [node.hostname, "127.0.0.1", "127.0.0.1"],
            ["node2", "127.0.0.2", "127.0.0.2"],
        ]
        found = ask(node, "node-net-test", [rows, [node.hostname]] if nested else rows)
    assert found == {"node2": "primary interface 127.0.0.1 to 127.0.0.2: Connection refused"}


def test_a_node_that_is_not_in_the_list_says_so(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    assert node.hostname in ask(node, "node-net-test", [[["n", "127.0.0.1", "127.0.0.1"]], []])  # type: ignore[operator]


def test_what_virtual_nodes_can_not_have_is_not_missed(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    assert ask(node, "bridges", ["br0"]) == []
    assert ask(node, "master-ip", [node.hostname, "192.0.2.250", [node.hostname]]) is None
    assert ask(node, "nodelist", [["node2"], {}, []]) == {}


def test_ssh_is_asked_without_questions_and_with_the_clusters_key(tmp_path: Path) -> None:
    argv = verify.host_check_argv(a_node(tmp_path), "node2", "cluster.example.com")
    assert argv[:2] == ["ssh", "-q"] and argv[-2:] == ["root@node2", "hostname --fqdn"]
    assert "-oHostKeyAlias=cluster.example.com" in argv and "-oBatchMode=yes" in argv


@pytest.mark.parametrize(
    ("text", "port"),
    [("", 22), ("node1=22\nnode2=2222\n", 2222), ("node2=x\n", 22), ("node20=5\n", 22)],
)
def test_ssh_goes_to_the_port_of_the_node(tmp_path: Path, text: str, port: int) -> None:
    node = a_node(tmp_path)
    place = node.paths.ssconf("ssh_ports")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    assert f"-oPort={port}" in verify.host_check_argv(node, "node2", "cluster.example.com")


def key(owner: str, data: str) -> str:
    return f"ssh-rsa {data} root@{owner}"


def test_keys_are_compared_with_what_the_cluster_says(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    me, other = node.hostname, "node2.example.com"
    owners = [["u1", me, True, True, True], ["u2", other, False, True, True]]
    own, its = key(me, "AAAA1"), key(other, "AAAA2")
    home = node.paths.below("/root/.ssh")
    home.mkdir(parents=True)
    (home / "id_rsa.pub").write_text(f"{own}\n")
    (home / "authorized_keys").write_text(f"{own}\n")
    node.paths.ssh_public_keys.parent.mkdir(parents=True, exist_ok=True)
    node.paths.ssh_public_keys.write_text(f"u1 {own}\nu2 {its}\n")
    assert ask(node, "ssh-setup", [owners, "rsa"]) == []
    assert ask(node, "ssh-clutter") == []

    node.paths.ssh_public_keys.write_text(f"u1 {its}\nu3 {its}\n")
    (home / "authorized_keys").write_text(f"{own}\n{key(me, 'AAAA3')}\n")
    found = ask(node, "ssh-setup", [owners, "rsa"])
    assert isinstance(found, list)
    for fact in (
        f"key of master candidate {me} may not log in",
        f"has none of node {other}",
        "u3, which is no node",
        "root's own SSH key is not the one",
    ):
        assert any(fact in one for one in found), fact
    assert ask(node, "ssh-clutter") == [
        f"authorized_keys has 2 keys of root@{me}; those that are not in use should go"
    ]
