"""Every option of the commands that ask the master for something changes what is asked or shown.

Each command is called with and without each of its options; master and answers are the same.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import PROGRAMS, Ended, Shell, program_of
from fakes.obliging_master import GROUP, INSTANCE, NODE, UUID, ObligingMaster
from ganeti.cli.app import Command
from ganeti.cli.options import Option

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

# These work on files, processes or other machines, or want an answer of their own.
TESTED_ELSEWHERE = {
    "gnt-cluster destroy": "test_cluster_init.py",
    "gnt-instance info": "test_cli_recordings.py",
    "gnt-group info": "test_cli_recordings.py",
    "gnt-cluster init": "test_cli_cluster.py, test_master_bootstrap.py",
    "gnt-cluster master-failover": "test_cluster_failover.py",
    "gnt-cluster copyfile": "test_cli_cluster.py",
    "gnt-cluster command": "test_cli_cluster.py",
    "gnt-cluster info": "test_cli_recordings.py",
    "gnt-cluster epo": "test_cli_epo.py",
    "gnt-cluster renew-crypto": "test_cluster_admin_crypto.py",
    "gnt-cluster token": "the tests of the remote API's tokens",
    "gnt-cluster upgrade": "refused always",
    "gnt-node add": "test_cli_cluster.py, test_net_join.py",
    "gnt-instance batch-create": "test_cli_instances.py",
    "gnt-instance console": "test_cli_instances.py",
    "gnt-job watch": "test_cli_jobs.py",
    "gnt-job wait": "test_cli_jobs.py",
    "gnt-debug submit-job": "test_cli_jobs.py",
    "gnt-debug locks": "repeats for ever",
    "gnt-debug iallocator": "test_cluster_admin_tools.py",
    "gnt-debug test-jobqueue": "test_cluster_admin_tools.py",
    "gnt-debug test-osparams": "test_cluster_admin_tools.py",
    "gnt-debug wconfd": "refused always",
    "gnt-debug metad": "refused always",
}


def called(tmp_path: Path, program: str, command: str, words: list[str]) -> tuple[str, Ended]:
    """The requests and what was printed."""
    master = ObligingMaster(outcomes=OUTCOMES)
    shell = Shell(tmp_path, master)
    shell.ssconf("master_node", "node1.example.com")
    shell.ssconf("cluster_name", "cluster.example.com")
    ended = shell.run(program, command, *words)
    return json.dumps(master.calls, sort_keys=True), ended


OUTCOMES: dict[str, Any] = {
    "OP_NODE_QUERY_STORAGE": [[NODE, "lvm-pv", "/dev/sda", 2048, 1024, 1024, True]],
    "OP_NODE_QUERYVOLS": [[NODE, "/dev/sda", "xenvg", "disk0", 2048, INSTANCE]],
    "OP_OOB_COMMAND": [[[0, NODE], [0, [["disk", "OK"]]]]],
    "OP_RESTRICTED_COMMAND": [[True, "done"]],
    "OP_OS_DIAGNOSE": lambda op: [[OS[name] for name in op["output_fields"]]],
    "OP_EXT_STORAGE_DIAGNOSE": [["p", {}, {}]],
    "OP_INSTANCE_QUERY_DATA": {},
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
        if option.dest in ("debug", "reason") or is_given(option, line):
            continue
        words = given(option)
        if called(tmp_path, program, command.name, [*words, *line]) == plain:
            idle.add(option.flags[-1])
    told = WITHOUT.get(f"{program} {command.name}", {})
    assert idle - ALWAYS_WITHOUT.keys() == set(told)


def is_given(option: Option, line: list[str]) -> bool:
    """The line does not do without it."""
    return any(word.split("=")[0] in option.flags for word in line)


# Options that need another one, or none, to have an effect.
ALWAYS_WITHOUT = {
    "--ip-check": "that is how it is; the opposite of --no-ip-check",
    "--name-check": "that is how it is; the opposite of --no-name-check",
    "--no-hotplug": "that is how it is; the opposite of --hotplug",
    "--instance": "that is how it is; the opposite of --node and the like",
    "--force-multiple": "only asked about when several are meant",
    "--verbose": "only shown where a value is missing",
}
WITHOUT: dict[str, dict[str, str]] = {
    "gnt-cluster redist-conf": {"--yes-do-it": "the facts say: no effect"},
    "gnt-instance rename": {"--force": "only asked about with --no-name-check"},
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
