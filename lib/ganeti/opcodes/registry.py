"""Which module declares an opcode, so that a program imports only what it needs."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ganeti.errors import Code, OpCodeUnknown, OpPrereqError
from ganeti.opcodes.base import OP_ID, PRIVATE, SECRET, Opcode, redact, summary_of
from ganeti.opcodes.checks import shown
from ganeti.serializer import Json

INVALID_SUMMARY = "INVALID_OP"

_NAMES = {
    "backup": "BACKUP_EXPORT BACKUP_PREPARE BACKUP_REMOVE",
    "cluster": """
        CLUSTER_ACTIVATE_MASTER_IP CLUSTER_CONFIG_QUERY CLUSTER_DEACTIVATE_MASTER_IP
        CLUSTER_DESTROY CLUSTER_POST_INIT CLUSTER_QUERY CLUSTER_REDIST_CONF CLUSTER_RENAME
        CLUSTER_RENEW_CRYPTO CLUSTER_REPAIR_DISK_SIZES CLUSTER_SET_PARAMS CLUSTER_VERIFY
        CLUSTER_VERIFY_CONFIG CLUSTER_VERIFY_DISKS CLUSTER_VERIFY_GROUP
    """,
    "disk": """
        INSTANCE_ACTIVATE_DISKS INSTANCE_DEACTIVATE_DISKS INSTANCE_GROW_DISK
        INSTANCE_RECREATE_DISKS INSTANCE_REPLACE_DISKS
    """,
    "group": """
        GROUP_ADD GROUP_ASSIGN_NODES GROUP_EVACUATE GROUP_REMOVE GROUP_RENAME GROUP_SET_PARAMS
        GROUP_VERIFY_DISKS
    """,
    "instance": """
        INSTANCE_CHANGE_GROUP INSTANCE_CONSOLE INSTANCE_CREATE INSTANCE_FAILOVER INSTANCE_MIGRATE
        INSTANCE_MOVE INSTANCE_MULTI_ALLOC INSTANCE_QUERY_DATA INSTANCE_REBOOT INSTANCE_REINSTALL
        INSTANCE_REMOVE INSTANCE_RENAME INSTANCE_SET_PARAMS INSTANCE_SHUTDOWN INSTANCE_STARTUP
    """,
    "network": """
        NETWORK_ADD NETWORK_CONNECT NETWORK_DISCONNECT NETWORK_REMOVE NETWORK_RENAME
        NETWORK_SET_PARAMS
    """,
    "node": """
        NODE_ADD NODE_EVACUATE NODE_MIGRATE NODE_MODIFY_STORAGE NODE_POWERCYCLE NODE_QUERYVOLS
        NODE_QUERY_STORAGE NODE_REMOVE NODE_SET_PARAMS OOB_COMMAND REPAIR_NODE_STORAGE
        RESTRICTED_COMMAND
    """,
    "query": "EXT_STORAGE_DIAGNOSE OS_DIAGNOSE QUERY QUERY_FIELDS",
    "tags": "TAGS_DEL TAGS_GET TAGS_SEARCH TAGS_SET",
    "test": "TEST_ALLOCATOR TEST_DELAY TEST_DUMMY TEST_JQUEUE TEST_OS_PARAMS",
}

MODULES: Mapping[str, str] = {
    f"OP_{name}": module for module, names in _NAMES.items() for name in names.split()
}
"""OP_ID → module of this package."""


def find(op_id: str) -> type[Opcode]:
    """The class of an OP_ID; imports its module. OpCodeUnknown when there is none."""
    module = MODULES.get(op_id)
    if module is None:
        raise OpCodeUnknown(f"opcode {shown(op_id)} is unknown; known ones begin with OP_")
    import_module(f"ganeti.opcodes.{module}")
    return Opcode.declared[op_id]


def load(value: Json) -> Opcode:
    """The opcode of a JSON object. Missing parameters take their defaults.

    OpPrereqError INVAL when it is no object or has no OP_ID, a parameter is unknown, missing or of
    a wrong type; OpCodeUnknown for an unknown OP_ID. An opcode object is given back as it is.
    """
    if isinstance(value, Opcode):
        return value
    if not isinstance(value, Mapping):
        raise OpPrereqError(f"an opcode is an object, not {shown(value)}", Code.INVAL)
    op_id = value.get(OP_ID)
    if not isinstance(op_id, str):
        raise OpPrereqError(
            "an opcode without a name was given", Code.INVAL, hint=f"key {OP_ID} is missing"
        )
    return find(op_id).from_json(value)


def load_submitted(value: Json, *, needs_reason: bool = True) -> Opcode:
    """As `load`, for an opcode that a client submits: priorities are limited (`check_submission`).

    `needs_reason`: the key "reason" must be there, as 3.0 wants it (facts/luxi.json,
    opcode_objects); clients of 2.7 and older do not know it.
    """
    if needs_reason and isinstance(value, Mapping) and "reason" not in value:
        raise OpPrereqError(
            f"{value.get(OP_ID, 'opcode')}: key 'reason' is missing",
            Code.INVAL,
            hint="an empty list will do",
        )
    made = load(value)
    made.check_submission()
    return made


def redacted(value: Json) -> Json:
    """The JSON form of an opcode, valid or not, as it may be shown: hidden values are null."""
    if not isinstance(value, Mapping):
        return None
    op_id = value.get(OP_ID)
    if isinstance(op_id, str) and op_id in MODULES:
        find(op_id)
    return redact(value, (PRIVATE, SECRET))


def summary(value: Mapping[str, Any]) -> str:
    """The summary of an opcode in JSON form; `INVALID_OP` when there is no such opcode."""
    op_id = value.get(OP_ID)
    if not isinstance(op_id, str) or op_id not in MODULES:
        return INVALID_SUMMARY
    return summary_of(find(op_id), value)
