"""What the master may write on a node: files, ssconf, job files."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from fakes.nodes import a_node
from ganeti.errors import JobQueueError, OpExecError
from ganeti.node import file, job_file, ssconf
from ganeti.node.context import NodeContext
from ganeti.rpc.packed import pack
from ganeti.utils import hosts

QUEUE = "/var/lib/ganeti/queue"


def upload(
    node: NodeContext, name: str, contents: bytes = b"new", mode: int | None = 0o640
) -> None:
    file.upload_file(node, (name, pack(contents), mode, "root", "root", 1000.0, 2000.0))


def test_an_allowed_file_is_written_with_mode_and_times(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    upload(node, "/var/lib/ganeti/config.data", b"x" * 5000)
    place = node.paths.config_data
    assert place.read_bytes() == b"x" * 5000
    assert place.stat().st_mode & 0o777 == 0o640 and place.stat().st_mtime == 2000


def test_a_file_without_mode_is_private(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    upload(node, "/var/lib/ganeti/rapi/users", mode=None)
    assert node.paths.rapi_users.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "/var/lib/ganeti/server.pem",
        "/etc/ganeti/file-storage-paths",
        "/var/lib/ganeti/../ganeti/config.data",
        "config.data",
        "",
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OpExecError):
        upload(a_node(tmp_path), name)


class FailingFiles:
    """Files that can't be replaced."""

    def __init__(self, real: object) -> None:
        self.real = real

    def __getattr__(self, name: str) -> object:
        return getattr(self.real, name)

    def replace(self, *_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_leaves_the_old_file_and_is_told(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    upload(node, "/var/lib/ganeti/config.data", b"old")
    node.files = FailingFiles(node.files)  # type: ignore[assignment]
    with pytest.raises(OpExecError, match="config.data: can't write: No space left"):
        upload(node, "/var/lib/ganeti/config.data", b"new")
    assert node.paths.config_data.read_bytes() == b"old"


def test_file_info_tells_size_or_absence(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    upload(node, "/etc/hosts", b"12345")
    assert file.get_file_info(node, "/etc/hosts") == (True, {"size": 5})
    assert file.get_file_info(node, "/etc/nosuch") == (False, {})


HOSTS = "127.0.0.1 localhost\n192.0.2.1\told.example.com old # kept?\n"


def test_a_host_is_added_in_place_of_its_address() -> None:
    text = hosts.with_host(HOSTS, "192.0.2.1", "node1.example.com")
    assert text == "127.0.0.1 localhost\n192.0.2.1\tnode1.example.com node1\n"


def test_a_new_host_is_appended() -> None:
    text = hosts.with_host(HOSTS, "192.0.2.2", "node2.example.com")
    assert text == HOSTS + "192.0.2.2\tnode2.example.com node2\n"


def test_a_removed_host_leaves_other_names_of_its_line() -> None:
    text = hosts.without_host("192.0.2.1 a.example.com a other # x\n192.0.2.2 a\n", "a.example.com")
    assert text == "192.0.2.1\tother # x\n"


def test_hosts_are_changed_on_the_node(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    assert file.etc_hosts_modify(node, "add", "n2.example.com", "192.0.2.2") is True
    assert "192.0.2.2\tn2.example.com n2\n" in node.paths.etc_hosts.read_text()
    file.etc_hosts_modify(node, "remove", "n2.example.com", None)
    assert "n2" not in node.paths.etc_hosts.read_text()
    with pytest.raises(OpExecError, match="mode 'x' is not known"):
        file.etc_hosts_modify(node, "x", "n", None)


@pytest.mark.parametrize(("name", "ip"), [("n\n::1 evil", "::1"), ("n", "::1 a"), ("n#", "::1")])
def test_a_name_can_not_bring_lines_of_its_own(tmp_path: Path, name: str, ip: str) -> None:
    node = a_node(tmp_path)
    with pytest.raises(OpExecError, match="can't stand in a hosts file"):
        file.etc_hosts_modify(node, "add", name, ip)
    assert not node.paths.etc_hosts.exists()


def test_ssconf_files_are_readable_only_and_end_with_a_newline(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    ssconf.write_ssconf_files(node, {"cluster_name": "c.example.com", "cluster_tags": ""})
    place = node.paths.ssconf("cluster_name")
    assert place.read_text() == "c.example.com\n" and place.stat().st_mode & 0o777 == 0o444
    assert node.paths.ssconf("cluster_tags").read_text() == ""
    assert node.ssconf("cluster_name") == "c.example.com"


def test_ssconf_files_that_hold_their_value_already_stay(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    ssconf.write_ssconf_files(node, {"cluster_name": "c", "node_list": "n1"})
    kept, changed = node.paths.ssconf("cluster_name"), node.paths.ssconf("node_list")
    before = kept.stat().st_ino, changed.stat().st_ino
    ssconf.write_ssconf_files(node, {"cluster_name": "c", "node_list": "n1\nn2"})
    assert kept.stat().st_ino == before[0] and changed.read_text() == "n1\nn2\n"
    changed.chmod(0o644)
    ssconf.write_ssconf_files(node, {"cluster_name": "c", "node_list": "n1\nn2"})
    assert changed.stat().st_mode & 0o777 == 0o444


def test_ssconf_of_a_master_that_was_cut_off_is_refused_when_its_successor_is_known(
    tmp_path: Path,
) -> None:
    node = a_node(tmp_path)
    ssconf.write_ssconf_files(node, {"master_node": "old"}, "4.7.aa")
    ssconf.write_ssconf_files(node, {"master_node": "new"}, "5.1.bb")
    for generation in ("4.8.aa", "5.1.cc"):
        with pytest.raises(OpExecError, match="obeys the master that began term 5.1.bb, not"):
            ssconf.write_ssconf_files(node, {"master_node": "old"}, generation)
    assert node.ssconf("master_node") == "new"
    ssconf.write_ssconf_files(node, {"master_node": "newer"}, "5.3.bb")
    assert node.ssconf("master_node") == "newer"


def test_ssconf_without_a_generation_is_written_as_by_a_classic_master(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    ssconf.write_ssconf_files(node, {"master_node": "new"}, "5.1.bb")
    ssconf.write_ssconf_files(node, {"cluster_name": "c"})
    assert node.ssconf("cluster_name") == "c"


@pytest.mark.parametrize("bad", [{"nosuch_key": "x"}, {"../x": ""}, {"node_list": "x" * 131_072}])
def test_one_bad_ssconf_value_leaves_all_as_they_were(tmp_path: Path, bad: dict[str, str]) -> None:
    node = a_node(tmp_path)
    with pytest.raises(OpExecError, match="ssconf key"):
        ssconf.write_ssconf_files(node, {"cluster_name": "c", **bad})
    assert not node.paths.ssconf("cluster_name").exists()


def test_placed_job_files_are_settled_when_they_are_as_expected(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    one, two, gone = (f"{QUEUE}/job-{number}" for number in (1, 2, 3))
    job_file.jobqueue_place(node, [(one, pack(b"one")), (two, pack(b"two" * 999))], False)
    assert node.paths.job_file(1).read_bytes() == b"one"
    assert node.paths.job_file(2).read_bytes() == b"two" * 999
    wanted = {one: zlib.crc32(b"one"), two: zlib.crc32(b"other"), gone: 0}
    assert job_file.jobqueue_settle(node, wanted) == [two, gone]
    with pytest.raises(JobQueueError, match="does not belong"):
        job_file.jobqueue_place(node, [(one, pack(b"new")), ("/etc/passwd", pack(b""))], True)
    assert node.paths.job_file(1).read_bytes() == b"one"
    job_file.jobqueue_place(node, [(one, pack(b"durable"))], True)
    assert node.paths.job_file(1).read_bytes() == b"durable"


def test_job_files_are_written_moved_and_purged(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    job_file.jobqueue_update(node, f"{QUEUE}/job-17", pack(b"{}" * 999))
    assert node.paths.job_file(17).read_bytes() == b"{}" * 999
    moves = [(f"{QUEUE}/job-17", f"{QUEUE}/archive/0/job-17")]
    assert job_file.jobqueue_rename(node, moves) == [None]
    assert (node.paths.archive / "0/job-17").exists()
    assert job_file.jobqueue_rename(node, moves) == [None]  # a second try
    job_file.jobqueue_purge(node)
    assert [p.name for p in node.paths.queue.rglob("*") if p.is_file()] in ([], ["lock"])


@pytest.mark.parametrize(
    "name", ["/nosuch", QUEUE, f"{QUEUE}/../config.data", f"{QUEUE}2/job-1", "job-1"]
)
def test_files_outside_the_queue_are_refused(tmp_path: Path, name: str) -> None:
    node = a_node(tmp_path)
    with pytest.raises(JobQueueError, match="does not belong to the queue directory"):
        job_file.jobqueue_update(node, name, pack(b""))
    with pytest.raises(JobQueueError):
        job_file.jobqueue_rename(node, [(f"{QUEUE}/job-1", name)])


def test_moving_a_job_file_that_is_nowhere_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(JobQueueError, match="can't move"):
        job_file.jobqueue_rename(a_node(tmp_path), [(f"{QUEUE}/job-1", f"{QUEUE}/archive/0/job-1")])


def test_the_drain_flag_is_a_file(tmp_path: Path) -> None:
    node = a_node(tmp_path)
    job_file.jobqueue_set_drain_flag(node, True)
    assert (node.paths.queue / "drain").exists()
    for _ in range(2):
        job_file.jobqueue_set_drain_flag(node, False)
    assert not (node.paths.queue / "drain").exists()
