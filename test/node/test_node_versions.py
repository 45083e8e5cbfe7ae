"""Programs for a node without daemons: use-version, ensure-dirs, daemon-util."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ganeti.node import daemon_util, ensure_dirs, use_version
from ganeti.node.daemon_util import DaemonUtil
from ganeti.paths import Paths
from ganeti.utils import versions
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


def test_daemon_util_tells_what_it_knows(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    assert daemon_util.main(["list-stop-daemons"]) == 0
    assert capsys.readouterr().out.split() == [
        *("ganeti-rapi", "ganeti-masterd", "ganeti-kvmd", "ganeti-noded")
    ]
    assert daemon_util.main(["daemon-pidfile", "ganeti-noded"]) == 0
    assert capsys.readouterr().out == f"{paths.run}/ganeti-noded.pid\n"
    assert daemon_util.main(["is-daemon-name", "ganeti-nosuchd"]) == 1
    assert daemon_util.main(["check", "ganeti-noded"]) == 1
    assert daemon_util.main(["stop-all"]) == 0
    assert daemon_util.main(["start", "ganeti-nosuchd"]) == 1
    assert "is none of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        daemon_util.main(["start"])
