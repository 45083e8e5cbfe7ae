"""Variables of hooks as a real cluster has recorded them: names, and the values that are fixed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.instance_bed import a_bed
from fakes.services import FakeServices, Ran, run_unit
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.disk import OpInstanceGrowDisk, OpInstanceRecreateDisks
from ganeti.opcodes.instance import (
    OpInstanceFailover,
    OpInstanceMigrate,
    OpInstanceReinstall,
    OpInstanceRename,
    OpInstanceSetParams,
)
from ganeti.types import DiskTemplate

FILE, SHARED = DiskTemplate.FILE, DiskTemplate.SHARED_FILE
COMMON = {
    "HOOKS_VERSION", "OP_CODE", "OBJECT_TYPE", "DATA_DIR", "HOOKS_PHASE", "HOOKS_PATH", "CLUSTER",
    "MASTER",
}  # fmt: skip
REPEATED = ("INSTANCE_NIC", "INSTANCE_DISK", "INSTANCE_BE_", "INSTANCE_HV_")  # by the instance
CASES: list[tuple[str, Opcode, DiskTemplate, bool]] = [
    ("instance-modify", OpInstanceSetParams(instance_name="web1", beparams={"vcpus": 2}), FILE, 1),
    (
        "instance-rename",
        OpInstanceRename(
            instance_name="web1", new_name="web9", name_check=False, ip_check=False
        ),
        FILE,
        False,
    ),
    ("instance-reinstall", OpInstanceReinstall(instance_name="web1"), FILE, False),
    ("disk-grow", OpInstanceGrowDisk(instance_name="web1", disk=0, amount=1), FILE, False),
    (
        "instance-failover",
        OpInstanceFailover(instance_name="web1", target_node="node3"),
        SHARED,
        True,
    ),
    (
        "instance-migrate",
        OpInstanceMigrate(instance_name="web1", cleanup=True),
        SHARED,
        True,
    ),
    ("instance-recreate-disks", OpInstanceRecreateDisks(instance_name="web1"), FILE, False),
]  # fmt: skip


def recorded(samples: Path, name: str) -> Iterator[dict[str, str]]:
    for line in (samples / "hooks" / f"{name}.jsonl").read_text().splitlines():
        record: dict[str, Any] = json.loads(line)
        if "-pre.d/" in record["script"]:
            yield {
                key.removeprefix("GANETI_"): value
                for key, value in record["env"].items()
                if key.startswith("GANETI_")
            }


def own(env: dict[str, str]) -> set[str]:
    return {name for name in env if name not in COMMON and not name.startswith(REPEATED)}


def ran(services: FakeServices, op: Opcode) -> Ran:
    if isinstance(op, OpInstanceRecreateDisks):
        services.place("node2").devices.clear()
        services.place("node2").directories.clear()
    return run_unit(services, op)


@pytest.mark.parametrize(("name", "op", "template", "up"), CASES, ids=[one[0] for one in CASES])
def test_hooks_get_the_recorded_variables(
    samples: Path, tmp_path: Path, name: str, op: Opcode, template: DiskTemplate, up: bool
) -> None:
    result = ran(a_bed(tmp_path, template, up=bool(up)), op)
    assert result.before is not None
    assert result.before.path == name
    now = dict(result.before.env)
    found = list(recorded(samples, name))
    assert found
    for env in found:
        assert env["OP_CODE"] == op.OP_ID
        assert env["OBJECT_TYPE"] == result.before.object_type
        assert own(env) == own(now)
