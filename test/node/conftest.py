"""What tests of the node side can ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fakes.guest_bed import Bed, make_boot, node_bed
from ganeti.serializer import Json


@pytest.fixture(scope="session")
def boot(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Json]:
    """hvparams of a direct boot."""
    return make_boot(tmp_path_factory.mktemp("boot"))


@pytest.fixture
def bed(boot: dict[str, Json]) -> Iterator[Bed]:
    yield from node_bed(boot)
