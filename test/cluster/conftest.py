"""Virtual clusters with real daemons for the tests of this folder."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest
from cluster_bed import ClusterBed, virtual_cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterBed]:
    """Three nodes, all in the cluster; shared by the tests of one module."""
    with virtual_cluster(3) as bed:
        bed.init_all()
        yield bed


@pytest.fixture
def bare() -> Iterator[ClusterBed]:
    """Two node directories, no cluster yet; for one test."""
    with virtual_cluster(2) as bed:
        yield bed


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """A failed test shows the last commands and the ends of the daemons' logs."""
    report = yield
    if report.failed:
        for bed in getattr(item, "funcargs", {}).values():
            if isinstance(bed, ClusterBed):
                report.sections.extend(bed.report())
    return report
