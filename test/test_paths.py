"""Where files of a node lie: below its root, in directories with the modes of the facts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ganeti.node.context import NodeSettings
from ganeti.node.daemon import make_directories
from ganeti.paths import Paths

OURS = ("run/ganeti/tasks", "lock")
"""Not in the recordings: the one is ours, the other belongs to the system."""


@pytest.mark.parametrize(
    "path", ["..", "/..", "../..", "/etc/../../..", "../../etc/hosts", "a/../.."]
)
def test_no_path_leaves_the_root(path: str) -> None:
    root = Path("/some/root")
    assert Paths(root).below(path).is_relative_to(root)
    assert ".." not in Paths(root).below(path).parts


@pytest.mark.parametrize("path", ["/etc/hosts", "/srv/a..b/c", "etc/hosts"])
def test_other_paths_are_kept_as_they_are(path: str) -> None:
    assert Paths("/some/root").below(path) == Path("/some/root") / path.lstrip("/")


def test_a_real_node_keeps_its_paths() -> None:
    assert Paths("/").below("/link/../etc") == Path("/link/../etc")


def recorded_modes(samples: Path) -> dict[str, int]:
    """Directory without its first part: mode."""
    found = {}
    for file in (samples / "state").glob("listing-master-*.txt"):
        for line in file.read_text().splitlines():
            match = re.match(r"d\S+ (\d+) \S+ d \d+ (?:/var|)/(\S+)", line)
            if match:
                found[match[2]] = int(match[1], 8)
    return found


def test_directories_have_the_recorded_modes(samples: Path, tmp_path: Path) -> None:
    paths, recorded = Paths(tmp_path), recorded_modes(samples)
    make_directories(NodeSettings(paths=paths, hostname="node1.example.com"))
    for directory in paths.directories:
        name = str(directory.relative_to(tmp_path / "var"))
        if name not in OURS:
            assert directory.stat().st_mode & 0o7777 == recorded[name], name
    assert paths.lock.stat().st_mode & 0o7777 == 0o1777
