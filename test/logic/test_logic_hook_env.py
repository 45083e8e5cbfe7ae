"""Variables of instance hooks, against what scripts of a real cluster got."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ganeti.config.snapshot import Snapshot
from ganeti.logic.hook_env import instance_env
from ganeti.model.config import ConfigDocument
from ganeti.serializer import decode, loads

COMMON = {
    "GANETI_CLUSTER", "GANETI_DATA_DIR", "GANETI_HOOKS_PATH", "GANETI_HOOKS_PHASE",
    "GANETI_HOOKS_VERSION", "GANETI_MASTER", "GANETI_OBJECT_TYPE", "GANETI_OP_CODE",
}  # fmt: skip
OWN = {
    "instance-add": {"ADD_MODE"},
    "instance-stop": {"TIMEOUT"},
    "instance-remove": {"SHUTDOWN_TIMEOUT"},
    "instance-start": {"FORCE"},
    "instance-reboot": {"IGNORE_SECONDARIES", "REBOOT_TYPE", "SHUTDOWN_TIMEOUT"},
}


def state(samples: Path, name: str) -> Snapshot:
    text = (samples / "state" / name / "config.data").read_bytes()
    return Snapshot.of(decode(ConfigDocument, loads(text), "config.data"))


def recorded(samples: Path, path: str, command: str) -> dict[str, str]:
    """Variables of the first pre script that ran during a command; without the opcode's own."""
    for line in (samples / "hooks" / f"{path}.jsonl").read_text().splitlines():
        record = json.loads(line)
        if command in record["while"] and record["env"]["GANETI_HOOKS_PHASE"] == "pre":
            return variables(record, path)
    raise AssertionError(f"{command} is not in the recordings of {path}")


def variables(record: dict[str, Any], path: str) -> dict[str, str]:
    env = {
        name.removeprefix("GANETI_"): value
        for name, value in record["env"].items()
        if name.startswith("GANETI_") and name not in COMMON and "_POST_" not in name
    }
    return {name: value for name, value in env.items() if name not in OWN[path]}


@pytest.mark.parametrize(
    ("path", "command", "stage", "name"),
    [
        ("instance-remove", "remove -f test1.example.com", "3-instances", "test1"),
        ("instance-stop", "gnt-instance shutdown web2", "5-late", "web2"),
    ],
)
def test_variables_are_as_recorded(
    samples: Path, path: str, command: str, stage: str, name: str
) -> None:
    config = state(samples, stage)
    instance = config.find_instance(name)
    assert instance is not None
    made = instance_env(config, instance, config.disks_of(instance))
    assert made == recorded(samples, path, command)


def test_variables_of_a_new_instance_are_as_recorded(samples: Path) -> None:
    config = state(samples, "4-full")
    instance = config.find_instance("web2")
    assert instance is not None
    made = instance_env(config, instance, config.disks_of(instance), start=False)
    assert made == recorded(samples, "instance-add", "--no-start web2.example.com")


@pytest.mark.parametrize("path", ["instance-start", "instance-reboot"])
def test_names_of_variables_are_as_recorded(samples: Path, path: str) -> None:
    """The instance of these records is in no copy of the configuration; one like it is."""
    config = state(samples, "3-instances")
    instance = config.find_instance("web1")
    assert instance is not None
    made = instance_env(config, instance, config.disks_of(instance))
    told = recorded(samples, path, "test1.example.com")
    assert set(told) - set(made) == {"INSTANCE_DISK0_NAME"}
    assert set(made) <= set(told)
