"""Creating a cluster: every refusal, the first configuration; what a joining node is sent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.nodes import a_root
from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.master import crypto
from ganeti.master.bootstrap import InitRequest, Undone, check, ssconf_bytes
from ganeti.master.join import LocalShell, open_shell, read_ssconf, setup_document
from ganeti.master.new_cluster import build_document
from ganeti.paths import Paths
from ganeti.serializer import encode
from ganeti.utils.files import LocalDisk

HOST = "node1.example.com"
NAME = "cluster.example.com"
GOOD: dict[str, Any] = {
    "cluster_name": NAME,
    "enabled_hypervisors": ["fake"],
    "enabled_disk_templates": ["diskless", "file"],
    "file_storage_dir": "/srv/ganeti/file-storage",
}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A virtual node whose names resolve."""
    made = Paths(tmp_path / HOST)
    made.etc_hosts.parent.mkdir(parents=True)
    made.etc_hosts.write_text(f"127.9.9.1 {HOST}\n127.9.9.250 {NAME}\n")
    return made


def files_below(paths: Paths) -> list[str]:
    return sorted(str(path) for path in paths.root.rglob("*"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"enabled_hypervisors": ["nosuch"]}, Code.INVAL),
        ({"enabled_hypervisors": []}, Code.INVAL),
        ({"enabled_disk_templates": ["nosuch"]}, Code.INVAL),
        ({"enabled_disk_templates": []}, Code.INVAL),
        ({"primary_ip_version": 5}, Code.INVAL),
        ({"secondary_ip": "nonsense"}, Code.INVAL),
        ({"secondary_ip": "fe80::1"}, Code.INVAL),
        ({"mac_prefix": "aa:00"}, Code.INVAL),
        ({"mac_prefix": "gg:00:00"}, Code.INVAL),
        ({"master_netmask": 0}, Code.INVAL),
        ({"master_netmask": 33}, Code.INVAL),
        ({"candidate_pool_size": 0}, Code.INVAL),
        ({"file_storage_dir": ""}, Code.INVAL),
        ({"file_storage_dir": "relative/place"}, Code.INVAL),
        ({"diskparams": {"nosuch": {}}}, Code.INVAL),
        ({"beparams": {"minmem": 512, "maxmem": 128}}, None),
        ({"beparams": {"nosuch": 1}}, None),
        ({"beparams": {"vcpus": "many"}}, None),
        ({"nicparams": {"mode": "nosuch"}}, None),
        ({"hvparams": {"nosuch": {}}}, None),
        ({"hvparams": {"fake": {"nosuch": 1}}}, None),
        ({"ipolicy": {"nosuch": 1}}, None),
        ({"ndparams": {"nosuch": 1}}, None),
        ({"cluster_name": "bad name"}, Code.INVAL),
        ({"ssh_key_type": "ecdsa", "ssh_key_bits": 2048}, Code.INVAL),
    ],
)
def test_a_wrong_wish_is_refused_and_nothing_is_made(
    paths: Paths, changes: dict[str, Any], code: Code | None
) -> None:
    before = files_below(paths)
    with pytest.raises(GenericError) as caught:
        check(paths, HOST, InitRequest(**{**GOOD, **changes}))
    if code is not None:
        assert isinstance(caught.value, OpPrereqError)
        assert caught.value.code == code
    assert str(caught.value)
    assert files_below(paths) == before


@pytest.mark.parametrize("name", ["nobody.example.com", NAME])
def test_names_that_do_not_resolve_are_refused(paths: Paths, name: str) -> None:
    paths.etc_hosts.write_text("127.9.9.7 other.example.com\n")
    with pytest.raises(GenericError, match=r"example\.com"):
        check(paths, HOST, InitRequest(**{**GOOD, "cluster_name": name}))


def test_a_second_cluster_is_refused(paths: Paths) -> None:
    paths.data.mkdir(parents=True)
    paths.config_data.write_text("{}")
    with pytest.raises(OpPrereqError, match="already initialised") as caught:
        check(paths, HOST, InitRequest(**GOOD))
    assert caught.value.code == Code.STATE


def test_job_files_of_an_old_cluster_are_refused_and_its_lock_is_not(paths: Paths) -> None:
    paths.queue.mkdir(parents=True)
    (paths.queue / "lock").touch()
    check(paths, HOST, InitRequest(**GOOD))
    (paths.queue / "job-1").touch()
    with pytest.raises(OpPrereqError, match="job-1") as caught:
        check(paths, HOST, InitRequest(**GOOD))
    assert caught.value.code == Code.STATE


def test_what_was_found_out_is_told(paths: Paths) -> None:
    found = check(paths, HOST, InitRequest(**GOOD))
    assert (found.cluster_name, found.master_ip) == (NAME, "127.9.9.250")
    assert (found.node_name, found.primary_ip) == (HOST, "127.9.9.1")
    assert found.secondary_ip == found.primary_ip
    assert len({found.cluster_uuid, found.node_uuid, found.group_uuid}) == 3


def test_the_first_configuration_has_every_key_of_a_recorded_one(
    paths: Paths, samples: Path
) -> None:
    request = InitRequest(**GOOD)
    made = encode(build_document(request, check(paths, HOST, request), paths))
    theirs = json.loads((samples / "state" / "1-fresh" / "config.data").read_text())
    assert made.keys() == theirs.keys()
    assert set(theirs["cluster"]) <= set(made["cluster"])
    for part in ("nodes", "nodegroups"):
        ((mine,), (other,)) = (list(one[part].values()) for one in (made, theirs))
        assert set(other) <= set(mine), part
    for table in ("beparams", "nicparams", "ndparams", "diskparams", "ipolicy", "hvparams"):
        assert set(theirs["cluster"][table]) <= set(made["cluster"][table]), table


def test_secrets_are_made_once(paths: Paths) -> None:
    paths.data.mkdir(parents=True)
    digest = crypto.make_missing(paths, HOST, 1_800_000_000.0, LocalDisk())
    before = {path: path.read_bytes() for path in paths.data.iterdir()}
    assert crypto.make_missing(paths, HOST, 1_800_000_000.0, LocalDisk()) == digest
    assert {path: path.read_bytes() for path in paths.data.iterdir()} == before
    modes = {path.name: path.stat().st_mode & 0o777 for path in paths.data.iterdir()}
    assert modes["server.pem"] == modes["client.pem"] == modes["hmac.key"] == 0o440
    assert modes["cluster-domain-secret"] == 0o640


def test_a_failed_creation_takes_back_only_its_own(paths: Paths) -> None:
    paths.data.mkdir(parents=True)
    (paths.data / "old").write_text("kept")
    made = Undone(paths)
    (paths.data / "config.data").write_text("new")
    paths.queue.mkdir()
    (paths.queue / "serial").write_text("0\n")
    made.undo()
    assert [path.name for path in paths.data.iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("value", "contents"), [("", b""), ("a", b"a\n"), ("a\n", b"a\n"), ("a\nb", b"a\nb\n")]
)
def test_ssconf_files_end_with_one_line_end(value: str, contents: bytes) -> None:
    assert ssconf_bytes(value) == contents


# Joining.


def test_a_joining_node_gets_certificate_key_and_ssconf(tmp_path: Path) -> None:
    paths = a_root(tmp_path / HOST)
    paths.hmac_key.write_text("secret\n")
    for key, value in {"cluster_name": NAME, "master_node": HOST}.items():
        paths.ssconf(key).write_text(f"{value}\n")
    document = setup_document(paths, "node2.example.com")
    assert document["cluster_name"] == NAME
    assert document["node_name"] == "node2.example.com"
    assert document["node_daemon_certificate"] == paths.server_pem.read_text()
    assert document["hmac_key"] == "secret\n"
    assert document["ssconf"] == read_ssconf(paths)
    assert set(document["ssconf"]) == {"cluster_name", "master_node"}


def test_a_virtual_node_is_the_directory_beside(tmp_path: Path) -> None:
    paths = a_root(tmp_path / HOST)
    with pytest.raises(OpPrereqError, match=r"node2\.example\.com does not exist"):
        open_shell(paths, "node2.example.com")
    (tmp_path / "node2.example.com").mkdir()
    shell = open_shell(paths, "node2.example.com")
    assert isinstance(shell, LocalShell)
    assert shell.paths.root == tmp_path / "node2.example.com"


def test_a_helper_that_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    shell = LocalShell(Paths(tmp_path), "node2.example.com")
    with pytest.raises(GenericError, match=r"node2\.example\.com: .*node-daemon-setup"):
        shell.run_helper("node-daemon-setup", {"nonsense": True})


@pytest.mark.parametrize(
    ("wish", "kept"),
    [
        ({}, ("rsa", 2048)),
        ({"ssh_key_bits": 4096}, ("rsa", 4096)),
        ({"ssh_key_type": "ecdsa"}, ("ecdsa", 256)),
        ({"ssh_key_type": "ecdsa", "ssh_key_bits": 384}, ("ecdsa", 384)),
    ],
)
def test_the_kind_of_ssh_keys_is_kept(
    paths: Paths, wish: dict[str, Any], kept: tuple[str, int]
) -> None:
    request = InitRequest(**{**GOOD, **wish})
    cluster = build_document(request, check(paths, HOST, request), paths).cluster
    assert (cluster.ssh_key_type, cluster.ssh_key_bits) == kept
