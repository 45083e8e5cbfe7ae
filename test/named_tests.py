"""Tests that other tests rely on, by name: `cluster/test_x.py::test_y`, or a whole file."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent


@cache
def _functions(path: Path) -> dict[str, str]:
    """Name → source with decorators, of the functions at the top of a module."""
    text = path.read_text()
    lines = text.splitlines()
    return {
        node.name: "\n".join(
            lines[
                min([node.lineno, *(one.lineno for one in node.decorator_list)])
                - 1 : node.end_lineno
            ]
        )
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef)
    }


def source_of(test: str) -> str:
    """The source of the test; AssertionError when there is no such test."""
    file, _, name = test.partition("::")
    path = HERE / file
    assert path.is_file(), f"there is no {file}"
    if not name:
        return path.read_text()
    assert name in _functions(path), f"{file} has no {name}"
    return _functions(path)[name]
