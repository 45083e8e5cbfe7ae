"""The source in a directory of its own, configured as a packager does it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parent.parent.parent
STEP_S = 100
PARTS = (
    *("daemons", "doc", "lib", "man", "os", "scripts", "tools"),
    *("autogen.sh", "configure.ac", "Makefile.am", "pyproject.toml"),
)


def step(argv: list[str], cwd: Path) -> str:
    """What the command printed; an AssertionError tells its end when it fails."""
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, timeout=STEP_S, check=False
    )
    said = f"{' '.join(argv)}: exit code {done.returncode}\n{done.stdout[-3000:]}\n"
    assert done.returncode == 0, said + done.stderr[-3000:]
    return done.stdout + done.stderr


def configured(place: Path, *options: str) -> Path:
    """A build directory, beside a copy of the source, after `configure`."""
    for program in ("autoreconf", "automake", "make"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    source, build = place / "source", place / "build"
    source.mkdir(parents=True)
    build.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for part in PARTS:
        if (TOP / part).is_dir():
            shutil.copytree(TOP / part, source / part, ignore=leave)
        else:
            shutil.copy2(TOP / part, source / part)
    step(["./autogen.sh"], source)
    step(["../source/configure", *options, f"PYTHON={sys.executable}"], build)
    return build
