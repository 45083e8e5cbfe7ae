"""Our node daemon against recorded answers of a 3.0.2 one: same fate, same shapes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.nodes import MASTER, JumpingClock, a_node, a_root
from ganeti.node.daemon import load_served
from ganeti.rpc.base import CALLS, SERVED
from ganeti.rpc.dispatch import Dispatcher
from ganeti.serializer import loads

OS_CALLS = {"os_diagnose", "os_validate"}  # the recorded definitions are not here
LVM_CALLS = {"vg_list", "lv_list", "node_volumes", "drbd_needs_activation"}
OTHER_TOOLS = {"export_list", "export_info", "export_remove"}

# Where ours is better on purpose, or the machine of the recording had what a virtual node has not.
OTHER_FATE = {
    'all_instances_info [["fake"], {}]': "parameters of a hypervisor may be left out",
    'bridges_exist [["br0", "nosuchbr"]]': "a virtual node has all bridges",
    'bridges_exist [["eth0"]]': "a virtual node has all bridges",
    'file_storage_dir_create ["/etc/x"]': "ours refuses what is not allowed",
    'file_storage_dir_create ["relative/x"]': "ours refuses what is not allowed",
    'hypervisor_validate_params ["fake", {}]': "parameters may be left out",
    'hypervisor_validate_params ["fake", {"migration_mode": "wrong"}]': "ours may check",
    'iallocator_runner ["hail", "{}", {}]': "depends on an installed allocator",
    'storage_list ["file", ["/srv/ganeti/file-storage"], ""': "other form of arguments",
}


def shape(value: Any) -> Any:
    """Types and keys; a list by its first element; numbers are one type."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return type(value).__name__
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return {key: shape(item) for key, item in value.items()}


def compatible(ours: Any, theirs: Any) -> bool:
    """Same shape, where an empty list goes with any, and null with anything."""
    if "NoneType" in (ours, theirs):
        return True
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(compatible(ours[key], theirs[key]) for key in ours.keys() & theirs.keys())
    if isinstance(ours, list) and isinstance(theirs, list):
        return not ours or not theirs or compatible(ours[0], theirs[0])
    return bool(ours == theirs)


def records(samples: Path) -> Iterator[tuple[str, str, list[Any]]]:
    load_served()
    for line in (samples / "noded/calls.jsonl").read_text().splitlines():
        record = json.loads(line)
        request, response = record["request"], record["response"]
        name = request["path"].lstrip("/")
        if "body" not in response or request["verb"] != "POST":
            continue
        if name in CALLS and name in SERVED and name not in OS_CALLS | LVM_CALLS | OTHER_TOOLS:
            yield name, request["body"].strip(), json.loads(response["body"])


@pytest.fixture
def dispatcher(tmp_path: Path) -> Dispatcher[Any]:
    """A node as far as it was like the recorded one."""
    a_root(tmp_path)
    node = a_node(tmp_path, MASTER)
    assert isinstance(node.clock, JumpingClock)
    (tmp_path / "srv/ganeti/file-storage/of-others").mkdir(parents=True)
    node.paths.conf.mkdir(parents=True)
    node.paths.file_storage_paths.write_text("/srv/ganeti/file-storage\n")
    node.paths.ssconf("master_node").write_text(f"{MASTER}\n")
    folder = node.paths.hooks / "instance-start-pre.d"
    folder.mkdir(parents=True)
    for script, mode in (("10-rec", 0o755), ("20-not-executable", 0o644), ("30.bad-name", 0o755)):
        (folder / script).write_text("#!/bin/sh\n")
        (folder / script).chmod(mode)
    return Dispatcher(node, CALLS, SERVED)


def test_recorded_calls_have_the_same_fate_and_shape(
    samples: Path, dispatcher: Dispatcher[Any]
) -> None:
    problems = []
    asked = 0
    for name, body, (ok, payload) in records(samples):
        asked += 1
        ours_ok, ours = loads(dispatcher.answer(name, body.encode()))
        if name == "node_verify" and not ok:
            continue  # recorded with a wrong form of hvinfo
        if any(f"{name} {body}".startswith(known) for known in OTHER_FATE):
            continue
        if ours_ok != ok:
            problems.append(f"{name} {body[:150]}: recorded {ok} {payload!r}, ours {ours!r}")
        elif ok and not compatible(shape(ours), shape(payload)):
            problems.append(f"{name} {body[:150]}: recorded {shape(payload)}, ours {shape(ours)}")
        elif not ok and not isinstance(ours, str):
            problems.append(f"{name}: the error is no text: {ours!r}")
    assert asked > 20
    assert problems == []
