"""A cluster in memory with the instance web1 on node2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes.configs import an_instance
from fakes.services import FILE_DIR, SHARED_DIR, FakeServices, Ran, a_cluster, contents, run_unit
from ganeti.errors import OpPrereqError
from ganeti.model.disk import Disk
from ganeti.model.instance import Instance
from ganeti.model.report import RunningInfo
from ganeti.opcodes.base import Opcode
from ganeti.types import AdminState, DiskTemplate

POLICY = {
    "minmax": [
        {
            "min": {
                "memory-size": 1, "cpu-count": 1, "disk-size": 1, "disk-count": 0,
                "nic-count": 0, "spindle-use": 1,
            },
            "max": {
                "memory-size": 32768, "cpu-count": 8, "disk-size": 1048576, "disk-count": 16,
                "nic-count": 8, "spindle-use": 12,
            },
        }
    ]
}  # fmt: skip
NAME = "web1.example.com"
HOME = "node2"
OTHER = "node3"


def disk_uuid(number: int) -> str:
    return f"33333333-0000-4000-8000-{number:012d}"


def a_disk(template: DiskTemplate, number: int, node: str, **more: Any) -> Disk:
    shared = template is DiskTemplate.SHARED_FILE
    folder = SHARED_DIR if shared else FILE_DIR
    values: dict[str, Any] = {
        "uuid": disk_uuid(number),
        "dev_type": template,
        "logical_id": ("loop", f"{folder}/{NAME}/d{number}.{template}.disk{number}"),
        "nodes": () if shared else (node,),
        "iv_name": f"disk/{number}",
        "size": 1024,
        "params": {},
    }
    return Disk(**{**values, **more})


def a_bed(
    root: Path,
    template: DiskTemplate = DiskTemplate.FILE,
    disks: int = 1,
    *,
    up: bool = False,
    nodes: int = 3,
    **values: Any,
) -> FakeServices:
    """The instance with disks of this template; its devices are where they have to be."""
    made = FakeServices(a_cluster(nodes, ipolicy=POLICY), root)
    node = made.node(HOME).uuid
    own = [a_disk(template, number, node) for number in range(disks)]
    one = an_instance(
        1,
        node,
        **{
            "admin_state": AdminState.UP if up else AdminState.DOWN,
            "disks_active": up,
            "disks": tuple(disk.uuid for disk in own),
            **values,
        },
    )

    def add(draft: Any) -> None:
        for disk in own:
            draft.add(disk)
        draft.add(one)

    made.change(add)
    shared = template is DiskTemplate.SHARED_FILE
    for number in range(1, nodes + 1) if shared else [2]:
        place_devices(made, f"node{number}", own)
    if up:
        place = made.place(HOME)
        place.active |= {disk.uuid for disk in own}
        place.running[NAME] = RunningInfo(memory=128, vcpus=1)
    return made


def place_devices(services: FakeServices, node: str, disks: Sequence[Disk]) -> None:
    place = services.place(node)
    for disk in disks:
        place.devices[disk.uuid] = disk.size
        place.directories.add(str(disk.logical_id[1]).rpartition("/")[0])


def web1(services: FakeServices, name: str = NAME) -> Instance:
    found = services.config.find_instance(name)
    assert found is not None
    return found


def disks_of(services: FakeServices) -> tuple[Disk, ...]:
    return services.config.disks_of(web1(services))


def home_of(services: FakeServices) -> str:
    return services.config.nodes[web1(services).primary_node].name.partition(".")[0]


def runs_on(services: FakeServices) -> list[str]:
    """Short names of the nodes where the guest is going on."""
    return sorted(
        services.config.nodes[uuid].name.partition(".")[0]
        for uuid, place in services.rpc.places.items()
        if NAME in place.running and place.running[NAME].state == 0
    )


def refused(services: FakeServices, op: Opcode) -> str | None:
    """The code with which the opcode is refused; the configuration has not changed."""
    before = contents(services.config)
    with pytest.raises(OpPrereqError) as caught:
        run_unit(services, op)
    assert contents(services.config) == before
    return caught.value.code


def hook_values(ran: Ran, *names: str) -> list[str]:
    assert ran.before is not None
    return [ran.before.env[name] for name in names]
