"""`FakeServices` whose nodes also know roles, power, storage units and sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fakes.services import FakeCalls, FakeServices, Place, Ran, a_cluster, run_unit
from ganeti.config.snapshot import Snapshot
from ganeti.errors import GenericError, OpExecError
from ganeti.logic.base import GeneratedJobs, HookEnv, LogicalUnit
from ganeti.logic.registry import unit_for
from ganeti.model.disk import Disk
from ganeti.model.node import Node
from ganeti.model.report import Dimensions, LvInfo, NodeVolume
from ganeti.opcodes.base import Opcode
from ganeti.rpc.base import Call, Outcome
from ganeti.serializer import Json
from ganeti.version import CONFIG_VERSION

BASE = frozenset(
    {
        "GANETI_CLUSTER", "GANETI_DATA_DIR", "GANETI_HOOKS_PATH", "GANETI_HOOKS_PHASE",
        "GANETI_HOOKS_VERSION", "GANETI_MASTER", "GANETI_OBJECT_TYPE", "GANETI_OP_CODE", "PATH",
    }
)  # fmt: skip


@dataclass
class AdminCalls(FakeCalls):
    """What nodes answer beyond instances and their disks."""

    oob: Callable[[str, str], Json] = lambda command, node: None
    volumes: dict[str, LvInfo] = field(default_factory=dict)
    sizes: dict[str, Dimensions] = field(default_factory=dict)  # by disk uuid
    volume_groups: dict[str, int] = field(default_factory=dict)
    switches: list[tuple[str, str | None]] = field(default_factory=list)

    def _answer(self, node: Node, call: Call[Any, Any], args: tuple[Any, ...]) -> Outcome[Any]:
        """As nodes do: some calls go to offline nodes, too."""
        asked = replace(node, offline=node.offline and not call.offline_too)
        return super()._answer(asked, call, args)

    def version(self, place: Place) -> int:
        return CONFIG_VERSION

    def node_configure_ovs(self, place: Place, name: str, link: str | None) -> None:
        self.switches.append((name, link))

    def node_demote_from_mc(self, place: Place) -> None:
        return None

    def node_crypto_tokens(self, place: Place, wanted: Any) -> list[tuple[str, str]]:
        return [("ssl", "ab:cd")]

    def node_has_ip_address(self, place: Place, address: str) -> bool:
        return address.startswith("198.51.100.")

    def node_powercycle(self, place: Place, hypervisor: str, hvparams: Any) -> str:
        return f"Reboot of {hypervisor}"

    def node_activate_master_ip(self, place: Place, params: Any, script: bool) -> None:
        return None

    def node_deactivate_master_ip(self, place: Place, params: Any, script: bool) -> None:
        return None

    def node_change_master_netmask(self, place: Place, *args: Any) -> None:
        return None

    def run_oob(self, place: Place, program: str, command: str, node: str, timeout: int) -> Json:
        return self.oob(command, node)

    def restricted_command(self, place: Place, cmd: str) -> str:
        if cmd != "uptime":
            raise OpExecError("not allowed")
        return "up"

    def storage_list(
        self, place: Place, kind: str, args: Any, name: str | None, fields: Sequence[str]
    ) -> list[list[Json]]:
        values = {"name": args[0][0], "size": 100, "used": 1, "free": 99, "allocatable": True}
        return [[values[one] for one in fields]]

    def storage_modify(self, place: Place, kind: str, args: Any, name: str, what: Any) -> None:
        return None

    def node_volumes(self, place: Place) -> list[NodeVolume]:
        return [NodeVolume(name="lv1", size="128.00", dev="/dev/sda", vg="xenvg")]

    def lv_list(self, place: Place, groups: Any) -> dict[str, LvInfo]:
        return self.volumes

    def vg_list(self, place: Place) -> dict[str, int]:
        return self.volume_groups

    def drbd_needs_activation(self, place: Place, disks: Sequence[Disk]) -> list[str]:
        return []

    def blockdev_getdimensions(
        self, place: Place, disks: Sequence[Disk]
    ) -> list[Dimensions | None]:
        return [self.sizes.get(disk.uuid) for disk in disks]

    def upload_file(self, place: Place, upload: Any) -> None:
        return None


class AdminServices(FakeServices):
    """Counts how often ssconf was sent."""

    def __init__(self, root: Path, config: Snapshot | None = None) -> None:
        super().__init__(config or a_cluster(3), root)
        self.calls = AdminCalls()
        self.rpc: Any = self.calls
        self.distributed = 0

    def distribute(self, *, anew: bool = False) -> None:
        self.distributed += 1

    def run_post_hooks(self, unit: LogicalUnit[Any, Any], plan: object, nodes: Any) -> None:
        return None

    def run(self, op: Opcode) -> Ran:
        return run_unit(self, op)

    def jobs(self, op: Opcode) -> list[list[Json]]:
        """The jobs that the opcode has made, in their JSON form."""
        unit = unit_for(op.OP_ID)(op, self)
        unit.arguments()
        result = unit.execute(unit.check(self.config))
        assert isinstance(result, GeneratedJobs)
        return [[one.to_json() for one in job] for job in result.jobs]

    def refused(self, op: Opcode) -> tuple[str, Any]:
        """Class and code of the error in which it ends; nothing is changed."""
        before = self.config
        try:
            self.run(op)
        except GenericError as error:
            assert self.config is before
            return type(error).__name__, getattr(error, "code", None)
        raise AssertionError(f"{op.OP_ID} is not refused")


def own_variables(env: dict[str, str]) -> dict[str, str]:
    """The variables of a recorded hook, without what every hook and the post phase have."""
    return {
        name.removeprefix("GANETI_"): value
        for name, value in env.items()
        if name not in BASE and "_POST_" not in name
    }


def same_hook(env: HookEnv | None, record: dict[str, Any]) -> bool:
    """Whether path, kind of object and variables' names are those of a record."""
    assert env is not None
    recorded = record["env"]
    return (
        env.path == recorded["GANETI_HOOKS_PATH"]
        and env.object_type == recorded["GANETI_OBJECT_TYPE"]
        and set(env.env) == set(own_variables(recorded))
    )
