"""The program ensure-dirs: directories of this node with their modes, and modes of its files.

Source: facts/node-behaviour.md §11; everything belongs to root.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.paths import Paths


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(
        prog="ensure-dirs", description="Make the directories of this node, and mend modes."
    )
    parser.add_argument(
        "-f", "--full-run", action="store_true", help="also mend the files of the job queue"
    )
    parser.add_argument("-d", "--debug", action="count", help="show where an error arose")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what is changed")
    wanted = parser.parse_args(argv)
    paths = Paths.from_environment()
    try:
        for changed in ensure(paths, full=wanted.full_run):
            if wanted.verbose:
                sys.stdout.write(f"{changed}\n")
    except OSError as error:
        if wanted.debug:
            raise
        sys.stderr.write(f"ensure-dirs: {error}\n")
        return EXIT_FAILURE
    return EXIT_SUCCESS


def ensure(paths: Paths, *, full: bool) -> Iterator[str]:
    """What was changed, each after it was; OSError. A file that is missing stays so."""
    for place, mode in paths.directories.items():
        if not place.is_dir():
            place.mkdir(parents=True)
            yield f"{place}: made"
        yield from _mend(place, mode)
    for place, mode in _files(paths, full=full):
        if place.is_file() and not place.is_symlink():
            yield from _mend(place, mode)


def _mend(place: Path, mode: int) -> Iterator[str]:
    found = place.stat().st_mode & 0o7777
    if found != mode:
        place.chmod(mode)
        yield f"{place}: mode {found:04o} is {mode:04o} now"


def _files(paths: Paths, *, full: bool) -> Iterator[tuple[Path, int]]:
    yield from (
        (paths.config_data, 0o640),
        (paths.server_pem, 0o440),
        (paths.client_pem, 0o440),
        (paths.rapi_pem, 0o440),
        (paths.spice_pem, 0o440),
        (paths.spice_ca_pem, 0o440),
        (paths.hmac_key, 0o440),
        (paths.domain_secret, 0o640),
        (paths.known_hosts, 0o644),
        (paths.ssh_public_keys, 0o600),
        (paths.rapi_users, 0o640),
    )
    for place in sorted(paths.data.glob("ssconf_*")):
        yield place, 0o444
    for name in ("node", "master", "rapi", "conf", "kvm"):
        yield paths.daemon_log(name), 0o600
    if full:
        for directory in (paths.queue, *sorted(paths.archive.glob("*"))):
            for place in sorted(directory.glob("job-*")):
                yield place, 0o640
