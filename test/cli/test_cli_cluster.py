"""gnt-cluster, gnt-node and gnt-os: what they ask for, and what they make of the answers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.command_line import NOW, Shell, program_of
from fakes.luxi_replay import LuxiReplay
from ganeti.cli.cluster_init import init_request
from ganeti.cli.info import page
from ganeti.cli.node_add import add_node
from ganeti.cli.on_nodes import copy_everywhere, run_everywhere
from ganeti.cli.parser import parse
from ganeti.cli.run import Run
from ganeti.cli.world import World
from ganeti.errors import GenericError, OpExecError

VECTORS = facts("cli-examples")["v3"]


def wanted(program: str, command: str, *words: str) -> Any:
    return parse(program, "", "", program_of(program).commands[command].options, words)[0]


# Creation.


def test_options_of_creation_become_the_request() -> None:
    options = wanted(
        "gnt-cluster", "init", "--enabled-hypervisors=kvm,fake", "--enabled-disk-templates",
        "plain,file", "-B", "memory=512", "-H", "kvm:acpi=false", "-H", "fake", "-N", "link=br1",
        "--uid-pool=1000-1099,2000", "-C", "3", "--master-netmask=24", "--no-etc-hosts",
        "--vg-name=", "--specs-mem-size", "min=128,std=512,max=8192", "--ipolicy-vcpu-ratio=3",
        "--maintain-node-health=yes", "c1",
    )  # fmt: skip
    request = init_request("c1", options)
    assert request.cluster_name == "c1"
    assert request.enabled_hypervisors == ["kvm", "fake"]
    assert request.enabled_disk_templates == ["plain", "file"]
    assert request.hvparams == {"kvm": {"acpi": "false"}, "fake": {}}
    assert request.beparams == {"memory": "512"}
    assert request.uid_pool == [(1000, 1099), (2000, 2000)]
    assert (request.candidate_pool_size, request.master_netmask) == (3, 24)
    assert (request.modify_etc_hosts, request.modify_ssh_setup) == (False, True)
    assert (request.vg_name, request.maintain_node_health) == ("", True)
    assert request.ipolicy == {
        "minmax": [{"min": {"memory-size": "128"}, "max": {"memory-size": "8192"}}],
        "std": {"memory-size": "512"},
        "vcpu-ratio": 3.0,
    }


def test_what_was_not_said_stays_open() -> None:
    request = init_request("c1", wanted("gnt-cluster", "init", "c1"))
    assert request.enabled_hypervisors is None
    assert request.ipolicy == {}
    assert request.primary_ip_version == 4


@pytest.mark.parametrize(
    "words",
    [
        ["--specs-mem-size", "min=1", "--ipolicy-std-specs", "memory-size=1"],
        ["--specs-mem-size", "most=1"],
        ["--uid-pool", "x"],
        ["--uid-pool", "5-4"],
        ["-H", "kvm:acpi=no", "-H", "kvm:acpi=yes"],
        ["-H", "no_kvm"],
        ["--primary-ip-version", "four"],
        ["--master-netmask", "x"],
    ],
)
def test_contradictory_creations_are_refused(words: list[str]) -> None:
    with pytest.raises(GenericError):
        init_request("c1", wanted("gnt-cluster", "init", *words, "c1"))


# Questions about the cluster.


def test_getmaster_reads_the_file_and_asks_nobody(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    assert shell.run("gnt-cluster", "getmaster").status == 2
    shell.ssconf("master_node", "node7.example.com")
    assert shell.run("gnt-cluster", "getmaster") == (0, "node7.example.com\n", "")


@pytest.mark.parametrize(
    "line", ["gnt-node add node2", "gnt-cluster master-failover", "gnt-cluster info"]
)
def test_a_machine_without_a_cluster_is_told_so(tmp_path: Path, line: str) -> None:
    done = Shell(tmp_path).run(*line.split())
    assert done.status == 1
    assert done.err.startswith("Failure: prerequisites not met for this operation:\n")
    assert "the cluster is not initialised, or this machine is not part of it" in done.err


def test_ping_never_prints(tmp_path: Path) -> None:
    assert Shell(tmp_path).run("gnt-cluster", "master-ping") == (1, "", "")
    alive = Shell(tmp_path, LuxiReplay({"QueryClusterInfo": {}}))
    assert alive.run("gnt-cluster", "master-ping") == (0, "", "")


def test_the_watcher_is_paused_until_a_time(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"SetWatcherPause": lambda until: until}))
    ended = shell.run("gnt-cluster", "watcher", "pause", "1h")
    assert ended == (0, "The watcher is paused until Fri Jan  1 01:00:00 2010.\n", "")
    assert shell.master.asked("SetWatcherPause") == [(NOW + 3600,)]


def test_a_pause_that_is_over_is_none(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"QueryConfigValues": lambda _: [NOW - 1]}))
    assert shell.run("gnt-cluster", "watcher", "info").out == "The watcher is not paused.\n"


@pytest.mark.parametrize(("word", "flag"), [("drain", True), ("undrain", False)])
def test_the_queue_is_drained_and_undrained(word: str, flag: bool, tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"SetDrainFlag": lambda _: True}))
    assert shell.run("gnt-cluster", "queue", word) == (0, "", "")
    assert shell.master.asked("SetDrainFlag") == [(flag,)]


# Verify.


def verifying(tmp_path: Path, outcomes: Sequence[Any], log: str = "") -> Shell:
    """A cluster whose verification makes one job per outcome."""
    master = LuxiReplay(first_job=10)
    left = iter(outcomes)

    def verify(opcode: dict[str, Any]) -> Any:
        numbers = []
        for outcome in outcomes:
            master.outcomes["OP_CLUSTER_VERIFY_GROUP"] = outcome
            master.logs["OP_CLUSTER_VERIFY_GROUP"] = [log] if log else []
            numbers.append([True, master._SubmitJob([{"OP_ID": "OP_CLUSTER_VERIFY_GROUP"}])])
        return {"jobs": numbers}

    master.outcomes["OP_CLUSTER_VERIFY"] = master.outcomes["OP_CLUSTER_VERIFY_DISKS"] = verify
    assert left
    return Shell(tmp_path, master)


def test_a_clean_verification_ends_with_0(tmp_path: Path) -> None:
    shell = verifying(tmp_path, [True, True], "* Verifying")
    ended = shell.run("gnt-cluster", "verify", "--error-codes", "-I", "ENODEOS", "-g", "default")
    assert ended.status == 0
    assert ended.out.splitlines() == [
        "Submitted jobs 11, 12",
        "Waiting for job 11 ...",
        "Fri Jan  1 00:00:00 2010 * Verifying",
        "Waiting for job 12 ...",
        "Fri Jan  1 00:00:00 2010 * Verifying",
    ]
    opcode = shell.master.jobs[10].opcodes[0]
    assert (opcode["error_codes"], opcode["ignore_errors"]) == (True, ["ENODEOS"])
    assert opcode["group_name"] == "default"


@pytest.mark.parametrize("outcome", [False, OpExecError("broken")])
def test_a_verification_that_finds_something_ends_with_1(outcome: Any, tmp_path: Path) -> None:
    assert verifying(tmp_path, [True, outcome]).run("gnt-cluster", "verify").status == 1


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        ([{}, [], {}], 0, "No disks need to be activated.\n"),
        ([{"n1": "dead"}, [], {}], 1, ""),
        ([{}, ["i1"], {}], 0, "Activating the disks of instance i1\n"),
        ([{}, [], {"i1": [["n1", "xenvg/lv"]]}], 1, "\tn1 /dev/xenvg/lv\n"),
    ],
)
def test_disks_are_activated_or_told(result: Any, status: int, text: str, tmp_path: Path) -> None:
    ended = verifying(tmp_path, [result]).run("gnt-cluster", "verify-disks")
    assert ended.status == status
    assert ended.out.endswith(text)


# Tags.


def test_tags_are_read_from_arguments_and_files(tmp_path: Path) -> None:
    (tmp_path / "tags").write_text("c\n\n d \n")
    shell = Shell(tmp_path, LuxiReplay())
    shell.run("gnt-node", "add-tags", "--from", str(tmp_path / "tags"), "n1", "a", "b")
    shell.run("gnt-cluster", "remove-tags", "--from", "-", stdin="x\ny\n")
    first, second = shell.master.submitted()
    assert first == {
        "OP_ID": "OP_TAGS_SET",
        "kind": "node",
        "name": "n1",
        "tags": ["a", "b", "c", "d"],
    }
    assert (second["OP_ID"], second["kind"], second["tags"]) == (
        "OP_TAGS_DEL",
        "cluster",
        ["x", "y"],
    )


def test_no_tags_or_no_file_are_input_errors(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay())
    for words in (["add-tags"], ["remove-tags", "--from", str(tmp_path / "none")]):
        ended = shell.run("gnt-cluster", *words)
        assert ended.status == 1 and "error type: wrong_input" in ended.err


def test_found_tags_are_printed_in_order(tmp_path: Path) -> None:
    found = [["/nodes/n1", "b"], ["/cluster", "a"]]
    shell = Shell(tmp_path, LuxiReplay(outcomes={"OP_TAGS_SEARCH": found}))
    assert shell.run("gnt-cluster", "search-tags", ".") == (0, "/cluster a\n/nodes/n1 b\n", "")
    shell = Shell(tmp_path, LuxiReplay(outcomes={"OP_TAGS_SEARCH": []}))
    assert shell.run("gnt-cluster", "search-tags", ".") == (1, "", "")


# Nodes.


def test_the_page_of_a_node_is_the_vectors(tmp_path: Path) -> None:
    values = {
        "name": "node1.example.com", "pip": "192.0.2.1", "sip": "198.51.100.1",
        "pinst_list": ["i10", "i2"], "sinst_list": [], "master_candidate": True,
        "drained": False, "offline": False, "master_capable": True, "vm_capable": True,
        "powered": None, "ndparams": {"oob_program": "", "spindle_count": 1},
        "custom_ndparams": {"spindle_count": 1},
    }  # fmt: skip
    master = LuxiReplay({"QueryNodes": lambda _, fields, __: [[values[name] for name in fields]]})
    ended = Shell(tmp_path, master).run("gnt-node", "info")
    assert ended.out.splitlines() == VECTORS["gnt-node info 3.x"]["text_lines"]


def test_the_page_of_a_job_is_the_vectors(tmp_path: Path) -> None:
    base = 1262304000
    values = {
        "id": 7, "status": "success",
        "ops": [{"OP_ID": "OP_TEST_DELAY", "duration": 1.0, "on_nodes": []}],
        "opresult": [None], "opstatus": ["success"],
        "oplog": [[[1, [base + 1, 5], "message", "hello"]]], "opstart": [[base + 1, 0]],
        "opexec": [[base + 1, 10]], "opend": [[base + 2, 0]], "received_ts": [base, 0],
        "start_ts": [base + 1, 0], "end_ts": [base + 2, 500],
    }  # fmt: skip
    master = LuxiReplay(
        {"Query": lambda _, fields, __: {"data": [[[0, values[n]] for n in fields]]}}
    )
    ended = Shell(tmp_path, master).run("gnt-job", "info", "7")
    assert ended.out.splitlines() == VECTORS["gnt-job info 3.x"]["text_lines"]


def adding(tmp_path: Path, *words: str) -> tuple[Shell, Run, list[dict[str, Any]]]:
    """A call of gnt-node add on a virtual cluster, and what `join` was asked."""
    shell = Shell(
        tmp_path,
        LuxiReplay(
            {
                "QueryNodes": [
                    ["node1.example.com", "192.0.2.1", "192.0.2.1", {"ssh_port": 22}, False],
                    ["node3.example.com", "192.0.2.3", "198.51.100.3", {}, True],
                ],
                "QueryGroups": [["default", {"ssh_port": 2222}]],
                "QueryConfigValues": [True, "rsa", 2048],
            }
        ),
    )
    shell.ssconf("primary_ip_family", "2")
    shell.paths.etc_hosts.parent.mkdir()
    shell.paths.etc_hosts.write_text(
        "192.0.2.1 node1.example.com node1\n192.0.2.9 node9.example.com node9\n"
        "192.0.2.3 node3.example.com node3\n198.51.100.3 alias.example.com alias\n"
    )
    world = World(
        shell.paths, environ=shell.environ, now=lambda: NOW, connect=lambda _: shell.master
    )
    command = program_of("gnt-node").commands["add"]
    values, names = parse("gnt-node", "", "", command.options, words)
    return shell, Run(world, "gnt-node", "add", values, names), []


def test_a_new_node_is_set_up_and_then_added(tmp_path: Path) -> None:
    shell, run, asked = adding(tmp_path, "--no-ssh-key-check", "-g", "default", "node9")
    add_node(run, join=lambda paths, name, **how: asked.append({"name": name, **how}))
    assert asked[0]["name"] == "node9.example.com"
    assert (asked[0]["ssh_port"], asked[0]["check_host_key"]) == (2222, False)
    (opcode,) = shell.master.submitted()
    assert (opcode["OP_ID"], opcode["node_name"]) == ("OP_NODE_ADD", "node9.example.com")
    assert (opcode["group"], opcode["readd"], opcode["secondary_ip"]) == ("default", False, None)


def test_a_node_that_comes_back_keeps_its_addresses(tmp_path: Path) -> None:
    shell, run, asked = adding(tmp_path, "--readd", "node1")
    add_node(run, join=lambda paths, name, **how: asked.append({"name": name, **how}))
    (opcode,) = shell.master.submitted()
    assert (opcode["readd"], opcode["secondary_ip"]) == (True, "192.0.2.1")
    assert asked[0]["ssh_port"] == 22


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["node1"], "--readd"),
        (["--readd", "node9"], "--readd"),
        (["--readd", "node3"], "Node node3.example.com is the master"),
        (["alias"], "has the address 198.51.100.3, which is that of node node3.example.com"),
        (["nosuch"], "error type: resolver_error"),
    ],
)
def test_wrong_additions_end_before_anything_is_done(
    words: list[str], text: str, tmp_path: Path
) -> None:
    shell, _, _ = adding(tmp_path, *words)
    ended = shell.run("gnt-node", "add", *words)
    assert ended.status == 1 and text in ended.err
    assert shell.master.jobs == {}


# Commands on many nodes.


def everywhere(tmp_path: Path, command: str, *words: str) -> tuple[Run, list[list[str]], Any]:
    rows = [
        [[0, "node1.example.com"], [0, False], [0, "1"], [0, "s1"], [0, 22]],
        [[0, "node2.example.com"], [0, True], [0, "2"], [0, "s2"], [0, 22]],
        [[0, "node3.example.com"], [0, False], [0, "3"], [0, "s3"], [0, 2022]],
    ]
    shell = Shell(
        tmp_path,
        LuxiReplay(
            {
                "Query": {"fields": [], "data": rows},
                "QueryConfigValues": lambda names: ["c1", "node1.example.com"][: len(names)],
            }
        ),
    )
    import io

    out, err = io.StringIO(), io.StringIO()
    world = World(
        shell.paths, environ=shell.environ, stdout=out, stderr=err, connect=lambda _: shell.master
    )
    options = program_of("gnt-cluster").commands[command].options
    values, names = parse("gnt-cluster", "", "", options, words)
    return Run(world, "gnt-cluster", command, values, names), [], (out, err, shell)


def test_a_command_visits_the_master_last_and_leaves_out_offline_nodes(tmp_path: Path) -> None:
    run, argvs, (out, err, _) = everywhere(tmp_path, "command", "-g", "default", "echo", "-n", "hi")

    def execute(argv: Sequence[str]) -> tuple[str, int]:
        argvs.append(list(argv))
        return "hi\n", 2

    run_everywhere(run, execute)
    assert [argv[-2:] for argv in argvs] == [
        ["root@node3.example.com", "echo -n hi"],
        ["root@node1.example.com", "echo -n hi"],
    ]
    assert "-oPort=2022" in argvs[0]
    assert err.getvalue() == "Note: skipping offline node(s): node2.example.com\n"
    block = "-" * 48 + "\nnode: node{}.example.com\nhi\n\nreturn code = 2\n"
    assert out.getvalue() == block.format(3) + block.format(1)


def test_lines_can_begin_with_the_node_and_good_nodes_be_left_out(tmp_path: Path) -> None:
    run, _, (out, _, _) = everywhere(tmp_path, "command", "-M", "--failure-only", "x")
    run_everywhere(run, lambda argv: ("a\nb\n", int("node3" in argv[-2])))
    name = "node3.example.com"
    assert out.getvalue() == "-" * 48 + f"\n{name}: a\n{name}: b\nreturn code = 1\n"


def test_a_file_is_copied_to_the_other_nodes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    run, argvs, (out, err, _) = everywhere(
        tmp_path, "copyfile", "--use-replication-network", str(path)
    )

    def execute(argv: Sequence[str]) -> tuple[str, int]:
        argvs.append(list(argv))
        return "no space\n", 1

    assert copy_everywhere(run, execute) == 1
    assert [argv[-1] for argv in argvs] == [f"root@s3:{path}"]
    assert out.getvalue() == "" and "node3.example.com" in err.getvalue()


def virtual_nodes(tmp_path: Path) -> tuple[Path, Path]:
    """The roots of node1 and node3."""
    roots = tmp_path / "node1.example.com", tmp_path / "node3.example.com"
    for root in roots:
        root.mkdir()
    return roots


def test_virtual_nodes_are_reached_without_ssh(tmp_path: Path) -> None:
    root, other = virtual_nodes(tmp_path)
    run, argvs, _ = everywhere(root, "command", "-n", "node3", "echo", "hi")

    def execute(argv: Sequence[str]) -> tuple[str, int]:
        argvs.append(list(argv))
        return "", 0

    run_everywhere(run, execute)
    node = [f"GANETI_ROOTDIR={other}", "GANETI_HOSTNAME=node3.example.com"]
    assert ["env", *node, "sh", "-c", "echo hi"] in argvs


def test_a_file_of_a_virtual_node_is_copied_below_the_other_roots(tmp_path: Path) -> None:
    root, other = virtual_nodes(tmp_path)
    path = root / "file"
    path.write_text("x")
    run, argvs, _ = everywhere(root, "copyfile", str(path))

    def execute(argv: Sequence[str]) -> tuple[str, int]:
        argvs.append(list(argv))
        return "", 0

    assert copy_everywhere(run, execute) == 0
    assert argvs == [["cp", "-p", str(path), f"{other}/file"]]


# gnt-os.


def test_an_os_is_modified_by_a_cluster_job(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay())
    words = ["-H", "kvm:acpi=false", "-O", "a=b", "--hidden=yes", "--blacklisted=no", "deb"]
    assert shell.run("gnt-os", "modify", *words).status == 0
    (opcode,) = shell.master.submitted()
    assert opcode["os_hvp"] == {"deb": {"kvm": {"acpi": "false"}}}
    assert opcode["osparams"] == {"deb": {"a": "b"}}
    assert (opcode["hidden_os"], opcode["blacklisted_os"]) == (
        [["add", "deb"]],
        [["remove", "deb"]],
    )
    assert shell.run("gnt-os", "modify", "deb").status == 1


def test_an_os_that_is_missing_somewhere_is_partly_valid(tmp_path: Path) -> None:
    good = ["/p", True, "", ["a"], [], [20], False]
    rows = [
        [
            "deb",
            False,
            ["a"],
            {"n2": [], "n1": [good, ["/q", False, "old", [], [], [], True]]},
            True,
            False,
        ]
    ]
    shell = Shell(tmp_path, LuxiReplay(outcomes={"OP_OS_DIAGNOSE": rows}))
    ended = shell.run("gnt-os", "diagnose")
    assert ended.status == 1
    assert ended.out.splitlines() == [
        "OS: deb [global status: partial valid] [hidden]",
        "  Variants: [a]",
        "  Node: n1, status: valid (path: /p) [API versions: 20] [variants: a] [untrusted]",
        "    [hidden] path: /q, status: invalid - old",
        "  Node: n2, status: OS not found",
        "",
    ]


@pytest.mark.parametrize("form", ["json", "yaml", "csv"])
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("gnt-os", ["list"]),
        ("gnt-os", ["info"]),
        ("gnt-cluster", ["version"]),
        ("gnt-node", ["info"]),
    ],
)
def test_lists_and_pages_come_as_data(
    program: str, words: list[str], form: str, tmp_path: Path
) -> None:
    keys = (
        "software_version protocol_version config_version os_api_version export_version vcs_version"
    )
    master = LuxiReplay(
        {
            "QueryClusterInfo": dict.fromkeys(keys.split(), 1),
            "QueryNodes": lambda _, fields, __: [dict.fromkeys(fields, 0).values()] and [],
        },
        outcomes={"OP_OS_DIAGNOSE": [["deb", ["a"], [], [], [], False, False, {}, {}, True]]},
    )
    if words == ["list"]:
        master.outcomes["OP_OS_DIAGNOSE"] = [["deb", ["a"]]]
    ended = Shell(tmp_path, master).run(program, words[0], f"--format={form}", *words[1:])
    assert ended.status == 0
    if form == "json":
        json.loads(ended.out)


def test_a_page_without_anything_is_an_empty_line() -> None:
    assert page([]) == "\n"
