"""What every test can ask for."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

# No test is about time: what takes 0.2 s on a busy machine is no failure.
hypothesis.settings.register_profile("ganeti", deadline=None)
hypothesis.settings.load_profile("ganeti")

HERE = Path(__file__).resolve().parent
SAMPLES = HERE.parent.parent / "shared" / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    """Recordings of a real cluster; they lie beside the checkout, not in it."""
    if not SAMPLES.is_dir():
        pytest.skip("needs the recordings of a real cluster in ../shared/samples")
    return SAMPLES
