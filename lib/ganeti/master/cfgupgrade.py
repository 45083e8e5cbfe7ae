"""The program tools/cfgupgrade: brings the configuration on the master to the form of this version.

It runs while no daemon does. The file is written once, at the end, with a copy of what it was
beside it; any problem and nothing is. Source: facts/config-data.md §10.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ganeti.config import convert
from ganeti.config.check import check_document
from ganeti.config.checkpoint import FILE_MODE
from ganeti.config.journal import serial_of
from ganeti.config.reserve import random_uuid
from ganeti.config.snapshot import Snapshot
from ganeti.config.upgrade import open_document
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import ConfigurationError, GenericError, OpPrereqError
from ganeti.master import crypto
from ganeti.paths import Paths
from ganeti.serializer import dump_bytes, loads
from ganeti.utils import journal, net
from ganeti.utils.files import Disk, LocalDisk
from ganeti.version import CONFIG_VERSION

LIST_MODE: Final = 0o600
USERS_DIRECTORY_MODE: Final = 0o750

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the program is to do. `data`, `conf`: the directories, as they are on the machine."""

    paths: Paths
    data: Path
    conf: Path
    hostname: str
    say: Say
    agreed: Callable[[str], bool]
    now: float
    downgrade: bool = False
    dry_run: bool = False
    verify: bool = True
    check_hostname: bool = True
    disk: Disk = LocalDisk()

    @property
    def config(self) -> Path:
        return self.data / "config.data"


def convert_configuration(settings: Settings) -> bool:
    """Whether something was changed (or would be). GenericError or OSError: nothing was."""
    _check_place(settings)
    where, disk = str(settings.config), settings.disk
    old = disk.read(settings.config)
    raw = loads(old, where)
    found = convert.version_of(raw, where)
    _check_journal(settings, raw)
    chance = random.SystemRandom()
    if settings.downgrade:
        problems = convert.downgrade(raw, where)
    else:
        problems = convert.upgrade(raw, where, lambda: random_uuid(chance))
    if problems is None:
        settings.say(f"{where}: version {convert.text(found)} stays, nothing is to be done")
        return False
    if not settings.downgrade:
        problems += _problems_of_files(settings, raw)
    if problems:
        raise ConfigurationError(
            f"{where} can't be converted and is as it was: " + "; ".join(problems)
        )
    data, version = dump_bytes(raw), convert.text(raw["version"])
    if settings.verify:
        _verify(settings, data)
    change = f"{where}: version {convert.text(found)} becomes {version}"
    if settings.dry_run:
        settings.say(f"{change}; not written (--dry-run)")
        return True
    if not settings.agreed(f"{change}. The daemons of all nodes must be stopped. Go on?"):
        raise OpPrereqError("not confirmed, nothing was done; --force confirms it")
    _write(settings, old, data)
    settings.say(change)
    return True


def _check_place(settings: Settings) -> None:
    """OpPrereqError unless this is the data directory of the master."""
    needed = ["config.data", "server.pem"]
    if not settings.paths.is_virtual:
        needed.append("known_hosts")
    missing = [name for name in needed if not (settings.data / name).exists()]
    if missing:
        raise OpPrereqError(
            f"{settings.data}: {', '.join(missing)} missing; is this the master, and the directory?"
        )
    if not settings.check_hostname:
        return
    try:
        master = (settings.data / "ssconf_master_node").read_text().strip()
    except FileNotFoundError:
        raise OpPrereqError(
            f"{settings.data}/ssconf_master_node does not exist; --ignore-hostname does without"
        ) from None
    if master != settings.hostname:
        raise OpPrereqError(
            f"the master is {master}, this is {settings.hostname}; run it there, or with"
            " --ignore-hostname"
        )


def _check_journal(settings: Settings, raw: Any) -> None:
    """What the journal holds is in the file; only the version that wrote it can bring it there."""
    path = settings.data / "config.journal"
    if not settings.disk.exists(path):
        return
    contents = journal.read(settings.disk.read(path), str(path))
    if contents.records and serial_of(contents.records[-1], str(path)) > raw.get("serial_no", 0):
        raise OpPrereqError(
            f"{path} holds changes that {settings.config} lacks; start and stop the master daemon"
            " of the version that was in use, then repeat this"
        )


def _verify(settings: Settings, data: bytes) -> None:
    """ConfigurationError when this version could not read it; oddities are only told."""
    chance = random.SystemRandom()
    opened = open_document(
        data,
        f"{settings.config}, converted",
        new_uuid=lambda: random_uuid(chance),
        now=settings.now,
    )
    for problem in check_document(Snapshot.of(opened.document)):
        settings.say(f"Warning: {problem}")


def _write(settings: Settings, old: bytes, data: bytes) -> None:
    stamp = time.strftime("%Y-%m-%d_%H_%M_%S", time.localtime(settings.now))
    copy = settings.config.with_name(f"config.data.backup-{stamp}.{os.urandom(4).hex()}")
    settings.disk.replace(copy, old, mode=LIST_MODE)
    settings.disk.replace(settings.config, data, mode=FILE_MODE)
    if settings.data == settings.paths.data:
        crypto.make_missing(settings.paths, settings.hostname, settings.now, settings.disk)


# Files beside config.data that older versions had in another form.


def _problems_of_files(settings: Settings, raw: Any) -> list[str]:
    """Each step stands alone; what it did is harmless when nothing else is done."""
    problems: list[str] = []
    for step in (_move_rapi_users, _drop_watcher_state, _write_storage_paths):
        with _recorded(problems):
            if not settings.dry_run:
                step(settings, raw)
    return problems


@contextmanager
def _recorded(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except (OSError, GenericError) as error:
        problems.append(str(error))


def _move_rapi_users(settings: Settings, raw: Any) -> None:
    """`rapi_users` is `rapi/users` since 2.4; a link stays."""
    old, new = settings.data / "rapi_users", settings.data / "rapi" / "users"
    if old.is_symlink() or not old.exists():
        return
    if new.exists():
        raise OpPrereqError(f"{old} and {new} both exist; remove the one that is wrong")
    settings.disk.mkdir(new.parent, mode=USERS_DIRECTORY_MODE)
    settings.disk.rename(old, new)
    old.symlink_to(new)


def _drop_watcher_state(settings: Settings, raw: Any) -> None:
    settings.disk.unlink(settings.data / "watcher.data", missing_ok=True)


def _write_storage_paths(settings: Settings, raw: Any) -> None:
    """Where disks in files may lie had no list of its own before 2.7."""
    path = settings.conf / "file-storage-paths"
    if path.exists():
        return
    cluster = raw["cluster"]
    keys = ("file_storage_dir", "shared_file_storage_dir")
    places = [cluster[key] for key in keys if cluster.get(key)]
    if places:
        settings.disk.replace(path, "".join(f"{one}\n" for one in places).encode(), mode=LIST_MODE)


# The program.


def make_parser(paths: Paths) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cfgupgrade",
        description="Convert the configuration on the master to version "
        f"{convert.text(CONFIG_VERSION)}, while no daemon runs.",
    )
    add = parser.add_argument
    add("--dry-run", action="store_true", help="only tell what would be done")
    add("-f", "--force", action="store_true", help="skip the question")
    add("-d", "--debug", action="count", help="show where an error arose")
    add("-v", "--verbose", action="store_true", help="has no effect")
    add("--ignore-hostname", action="store_true", help="this need not be the master")
    add("--path", type=Path, default=paths.data, help="the data directory")
    add("--confdir", type=Path, default=paths.conf, help="the directory of file-storage-paths")
    add("--no-verify", action="store_false", dest="verify", help="don't read the result again")
    add("--downgrade", action="store_true", help="convert to the version before")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    paths = Paths.from_environment()
    given = make_parser(paths).parse_args(argv)
    settings = Settings(
        paths=paths,
        data=given.path,
        conf=given.confdir,
        hostname=net.own_name(),
        say=lambda line: print(line),  # noqa: T201
        agreed=lambda question: given.force or _ask(question),
        now=time.time(),
        downgrade=given.downgrade,
        dry_run=given.dry_run,
        verify=given.verify,
        check_hostname=not given.ignore_hostname,
    )
    try:
        convert_configuration(settings)
    except (GenericError, OSError) as error:
        if given.debug:
            raise
        sys.stderr.write(f"cfgupgrade: {error}\n")
        return EXIT_FAILURE
    return EXIT_SUCCESS


def _ask(question: str) -> bool:
    """Whether the person at the terminal says yes; no without one."""
    if not sys.stdin.isatty():
        return False
    sys.stdout.write(f"{question} (y/N) ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")
