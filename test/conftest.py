"""What every test can ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "shared" / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    """Recordings of a real cluster; they lie beside the checkout, not in it."""
    if not SAMPLES.is_dir():
        pytest.skip("needs the recordings of a real cluster in ../shared/samples")
    return SAMPLES
