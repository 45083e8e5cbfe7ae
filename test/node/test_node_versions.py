"""Programs for a node without daemons: use-version, ensure-dirs, daemon-util."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fact_tables import facts
from ganeti.node import daemon_util, ensure_dirs, use_version
from ganeti.node.daemon_util import DaemonUtil
from ganeti.paths import Paths
from ganeti.utils import daemons, versions
from ganeti.utils.daemonize import PidFile
from ganeti.utils.ssh import SSHD_PID_FILE
from ganeti.utils.versions import OWN, Version, problem_of
from ganeti.version import RELEASE


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Those of the node that the programs find in their environment."""
    monkeypatch.setenv("GANETI_ROOTDIR", str(tmp_path))
    monkeypatch.setenv("GANETI_HOSTNAME", "node1.example.com")
    return Paths(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "fine"),
    [
        ("2.16", "3.0", True), ("3.0", "3.1", True), ("3.1", "3.0", True), ("2.12", "2.16", True),
        ("2.9", "2.12", False), ("3.1", "4.0", False), ("2.16", "2.12", False),
        ("3.0", "2.16", False), ("4.0", "4.3", True), ("4.3", "4.1", False),
    ],
)  # fmt: skip
def test_versions_that_may_follow_each_other(old: str, new: str, fine: bool) -> None:
    assert (problem_of(Version.parse(old), Version.parse(new)) is None) == fine


def test_the_links_choose_this_version(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert versions.active(paths) is None
    versions.activate(paths, Version(3, 9))
    assert versions.active(paths) == Version(3, 9)
    assert use_version.main(["--check"]) == 0
    assert capsys.readouterr().out == f"{RELEASE}\n"
    assert versions.active(paths) == Version(3, 9)
    assert use_version.main([]) == 0
    assert versions.active(paths) == OWN
    assert os.readlink(paths.active_share) == str(OWN.share)
    assert sorted(place.name for place in paths.conf.iterdir()) == ["lib", "share"]


def test_links_that_can_not_be_made_are_told(
    paths: Paths, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.active_lib.mkdir(parents=True)
    assert use_version.main([]) == 1
    assert str(paths.active_lib) in capsys.readouterr().err


def test_directories_and_modes_are_mended_once(paths: Paths) -> None:
    paths.archive.mkdir(parents=True)
    for place in (paths.hmac_key, paths.job_file(7), paths.ssconf("master_node")):
        place.write_text("x")
        place.chmod(0o666)
    changed = list(ensure_dirs.ensure(paths, full=False))
    assert any("queue: mode" in line for line in changed)
    assert list(ensure_dirs.ensure(paths, full=False)) == []
    for directory, mode in paths.directories.items():
        assert directory.stat().st_mode & 0o7777 == mode
    assert paths.hmac_key.stat().st_mode & 0o777 == 0o440
    assert paths.ssconf("master_node").stat().st_mode & 0o777 == 0o444
    assert paths.job_file(7).stat().st_mode & 0o777 == 0o666
    assert ensure_dirs.main(["--full-run"]) == 0
    assert paths.job_file(7).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({}, []),
        ({"server.pem": "", "ssconf_master_node": "node2.example.com\n"}, ["ganeti-noded"]),
        (
            {"server.pem": "", "ssconf_master_node": "node1.example.com\n"},
            ["ganeti-noded", "ganeti-masterd", "ganeti-rapi"],
        ),
    ],
)
def test_daemons_are_wanted_by_role(paths: Paths, files: dict[str, str], wanted: list[str]) -> None:
    paths.data.mkdir(parents=True)
    for name, text in files.items():
        (paths.data / name).write_text(text)
    assert DaemonUtil(paths, "node1.example.com", {}).wanted() == wanted


def test_a_watch_over_guests_is_started_again(paths: Paths) -> None:
    control = paths.run / "kvm-hypervisor/ctrl"
    control.mkdir(parents=True)
    (control / "web1.kvmd").write_text("")
    paths.data.mkdir(parents=True)
    paths.server_pem.write_text("")
    assert DaemonUtil(paths, "node1", {}).wanted() == ["ganeti-noded", "ganeti-kvmd"]


def test_arguments_come_from_the_defaults_file_and_the_environment(paths: Paths) -> None:
    paths.daemon_defaults.parent.mkdir(parents=True)
    paths.daemon_defaults.write_text('# NODED_ARGS="-x"\nNODED_ARGS="-b 192.0.2.1 -d"  # both\n')
    util = DaemonUtil(paths, "node1", {"EXTRA_NODED_ARGS": "--no-mlock"})
    assert util.arguments("ganeti-noded") == ["-b", "192.0.2.1", "-d", "--no-mlock"]
    assert util.arguments("ganeti-rapi") == []


@pytest.mark.parametrize(
    ("line", "code", "out", "err"),
    [
        ("list-start-daemons", 0, "ganeti-noded ganeti-kvmd ganeti-masterd ganeti-rapi", ""),
        ("list-stop-daemons", 0, "ganeti-rapi ganeti-masterd ganeti-kvmd ganeti-noded", ""),
        ("daemon-pidfile ganeti-noded", 0, "RUN/ganeti-noded.pid", ""),
        ("daemon-executable ganeti-rapi", 0, str(daemons.program("ganeti-rapi")), ""),
        ("is-daemon-name ganeti-noded", 0, "", ""),
        ("is-daemon-name ganeti-nosuchd", 1, "", ""),
        ("check ganeti-noded", 1, "", ""),
        ("check ganeti-nosuchd", 1, "", "is none of"),
        ("check-config", 1, "", "this node is in no cluster: DATA/server.pem is missing"),
        ("check-exitcode 0", 0, "", ""),
        ("check-exitcode 11", 0, "", ""),
        ("check-exitcode 1", 1, "", ""),
        ("check-exitcode 12", 1, "", ""),
        ("use-systemctl", 1, "", ""),
        ("start ganeti-nosuchd", 1, "", "is none of"),
        ("rotate-logs ganeti-nosuchd", 1, "", "is none of"),
        ("rotate-logs ganeti-noded", 0, "", ""),  # there is none to be told
        ("rotate-all-logs", 0, "", ""),
        ("reload-ssh-keys", 0, "", ""),
        ("start-all", 0, "", ""),  # nothing is wanted on a node of no cluster
        ("stop-all", 0, "", ""),
        ("stop-master", 0, "", ""),
    ],
)
def test_daemon_util_answers(
    paths: Paths, capsys: pytest.CaptureFixture[str], line: str, code: int, out: str, err: str
) -> None:
    assert daemon_util.main(line.split()) == code
    said = capsys.readouterr()
    assert " ".join(said.out.split()) == out.replace("RUN", str(paths.run))
    assert err.replace("DATA", str(paths.data)) in said.err
    assert bool(err) == bool(said.err)


@pytest.mark.parametrize(
    "line",
    ["start", "stop-all ganeti-noded", "stop_all", "check_config", "check-exitcode", "restart x"]
    + ["check-exitcode none", ""],
)
def test_daemon_util_refuses_what_it_does_not_know(paths: Paths, line: str) -> None:
    with pytest.raises(SystemExit) as caught:
        daemon_util.main(line.split())
    assert caught.value.code == 2


def test_daemon_util_has_all_actions_of_the_facts() -> None:
    ours = {*daemon_util.WITHOUT_NAME, *daemon_util.TELLING, *daemon_util.WITH_NAME}
    assert ours | {daemon_util.CHECK_EXITCODE} == set(
        facts("cli")["daemons"]["daemon-util"]["actions"]
    )


def test_a_node_of_a_cluster_is_configured(paths: Paths) -> None:
    paths.data.mkdir(parents=True)
    paths.server_pem.write_text("")
    assert daemon_util.main(["check-config"]) == 0


@contextmanager
def counting_hang_ups(paths: Paths) -> Iterator[list[int]]:
    """This process is the running node daemon and the SSH server of the node."""
    seen: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, frame: seen.append(number))
    pid_file = paths.below(SSHD_PID_FILE)
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    pid_file.write_text(f"{os.getpid()}\n")
    paths.run.mkdir(parents=True, exist_ok=True)
    try:
        with PidFile(paths.pid_file(daemons.NODED)):
            yield seen
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("line", "signals"),
    [
        ("rotate-logs ganeti-noded", 1),
        ("rotate-logs ganeti-rapi", 0),
        ("rotate-all-logs", 1),
        ("reload-ssh-keys", 1),
    ],
)
def test_a_signal_tells_who_has_to_open_files_anew(paths: Paths, line: str, signals: int) -> None:
    with counting_hang_ups(paths) as seen:
        assert daemon_util.main(line.split()) == 0
    assert seen == [signal.SIGHUP] * signals
