"""Objects by what people type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import a_bed
from ganeti.errors import OpPrereqError
from ganeti.logic import ask


@pytest.mark.parametrize("find", [ask.instance, ask.node, ask.group, ask.network])
def test_an_option_behind_the_names_is_told_where_it_belongs(
    find: Callable[..., Any], tmp_path: Path
) -> None:
    config = a_bed(tmp_path).config
    with pytest.raises(OpPrereqError, match="'--format' is not known.*; options come before names"):
        find(config, "--format")
    with pytest.raises(OpPrereqError, match="; gnt-[a-z]+ list shows all"):
        find(config, "nosuch")
