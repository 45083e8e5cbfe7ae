"""What a node makes of its network when it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ganeti.errors import CommandError
from ganeti.node.context import NodeContext, NodeSettings
from ganeti.node.network import node_configure_ovs
from ganeti.paths import Paths
from ganeti.utils.process import Result


class Commands:
    """Collects commands in place of running them; the `fail_at`th fails."""

    def __init__(self, fail_at: int = 0) -> None:
        self.fail_at = fail_at
        self.lines: list[str] = []

    def __call__(self, argv: Sequence[str], **how: Any) -> Result:
        self.lines.append(" ".join(argv))
        failed = len(self.lines) == self.fail_at
        return Result(tuple(argv), int(failed), None, "", "no database" if failed else "")


def a_node(root: Path, commands: Commands) -> NodeContext:
    settings = NodeSettings(paths=Paths(root), hostname="node1.example.com")
    return NodeContext(settings=settings, run=commands)


@pytest.mark.parametrize("link", ["eth1", None])
def test_a_switch_is_made_with_its_link_if_it_has_one(link: str | None) -> None:
    commands = Commands()
    node_configure_ovs(a_node(Path("/"), commands), "switch1", link)
    lines = ["ovs-vsctl --may-exist add-br switch1", "ovs-vsctl --may-exist add-port switch1 eth1"]
    assert commands.lines == (lines if link else lines[:1])


def test_a_failure_says_what_was_to_be_done() -> None:
    with pytest.raises(CommandError, match="connecting eth1 to switch switch1.*no database"):
        node_configure_ovs(a_node(Path("/"), Commands(fail_at=2)), "switch1", "eth1")


def test_a_virtual_node_has_no_switch(tmp_path: Path) -> None:
    commands = Commands()
    node_configure_ovs(a_node(tmp_path, commands), "switch1", "eth1")
    assert commands.lines == []
