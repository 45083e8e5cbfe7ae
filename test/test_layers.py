"""Who may import whom: the table of rooms, and the few modules that may use threads."""

from __future__ import annotations

import ast
import gc
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parent.parent / "lib" / "ganeti"

GROUND = ["build", "version", "constants", "types", "errors", "paths", "serializer"]
ROOMS: dict[str, set[str]] = {
    "utils": set(),
    "model": {"utils"},
    "opcodes": {"model"},
    "http": {"utils"},
    "luxi": {"utils", "opcodes"},
    "rpc": {"utils", "model", "http"},
    "os_defs": {"utils", "model"},
    "storage": {"utils", "model"},
    "hypervisor": {"utils", "model", "storage"},
    "node": {"utils", "model", "rpc", "http", "os_defs", "storage", "hypervisor"},
    "config": {"utils", "model", "rpc"},
    "locking": set(),
    "jobs": {"utils", "opcodes", "rpc"},
    "query": {"utils", "model", "opcodes", "rpc", "config", "locking", "jobs"},
    "alloc": {"utils", "model"},
    "logic": {
        "utils", "model", "opcodes", "rpc", "storage", "hypervisor", "os_defs", "config",
        "locking", "query", "alloc",
    },
    "master": {
        "utils", "model", "opcodes", "rpc", "luxi", "http", "config", "locking", "jobs", "query",
        "alloc", "logic",
    },
    "rapi": {"utils", "model", "opcodes", "luxi", "http"},
    "cli": {"utils", "model", "opcodes", "luxi", "alloc", "master", "rapi"},
}  # fmt: skip

CLI_MAY_USE_OF_MASTER = {"crypto", "bootstrap", "failover", "join"}
CLI_MAY_USE_OF_RAPI = {"access", "rights", "tokens"}
PURE = [
    "locking/manager.py",
    "locking/request.py",
    "locking/names.py",
    "storage/layout.py",
    "jobs/schedule.py",
    "jobs/status.py",
    "rpc/health.py",
    "alloc/place.py",
    "alloc/score.py",
]
IMPURE = {"socket", "threading", "time", "asyncio", "os", "pathlib", "subprocess", "random"}
THREADS = {"threading", "concurrent"}
MAY_USE_THREADS = {
    "master/bridge.py",
    "http/server.py",
}

FILES = sorted(LIB.rglob("*.py"))


def named(path: Path) -> str:
    return str(path.relative_to(LIB))


def parsed(path: Path) -> ast.Module:
    """Without collecting garbage: Python 3.11 before .5 fails when that calls Python code."""
    gc.disable()
    try:
        return ast.parse(path.read_text())
    finally:
        gc.enable()


def imported_modules(path: Path) -> set[str]:
    """Full dotted names in import statements, lazy ones included, TYPE_CHECKING ones too."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            found.add(module)
            found |= {f"{module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def rooms_imported_by(path: Path) -> set[str]:
    """Rooms of our package that one file names in import statements."""
    names: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ganeti":
            inside = (node.module or "").split(".")[1:]
            names |= {inside[0]} if inside else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("ganeti.")}
    return names


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_go_downward(path: Path) -> None:
    room = path.relative_to(LIB).parts[0].removesuffix(".py")
    if room in GROUND:
        below = set(GROUND[: GROUND.index(room)])
        assert rooms_imported_by(path) <= below
    elif room != "__init__":
        assert room in ROOMS, f"room {room} is not in the table; is it meant to be?"
        assert rooms_imported_by(path) <= ROOMS[room] | set(GROUND) | {room}


def test_command_lines_use_only_the_allowed_parts_of_the_master() -> None:
    for path in (LIB / "cli").rglob("*.py"):
        used = {
            name.split(".")[2]
            for name in imported_modules(path)
            if name.startswith("ganeti.master.")
        }
        assert used <= CLI_MAY_USE_OF_MASTER, path


def test_command_lines_use_only_the_rights_of_the_remote_api() -> None:
    for path in (LIB / "cli").rglob("*.py"):
        used = {
            name.split(".")[2] for name in imported_modules(path) if name.startswith("ganeti.rapi.")
        }
        assert used <= CLI_MAY_USE_OF_RAPI, path


@pytest.mark.parametrize("name", PURE)
def test_pure_modules_reach_for_nothing_outside(name: str) -> None:
    imported = {module.split(".")[0] for module in imported_modules(LIB / name)}
    assert not imported & IMPURE


@pytest.mark.parametrize("path", FILES, ids=named)
def test_threads_are_used_in_few_places(path: Path) -> None:
    imported = {module.split(".")[0] for module in imported_modules(path)}
    if named(path) not in MAY_USE_THREADS:
        assert not imported & THREADS
