"""What every test can ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
FACTS = HERE / "data" / "facts"
SAMPLES = HERE.parent.parent / "shared" / "samples"


def facts(name: str) -> Any:
    """One of the fact tables under test/data/facts."""
    return json.loads((FACTS / f"{name}.json").read_text())


@pytest.fixture(scope="session")
def samples() -> Path:
    """Recordings of a real cluster; they lie beside the checkout, not in it."""
    if not SAMPLES.is_dir():
        pytest.skip("needs the recordings of a real cluster in ../shared/samples")
    return SAMPLES
