"""gnt-cluster epo: who is switched, what is stopped and started, and what is refused.

And gnt-debug iallocator: what is asked and what is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import Shell, program_of
from fakes.luxi_replay import LuxiReplay
from ganeti.cli import cluster_epo
from ganeti.cli.app import Program
from ganeti.cli.run import Run

NODES = {
    "node1": ["node1", True, ["web1"], None, False, "192.0.2.1"],
    "node2": ["node2", False, ["web2", "off2"], True, False, "192.0.2.2"],
    "node3": ["node3", False, ["web3"], None, False, "192.0.2.3"],
    "node4": ["node4", False, [], False, False, "192.0.2.4"],
}
STATES = {"web1": "up", "web2": "up", "off2": "down", "web3": "up"}


def query(kind: str, fields: list[str], qfilter: list[Any]) -> dict[str, Any]:
    names = [one[2] for one in qfilter[1:]]
    rows = [[[0, name], [0, STATES[name]], [0, f"node{name[-1]}"], [0, []]] for name in names]
    return {"fields": [], "data": rows}


def a_shell(tmp_path: Path, **outcomes: Any) -> tuple[Shell, LuxiReplay]:
    done = {"OP_OOB_COMMAND": lambda op: [[[0, name], [0, None]] for name in op["node_names"]]}
    master = LuxiReplay(
        answers={
            "QueryNodes": lambda names, *_: [NODES[name] for name in names or NODES],
            "QueryGroups": [[["node2", "node3"]]],
            "Query": query,
        },
        outcomes={**done, **outcomes},
    )
    return Shell(tmp_path, master), master


def orders(master: LuxiReplay) -> list[Any]:
    return [
        op.get("instance_name") or (op["command"], op["node_names"]) for op in master.submitted()
    ]


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("--all", ["web1", "web2", "web3", ("power-off", ["node2", "node4"])]),
        ("--groups default", ["web2", "web3", ("power-off", ["node2"])]),
        ("node4", [("power-off", ["node4"])]),
    ],
)
def test_instances_end_before_their_nodes(tmp_path: Path, line: str, wanted: list[Any]) -> None:
    shell, master = a_shell(tmp_path)
    ended = shell.run("gnt-cluster", "epo", "-f", *line.split())
    assert (ended.status, orders(master)) == (0, wanted)
    assert all(op["no_remember"] for op in master.submitted() if "instance_name" in op)
    if "node4" not in line:
        assert "Node node3 has no out-of-band program and is skipped" in ended.err


def test_an_instance_that_does_not_end_keeps_the_power_on(tmp_path: Path) -> None:
    shell, master = a_shell(tmp_path, OP_INSTANCE_SHUTDOWN=OSError("it hangs"))
    ended = shell.run("gnt-cluster", "epo", "-f", "node2")
    assert (ended.status, orders(master)) == (1, ["web2"])
    assert "no node was switched off" in ended.err


@pytest.mark.parametrize(
    ("silent", "status", "started", "slept"),
    [(set(), 0, ["web2", "web3"], 0), ({"192.0.2.3"}, 1, ["web2"], 30)],
)
def test_instances_start_where_the_nodes_are_back(
    tmp_path: Path, silent: set[str], status: int, started: list[str], slept: int
) -> None:
    shell, master = a_shell(tmp_path)
    program = Program("gnt-cluster")
    command = program_of("gnt-cluster").commands["epo"]
    own = [option for option in command.options if option.dest not in ("debug", "reason")]

    @program.command("epo", args=command.args, options=own)
    def on(run: Run) -> int:
        """Where nodes answer as the test wants."""
        return cluster_epo.epo(run, lambda address: address not in silent)

    ended = shell.run_program(program, "epo", "-f", "--on", "node2", "node3", "node4")
    assert ended.status == status
    assert orders(master) == [("power-on", ["node4"]), *started]
    assert shell.slept == [30] * slept


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("-f", "Name the nodes"),
        ("-f --all node2", "--all stands alone"),
        ("-f --all --groups", "--all stands alone"),
        ("-f node1 node2", "is the master"),
        ("node2", "no terminal"),
    ],
)
def test_combinations_are_refused(tmp_path: Path, line: str, said: str) -> None:
    shell, master = a_shell(tmp_path)
    ended = shell.run("gnt-cluster", "epo", *line.split())
    assert ended.status == 1 and said in ended.err
    assert master.submitted() == []


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "-m allocate --disks=1g,512 --nics=aa:00:00:00:00:01/none/br0 -t plain -o noop web9",
            {
                "mode": "allocate",
                "disks": [{"size": 1024, "mode": "rw"}, {"size": 512, "mode": "rw"}],
                "nics": [{"mac": "aa:00:00:00:00:01", "ip": "none", "bridge": "br0"}],
                "memory": 128,
            },
        ),
        ("web1", {"mode": "relocate", "name": "web1", "disks": None, "direction": "in"}),
        (
            "-m node-evacuate --evac-mode=primary-only --dir=out -I hail web1 web2",
            {"instances": ["web1", "web2"], "evac_mode": "primary-only", "direction": "out"},
        ),
        (
            "-m change-group --target-groups=a --target-groups=b web1",
            {"target_groups": ["a", "b"], "instances": ["web1"]},
        ),
    ],
)
def test_allocators_are_asked(tmp_path: Path, line: str, wanted: dict[str, Any]) -> None:
    shell, master = a_shell(tmp_path, OP_TEST_ALLOCATOR="the answer")
    ended = shell.run("gnt-debug", "iallocator", *line.split())
    assert (ended.status, ended.out) == (0, "the answer\n")
    (opcode,) = master.submitted()
    assert {name: opcode[name] for name in wanted} == wanted
