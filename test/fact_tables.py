"""The fact tables under test/data/facts, which tests compare the code with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FACTS = Path(__file__).resolve().parent / "data" / "facts"


def facts(name: str) -> Any:
    """One table, such as `opcodes`."""
    return json.loads((FACTS / f"{name}.json").read_text())
