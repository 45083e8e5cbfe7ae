"""Every option of the commands that ask the master for something changes what is asked or shown.

Each command is called with and without each of its options; master and answers are the same.
"""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import PROGRAMS, Ended, Shell, program_of
from fakes.obliging_master import GROUP, INSTANCE, INSTANCE_INFO, NODE, UUID, ObligingMaster
from ganeti.cli.app import Command, Program
from ganeti.cli.cluster_epo import epo
from ganeti.cli.cluster_init import init_request
from ganeti.cli.node_add import add_node
from ganeti.cli.on_nodes import copy_everywhere, run_everywhere
from ganeti.cli.options import Option
from ganeti.cli.run import Run
from ganeti.paths import Paths
from named_tests import source_of

# What a command is called with, where its arguments alone are not enough.
LINES = {
    "gnt-cluster watcher": "pause 1h",
    "gnt-cluster modify": "--candidate-pool-size=3",
    "gnt-cluster rename": "-f new.example.com",
    "gnt-cluster deactivate-master-ip": "--yes",
    "gnt-cluster add-tags": "blue",
    "gnt-cluster remove-tags": "blue",
    "gnt-node modify": f"-C yes {NODE}",
    "gnt-node powercycle": f"--yes {NODE}",
    "gnt-node power": f"-f off {NODE}",
    "gnt-node restricted-command": f"run {NODE}",
    "gnt-node modify-storage": f"--allocatable=yes {NODE} lvm-pv /dev/sda",
    "gnt-node evacuate": f"-f {NODE}",
    "gnt-node failover": f"-f {NODE}",
    "gnt-node migrate": f"-f {NODE}",
    "gnt-node add-tags": f"{NODE} blue",
    "gnt-node remove-tags": f"{NODE} blue",
    "gnt-instance info": INSTANCE,
    "gnt-instance add": "-t diskless -o noop -n node2 new.example.com",
    "gnt-instance remove": f"-f {INSTANCE}",
    "gnt-instance modify": f"-B maxmem=1g {INSTANCE}",
    "gnt-instance reinstall": f"-f {INSTANCE}",
    "gnt-instance grow-disk": f"{INSTANCE} 0 1g",
    "gnt-instance replace-disks": f"-p {INSTANCE}",
    "gnt-instance failover": f"-f {INSTANCE}",
    "gnt-instance migrate": f"-f {INSTANCE}",
    "gnt-instance move": f"-f -n node3 {INSTANCE}",
    "gnt-instance add-tags": f"{INSTANCE} blue",
    "gnt-instance remove-tags": f"{INSTANCE} blue",
    "gnt-job list": "",
    "gnt-job cancel": "7",
    "gnt-job change-priority": "--priority=low 7",
    "gnt-job autoarchive": "1h",
    "gnt-os modify": "-H kvm:acpi=no noop",
    "gnt-debug delay": "1",
    "gnt-group add-tags": f"{GROUP} blue",
    "gnt-group remove-tags": f"{GROUP} blue",
    "gnt-group modify": f"--alloc-policy=unallocable {GROUP}",
    "gnt-group assign-nodes": f"{GROUP} {NODE}",
    "gnt-group rename": f"{GROUP} rack1",
    "gnt-network modify": "--gateway=192.0.2.1 lan",
    "gnt-network add": "--network=192.0.2.0/24 lan",
    "gnt-network add-tags": "lan blue",
    "gnt-network remove-tags": "lan blue",
    "gnt-network connect": f"lan {GROUP}",
    "gnt-network disconnect": f"lan {GROUP}",
    "gnt-network rename": "lan wan",
    "gnt-cluster init": "c1",
    "gnt-cluster renew-crypto": "-f --new-confd-hmac-key",
    "gnt-cluster epo": f"-f {NODE}",
    "gnt-node add": "new",
    "gnt-instance batch-create": "{instances}",
    "gnt-debug submit-job": "{opcodes}",
    "gnt-debug test-osparams": "--os-parameters-secret=a=b",
    "gnt-debug iallocator": "-m allocate -t file -o noop new.example.com",
    "gnt-filter add": "--action=PAUSE",
    "gnt-filter replace": f"--action=PAUSE {UUID}",
}
WORDS = {
    "instance": INSTANCE, "node": NODE, "group": GROUP, "network": "lan", "jobid": "7",
    "host": "new.example.com", "os": "noop", "extstorage": "p", "filter": UUID,
    "suggest": "word", "free": "word", "command": "true", "file": "/etc/hostname",
}  # fmt: skip
VALUES = {
    "string": "word", "int": "4", "float": "1.5", "unit": "2g", "bool": "yes", "list": "word",
    "keyval": "a=1", "keyprivateval": "a=1", "identkeyval": "kvm:a=1", "maybefloat": "0.5",
    "json": "[]", "multilistidentkeyval": "min:memory-size=1/max:memory-size=2",
}  # fmt: skip
EXAMPLES = {"--nic-parameters": "mode=routed", "--predicates": '[["jobid", [">", "id", 5]]]'}

COMMON = ("debug", "reason")
# Options that need another one, or none, to have an effect.
ALWAYS_WITHOUT = {
    "--ip-check": "that is how it is; the opposite of --no-ip-check",
    "--name-check": "that is how it is; the opposite of --no-name-check",
    "--no-hotplug": "that is how it is; the opposite of --hotplug",
    "--instance": "that is how it is; the opposite of --node and the like",
    "--force-multiple": "only asked about when several are meant",
    "--roman": "only with the package roman, which the tests do without",
    "--verbose": "only shown where a value is missing",
}
WITHOUT: dict[str, dict[str, str]] = {
    "gnt-cluster redist-conf": {"--yes-do-it": "the facts say: no effect"},
    "gnt-instance rename": {"--force": "only asked about with --no-name-check"},
    "gnt-cluster renew-crypto": {"--no-ssh-key-check": "the host keys are the cluster's"},
    "gnt-instance console": {"--priority": "there is no job"},
    "gnt-job cancel": {
        "--force": "only asked about with a state instead of numbers",
        "--ya-rly": "confirms --kill",
    },
    **{
        f"gnt-instance {command}": {"--print-jobid": "several jobs: --submit prints them all"}
        for command in ("startup", "shutdown", "reboot", "reinstall")
    },
    "gnt-job change-priority": {"--force": "only asked about with a state instead of numbers"},
}

# What of these is done outside the call of the master; all that it is given is noted.
Note = Callable[[object], None]
HERE: dict[str, Callable[[Run, Note], int | None]] = {
    "gnt-cluster init": lambda run, note: note(init_request(run.names[0], run.options)),
    "gnt-cluster command": lambda run, note: run_everywhere(run, noting(note)),
    "gnt-cluster copyfile": lambda run, note: copy_everywhere(run, noting(note)),
    "gnt-cluster epo": lambda run, note: epo(run, lambda address: True),
    "gnt-node add": lambda run, note: add_node(run, lambda *how, **more: join(note, *how, **more)),
}

# These work on files or processes, or want answers of their own. The named tests, together, give
# each of their options.
TESTED_ELSEWHERE = {
    "gnt-cluster destroy": [
        "cluster/test_cluster_init.py::test_a_cluster_lives_from_init_to_destroy"
    ],
    "gnt-cluster master-failover": [
        "cluster/test_cluster_failover.py::test_after_the_masters_death_nothing_that_was_confirmed_is_lost",
        "cluster/test_cluster_failover.py::test_offline_nodes_may_be_counted_as_well",
    ],
    "gnt-cluster token": [
        "cli/test_cli_cluster_token.py::test_what_is_wrong_is_told_and_nothing_is_written",
        "cli/test_cli_cluster_token.py::test_a_new_token_is_printed_once_and_works",
        "cli/test_cli_cluster_token.py::test_a_new_token_as_data",
        "cli/test_cli_cluster_token.py::test_a_revoked_token_is_gone",
        "cli/test_cli_cluster_token.py::test_the_list_is_a_table",
    ],
    "gnt-cluster upgrade": [
        "cli/test_cli_upgrade.py::test_an_upgrade_has_these_steps",
        "cluster/test_cluster_upgrade.py::test_a_killed_upgrade_is_resumed_while_a_guest_runs",
    ],
    "gnt-job watch": ["cli/test_cli_jobs.py::test_watch_ends_with_the_jobs_error"],
    "gnt-job wait": ["cli/test_cli_jobs.py::test_watch_ends_with_the_jobs_error"],
    "gnt-debug wconfd": ["transcripts/gnt-debug.txt"],
    "gnt-debug metad": ["transcripts/gnt-debug.txt"],
    "gnt-instance console": [
        "cli/test_cli_instances.py::test_the_command_of_a_text_console_is_shown_quoted",
    ],
    "gnt-debug test-jobqueue": [
        "cluster/test_cluster_admin_tools.py::test_the_job_queue_goes_through_its_states",
    ],
}
# One option of a command that is tried here.
OPTIONS_ELSEWHERE = {
    ("gnt-debug iallocator", "--evac-mode"): "cli/test_cli_epo.py::test_allocators_are_asked",
    ("gnt-debug locks", "--interval"): (
        "cli/test_cli_jobs.py::test_locks_are_listed_again_after_the_interval"
    ),
}


def doing(program: str, command: str, work: Callable[[Run], int | None]) -> Program:
    """The command, with that work instead of its own."""
    made, declared = Program(program), program_of(program).commands[command]
    options = [one for one in declared.options if one.dest not in COMMON]
    made.add(Command(command, work, declared.args, options, declared.usage))
    return made


def noting(note: Note) -> Callable[[Sequence[str]], tuple[str, int]]:
    def execute(argv: Sequence[str]) -> tuple[str, int]:
        note(argv)
        return "done\n", 0

    return execute


def join(note: Note, paths: Paths, name: str, *, say: Callable[[str], None], **how: Any) -> None:
    say("joining")
    note((name, {key: value for key, value in how.items() if not callable(value)}))


def called(tmp_path: Path, program: str, command: str, words: list[str]) -> tuple[str, Ended]:
    """The requests, what was done besides, the files of the machine, and what was printed."""
    master = ObligingMaster(outcomes=OUTCOMES)
    with tempfile.TemporaryDirectory(dir=tmp_path) as root:
        shell = Shell(Path(root), master)
        shell.ssconf("master_node", "node1.example.com")
        shell.ssconf("cluster_name", "cluster.example.com")
        shell.ssconf("primary_ip_family", "2")
        put_files(Path(root))
        shell.paths.etc_hosts.parent.mkdir()
        shell.paths.etc_hosts.write_text("192.0.2.9 new.example.com new\n")
        words = [
            word.format(opcodes=root + "/opcodes", instances=root + "/instances")
            if word[0] == "{"
            else word
            for word in words
        ]
        noted: list[str] = []
        work = HERE.get(f"{program} {command}")
        if work is None:
            ended = shell.run(program, command, *words)
        else:
            made = doing(
                program, command, lambda run: work(run, lambda one: noted.append(repr(one)))
            )
            ended = shell.run_program(made, command, *words)
        files = sorted(path.name for path in shell.paths.data.iterdir())
    return json.dumps([master.calls, noted, files], sort_keys=True), ended


def put_files(root: Path) -> None:
    """What commands read: see FILES."""
    for name, content in FILES.items():
        (root / name).write_text(json.dumps(content))


FILES: dict[str, Any] = {
    "opcodes": [{"OP_ID": "OP_TEST_DELAY", "duration": 1.0}],
    "instances": [
        {"instance_name": "new.example.com", "disk_template": "diskless", "disks": [], "nics": []}
    ],
}
OUTCOMES: dict[str, Any] = {
    "OP_NODE_QUERY_STORAGE": [[NODE, "lvm-pv", "/dev/sda", 2048, 1024, 1024, True]],
    "OP_NODE_QUERYVOLS": [[NODE, "/dev/sda", "xenvg", "disk0", 2048, INSTANCE]],
    "OP_OOB_COMMAND": [[[0, NODE], [0, [["disk", "OK"]]]]],
    "OP_RESTRICTED_COMMAND": [[True, "done"]],
    "OP_OS_DIAGNOSE": lambda op: [[OS[name] for name in op["output_fields"]]],
    "OP_EXT_STORAGE_DIAGNOSE": [["p", {}, {}]],
    "OP_INSTANCE_QUERY_DATA": {INSTANCE: INSTANCE_INFO},
    "OP_TEST_ALLOCATOR": "asked",
    "OP_CLUSTER_VERIFY": {"jobs": []},
    "OP_CLUSTER_VERIFY_DISKS": {"jobs": []},
    "OP_GROUP_EVACUATE": {"jobs": []},
    "OP_INSTANCE_CHANGE_GROUP": {"jobs": []},
    "OP_NODE_EVACUATE": {"jobs": []},
    "OP_NODE_MIGRATE": {"jobs": []},
    "OP_NODE_SET_PARAMS": [],
    "OP_TAGS_SEARCH": [["/cluster", "blue"]],
    "OP_CLUSTER_REPAIR_DISK_SIZES": [],
}


OS: dict[str, Any] = {
    "name": "noop", "valid": True, "variants": ["default"], "node_status": {}, "hidden": False,
    "os_hvp": {}, "osparams": {}, "blacklisted": False, "parameters": [], "api_versions": [20],
    "trusted": True,
}  # fmt: skip


def line_of(program: str, command: Command) -> list[str]:
    line = LINES.get(f"{program} {command.name}")
    if line is not None:
        return shlex.split(line)
    words: list[str] = []
    for one in command.args:
        words += [one.choices[0] if one.choices else WORDS[one.kind]] * max(one.least, 1)
    return words


def given(option: Option) -> list[str]:
    flag = option.flags[-1]
    if option.action not in ("store", "append"):
        return [flag]
    if option.choices:
        value = next(one for one in reversed(option.choices) if one != str(option.default))
    else:
        value = EXAMPLES.get(flag, VALUES[option.kind])
    return [f"{flag}={value}"] if flag.startswith("--") else [flag, value]


def rows() -> list[Any]:
    return [
        pytest.param(program, command, id=f"{program} {command.name}")
        for program in PROGRAMS
        for command in program_of(program).commands.values()
        if f"{program} {command.name}" not in TESTED_ELSEWHERE
    ]


@pytest.mark.parametrize(("program", "command"), rows())
def test_every_option_has_an_effect(tmp_path: Path, program: str, command: Command) -> None:
    line = line_of(program, command)
    plain = called(tmp_path, program, command.name, line)
    assert plain[1].status == 0, plain[1].err
    idle = set()
    for option in command.options:
        if option.dest in COMMON or is_given(option, line):
            continue
        if (f"{program} {command.name}", option.flags[-1]) in OPTIONS_ELSEWHERE:
            continue
        words = given(option)
        if called(tmp_path, program, command.name, [*words, *line]) == plain:
            idle.add(option.flags[-1])
    told = WITHOUT.get(f"{program} {command.name}", {})
    assert idle - ALWAYS_WITHOUT.keys() == set(told)


def named() -> list[Any]:
    """(command, flags of which each is given in one of the tests, names of the tests)."""
    made = []
    for call, tests in TESTED_ELSEWHERE.items():
        program, _, name = call.partition(" ")
        command = program_of(program).commands[name]
        told = [one.flags for one in command.options if one.dest not in COMMON]
        made.append(
            pytest.param(
                call, [one for one in told if one[-1] not in WITHOUT.get(call, {})], tests, id=call
            )
        )
    for (call, flag), test in OPTIONS_ELSEWHERE.items():
        made.append(pytest.param(call, [(flag,)], [test], id=f"{call} {flag}"))
    return made


@pytest.mark.parametrize(("call", "flags", "tests"), named())
def test_what_is_tested_elsewhere_is(call: str, flags: list[Any], tests: list[str]) -> None:
    sources = [source_of(test) for test in tests]
    word = call.partition(" ")[2]
    whole = [source_of(test.partition("::")[0]) for test in tests]
    assert all(word in text for text in whole), "a test that does not call the command"
    assert [one for one in flags if not any(flag in s for flag in one for s in sources)] == []


def is_given(option: Option, line: list[str]) -> bool:
    """The line does not do without it."""
    return any(word.split("=")[0] in option.flags for word in line)
