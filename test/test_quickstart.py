"""What tools/quickstart says, without making a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
from first_cluster import without_effect

HERE = Path("/d")


@pytest.mark.parametrize("wanted", [(None, "auto"), (4, "auto"), (None, "fake"), (4, "fake")])
def test_a_cluster_as_it_is_wanted_needs_no_words(wanted: tuple[int | None, str]) -> None:
    assert without_effect(wanted, (4, "fake"), HERE) == ""


def test_options_that_the_existing_cluster_does_not_fulfil_are_named() -> None:
    said = without_effect((5, "kvm"), (4, "fake"), HERE)
    assert "has 4 nodes and hypervisor fake" in said
    assert "--nodes 5 and --hypervisor kvm" in said
    assert "--dir /d --stop" in said and "another --dir" in said
    assert "--hypervisor" not in without_effect((5, "auto"), (4, "fake"), HERE)
