"""What resources answer, as JSON Schema.

Fields of whole objects with the types of facts/rapi.json, field_formats; a field that is not known
at the moment (its node is away) is null. Methods that submit a job answer with its number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ganeti.opcodes.checks import Schema
from ganeti.rapi.client import JOB_STATUS_ALL
from ganeti.types import AdminState, AllocPolicy, InstanceStatus

ANY: Final[Schema] = {}
NULL: Final[Schema] = {"type": "null"}
TEXT: Final[Schema] = {"type": "string"}
BOOL: Final[Schema] = {"type": "boolean"}
INT: Final[Schema] = {"type": "integer"}
OBJECT: Final[Schema] = {"type": "object"}
MAYBE_TEXT: Final[Schema] = {"type": ["string", "null"]}
MAYBE_BOOL: Final[Schema] = {"type": ["boolean", "null"]}
MAYBE_INT: Final[Schema] = {"type": ["integer", "null"]}
MAYBE_LIST: Final[Schema] = {"type": ["array", "null"]}
MAYBE_OBJECT: Final[Schema] = {"type": ["object", "null"]}
SECONDS: Final[Schema] = {"type": ["number", "null"], "description": "Unix time"}
MOMENT: Final[Schema] = {
    "anyOf": [{"type": "array", "items": INT, "minItems": 2, "maxItems": 2}, NULL],
    "description": "[seconds, microseconds]",
}
JOB_ID: Final[Schema] = {"type": "integer", "description": "number of the job"}


def list_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def row_of(*items: Schema) -> Schema:
    """A list of so many items. Which is of which type is left out: tools differ in that."""
    types = {} if {} in items else {"items": {"anyOf": list(items)}}
    return {"type": "array", "minItems": len(items), "maxItems": len(items), **types}


def object_of(properties: Mapping[str, Schema], *, whole: bool = True) -> Schema:
    """An object with these keys: all of them, or when not `whole` some."""
    made: dict[str, object] = {"type": "object", "properties": dict(properties)}
    return {**made, "required": list(properties)} if whole else made


def one_of(values: Iterable[str]) -> Schema:
    return {"enum": sorted(map(str, values))}


TEXTS: Final = list_of(TEXT)
STAMPS: Final[Mapping[str, Schema]] = {
    "ctime": SECONDS,
    "mtime": SECONDS,
    "uuid": TEXT,
    "serial_no": INT,
    "tags": TEXTS,
}
PER_NIC: Final[Schema] = {"type": "array", "description": "one item per network interface"}

INSTANCE: Final[Mapping[str, Schema]] = {
    "name": TEXT,
    "admin_state": one_of(AdminState),
    "os": TEXT,
    "pnode": MAYBE_TEXT,
    "snodes": TEXTS,
    "disk_template": TEXT,
    **{
        f"nic.{name}": PER_NIC
        for name in (
            "ips", "macs", "modes", "uuids", "names", "links", "networks", "networks.names",
            "bridges",
        )
    },
    "network_port": MAYBE_INT,
    "disk.sizes": list_of(INT),
    "disk.spindles": list_of(MAYBE_INT),
    "disk_usage": MAYBE_INT,
    "disk.uuids": TEXTS,
    "disk.names": list_of(MAYBE_TEXT),
    "beparams": MAYBE_OBJECT,
    "hvparams": MAYBE_OBJECT,
    "oper_state": MAYBE_BOOL,
    "oper_ram": MAYBE_INT,
    "oper_vcpus": MAYBE_INT,
    "status": one_of(InstanceStatus),
    "custom_hvparams": OBJECT,
    "custom_beparams": OBJECT,
    "custom_nicparams": list_of(OBJECT),
    "custom_osparams": OBJECT,
    **STAMPS,
}  # fmt: skip

NODE: Final[Mapping[str, Schema]] = {
    "name": TEXT,
    "offline": BOOL,
    "master_candidate": BOOL,
    "drained": BOOL,
    **{
        name: MAYBE_INT
        for name in (
            "dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode", "mfree", "pinst_cnt",
            "sinst_cnt", "ctotal", "cnos", "cnodes", "csockets",
        )
    },
    "pip": TEXT,
    "sip": TEXT,
    "role": {"enum": ["C", "D", "M", "O", "R"]},
    "pinst_list": TEXTS,
    "sinst_list": TEXTS,
    "master_capable": BOOL,
    "vm_capable": BOOL,
    "ndparams": MAYBE_OBJECT,
    "group.uuid": TEXT,
    **STAMPS,
}  # fmt: skip

NETWORK: Final[Mapping[str, Schema]] = {
    "name": TEXT,
    "network": MAYBE_TEXT,
    "gateway": MAYBE_TEXT,
    "network6": MAYBE_TEXT,
    "gateway6": MAYBE_TEXT,
    "mac_prefix": MAYBE_TEXT,
    "free_count": MAYBE_INT,
    "reserved_count": MAYBE_INT,
    "map": MAYBE_TEXT,
    "group_list": MAYBE_LIST,
    "inst_list": {"anyOf": [TEXTS, NULL]},
    "external_reservations": MAYBE_TEXT,
    **STAMPS,
}

GROUP: Final[Mapping[str, Schema]] = {
    "alloc_policy": one_of(AllocPolicy),
    "name": TEXT,
    "node_cnt": MAYBE_INT,
    "node_list": TEXTS,
    "ipolicy": OBJECT,
    "custom_ipolicy": OBJECT,
    "diskparams": OBJECT,
    "custom_diskparams": OBJECT,
    "ndparams": OBJECT,
    "custom_ndparams": OBJECT,
    **STAMPS,
}

FILTER: Final[Mapping[str, Schema]] = {
    "watermark": INT,
    "priority": INT,
    "predicates": list_of({"type": "array"}),
    "action": {"type": ["string", "array"]},
    "reason_trail": list_of({"type": "array"}),
    "uuid": TEXT,
}

JOB_IN_LIST: Final[Mapping[str, Schema]] = {
    "id": INT,
    "ops": list_of(OBJECT),
    "status": one_of(JOB_STATUS_ALL),
    "summary": TEXTS,
    "opstatus": list_of(one_of(JOB_STATUS_ALL)),
    "received_ts": MOMENT,
    "start_ts": MOMENT,
    "end_ts": MOMENT,
}
JOB: Final[Mapping[str, Schema]] = {
    "id": INT,
    **{name: {"anyOf": [one, NULL]} for name, one in JOB_IN_LIST.items() if name != "id"},
    "oplog": MAYBE_LIST,
    "opresult": MAYBE_LIST,
}
"""Null in every field but the number: there is no such job."""

FIELD: Final = object_of({"name": TEXT, "title": TEXT, "kind": TEXT, "doc": TEXT})
QUERY_RESULT: Final = object_of(
    {"fields": list_of(FIELD), "data": list_of(list_of(row_of(INT, ANY)))}
)

INFO: Final = object_of(
    {
        "software_version": TEXT,
        "protocol_version": INT,
        "config_version": INT,
        "os_api_version": INT,
        "export_version": INT,
        "name": TEXT,
        "master": TEXT,
        "default_hypervisor": TEXT,
        "enabled_hypervisors": TEXTS,
        "enabled_disk_templates": TEXTS,
        "hvparams": OBJECT,
        "beparams": OBJECT,
        "nicparams": OBJECT,
        "ndparams": OBJECT,
        "diskparams": OBJECT,
        "ipolicy": OBJECT,
        "candidate_pool_size": INT,
        "tags": TEXTS,
        "uuid": TEXT,
        "ctime": SECONDS,
        "mtime": SECONDS,
    }
)
ROLES: Final[Schema] = {"enum": ["drained", "master", "master-candidate", "offline", "regular"]}


def _listed(key: str, kind: Schema, fields: Mapping[str, Schema]) -> Schema:
    """Names with addresses, or with bulk objects: with `fields=` of some fields only."""
    short = {**object_of({key: kind, "uri": TEXT}), "additionalProperties": False}
    return list_of({"anyOf": [short, object_of(fields, whole=False)]})


ANSWERS: Final[Mapping[tuple[str, str], Schema]] = {
    ("GET", "/"): NULL,
    ("GET", "/2"): NULL,
    ("GET", "/version"): {"const": 2},
    ("GET", "/2/info"): INFO,
    ("GET", "/2/features"): TEXTS,
    ("GET", "/2/os"): TEXTS,
    ("GET", "/2/openapi.json"): OBJECT,
    ("GET", "/2/jobs"): _listed("id", INT, JOB_IN_LIST),
    ("GET", "/2/jobs/{job_id}"): object_of(JOB),
    ("DELETE", "/2/jobs/{job_id}"): row_of(BOOL, TEXT),
    ("GET", "/2/jobs/{job_id}/wait"): {
        "anyOf": [object_of({"job_info": MAYBE_LIST, "log_entries": MAYBE_LIST}), NULL]
    },
    ("GET", "/2/filters"): _listed("uuid", TEXT, FILTER),
    ("POST", "/2/filters"): TEXT,
    ("GET", "/2/filters/{uuid}"): object_of(FILTER),
    ("PUT", "/2/filters/{uuid}"): TEXT,
    ("DELETE", "/2/filters/{uuid}"): NULL,
    ("GET", "/2/query/{resource}"): QUERY_RESULT,
    ("PUT", "/2/query/{resource}"): QUERY_RESULT,
    ("GET", "/2/query/{resource}/fields"): object_of({"fields": list_of(FIELD)}),
    ("GET", "/2/nodes"): _listed("id", TEXT, NODE),
    ("GET", "/2/nodes/{node}"): object_of({**NODE, "secondary_ip": TEXT}),
    ("GET", "/2/nodes/{node}/role"): ROLES,
    ("GET", "/2/instances"): _listed("id", TEXT, INSTANCE),
    ("GET", "/2/instances/{instance}"): object_of(INSTANCE),
    ("GET", "/2/instances/{instance}/console"): object_of({"instance": TEXT, "kind": TEXT}),
    ("GET", "/2/networks"): _listed("name", TEXT, NETWORK),
    ("GET", "/2/networks/{network}"): object_of(NETWORK),
    ("GET", "/2/groups"): _listed("name", TEXT, GROUP),
    ("GET", "/2/groups/{group}"): object_of(GROUP),
    ("GET", "/2/tags"): TEXTS,
    ("GET", "/2/nodes/{node}/tags"): TEXTS,
    ("GET", "/2/instances/{instance}/tags"): TEXTS,
    ("GET", "/2/groups/{group}/tags"): TEXTS,
    ("GET", "/2/networks/{network}/tags"): TEXTS,
}
