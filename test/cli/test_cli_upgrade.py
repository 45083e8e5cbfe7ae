"""gnt-cluster upgrade: what is refused, the order of the steps, and every fault in each of them."""

from __future__ import annotations

import itertools
import os
import tarfile
from pathlib import Path

import pytest
from fakes.upgrade_bed import FORMS, MASTER, NEW, OLD, Killed, UpgradeBed
from ganeti.cli.upgrade_nodes import Answer
from ganeti.utils.files import LocalDisk
from ganeti.utils.versions import Version

BOTH = pytest.mark.parametrize(("old", "new"), [(OLD, NEW), (NEW, OLD)], ids=["up", "down"])


def short(events: list[str]) -> list[str]:
    """Without paths, and the same on several nodes once."""
    return [
        one for one, _ in itertools.groupby(event.rpartition("/ganeti/")[2] for event in events)
    ]


def test_an_upgrade_has_these_steps(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    ended = bed.run("--to", "4.1")
    assert (ended.status, bed.state()) == (0, bed.good(NEW))
    assert short(bed.events) == [
        *("4.1/use-version --check", "4.0/use-version --check", "QueryConfigValues"),
        *("SetDrainFlag", "Query", "SetWatcherPause"),
        "4.0/daemon-util stop-all",
        *("4.1/use-version", "4.1/ensure-dirs", "4.1/tools/cfgupgrade -f"),
        "4.1/daemon-util start-all",
        *("SubmitJobToDrainedQueue", "QueryConfigValues", "SetDrainFlag"),
        *("QueryConfigValues", "SetWatcherPause", "4.1/sbin/gnt-cluster verify"),
    ]
    assert [op["OP_ID"] for op in bed.replay.submitted()] == ["OP_CLUSTER_REDIST_CONF"]
    assert "Version 4.1 is in use on all nodes" in ended.out


def test_the_older_version_gets_its_configuration_before_the_switch(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path, NEW)
    assert bed.run("--to", "4.0").status == 0
    assert bed.state() == bed.good(OLD)
    events = short(bed.events)
    back = events.index("4.1/tools/cfgupgrade --downgrade -f")
    assert events.index("4.1/daemon-util stop-all") < back < events.index("4.0/use-version")


def test_the_archive_is_for_root_only_and_lacks_what_is_large(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    for place in (bed.shell.paths.archive, bed.shell.paths.queue, bed.shell.paths.data / "export"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "file").write_text("x")
    assert bed.run("--to", "4.1").status == 0
    (archive,) = bed.shell.paths.backups.iterdir()
    assert archive.stat().st_mode & 0o777 == 0o600
    with tarfile.open(archive) as content:
        names = content.getnames()
        config = content.extractfile("ganeti/config.data")
        assert config is not None and str(FORMS[OLD]).encode() in config.read()
    assert "ganeti/queue/file" in names and "ganeti/intent-to-upgrade" in names
    assert not [name for name in names if "archive" in name or "export" in name]


def test_running_jobs_are_waited_for(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.jobs = [7, 8]
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        seen.append(seconds)
        bed.jobs.pop()

    bed.asleep = sleep
    ended = bed.run("--to", "4.1")
    assert ended.status == 0 and seen == [10.0, 10.0]
    assert "still running: 7, 8" in ended.out and "still running: 7\n" in ended.out


def test_offline_nodes_are_named_and_left_alone(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path, offline=["node3"])
    ended = bed.run("--to", "4.1")
    assert (ended.status, bed.state()) == (0, bed.good(NEW))
    assert bed.nodes["node3"].active == OLD
    assert "offline node(s): node3" in ended.err and "still to be switched: node3" in ended.err


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("", 1, "either --to with a version, or --resume"),
        ("--to=4.1 --resume", 1, "either --to with a version, or --resume"),
        ("--to=new", 1, "is not a version"),
        ("--to=4.2", 1, "4.2 not installed on nodes node1, node2, node3; install"),
        ("--to=3.1", 1, "the first number has to stay"),
        ("--to=4.0", 0, "Version 4.0 is in use already"),
        ("--resume", 1, "no upgrade that was broken off"),
    ],
)
def test_it_is_refused_before_anything_is_done(
    tmp_path: Path, line: str, status: int, said: str
) -> None:
    bed = UpgradeBed(tmp_path)
    ended = bed.run(*line.split())
    assert ended.status == status and said in ended.out + ended.err
    assert bed.state() == bed.good(OLD)


@pytest.mark.parametrize(("key", "status", "used"), [(b"n", 1, OLD), (b"y", 0, NEW)])
def test_somebody_at_a_terminal_is_asked(
    tmp_path: Path, key: bytes, status: int, used: Version
) -> None:
    bed = UpgradeBed(tmp_path)
    keyboard, terminal = os.openpty()
    try:
        bed.shell.terminal = os.ttyname(terminal)
        os.write(keyboard, key + b"\n")
        ended = bed.run("--to", "4.1")
        shown = os.read(keyboard, 10_000)
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (ended.status, bed.state()) == (status, bed.good(used))
    assert b"instances go on" in shown


def test_nothing_begins_without_a_master_daemon(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.nodes[MASTER].running = None
    ended = bed.run("--to", "4.1")
    assert ended.status == 1 and "Cannot communicate with" in ended.err
    assert not bed.shell.paths.intent_to_upgrade.exists()


def test_releases_must_be_the_same_everywhere(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.nodes["node3"].installed[NEW] = "4.1.7"
    ended = bed.run("--to", "4.1")
    assert ended.status == 1 and "node2: 4.1.0, node3: 4.1.7" in ended.err
    assert bed.state() == bed.good(OLD)


def test_only_the_master_does_it_and_only_once_at_a_time(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.shell.paths.upgrade_lock.parent.mkdir(parents=True)
    with LocalDisk().lock(bed.shell.paths.upgrade_lock):
        assert "Another gnt-cluster upgrade is at work" in bed.run("--to", "4.1").err
    bed.shell.ssconf("master_node", "node2")
    assert "This is for the master node, node2" in bed.run("--to", "4.1").err


def test_findings_of_verify_are_the_exit_status(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.run("--to", "4.1")
    again = UpgradeBed(tmp_path / "again")
    again.fail_at = len(bed.events)
    ended = again.run("--to", "4.1")
    assert ended.status == 1 and "verify has found errors" in ended.err
    assert again.state() == again.good(NEW)


def test_another_version_is_refused_while_one_is_under_way(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.kill_at = 9
    with pytest.raises(Killed):
        bed.run("--to", "4.1")
    bed.kill_at = 0
    ended = bed.run("--to", "4.3")
    assert ended.status == 1 and "from 4.0 to 4.1 is under way" in ended.err
    assert bed.run("--to", "4.1").status == 0
    assert bed.state() == bed.good(NEW)


@pytest.mark.parametrize("text", ["4.0,4.1,4711", "4.0,4.1,4711\n"])
def test_the_classic_form_of_the_intent_is_understood(tmp_path: Path, text: str) -> None:
    bed = UpgradeBed(tmp_path)
    bed.shell.paths.intent_to_upgrade.write_text(text)
    ended = bed.run("--resume")
    assert (ended.status, bed.state()) == (0, bed.good(NEW))
    assert "begun by process 4711" in ended.out


def test_a_program_of_the_wrong_version_ends_the_handing_over(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.shell.paths.intent_to_upgrade.write_text("4.0,4.1,1\nstep undrain\nhanded-over\n")
    bed.nodes[MASTER].running = NEW
    ended = bed.run("--resume", own=OLD)
    assert ended.status == 1 and "sbin/gnt-cluster is of version 4.0, not 4.1" in ended.err
    bed.run("--resume", own=NEW)


def test_an_intent_that_says_nothing_is_told(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.shell.paths.intent_to_upgrade.write_text("upgrade!")
    ended = bed.run("--resume")
    assert ended.status == 1 and "remove it if no upgrade is under way" in ended.err


# Faults.


@BOTH
@pytest.mark.parametrize("resume", [True, False], ids=["resume", "again"])
@pytest.mark.parametrize("restart", [False, True], ids=["killed", "restarted"])
def test_it_goes_on_after_a_kill_at_any_step(
    tmp_path: Path, old: Version, new: Version, resume: bool, restart: bool
) -> None:
    for nth in itertools.count(1):
        bed = UpgradeBed(tmp_path / str(nth), old)
        bed.kill_at = nth
        try:
            assert bed.run("--to", str(new)).status == 0
            assert nth > 25
            return
        except Killed:
            bed.kill_at = 0
        begun = bed.shell.paths.intent_to_upgrade.exists()
        if restart:
            bed.restart_machines()
        words = ["--resume"] if resume and begun else ["--to", str(new)]
        ended = bed.run(*words)
        assert (ended.status, bed.state()) == (0, bed.good(new)), bed.events[nth - 1 :]
        assert not begun or "was broken off" in ended.out


@BOTH
@pytest.mark.parametrize("unfinished", [True, False])
def test_a_failure_is_rolled_back_or_gone_on_from(
    tmp_path: Path, old: Version, new: Version, unfinished: bool
) -> None:
    ways = set()
    for nth in itertools.count(1):
        bed = UpgradeBed(tmp_path / str(nth), old)
        bed.fail_at, bed.unfinished = nth, unfinished
        ended = bed.run("--to", str(new))
        if len(bed.events) < nth:
            assert ended.status == 0 and len(ways) == 5
            return
        if "Everything was rolled back" in ended.err:
            ways.add("rolled back")
            mend_as_warned(bed, ended.err)
            assert bed.state() == bed.good(old), bed.events
        elif "--resume goes on from here" in ended.err:
            ways.add("resumed")
            assert bed.run("--resume").status == 0
        elif bed.state() == bed.good(old):
            ways.add("refused")
        else:
            ways.add("warned" if "Warning: node" in ended.err else "verified")
            mend_as_warned(bed, ended.err)
            assert bed.state() == bed.good(new), bed.events
        assert ended.status == (0 if "Warning: node" in ended.err else 1), ended
        if bed.state() != bed.good(new):
            assert bed.run("--to", str(new)).status == 0
        assert bed.state() == bed.good(new), bed.events


def mend_as_warned(bed: UpgradeBed, said: str) -> None:
    """What an administrator does who reads the warnings."""
    for node in bed.nodes.values():
        if f"Warning: node {node.name}" in said:
            node.running = node.active


@BOTH
def test_a_failure_after_a_kill_is_rolled_back_or_gone_on_from(
    tmp_path: Path, old: Version, new: Version
) -> None:
    for nth, more in itertools.product(range(8, 30), range(1, 8)):
        bed = UpgradeBed(tmp_path / f"{nth}-{more}", old)
        bed.kill_at, bed.fail_at = nth, nth + more
        try:
            assert bed.run("--to", str(new)).status in (0, 1)
            continue
        except Killed:
            bed.kill_at = 0
        said = bed.run("--resume").err
        mend_as_warned(bed, said)
        if bed.shell.paths.intent_to_upgrade.exists():
            bed.run("--resume")
        wanted = old if "was rolled back" in said else new
        assert bed.state() == bed.good(wanted), (nth, more, bed.events[nth - 1 :])


def test_the_program_of_the_other_version_may_take_over_early(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.kill_at = 9
    with pytest.raises(Killed):
        bed.run("--to", "4.1")
    bed.kill_at = 0
    ended = bed.run("--resume", own=NEW)
    assert (ended.status, bed.state()) == (0, bed.good(NEW)), ended


@pytest.mark.parametrize("torn", [b"", b"no archive", bytes(2048)])
def test_a_damaged_archive_is_told_and_nothing_is_restored(tmp_path: Path, torn: bytes) -> None:
    bed = UpgradeBed(tmp_path)
    archive = tmp_path / "damaged.tar"
    archive.write_bytes(torn)
    bed.shell.paths.intent_to_upgrade.write_text(
        f"4.0,4.1,1\nstep convert\nbackup {archive}\nback\n"
    )
    before = bed.config.read_bytes()
    ended = bed.run("--resume")
    assert ended.status == 1 and f"archive '{archive}'" in ended.err, ended
    assert "--resume goes on with that" in ended.err and bed.config.read_bytes() == before


@BOTH
def test_a_roll_back_that_is_broken_off_goes_on(tmp_path: Path, old: Version, new: Version) -> None:
    plain = UpgradeBed(tmp_path / "plain", old)
    plain.fail_at = failing = first_conversion(plain, new)
    plain.run("--to", str(new))
    for nth in range(failing + 1, len(plain.events) + 1):
        for kind in ("kill", "restart", "fail"):
            bed = UpgradeBed(tmp_path / f"{kind}{nth}", old)
            bed.fail_at = failing
            bed.kill_at = 0 if kind == "fail" else nth
            if kind != "fail":
                with pytest.raises(Killed):
                    bed.run("--to", str(new))
            else:
                bed.fail_at = 0
                fail_twice(bed, failing, nth)
                bed.run("--to", str(new))
            bed.kill_at = bed.fail_at = 0
            if kind == "restart":
                bed.restart_machines()
            if bed.shell.paths.intent_to_upgrade.exists():
                ended = bed.run("--resume")
                assert ended.status == 1 and "was rolled back" in ended.err
            for node in bed.nodes.values():
                if node.name != MASTER and kind == "fail":
                    node.active, node.running = old, old  # as the warning has asked for
            assert bed.state() == bed.good(old), (kind, nth, bed.events)


def test_a_node_that_died_does_not_keep_the_others_from_rolling_back(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.shell.paths.intent_to_upgrade.write_text("4.0,4.1,1\nstep backup\nback\n")
    bed.drained = True
    dead = bed.nodes["node3"]
    happens = bed._happens

    def at_a_node(name: str, act: object) -> object:
        if name.startswith("node3: "):
            return Answer("can't be reached", 255)
        return happens(name, act)  # type: ignore[arg-type]

    bed._happens = at_a_node  # type: ignore[method-assign]
    ended = bed.run("--resume")
    assert ended.status == 1 and "was rolled back" in ended.err, ended
    assert "Warning: node node3: can't be reached" in ended.err
    del bed.nodes[dead.name]
    assert bed.state() == bed.good(OLD)


def first_conversion(bed: UpgradeBed, new: Version) -> int:
    """The number of the event; found by a run of its own."""
    trial = UpgradeBed(bed.shell.paths.root / "trial", bed.nodes[MASTER].active)
    trial.run("--to", str(new))
    return next(n for n, event in enumerate(trial.events, 1) if "cfgupgrade" in event)


def fail_twice(bed: UpgradeBed, first: int, second: int) -> None:
    """Both events fail."""
    happens = bed._happens

    def both(name: str, act: object) -> object:
        bed.fail_at = len(bed.events) + 1 if len(bed.events) + 1 in (first, second) else 0
        return happens(name, act)  # type: ignore[arg-type]

    bed._happens = both  # type: ignore[method-assign]


def test_ctrl_c_rolls_back(tmp_path: Path) -> None:
    bed = UpgradeBed(tmp_path)
    bed.jobs = [7]

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    bed.asleep = interrupt
    ended = bed.run("--to", "4.1")
    assert ended.status == 1 and "interrupted. Everything was rolled back" in ended.err
    assert bed.state() == bed.good(OLD)
