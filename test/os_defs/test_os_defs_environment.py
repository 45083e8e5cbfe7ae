"""The environment of OS scripts, against what a real cluster gave its scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.guests import NODE_UUID, a_file_disk, a_nic, an_instance
from ganeti.model.filled import FilledInstance
from ganeti.os_defs.environment import (
    ScriptDisk,
    core_environment,
    instance_environment,
    transfer_environment,
)
from ganeti.os_defs.find import OsDefinition
from ganeti.serializer import Json
from ganeti.types import DiskMode, HypervisorKind

RECOS = OsDefinition("recos", Path("/srv/ganeti/os/recos"), 20, (20,), ("small", "large"), (), True)
# What the exporting daemon's own environment and its shell add.
OUTSIDE = {
    *("HOME", "LANG", "LC_ALL", "LOGNAME", "OLDPWD", "PWD", "SHLVL", "TERM", "USER", "_"),
    *("EXP_SIZE_FD", "LC_CTYPE", "MAIL", "SHELL", "SSH_CLIENT", "SSH_CONNECTION"),
}


def numbers(environment: Mapping[str, str], word: str) -> list[int]:
    return list(range(int(environment.get(f"{word}_COUNT", 0))))


def rebuilt(recorded: Mapping[str, str]) -> tuple[FilledInstance, list[ScriptDisk]]:
    """The instance that a recorded environment tells of."""
    disks = []
    for index in numbers(recorded, "DISK"):
        key = f"DISK_{index}_"
        path = recorded[key + "PATH"]
        disk = a_file_disk(
            "x",
            uuid=recorded[key + "UUID"],
            size=int(recorded[key + "SIZE"]),
            mode=DiskMode(recorded[key + "ACCESS"]),
            name=recorded.get(key + "NAME"),
            logical_id=(recorded[key + "BACKEND_TYPE"].removeprefix("file:"), path),
        )
        disks.append(ScriptDisk(disk, path))
    nics = []
    for index in numbers(recorded, "NIC"):
        key = f"NIC_{index}_"
        names = {
            **{"NAME": "name", "UUID": "uuid", "SUBNET": "network", "GATEWAY": "gateway"},
            **{"SUBNET6": "network6", "GATEWAY6": "gateway6", "MAC_PREFIX": "mac_prefix"},
        }
        network: dict[str, Json] = {
            field: recorded[f"{key}NETWORK_{word}"]
            for word, field in names.items()
            if f"{key}NETWORK_{word}" in recorded
        }
        if network:
            network["tags"] = recorded[f"{key}NETWORK_TAGS"].split()
        nics.append(
            a_nic(
                uuid=recorded[key + "UUID"],
                mac=recorded[key + "MAC"],
                ip=recorded.get(key + "IP"),
                name=recorded.get(key + "NAME"),
                nicparams={"mode": recorded[key + "MODE"], "link": recorded[key + "LINK"]},
                netinfo=network or None,
            )
        )
    instance = an_instance(
        recorded["INSTANCE_NAME"],
        hypervisor=HypervisorKind(recorded["HYPERVISOR"]),
        nics=tuple(nics),
        os=recorded["INSTANCE_OS"],
        uuid=recorded["INSTANCE_UUID"],
        primary_node=recorded["INSTANCE_PRIMARY_NODE"],
        ctime=float(recorded["INSTANCE_CTIME"]),
        mtime=float(recorded["INSTANCE_MTIME"]),
        osparams={k[4:].lower(): v for k, v in recorded.items() if k.startswith("OSP_")},
    )
    be = {k[12:]: _value(v) for k, v in recorded.items() if k.startswith("INSTANCE_BE_")}
    hv = {k[12:]: v for k, v in recorded.items() if k.startswith("INSTANCE_HV_")}
    return replace(instance, beparams=be, hvparams=hv), disks


def _value(text: str) -> Json:
    return {"True": True, "False": False}.get(text, int(text) if text.isdigit() else text)


def records(samples: Path, script: str) -> Iterator[dict[str, str]]:
    for line in (samples / "os/runs.jsonl").read_text().splitlines():
        record = json.loads(line)
        if record["script"].endswith("/" + script):
            yield {k: v for k, v in record["env"].items() if k not in OUTSIDE}


@pytest.mark.parametrize("script", ["create", "rename", "export", "import"])
def test_recorded_environments_are_made_exactly(samples: Path, script: str) -> None:
    seen = 0
    for recorded in records(samples, script):
        instance, disks = rebuilt(recorded)
        made = instance_environment(RECOS, instance, disks, 0)
        if "INSTANCE_REINSTALL" in recorded:
            made["INSTANCE_REINSTALL"] = "1"
        if script == "rename":
            made["OLD_INSTANCE_NAME"] = recorded["OLD_INSTANCE_NAME"]
        if script in ("export", "import"):
            index = int(recorded[f"{script.upper()}_INDEX"])
            made = transfer_environment(made, script, disks[index], index)
        assert made == recorded
        seen += 1
    assert seen > 0


def test_the_recorded_environment_of_verify_is_made_exactly(samples: Path) -> None:
    for recorded in records(samples, "verify"):
        osparams = {k[4:].lower(): v for k, v in recorded.items() if k.startswith("OSP_")}
        assert core_environment(RECOS, f"recos+{recorded['OS_VARIANT']}", osparams, 0) == recorded


def test_without_a_variant_the_first_one_is_told() -> None:
    assert core_environment(RECOS, "recos", {}, 3)["OS_VARIANT"] == "small"
    old = replace(RECOS, api_version=10)
    assert core_environment(old, "recos", {}, 0)["OS_VARIANT"] == ""


def test_names_of_parameters_become_names_of_variables() -> None:
    made = core_environment(RECOS, "recos+small", {"root-size": 9}, 0)
    assert made["OSP_ROOT_SIZE"] == "9"


def test_the_frontends_are_those_of_the_hypervisor() -> None:
    disk = a_file_disk("web1")
    instance = an_instance(hypervisor=HypervisorKind.KVM, disks=(disk,), nics=(a_nic(),))
    made = instance_environment(RECOS, instance, [ScriptDisk(disk, None, "rbd:p/i")], 0)
    assert made["DISK_0_FRONTEND_TYPE"] == made["NIC_0_FRONTEND_TYPE"] == "paravirtual"
    assert "DISK_0_PATH" not in made and made["DISK_0_URI"] == "rbd:p/i"
    assert made["INSTANCE_PRIMARY_NODE"] == NODE_UUID
    assert all(re.fullmatch(r"[A-Za-z0-9_]+", name) for name in made)
