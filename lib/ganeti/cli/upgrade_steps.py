"""The steps of an upgrade, each with what takes it back.

Order: facts/master.md §A6; as everything is started once only, the restart after the redistribution
is left out. Every step and every undoing may be repeated: a crash repeats the one that it hit.
Programs are called by the path of their version, so the links don't matter until daemons start.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from ganeti.cli.run import Run
from ganeti.cli.upgrade_intent import Intent
from ganeti.cli.upgrade_nodes import STEP_S, Machines, Nodes
from ganeti.errors import OpExecError
from ganeti.utils.files import LocalDisk
from ganeti.utils.versions import Version

QUEUE_S: Final = 129_600.0  # facts/constants.json: UPGRADE_QUEUE_DRAIN_TIMEOUT
QUEUE_POLL_S: Final = 10.0  # UPGRADE_QUEUE_POLL_INTERVAL
WATCHER_PAUSE_S: Final = 3600.0
CONVERT_S: Final = 1800.0
VERIFY_S: Final = 3600.0
CONFIG_MODE: Final = 0o640
ARCHIVE_DIRECTORY_MODE: Final = 0o755
TOP_OF_ARCHIVE: Final = "ganeti"
NOT_IN_ARCHIVE: Final = (f"{TOP_OF_ARCHIVE}/queue/archive", f"{TOP_OF_ARCHIVE}/export")
UNDER_WAY: Final = ("running", "waiting", "canceling")


class Upgrade:
    """One upgrade on its way, as the steps see it. `clean`: the last check found nothing."""

    def __init__(self, run: Run, intent: Intent, machines: Machines) -> None:
        self.run = run
        self.intent = intent
        self.machines = machines
        self.nodes = Nodes(run.world)
        self.paths = run.world.paths
        self.clean = True

    # Commands.

    def master_does(self, version: Version, *words: str, timeout_s: float = STEP_S) -> str:
        """The output of a program of that version here; OpExecError when it fails."""
        return self.must([self.nodes.master], version, *words, timeout_s=timeout_s)

    def must(
        self, names: Sequence[str], version: Version, *words: str, timeout_s: float = STEP_S
    ) -> str:
        """The program works on all these nodes, or OpExecError names the others."""
        answers = self.machines.on(names, _command(version, words), timeout_s=timeout_s)
        problems = [f"{name}: {one.problem}" for name, one in answers.items() if one.status]
        if problems:
            raise OpExecError(f"{words[0]} of {version} failed on {'; '.join(problems)}")
        return "".join(answer.output for answer in answers.values())

    def others_do(self, version: Version, *words: str) -> None:
        """The program runs on the other nodes; where it fails an administrator has to do it."""
        answers = self.machines.on(self.nodes.others, _command(version, words))
        for name, answer in answers.items():
            if answer.status:
                self.run.err(
                    f"Warning: node {name}: {answer.problem}; this is left to do there:"
                    f" {_command(version, words)}"
                )


def _command(version: Version, words: Sequence[str]) -> str:
    return shlex.join([str(version.lib / words[0]), *words[1:]])


class Step(NamedTuple):
    """`asks`: it talks to the master daemon, and so is done by a program of its version."""

    name: str
    says: str
    do: Callable[[Upgrade], None]
    undo: Callable[[Upgrade], None] | None = None
    undo_says: str = ""
    asks: bool = False


# The queue and the watcher.


def _drain(upgrade: Upgrade) -> None:
    upgrade.run.master.call("SetDrainFlag", True)


def _undrain(upgrade: Upgrade) -> None:
    (drained,) = upgrade.run.master.call("QueryConfigValues", ["drain_flag"])
    if drained:
        upgrade.run.master.call("SetDrainFlag", False)


def _await_jobs(upgrade: Upgrade) -> None:
    """OpExecError when jobs still run after a day and a half."""
    world, told = upgrade.run.world, ""
    wanted = ["|", *(["==", "status", status] for status in UNDER_WAY)]
    end = world.now() + QUEUE_S
    while True:
        rows = upgrade.run.master.call("Query", "job", ["id"], wanted)["data"]
        jobs = ", ".join(str(row[0][1]) for row in rows)
        if not jobs:
            return
        if world.now() >= end:
            raise OpExecError(f"jobs {jobs} still run after {QUEUE_S:.0f} s; cancel them, or wait")
        if jobs != told:
            upgrade.run.out(f"  still running: {jobs}")
            world.stdout.flush()
            told = jobs
        world.sleep(QUEUE_POLL_S)


def _pause(upgrade: Upgrade) -> None:
    upgrade.run.master.call("SetWatcherPause", upgrade.run.world.now() + WATCHER_PAUSE_S)


def _continue(upgrade: Upgrade) -> None:
    upgrade.run.master.call("QueryConfigValues", ["watcher_pause"])  # on a connection that lives
    upgrade.run.master.call("SetWatcherPause", None)


# Daemons.


def _stop(upgrade: Upgrade) -> None:
    """The master first: it brings its last changes to the node daemons of the candidates."""
    upgrade.master_does(upgrade.intent.old, "daemon-util", "stop-all")
    upgrade.must(upgrade.nodes.others, upgrade.intent.old, "daemon-util", "stop-all")


def stop_what_answers(upgrade: Upgrade) -> None:
    """The same, but other nodes that can't are only told."""
    upgrade.master_does(upgrade.intent.old, "daemon-util", "stop-all")
    upgrade.others_do(upgrade.intent.old, "daemon-util", "stop-all")


def _start(upgrade: Upgrade) -> None:
    """The others first: the new master asks them whether it is the master."""
    _start_version(upgrade, upgrade.intent.new)


def _start_old(upgrade: Upgrade) -> None:
    _start_version(upgrade, upgrade.intent.old)


def _start_version(upgrade: Upgrade, version: Version) -> None:
    upgrade.others_do(version, "daemon-util", "start-all")
    upgrade.master_does(version, "daemon-util", "start-all")


# Configuration.


def _back_up(upgrade: Upgrade) -> None:
    """The data directory in an archive that only root can read."""
    import os
    import tarfile

    intent, paths = upgrade.intent, upgrade.paths
    if intent.backup and os.path.exists(intent.backup):
        return
    LocalDisk().mkdir(paths.backups, mode=ARCHIVE_DIRECTORY_MODE)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(upgrade.run.world.now()))
    name = f"ganeti-{intent.old}-before-{intent.new}-{stamp}.{os.urandom(4).hex()}.tar"
    place = paths.backups / name
    file = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(file, "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w") as archive:
                archive.add(
                    paths.data,
                    arcname=TOP_OF_ARCHIVE,
                    filter=lambda member: None if member.name in NOT_IN_ARCHIVE else member,
                )
            stream.flush()
            os.fsync(stream.fileno())
    except OSError:
        place.unlink()  # the disk may be full
        raise
    LocalDisk().settle([place])
    intent.note(backup=str(place))
    upgrade.run.out(f"  archive: {place}")


def _restore(upgrade: Upgrade) -> None:
    """`config.data` is what it was when the daemons were stopped."""
    import tarfile

    place, member = upgrade.intent.backup, f"{TOP_OF_ARCHIVE}/config.data"
    try:
        with tarfile.open(place) as archive:
            file = archive.extractfile(member)
            data = b"" if file is None else file.read()
    except (tarfile.TarError, LookupError, ValueError) as error:
        raise OpExecError(f"archive {place!r}: {member} can't be read from it: {error}") from error
    if not data:
        raise OpExecError(f"archive {place!r}: {member} is empty there; config.data stays as it is")
    LocalDisk().replace(upgrade.paths.config_data, data, mode=CONFIG_MODE)


def _convert_back(upgrade: Upgrade) -> None:
    """Only the newer version knows what the older one does not."""
    if upgrade.intent.downgrades:
        words = ("tools/cfgupgrade", "--downgrade", "-f")
        upgrade.master_does(upgrade.intent.old, *words, timeout_s=CONVERT_S)


def _convert(upgrade: Upgrade) -> None:
    upgrade.master_does(upgrade.intent.new, "tools/cfgupgrade", "-f", timeout_s=CONVERT_S)


# Links and directories.


def _switch(upgrade: Upgrade) -> None:
    """The master last: until then the old version's commands are at hand there."""
    upgrade.must(upgrade.nodes.others, upgrade.intent.new, "use-version")
    upgrade.master_does(upgrade.intent.new, "use-version")


def _switch_back(upgrade: Upgrade) -> None:
    upgrade.others_do(upgrade.intent.old, "use-version")
    upgrade.master_does(upgrade.intent.old, "use-version")


def _make_directories(upgrade: Upgrade) -> None:
    upgrade.must(upgrade.nodes.all, upgrade.intent.new, "ensure-dirs")


# With the new version.


def _redistribute(upgrade: Upgrade) -> None:
    from ganeti.opcodes.cluster import OpClusterRedistConf

    run = upgrade.run
    number = run.master.call("SubmitJobToDrainedQueue", [run.dressed(OpClusterRedistConf())])
    run.follower.follow(int(number))


def _post_upgrade(upgrade: Upgrade) -> None:
    """What a version wants to be done once, when it has brought such a program."""
    program = shlex.quote(str(upgrade.intent.new.lib / "tools/post-upgrade"))
    command = f"[ ! -x {program} ] || {program} {upgrade.intent.old}"
    (answer,) = upgrade.machines.on([upgrade.nodes.master], command).values()
    if answer.status:
        upgrade.run.err(f"Warning: {program}: {answer.problem}")


def _verify(upgrade: Upgrade) -> None:
    """Told, but not mended: the upgrade is over all the same."""
    program = shlex.quote(str(upgrade.intent.new.lib / "sbin/gnt-cluster"))
    (answer,) = upgrade.machines.on(
        [upgrade.nodes.master], f"{program} verify", timeout_s=VERIFY_S
    ).values()
    upgrade.run.world.stdout.write(answer.output)
    upgrade.clean = not answer.status


BEFORE: Final = (
    Step("drain", "Draining the job queue", _drain, _undrain, "Opening the job queue", asks=True),
    Step("wait", "Waiting until no job runs", _await_jobs, asks=True),
    Step("pause", "Pausing the watcher", _pause, _continue, "Continuing the watcher", asks=True),
    Step("stop", "Stopping daemons on all nodes", _stop, _start_old, "Starting the old daemons"),
    Step("backup", "Backing up the configuration", _back_up),
    Step(
        "convert-back",
        "Preparing the configuration for the older version",
        _convert_back,
        _restore,
        "Restoring the configuration",
    ),
    Step(
        "switch",
        "Switching to the new version on all nodes",
        _switch,
        _switch_back,
        "Switching back to the old version",
    ),
    Step("directories", "Making directories on all nodes", _make_directories),
    Step(
        "convert", "Converting the configuration", _convert, _restore, "Restoring the configuration"
    ),
)
"""What can be taken back: none of the new version's daemons runs yet."""

AFTER: Final = (
    Step("start", "Starting daemons on all nodes", _start),
    Step("redistribute", "Redistributing the configuration", _redistribute, asks=True),
    Step("undrain", "Opening the job queue", _undrain, asks=True),
    Step("post-upgrade", "Running what the new version asks for", _post_upgrade),
    Step("continue", "Continuing the watcher", _continue, asks=True),
    Step("verify", "Verifying the cluster", _verify),
)

STEPS: Final = (*BEFORE, *AFTER)
