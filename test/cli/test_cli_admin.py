"""gnt-group, gnt-network, gnt-filter, and what gnt-node and gnt-cluster change: what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import Shell
from fakes.luxi_replay import LuxiReplay

GROUPS = [["default", {}], ["rack2", {"minmax": [{"min": {"a": 1}, "max": {"a": 2}}]}]]


def shell(tmp_path: Path, **more: Any) -> tuple[Shell, LuxiReplay]:
    master = LuxiReplay(**more)
    return Shell(tmp_path, master), master


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (
            "gnt-group add --alloc-policy last_resort -D plain:stripes=2 rack2",
            {"alloc_policy": "last_resort", "diskparams": {"plain": {"stripes": "2"}}},
        ),
        (
            "gnt-group modify --ipolicy-bounds-specs default --ipolicy-vcpu-ratio default rack2",
            {"ipolicy": {"minmax": "default", "vcpu-ratio": "default"}},
        ),
        (
            "gnt-group modify --ipolicy-disk-templates default --disk-state plain/v:disk_total=5 g",
            {
                "ipolicy": {"disk-templates": "default"},
                "disk_state": {"plain": {"v": {"disk_total": "5"}}},
            },
        ),
        ("gnt-group assign-nodes -f rack2 node1 node2", {"nodes": ["node1", "node2"]}),
        ("gnt-network modify --gateway none lan", {"gateway": "none"}),
        (
            "gnt-network modify --add-reserved-ips 192.0.2.1,192.0.2.2 lan",
            {"add_reserved_ips": ["192.0.2.1", "192.0.2.2"]},
        ),
        ("gnt-network add --network 192.0.2.0/24 --tags a,b lan", {"tags": ["a", "b"]}),
        (
            "gnt-network connect lan g",
            {"network_mode": "bridged", "network_link": "xen-br0", "network_vlan": ""},
        ),
        ("gnt-node modify --auto-promote -D yes node2", {"drained": True, "auto_promote": True}),
        ("gnt-node modify -f -O no node2", {"offline": False, "force": True}),
        ("gnt-node powercycle --yes node2", {"node_name": "node2"}),
        ("gnt-cluster modify --vg-name=", {"vg_name": ""}),
        ("gnt-cluster verify-disks --no-strict", {"is_strict": False}),
        (
            "gnt-cluster verify --no-hv-param-assessment --no-nplus1-mem",
            {"skip_checks": ["nplusone_mem", "hvparam_assessment"]},
        ),
        ("gnt-cluster modify --reserved-lvs=a,b", {"reserved_lvs": ["a", "b"]}),
        ("gnt-cluster modify --uid-pool=", {"uid_pool": []}),
        (
            "gnt-cluster modify --data-collector-interval lv=2.5 --enabled-data-collectors lv=no",
            {"data_collector_interval": {"lv": 2500000}, "enabled_data_collectors": {"lv": False}},
        ),
    ],
)
def test_the_options_become_the_opcode(tmp_path: Path, line: str, wanted: dict[str, Any]) -> None:
    one, master = shell(tmp_path)
    ended = one.run(*line.split())
    assert ended.status == 0, ended.err
    (opcode,) = master.submitted()
    assert {name: opcode[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    "line",
    ["gnt-cluster modify", "gnt-node modify node2", "gnt-network modify lan"],
)
def test_without_a_change_nothing_is_asked(tmp_path: Path, line: str) -> None:
    one, master = shell(tmp_path)
    ended = one.run(*line.split())
    assert (ended.status, ended.out, master.calls) == (1, "", [])
    assert ended.err == "Please give at least one of the parameters.\n"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("gnt-node modify -O no node2", 1),
        ("gnt-node powercycle node2", 2),
        ("gnt-node power off node2", 1),
        ("gnt-node power cycle node2", 1),
        ("gnt-cluster deactivate-master-ip", 1),
        ("gnt-cluster rename new.example.com", 1),
    ],
)
def test_without_a_terminal_a_question_is_answered_no(
    tmp_path: Path, line: str, status: int
) -> None:
    one, master = shell(tmp_path, answers={"QueryConfigValues": ["cluster.example.com"]})
    ended = one.run(*line.split())
    assert (ended.status, ended.out) == (status, "")
    assert ended.err.startswith("Not confirmed, nothing was done: ")
    option = "--yes" if "deactivate" in line or "powercycle" in line else "--force"
    assert ended.err.endswith(f"There is no terminal; {option} confirms it.\n")
    assert master.submitted() == []


def test_what_was_changed_is_told(tmp_path: Path) -> None:
    result = [["master_candidate", "False"], ["off", "True"]]
    one, _ = shell(tmp_path, outcomes={"OP_NODE_SET_PARAMS": result})
    ended = one.run("gnt-node", "modify", "-C", "no", "node3")
    assert ended.out == "Modified node node3\n - master_candidate -> False\n - off   -> True\n"


def test_a_network_is_connected_to_all_groups_one_after_the_other(tmp_path: Path) -> None:
    one, master = shell(tmp_path, answers={"QueryGroups": [["uuid-1"], ["uuid-2"]]})
    assert one.run("gnt-network", "connect", "-N", "mode=routed,link=7", "lan").status == 0
    assert [op["group_name"] for op in master.submitted()] == ["uuid-1", "uuid-2"]
    assert one.run("gnt-network", "disconnect", "lan").status == 0
    assert len(master.submitted()) == 4


def test_an_unknown_parameter_of_a_connection_is_refused(tmp_path: Path) -> None:
    one, master = shell(tmp_path)
    ended = one.run("gnt-network", "connect", "-N", "mode=routed,lnik=7", "lan", "rack1")
    assert ended.status == 1
    assert ended.err.startswith(
        "Parameter Error: Unknown parameter 'lnik'; known: mode, link, vlan"
    )
    assert master.submitted() == []


@pytest.mark.parametrize(
    "line",
    [
        "gnt-network connect lan rack1 --nic-parameters=mode=routed",
        "gnt-network connect lan --nic-par=mode=routed rack1",
        "gnt-network connect lan -N mode=routed rack1",
        "gnt-network connect lan -Nmode=routed rack1",
        "gnt-group assign-nodes rack1 node1 --force node2",
        "gnt-instance startup web1 --submit",
        "gnt-job cancel 7 -d",
    ],
)
def test_an_option_behind_a_name_is_no_name(tmp_path: Path, line: str) -> None:
    """Nothing is done for the names before it."""
    one, master = shell(tmp_path)
    ended = one.run(*line.split())
    assert (ended.status, ended.out) == (1, "")
    assert "error type: unknown_entity" in ended.err
    assert "options come before names" in ended.err
    assert master.calls == []


def test_words_that_are_no_names_may_look_like_options(tmp_path: Path) -> None:
    one, master = shell(tmp_path)
    assert one.run("gnt-node", "add-tags", "node1", "--force").status == 0
    assert [op["tags"] for op in master.submitted()] == [["--force"]]


def test_policies_become_command_lines_again(tmp_path: Path) -> None:
    one, _ = shell(tmp_path, answers={"QueryGroups": GROUPS})
    assert one.run("gnt-group", "show-ispecs-cmd").out == (
        "gnt-group add default\ngnt-group add --ipolicy-bounds-specs min:a=1/max:a=2 rack2\n"
    )


def test_switching_off_marks_nodes_offline_in_the_same_job(tmp_path: Path) -> None:
    rows = [[[0, "node2"], [0, None]], [[0, "node3"], [3, None]]]

    class TwoResults(LuxiReplay):
        def _QueryJobs(self, numbers: list[int], fields: list[str]) -> list[Any]:
            values = {
                "status": "success", "opstatus": ["success"] * 3, "opresult": [None, None, rows],
            }  # fmt: skip
            return [[values[name] for name in fields]]

    master = TwoResults()
    one = Shell(tmp_path, master)
    ended = one.run("gnt-node", "power", "-f", "off", "node2", "node3")
    first, second, last = master.submitted()
    assert (first["OP_ID"], first["node_name"], first["offline"]) == (
        "OP_NODE_SET_PARAMS", "node2", True,
    )  # fmt: skip
    assert second["node_name"] == "node3"
    assert (last["OP_ID"], last["command"]) == ("OP_OOB_COMMAND", "power-off")
    assert ended.status == 1
    assert ended.out == "Node  Status   \nnode2 success\nnode3 (unavail)\n"


def test_a_restricted_command_shows_each_node(tmp_path: Path) -> None:
    answer = {"fields": [], "data": [[[0, "node2"], [0, False]], [[0, "node3"], [0, True]]]}
    one, master = shell(
        tmp_path,
        answers={"Query": answer},
        outcomes={"OP_RESTRICTED_COMMAND": [[True, "a\nb"]]},
    )
    ended = one.run("gnt-node", "restricted-command", "-M", "uptime", "node2", "node3")
    assert ended.out == "-" * 48 + "\nnode2: a\nnode2: b\n"
    assert "node3" in ended.err
    assert master.submitted()[0]["nodes"] == ["node2"]
    plain = one.run("gnt-node", "restricted-command", "uptime", "node2")
    assert plain.out == "-" * 48 + "\nNode: node2\na\nb\n"


# Filters.


def test_a_rule_is_sent_with_its_reason(tmp_path: Path) -> None:
    one, master = shell(tmp_path, answers={"ReplaceFilter": "new-uuid"})
    predicates = '[["jobid",[">","id",100000]]]'
    ended = one.run(
        "gnt-filter", "add", "--priority=5", f"--predicates={predicates}",
        "--action=RATE_LIMIT 3", "--reason=maintenance",
    )  # fmt: skip
    assert (ended.status, ended.out) == (0, "new-uuid\n")
    ((uuid, priority, sent, action, reason),) = master.asked("ReplaceFilter")
    assert (uuid, priority, action) == (None, 5, ["RATE_LIMIT", 3])
    assert sent == [["jobid", [">", "id", 100000]]]
    assert reason[0][:2] == ["gnt:user", "maintenance"]


def test_a_rule_is_replaced_and_deleted_by_its_uuid(tmp_path: Path) -> None:
    one, master = shell(tmp_path, answers={"ReplaceFilter": "u", "DeleteFilter": lambda _: None})
    assert one.run("gnt-filter", "replace", "--action=ACCEPT", "u").out == "u\n"
    assert master.asked("ReplaceFilter") == [("u", 0, [], "ACCEPT", [])]
    assert one.run("gnt-filter", "delete", "u").out == ""
    assert master.asked("DeleteFilter") == [("u",)]


def test_rules_are_shown_as_recorded(tmp_path: Path) -> None:
    trail = [["gnt:user", "maintenance", 1]]
    row = ["u", 500, 5, [["jobid", [">", "id", 100000]]], "PAUSE", trail]
    one, _ = shell(tmp_path, answers={"QueryFilters": [row]})
    assert one.run("gnt-filter", "info").out == (
        "UUID: u\n  Watermark: 500\n  Priority: 5\n"
        "  Predicates: [['jobid', ['>', 'id', 100000]]]\n  Action: PAUSE\n"
        "  Reason trail: [['gnt:user', 'maintenance', 1]]\n"
    )


# External storage.


def test_providers_are_shown_with_what_is_wrong(tmp_path: Path) -> None:
    nodes = {
        "uuid1": [["/a/san", True, "", [["pool", "where"]]], ["/b/san", False, "no grow", []]],
        "uuid2": [],
    }
    one, master = shell(
        tmp_path,
        answers={"QueryNodes": [["uuid1", "node1"], ["uuid2", "node2"]]},
        outcomes={"OP_EXT_STORAGE_DIAGNOSE": [["san", nodes, {"default": False}]]},
    )
    ended = one.run("gnt-storage", "diagnose")
    assert ended.status == 1
    assert ended.out == (
        "Provider: san [global status: partial valid]\n"
        "  Node: node1, status: valid (path: /a/san) [parameters: pool]\n"
        "    [hidden] path: /b/san, status: invalid - no grow\n"
        "  Node: node2, status: provider not found\n"
        "  Node group: default, status: invalid\n\n"
    )
    master.outcomes["OP_EXT_STORAGE_DIAGNOSE"] = [["san", {"default": True}, [["pool", "where"]]]]
    info = one.run("gnt-storage", "info", "san", "nas").out
    assert info == (
        "san:\n  - valid for node groups: default\n  - parameters:\n    - pool: where\n\nnas: \n\n"
    )
