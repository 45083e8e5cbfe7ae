"""The program use-version: makes its own version the active one of this node.

It belongs to one version (LIBDIR/X.Y/use-version) and needs no daemon, so `gnt-cluster upgrade`
runs it on every node while all are stopped.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import Final

from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.paths import Paths
from ganeti.utils import versions
from ganeti.version import RELEASE

DAEMONS: Final = ("ganeti.node.daemon",)
"""What must be importable before the version is of use here: every package that it needs."""


def main(argv: Sequence[str] | None = None) -> int:
    """The program; its exit code."""
    parser = argparse.ArgumentParser(
        prog="use-version", description=f"Make version {versions.OWN} the active one of this node."
    )
    parser.add_argument(
        "--check", action="store_true", help="only print the release, when it could run here"
    )
    wanted = parser.parse_args(argv)
    paths = Paths.from_environment()
    try:
        if wanted.check:
            for name in DAEMONS:
                importlib.import_module(name)
            sys.stdout.write(f"{RELEASE}\n")
        else:
            versions.activate(paths, versions.OWN)
    except ImportError as error:
        sys.stderr.write(f"use-version: version {RELEASE} lacks something here: {error}\n")
        return EXIT_FAILURE
    except OSError as error:
        sys.stderr.write(f"use-version: {error}\n")
        return EXIT_FAILURE
    return EXIT_SUCCESS
