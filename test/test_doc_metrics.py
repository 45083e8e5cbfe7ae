"""The dashboard and the page about metrics name what there is, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ganeti.master import metrics as master
from ganeti.node import metrics as node
from ganeti.rapi import metrics as rapi
from ganeti.utils.openmetrics import Family, Histogram, render
from prometheus_client.openmetrics.parser import text_string_to_metric_families

DOC = Path(__file__).parents[1] / "doc"
DASHBOARD = DOC / "examples" / "grafana-dashboard.json"
FAMILIES = (*master.FAMILIES, *rapi.FAMILIES, *node.FAMILIES)
NAMES = {name for family in FAMILIES for name in family.sample_names}


def expressions() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def test_every_name_in_the_dashboard_is_that_of_a_metric() -> None:
    found = {name for _, text in expressions() for name in re.findall(r"\bganeti_\w+", text)}
    assert found and found <= NAMES


def test_every_metric_of_the_master_is_in_the_dashboard() -> None:
    text = " ".join(expression for _, expression in expressions())
    missing = [
        family.name
        for family in (*master.FAMILIES, *rapi.FAMILIES)
        if not any(re.search(rf"\b{name}\b", text) for name in family.sample_names)
    ]
    assert not missing


def test_places_of_the_dashboard_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        own = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not taken & own and place["x"] + place["w"] <= 24, panel["title"]
        taken |= own


def test_the_page_has_every_metric_with_its_type() -> None:
    text = (DOC / "metrics.rst").read_text()
    rows = dict(re.findall(r"^(ganeti_\w+) +(\w+) ", text, re.M))
    suffix = {"counter": "_total", "info": "_info"}
    assert rows == {one.name + suffix.get(one.type, ""): one.type for one in FAMILIES}
    assert set(re.findall(r"\bganeti_\w+", text)) <= NAMES | set(rows)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_can_be_read_by_the_librarys_parser(family: Family) -> None:
    samples: dict[str, list[Any]] = {
        "gauge": [("", {"node": 'a "b" \\ \n c'}, 1.5)],
        "counter": [("_total", {}, 3)],
        "info": [("_info", {"version": "4"}, 1)],
        "histogram": Histogram().samples({"node": "x"}),
    }
    text = render([family.shown(samples[family.type])]).decode()
    (read,) = text_string_to_metric_families(text)
    assert (read.name, read.type, read.documentation) == (family.name, family.type, family.help)
    assert {one.name for one in read.samples} == set(family.sample_names)
