"""Clusters of namespace nodes for the tests of this folder, which need root."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from namespace_nodes import why_not
from net_bed import NetBed, namespace_cluster

HERE = Path(__file__).parent
TEST_S = 1500


@pytest.fixture(scope="session")
def possible() -> None:
    """Skips where there can't be namespace nodes, and says why."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def bare(possible: None) -> Iterator[NetBed]:
    """Three machines without a cluster; for one test."""
    with namespace_cluster(3) as bed:
        yield bed


@pytest.fixture(scope="module")
def cluster(possible: None) -> Iterator[NetBed]:
    """Three nodes, all in the cluster; shared by the tests of one module."""
    with namespace_cluster(3) as bed:
        done = bed.init("--enabled-hypervisors=fake")
        assert done.rc == 0, done.err
        bed.join(2, 3)
        yield bed


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real machines boot here; what hangs is told by the limit of its own wait."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.timeout(TEST_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """A failed test shows the last commands and the ends of the daemons' logs."""
    report = yield
    if report.failed:
        for bed in getattr(item, "funcargs", {}).values():
            if isinstance(bed, NetBed):
                report.sections.extend(bed.report())
    return report
