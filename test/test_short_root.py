"""Tests leave neither directories nor processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.short_root import short_root, sweep


def sleeper(root: Path) -> subprocess.Popen[bytes]:
    """A process with a path below the directory among its arguments."""
    code = "import signal; print('up', flush=True); signal.pause()"
    argv = [sys.executable, "-c", code, str(root / "run/web1.pid")]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"up\n"
    return process


def test_a_test_that_fails_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), short_root() as root:
        process = sleeper(root)
        raise ZeroDivisionError
    assert process.wait(10) == -9
    assert not root.exists()


def test_what_a_killed_run_has_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    dead, alive = tmp_path / "gnt999999-abc", tmp_path / f"gnt{os.getpid()}-abc"
    others = [tmp_path / name for name in ("gnt-abcdefgh", "gntnf689uoe", "gnt12x-abc")]
    for place in (dead, alive, *others):
        place.mkdir()
    gone, stays = sleeper(dead), sleeper(alive)
    assert sweep(tmp_path, lambda pid: pid == os.getpid()) == [dead]
    assert gone.wait(10) == -9
    assert stays.poll() is None and alive.exists() and all(place.exists() for place in others)
    stays.kill()
    stays.wait(10)
