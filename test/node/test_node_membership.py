"""What a node knows of its cluster, and what is left when it leaves."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from fakes.faulty_disk import FaultyDisk
from fakes.nodes import JumpingClock, a_node, a_root
from ganeti.errors import GenericError, OpExecError
from ganeti.node import file, job_file, membership, ssconf
from ganeti.node.context import NodeContext
from ganeti.rpc.packed import pack
from ganeti.utils import x509
from ganeti.utils.daemonize import PidFile
from ganeti.version import CONFIG_VERSION


def a_member(tmp_path: Path) -> NodeContext:
    a_root(tmp_path)
    return a_node(tmp_path)


def test_version_and_master_are_told(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    assert membership.version(node) == CONFIG_VERSION
    assert membership.master_node_name(node) == ""
    ssconf.write_ssconf_files(node, {"master_node": "node1.example.com"})
    assert membership.master_node_name(node) == "node1.example.com"


def test_the_client_certificate_is_made_shown_and_deleted(tmp_path: Path) -> None:
    node = a_member(tmp_path)
    old = membership.node_crypto_tokens(node, [("ssl", "get", None)])
    made = membership.node_crypto_tokens(node, [("ssl", "create", {"serial_no": 7})])
    assert made != old
    pair = x509.load_pair(node.paths.client_pem)
    assert (
        [("ssl", pair.digest)]
        == made
        == membership.node_crypto_tokens(node, [("ssl", "get", None)])
    )
    assert pair.certificate.serial_number == 7
    assert node.paths.client_pem.stat().st_mode & 0o777 == 0o440
    membership.node_crypto_tokens(node, [("ssl", "delete", None)])
    with pytest.raises(GenericError, match="can't be read"):
        membership.node_crypto_tokens(node, [("ssl", "get", None)])


@pytest.mark.parametrize(
    "request_",
    [("ssh", "get", None), ("ssl", "sell", None), ("ssl", "create", {"cert_file": "/x"})],
)
def test_other_token_requests_are_refused(tmp_path: Path, request_: tuple) -> None:  # type: ignore[type-arg]
    with pytest.raises(OpExecError):
        membership.node_crypto_tokens(a_member(tmp_path), [request_])


def test_the_watchers_pause_ends_by_itself(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    clock = node.clock
    assert isinstance(clock, JumpingClock)
    assert membership.get_watcher_pause(node) is None
    until = clock.now() + 100
    membership.set_watcher_pause(node, until)
    assert membership.get_watcher_pause(node) == until
    clock.time += 101
    assert membership.get_watcher_pause(node) is None and node.paths.watcher_pause.exists()
    clock.time += 3600
    assert membership.get_watcher_pause(node) is None and not node.paths.watcher_pause.exists()


def test_a_pause_file_that_is_no_number_is_removed(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    node.paths.watcher_pause.write_text("soon\n")
    assert membership.get_watcher_pause(node) is None and not node.paths.watcher_pause.exists()
    membership.set_watcher_pause(node, None)


def test_a_demoted_node_keeps_a_backup_of_the_configuration(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    node.paths.config_data.write_text("{}")
    membership.node_demote_from_mc(node)
    assert not node.paths.config_data.exists()
    (backup,) = node.paths.data.glob("config.data.backup-*")
    assert backup.read_text() == "{}"


def test_the_master_is_not_demoted(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    ssconf.write_ssconf_files(node, {"master_node": node.hostname})
    with pytest.raises(OpExecError, match="is the master"):
        membership.node_demote_from_mc(node)


def test_a_node_with_a_master_daemon_is_not_demoted(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    with PidFile(node.paths.pid_file("ganeti-masterd")):
        with pytest.raises(OpExecError, match="the master daemon runs here"):
            membership.node_demote_from_mc(node)


def test_a_node_that_leaves_keeps_nothing_of_the_cluster(tmp_path: Path) -> None:
    node = a_member(tmp_path)
    ended = []
    node.stop_daemon = lambda: ended.append(True)
    ssconf.write_ssconf_files(node, {"cluster_name": "c"})
    file.upload_file(node, ("/var/lib/ganeti/hmac.key", pack("k"), 0o440, "", "", 0.0, 0.0))
    job_file.jobqueue_update(node, "/var/lib/ganeti/queue/job-1", pack("{}"))
    assert membership.node_leave_cluster(node, False) == "Shutdown scheduled"
    left = [place.name for place in node.paths.data.rglob("*") if place.is_file()]
    assert left in ([], ["lock"]) and ended == [True]


def test_a_file_is_old_or_new_after_any_fault_and_power_cut(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    job, hosts = node.paths.job_file(1), node.paths.hmac_key
    places = [node.paths.ssconf("cluster_name"), node.paths.ssconf("node_list"), job, hosts]
    for nth in itertools.count(1):
        disk = FaultyDisk(seed=nth)
        for directory in (node.paths.data, node.paths.lock, node.paths.queue, node.paths.archive):
            disk.mkdir(directory)
        for place in places:
            disk.put(place, b"old\n")
        node.files = disk
        disk.fail_at = disk.operations + nth
        try:
            ssconf.write_ssconf_files(node, {"cluster_name": "new", "node_list": "new"})
            job_file.jobqueue_update(node, "/var/lib/ganeti/queue/job-1", pack("new\n"))
            file.upload_file(
                node, ("/var/lib/ganeti/hmac.key", pack("new\n"), 0o440, "", "", 0.0, 0.0)
            )
        except (GenericError, OSError):
            pass
        found = [disk.crash().read(place) for place in places]
        assert set(found) <= {b"old\n", b"new\n"}, f"fault {nth}"
        if not disk.failed:
            assert set(found) == {b"new\n"}
            return
