"""Guides are well formed, and what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docutils.core import publish_string
from docutils.utils import Reporter
from docutils.writers.null import Writer

TOP = Path(__file__).resolve().parent.parent
PAGES = sorted((TOP / "doc").glob("*.rst"))
PLACES = (TOP, TOP / "lib/ganeti", TOP / "doc")
FILE = re.compile(r"``([a-z_]+(?:/[a-z_-]+)*/[a-z_-]+\.(?:py|rst))\b")
DESIGN = re.compile(r"``([a-z-]+\.rst)``")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_guide_is_well_formed(page: Path) -> None:
    publish_string(
        page.read_text(),
        source_path=str(page),
        writer=Writer(),
        settings_overrides={
            "report_level": Reporter.INFO_LEVEL,
            "halt_level": Reporter.INFO_LEVEL,
            "warning_stream": False,
        },
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_guide_names_files_that_exist(page: Path) -> None:
    text = page.read_text()
    named = set(FILE.findall(text)) | set(DESIGN.findall(text))
    gone = {name for name in named if not any((place / name).exists() for place in PLACES)}
    assert gone == set()


def test_every_guide_stands_in_the_index() -> None:
    index = (TOP / "doc/index.rst").read_text()
    assert {page.name for page in PAGES} - {"index.rst"} <= set(DESIGN.findall(index))


def test_every_dependency_has_its_row_in_the_installation_guide() -> None:
    text = (TOP / "doc/install.rst").read_text()
    project = (TOP / "pyproject.toml").read_text().split("[project.optional-dependencies]")[0]
    names = re.findall(r'^    "([A-Za-z0-9._-]+?)[><=;\[ "]', project, re.M)
    assert len(names) > 8
    assert [name for name in names if not re.search(rf"^{re.escape(name)} ", text, re.M)] == []
