"""gnt-instance: creation from options, selection of several, console."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fact_tables import facts
from fakes.command_line import Shell, program_of
from fakes.luxi_replay import LuxiReplay
from ganeti.cli.info import page as text_of
from ganeti.cli.instance_create import creation
from ganeti.cli.instance_info import page
from ganeti.cli.parser import parse
from ganeti.errors import GenericError
from ganeti.paths import Paths
from ganeti.utils.ssh_command import console_argv

VECTORS = facts("cli-examples")["v3"]


def created(*words: str) -> dict[str, Any]:
    """The opcode of `gnt-instance add WORDS i1`."""
    values, names = parse(
        "gnt-instance", "", "", program_of("gnt-instance").commands["add"].options, [*words, "i1"]
    )
    return creation(names[0], values).to_json()


def test_the_recorded_creations_are_made_from_their_commands(samples: Path) -> None:
    """What the recorded client sent, for each add whose job is in the recorded queue."""
    recorded: dict[str, Any] = {}
    paths = sorted((samples / "state/5-late/queue").glob("job-*"), key=lambda p: int(p.name[4:]))
    for opcode in (one for path in paths for one in json.loads(path.read_text())["ops"]):
        given = opcode["input"]
        if given["OP_ID"] == "OP_INSTANCE_CREATE" and opcode["status"] == "success":
            if not given["dry_run"]:
                recorded.setdefault(given["instance_name"], given)
    compared = 0
    for line in (samples / "cli/10-build.jsonl").read_text().splitlines():
        record = json.loads(line)
        argv = record["argv"]
        if argv[:2] != ["gnt-instance", "add"] or record["rc"] or "--dry-run" in argv:
            continue
        wanted = recorded.get(argv[-1])
        if wanted is None:
            continue
        now = created(*argv[2:-1])
        compared += 1
        for name in (
            "disks nics disk_template os_type osparams hvparams start no_install tags pnode snode"
            " name_check ip_check mode wait_for_sync conflicts_check force_variant"
        ).split():
            if name == "pnode" and "-n" not in argv or name == "start" and "--no-install" in argv:
                continue  # filled in by the master
            assert now[name] == wanted[name], (argv, name)
        backend = dict(now["beparams"])
        if "memory" in backend:
            memory = backend.pop("memory")
            backend |= {"minmem": memory, "maxmem": memory}
        assert backend == wanted["beparams"]
    assert compared >= 4


def test_sizes_are_rounded_up_and_gaps_filled() -> None:
    made = created("--disk", "0:size=1.001g", "--net", "1:ip=none")
    assert made["disks"] == [{"size": 1028}]
    assert made["nics"] == [{}, {"ip": "none"}]


def test_the_short_form_is_one_disk_and_one_interface() -> None:
    made = created("-s", "1G", "-n", "n1:n2", "--tags", "a,b", "-H", "kvm:acpi=false")
    assert made["disks"] == [{"size": 1024}] and made["nics"] == [{}]
    assert (made["pnode"], made["snode"], made["tags"]) == ("n1", "n2", ["a", "b"])
    assert (made["hypervisor"], made["hvparams"]) == ("kvm", {"acpi": False})


def test_adopted_disks_have_no_size() -> None:
    made = created("--disk", "0:adopt=lv1,vg=x,spindles=2")
    assert made["disks"] == [{"adopt": "lv1", "vg": "x", "size": 0, "spindles": 2}]


@pytest.mark.parametrize(
    "words",
    [
        "",
        "-t plain",
        "-t diskless -s 1G",
        "-t diskless --disk 0:size=1G",
        "-s 1G --disk 0:size=1G",
        "--disk 1:size=1G",
        "--disk 0:size=1G,adopt=x",
        "--disk 0:mode=ro",
        "--disk 0:size=10x",
        "--disk x:size=1G",
        "--disk no_0",
        "--disk 0:size=1G --disk 0:size=2G",
        "--disk 0:size=1G,spindles=many",
        "-s 1G --no-nics --net 0",
        "-s 1G --net add",
        "-s 1G --forthcoming --commit",
        "-s 1G -H no_kvm",
        "-s 1G -B memory=lots",
        "-s 1G -B auto_balance=maybe",
    ],
)
def test_contradictions_are_refused_before_a_job_is_made(words: str) -> None:
    with pytest.raises(GenericError):
        created(*words.split())


# Several at once.

INSTANCES = [["a1", ["web"]], ["a2", []], ["b1", ["db", "web"]]]
NODES = [["n1", ["a1", "a2"], ["b1"], ["rack1"]], ["n2", ["b1"], ["a1"], []]]


def cluster(tmp_path: Path) -> Shell:
    def instances(names: list[str], fields: list[str], _: bool) -> Any:
        rows = [row for row in INSTANCES if not names or row[0] in names]
        return [row[: len(fields)] for row in rows]

    def nodes(names: list[str], fields: list[str], _: bool) -> Any:
        return [row for row in NODES if not names or row[0] in names]

    return Shell(tmp_path, LuxiReplay({"QueryInstances": instances, "QueryNodes": nodes}))


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("a1", ["a1"]),
        ("a1 nosuch", ["a1"]),
        ("--all", ["a1", "a2", "b1"]),
        ("--node n1", ["a1", "a2", "b1"]),
        ("--primary n1", ["a1", "a2"]),
        ("--secondary n1", ["b1"]),
        ("--secondary n1 n2", ["b1", "a1"]),
        ("--tags web", ["a1", "b1"]),
        ("--tags db nothing", ["b1"]),
        ("--node-tags rack1", ["a1", "a2", "b1"]),
        ("--pri-node-tags rack1", ["a1", "a2"]),
        ("--sec-node-tags rack1", ["b1"]),
        ("--all --instance a2", ["a2"]),
    ],
)
def test_instances_are_chosen_by_name_node_and_tag(
    words: str, names: list[str], tmp_path: Path
) -> None:
    shell = cluster(tmp_path)
    ended = shell.run("gnt-instance", "reboot", "--force-multiple", "--submit", *words.split())
    assert ended.status == 0
    assert [opcode["instance_name"] for opcode in shell.master.submitted()] == names
    assert ended.out == "".join(f"{i + 1}: {name}\n" for i, name in enumerate(names))


@pytest.mark.parametrize("words", ["", "--all a1", "--node", "--tags", "nosuch", "--tags no"])
def test_a_selection_that_makes_no_sense_is_an_input_error(words: str, tmp_path: Path) -> None:
    ended = cluster(tmp_path).run("gnt-instance", "shutdown", *words.split())
    assert ended.status == 1 and "error type: wrong_input" in ended.err


def test_a_selection_that_matches_nothing_names_what_was_given(tmp_path: Path) -> None:
    ended = cluster(tmp_path).run("gnt-instance", "shutdown", "--tags", "no", "such")
    assert "does not match any instance: no, such; gnt-instance list shows all" in ended.err


def test_several_need_a_yes_and_without_a_terminal_it_is_no(tmp_path: Path) -> None:
    shell = cluster(tmp_path)
    for selection in (["a1", "a2"], ["--tags", "db"]):
        ended = shell.run("gnt-instance", "stop", *selection)
        assert (ended.status, ended.out) == (1, "")
        assert ended.err.startswith("Not confirmed, nothing was done: shutdown of ")
        assert ended.err.endswith("There is no terminal; --force-multiple confirms it.\n")
    assert shell.master.jobs == {}


def test_all_of_an_empty_cluster_is_no_failure(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay({"QueryInstances": []}))
    ended = shell.run("gnt-instance", "startup", "--all")
    assert ended.status == 0 and len(ended.out.splitlines()) == 1


def test_options_of_start_stop_and_reboot_reach_the_opcode(tmp_path: Path) -> None:
    shell = cluster(tmp_path)
    shell.run("gnt-instance", "start", "--submit", "-f", "--paused", "-B", "memory=64M", "a1")
    shell.run("gnt-instance", "stop", "--submit", "--timeout=5", "--no-remember", "a1")
    shell.run("gnt-instance", "reboot", "--submit", "-t", "full", "--shutdown-timeout=6", "a1")
    start, stop, reboot = shell.master.submitted()
    assert (start["force"], start["startup_paused"], start["beparams"]) == (
        True,
        True,
        {"memory": 64},
    )
    assert (stop["timeout"], stop["no_remember"], stop["ignore_offline_nodes"]) == (5, True, False)
    assert (reboot["reboot_type"], reboot["shutdown_timeout"]) == ("full", 6)


def test_removal_needs_a_yes(tmp_path: Path) -> None:
    shell = cluster(tmp_path)
    ended = shell.run("gnt-instance", "remove", "a1")
    assert (ended.status, ended.out) == (1, "")
    assert "Instance a1 will be removed" in ended.err and "--force confirms it" in ended.err
    assert shell.run("gnt-instance", "remove", "-f", "a1").status == 0
    assert shell.master.submitted()[0]["OP_ID"] == "OP_INSTANCE_REMOVE"


# Console.


def console_of(tmp_path: Path, console: Any, running: bool = True) -> Shell:
    return Shell(
        tmp_path,
        LuxiReplay(
            {
                "QueryConfigValues": lambda _: ["c1"],
                "QueryInstances": lambda *_: [[console, running]],
            }
        ),
    )


@pytest.mark.parametrize(
    ("console", "wanted"),
    [
        (
            {"instance": "i", "kind": "vnc", "host": "n1", "port": 11000, "display": 5100},
            "Instance i has VNC listening on n1:11000 (display 5100), URL <vnc://n1:11000/>",
        ),
        (
            {"instance": "i", "kind": "vnc", "host": "n1", "port": 5901},
            "Instance i has VNC listening on n1:5901 (display 1), URL <vnc://n1:5901/>",
        ),
        (
            {"instance": "i", "kind": "spice", "host": "n1", "port": 5},
            "Instance i has SPICE listening on n1:5",
        ),
        ({"instance": "i", "kind": "msg", "message": "none"}, "none"),
    ],
)
def test_the_console_is_told(console: dict[str, Any], wanted: str, tmp_path: Path) -> None:
    ended = console_of(tmp_path, console).run("gnt-instance", "console", "i")
    assert ended == (0, wanted + "\n", "")


def test_an_instance_that_does_not_run_has_no_console(tmp_path: Path) -> None:
    vnc = {"instance": "i", "kind": "vnc", "host": "n1", "port": 5901}
    ended = console_of(tmp_path, vnc, running=False).run("gnt-instance", "console", "i")
    assert ended.status == 1 and "it is not running" in ended.err


def test_the_command_of_a_text_console_is_shown_quoted(tmp_path: Path) -> None:
    console = {
        "instance": "i",
        "kind": "ssh",
        "host": "n1",
        "user": "root",
        "command": ["x", "a b"],
    }
    ended = console_of(tmp_path, console).run("gnt-instance", "console", "--show-cmd", "i")
    assert ended.status == 0 and ended.out.startswith("ssh -q -oEscapeChar=none ")
    argv = console_argv(console, "c1", Paths("/"))
    assert argv[-3:] == ["-t", "root@n1", "x 'a b'"] and "-oHostKeyAlias=c1" in argv


def test_the_console_on_a_virtual_node_needs_no_ssh(tmp_path: Path) -> None:
    (tmp_path / "n2").mkdir()
    console = {"instance": "i", "kind": "ssh", "host": "n2", "command": ["x", "a b"]}
    argv = console_argv(console, "c1", Paths(tmp_path / "n1"))
    node = [f"GANETI_ROOTDIR={tmp_path}/n2", "GANETI_HOSTNAME=n2"]
    assert argv == ["env", *node, "sh", "-c", "x 'a b'"]


def test_no_console_is_an_error(tmp_path: Path) -> None:
    ended = console_of(tmp_path, None, running=False).run("gnt-instance", "console", "i")
    assert ended.status == 1 and "not running" in ended.err


# Page.


def test_the_page_of_a_mirrored_instance_is_the_vectors() -> None:
    lv = {
        "dev_type": "plain", "logical_id": ["xenvg", "x.disk0_data"], "children": [], "mode": "rw",
        "size": 1024, "spindles": None, "name": None, "uuid": "c-uuid", "sstatus": None,
        "pstatus": ["/dev/xenvg/x.disk0_data", 253, 0, None, None, False, 1], "drbd_info": None,
    }  # fmt: skip
    disk = {
        "dev_type": "drbd", "logical_id": [], "children": [lv], "mode": "rw", "size": 1024,
        "spindles": None, "name": None, "uuid": "disk-uuid",
        "pstatus": ["/dev/drbd0", 147, 0, None, None, False, 1],
        "sstatus": ["/dev/drbd0", 147, 0, 12.5, 30, True, 1],
        "drbd_info": {"primary_node": "node1.example.com", "primary_minor": 0,
                      "secondary_node": "node2.example.com", "secondary_minor": 0, "port": 11001},
    }  # fmt: skip
    one = {
        "name": "inst1.example.com", "uuid": "11111111-2222-3333-4444-555555555555",
        "serial_no": 3, "ctime": 1262304000, "mtime": 1262307600, "config_state": "up",
        "run_state": "up", "pnode": "node1.example.com", "pnode_group_name": "default",
        "pnode_group_uuid": "g-uuid", "snodes": ["node2.example.com"],
        "snodes_group_names": ["default"], "snodes_group_uuids": ["g-uuid"],
        "os": "debootstrap+default", "os_actual": {}, "os_instance": {}, "network_port": 11000,
        "hypervisor": "kvm", "hv_instance": {"acpi": False},
        "hv_actual": {"acpi": False, "boot_order": "disk", "vnc_bind_address": ""},
        "be_instance": {"maxmem": 512}, "be_actual": {"maxmem": 512, "minmem": 128, "vcpus": 1},
        "nics": [["eth", "nic-uuid", None, "aa:00:00:11:22:33", "bridged", "br0", "", None, None]],
        "disk_template": "drbd", "disks": [disk],
    }  # fmt: skip
    assert text_of([page(one)]).splitlines() == VECTORS["gnt-instance info 3.x"]["text_lines"]


def test_info_wants_either_names_or_all(tmp_path: Path) -> None:
    shell = Shell(tmp_path, LuxiReplay())
    assert shell.run("gnt-instance", "info").status == 1
    assert shell.run("gnt-instance", "info", "--all", "i").status == 1
    assert shell.master.calls == []
