"""Names and uuids of objects in opcodes: facts/master.md §C, "expected uuid given with a name"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fakes.configs import a_node, an_instance
from fakes.services import FakeServices, a_cluster, run_unit
from ganeti import opcodes
from ganeti.config.snapshot import Snapshot
from ganeti.errors import Code, OpPrereqError
from ganeti.logic import ask
from ganeti.logic.identity import confirm, with_names
from ganeti.opcodes.base import Opcode
from ganeti.opcodes.group import OpGroupAssignNodes
from ganeti.opcodes.instance import OpInstanceMigrate, OpInstanceStartup
from ganeti.opcodes.node import OpNodePowercycle, OpOobCommand
from ganeti.types import OobCommand

STRANGE = "00000000-0000-4000-8000-000000000000"

MANY = ("node_uuids", "on_node_uuids")
PAIRS = sorted(
    (op_id, one.name)
    for op_id in opcodes.MODULES
    for one in opcodes.find(op_id).PARAMS.values()
    if one.name.endswith(("_uuid", "_uuids"))
)
VALUES: dict[str, Any] = {
    "mode": "create", "target_node": "node2", "reboot_type": "soft", "disk": 0, "amount": 1,
    "storage_type": "lvm-pv", "changes": {}, "command": "health", "duration": 0.0, "disks": [],
    "nics": [], "new_name": "x", "group_name": "default",
}  # fmt: skip
MODES = {"OP_NODE_EVACUATE": "all", "OP_INSTANCE_REPLACE_DISKS": "replace_auto"}
MODES |= dict.fromkeys(("OP_BACKUP_EXPORT", "OP_BACKUP_PREPARE"), "local")


@pytest.fixture
def config() -> Snapshot:
    return with_instance(a_cluster(3), "web.example.com")


def with_instance(config: Snapshot, *names: str) -> Snapshot:
    services = FakeServices(config, Path("/nowhere"))
    for number, name in enumerate(names, start=5):
        one = an_instance(number, config.cluster.master_node, name=name)
        services.change(lambda draft, one=one: draft.add(one))
    return services.config


def an_opcode(op_id: str, **more: Any) -> Opcode:
    """With values for what is required."""
    cls = opcodes.find(op_id)
    needed = {name: one for name, one in cls.PARAMS.items() if one.required}
    values = {name: VALUES.get(name, "node2") for name in needed}
    values |= {name: "web" for name in needed if name == "instance_name"}
    values |= {name: ["node2"] for name in needed if name == "nodes"}
    if "mode" in needed:
        values["mode"] = MODES.get(op_id, VALUES["mode"])
    return cls(**{**values, **more})


def the_uuid(config: Snapshot, named: str) -> str:
    if named == "instance_name":
        return ask.instance(config, "web").uuid
    return ask.node(config, "node2").uuid


@pytest.mark.parametrize(("op_id", "parameter"), PAIRS)
def test_every_uuid_is_of_the_object_that_another_parameter_names(
    config: Snapshot, op_id: str, parameter: str
) -> None:
    named = opcodes.find(op_id).PARAMS[parameter].uuid_of
    uuid = the_uuid(config, named)
    many = parameter in MANY
    name: Any = "web" if named == "instance_name" else "node2"
    name = [name] if many else name
    confirm(config, an_opcode(op_id, **{named: name, parameter: [uuid] if many else uuid}))
    wrong = an_opcode(op_id, **{named: name, parameter: [STRANGE] if many else STRANGE})
    with pytest.raises(OpPrereqError, match=STRANGE) as refused:
        confirm(config, wrong)
    assert refused.value.code == Code.NOTUNIQUE


@pytest.mark.parametrize(("op_id", "parameter"), PAIRS)
def test_a_uuid_alone_stands_for_the_name(config: Snapshot, op_id: str, parameter: str) -> None:
    named = opcodes.find(op_id).PARAMS[parameter].uuid_of
    uuid = the_uuid(config, named)
    many = parameter in MANY
    nothing: Any = [] if many else "" if opcodes.find(op_id).PARAMS[named].required else None
    try:
        op = an_opcode(op_id, **{named: nothing, parameter: [uuid] if many else uuid})
    except OpPrereqError:
        assert nothing == ""  # the name is needed, and must not be empty
        return
    full = "web.example.com" if named == "instance_name" else "node2.example.com"
    found = getattr(with_names(config, op), named)
    assert list(found) == [full] if many else found == full


def test_a_uuid_that_nothing_has_is_told() -> None:
    with pytest.raises(OpPrereqError, match="no node has the uuid") as refused:
        with_names(a_cluster(), OpOobCommand(command=OobCommand.HEALTH, node_uuids=[STRANGE]))
    assert refused.value.code == Code.NOENT


def test_lists_of_names_and_uuids_are_compared_one_by_one(config: Snapshot) -> None:
    uuids = [ask.node(config, name).uuid for name in ("node2", "node3")]

    def op(*given: str) -> Opcode:
        return OpGroupAssignNodes(group_name="default", nodes=["node2", "node3"], node_uuids=given)

    confirm(config, op(*uuids))
    for wrong in (uuids[::-1], uuids[:1]):
        with pytest.raises(OpPrereqError) as refused:
            confirm(config, op(*wrong))
        assert refused.value.code == Code.NOTUNIQUE


def test_a_name_that_nothing_has_is_left_to_the_unit(config: Snapshot) -> None:
    confirm(config, OpInstanceStartup(instance_name="nosuch", instance_uuid=STRANGE))


def test_a_unit_is_not_reached_when_the_object_is_another_one(tmp_path: Path) -> None:
    services = FakeServices(a_cluster(3), tmp_path)
    with pytest.raises(OpPrereqError) as refused:
        run_unit(services, OpNodePowercycle(node_name="node2", node_uuid=STRANGE, force=True))
    assert refused.value.code == Code.NOTUNIQUE
    assert services.rpc.log == []


# Shortened names.


def test_an_ambiguous_name_is_told_with_all_that_it_may_mean() -> None:
    config = with_instance(
        a_cluster(2), "web.example.com", "web.example.net", "webmail.example.com"
    )
    with pytest.raises(OpPrereqError, match="ambiguous: web.example.com, web.example.net;") as told:
        ask.instance(config, "WEB")
    assert told.value.code == Code.NOENT
    assert ask.instance(config, "web.example.NET").name == "web.example.net"
    with pytest.raises(OpPrereqError, match="'we' is not known"):
        ask.instance(config, "we")


def test_ambiguous_nodes_are_told_as_well() -> None:
    config = a_cluster(2)
    services = FakeServices(config, Path("/nowhere"))
    group = ask.node(config, "node2").group
    services.change(lambda draft: draft.add(a_node(9, group, name="node2.example.net")))
    with pytest.raises(OpPrereqError, match="ambiguous: node2.example.com, node2.example.net;"):
        ask.node(services.config, "node2")


def test_uuids_do_in_place_of_names(config: Snapshot) -> None:
    instance, node = ask.instance(config, "web"), ask.node(config, "node2")
    op = OpInstanceMigrate(instance_name=instance.uuid, target_node=node.uuid)
    assert ask.instance(config, op.instance_name) is instance
    assert op.target_node is not None
    assert ask.node(config, op.target_node) is node
