"""Resources of nodes."""

from __future__ import annotations

from ganeti.opcodes.node import (
    OpNodeEvacuate,
    OpNodeMigrate,
    OpNodeModifyStorage,
    OpNodePowercycle,
    OpNodeQueryStorage,
    OpNodeSetParams,
    OpRepairNodeStorage,
)
from ganeti.rapi.call import Call
from ganeti.rapi.lists import LOCK, listing, one_row, reading, single
from ganeti.rapi.reply import bad_request
from ganeti.rapi.submit import make_opcode
from ganeti.rapi.table import (
    DRY_RUN,
    REASON,
    Access,
    Argument,
    Method,
    Source,
    flag,
    from_path,
    resource,
    submit,
    text,
)
from ganeti.serializer import Json
from ganeti.types import QueryResource

FIELDS = (
    "name", "offline", "master_candidate", "drained", "dtotal", "dfree", "sptotal", "spfree",
    "mtotal", "mnode", "mfree", "pinst_cnt", "sinst_cnt", "ctotal", "cnos", "cnodes", "csockets",
    "pip", "sip", "role", "pinst_list", "sinst_list", "master_capable", "vm_capable", "ndparams",
    "group.uuid", "ctime", "mtime", "uuid", "serial_no", "tags",
)  # fmt: skip

LIVE = frozenset(
    {
        "dtotal", "dfree", "sptotal", "spfree", "mtotal", "mnode", "mfree", "ctotal", "cnos",
        "cnodes", "csockets",
    }
)  # fmt: skip

ROLES = {
    "M": "master",
    "C": "master-candidate",
    "R": "regular",
    "D": "drained",
    "O": "offline",
}
NEW_ROLES: dict[str, dict[str, bool | None]] = {
    "regular": {"master_candidate": False, "offline": False, "drained": False},
    "master-candidate": {"master_candidate": True, "offline": None, "drained": None},
    "drained": {"master_candidate": None, "offline": None, "drained": True},
    "offline": {"master_candidate": None, "offline": True, "drained": None},
}
NODE = from_path("node")
STORAGE_TYPE = text("storage_type", "kind of storage unit: file, lvm-pv, lvm-vg, …")
UNIT = text("name", "name of the storage unit", required=True)
AUTO_PROMOTE = Argument(
    name="auto-promote",
    kind="flag",
    help="other nodes may become candidates",
    default=False,
    since="2.6",
)
FORCE = Argument(name="force", kind="flag", help="in spite of warnings", default=False)


def with_alias(node: dict[str, Json]) -> dict[str, Json]:
    return node | {"secondary_ip": node["sip"]}


async def role(call: Call) -> Json:
    (letter,) = await one_row(call, QueryResource.NODE, call.path["node"], ["role"], "node")
    return ROLES[letter]


async def change_role(call: Call) -> Json:
    if not isinstance(call.body, str):
        raise bad_request("Body contents: the name of a role is expected, as a JSON string")
    values = NEW_ROLES.get(call.body)
    if values is None:
        raise bad_request(f"{call.body!r} is not a role; known are {', '.join(NEW_ROLES)}")
    fixed = {
        **values,
        "node_name": call.path["node"],
        "force": call.flag("force"),
        "auto_promote": call.flag("auto-promote"),
    }
    return await call.submit(make_opcode(OpNodeSetParams, {}, fixed))


def old_migrate_query(call: Call, values: dict[str, Json]) -> dict[str, Json]:
    """Any query argument is the form of before 2.5: then the body is not looked at."""
    if not call.query:
        return values
    if "live" in call.query and "mode" in call.query:
        raise bad_request("only one of the query arguments live and mode may be given")
    if "live" in call.query:
        return {"mode": "live" if call.flag("live") else "non-live"}
    return {"mode": call.query["mode"][0]} if "mode" in call.query else {}


def _changes(call: Call) -> Json:
    return {"allocatable": call.flag("allocatable")} if "allocatable" in call.query else {}


ALLOCATABLE = Argument(name="allocatable", kind="flag", help="whether new disks may go there")
OUTPUT_FIELDS = Argument(
    name="output_fields", kind="names", help="fields of each storage unit", required=True
)


def _output_fields(call: Call) -> Json:
    given = call.text(OUTPUT_FIELDS)
    if not given:
        raise bad_request("query argument 'output_fields' is missing")
    return str(given).split(",")


RESOURCES = (
    resource(
        "/2/nodes",
        get=listing(
            QueryResource.NODE,
            "/2/nodes",
            FIELDS,
            live=LIVE,
            permission="node.read",
            help="All nodes.",
        ),
    ),
    resource(
        "/2/nodes/{node}",
        get=single(
            QueryResource.NODE,
            "node",
            FIELDS,
            noun="node",
            permission="node.read",
            help="One node.",
            finish=with_alias,
        ),
    ),
    resource(
        "/2/nodes/{node}/powercycle",
        post=submit(
            OpNodePowercycle,
            fixed={"node_name": NODE, "force": flag("force", "in spite of warnings")},
            permission="node.powercycle",
            since="2.6",
        ),
        since="2.6",
    ),
    resource(
        "/2/nodes/{node}/role",
        get=reading(
            role,
            help="Role of a node.",
            permission="node.read",
            answer=f"one of {', '.join(ROLES.values())}",
            arguments=(LOCK,),
        ),
        put=Method(
            serve=change_role,
            help="Change the role of a node; the body is the new one, as a JSON string.",
            permission="node.modify",
            access=Access.WRITE,
            arguments=(FORCE, AUTO_PROMOTE, REASON),
            takes_body=True,
            answer="number of the job",
            opcodes=(OpNodeSetParams,),
        ),
    ),
    resource(
        "/2/nodes/{node}/evacuate",
        post=submit(
            OpNodeEvacuate,
            fixed={"node_name": NODE, "dry_run": DRY_RUN},
            permission="node.evacuate",
        ),
    ),
    resource(
        "/2/nodes/{node}/migrate",
        post=submit(
            OpNodeMigrate,
            fixed={"node_name": NODE},
            prepare=old_migrate_query,
            arguments=(
                Argument(name="mode", kind="text", help="older form of the body's mode"),
                Argument(name="live", kind="flag", help="older form of the body's mode"),
            ),
            permission="node.migrate",
        ),
    ),
    resource(
        "/2/nodes/{node}/modify",
        post=submit(
            OpNodeSetParams, fixed={"node_name": NODE}, permission="node.modify", since="2.6"
        ),
        since="2.6",
    ),
    resource(
        "/2/nodes/{node}/storage",
        get=submit(
            OpNodeQueryStorage,
            fixed={
                "nodes": Source(lambda call: [call.path["node"]]),
                "storage_type": STORAGE_TYPE,
                "output_fields": Source(_output_fields, OUTPUT_FIELDS),
            },
            body=False,
            permission="node.storage",
        ),
    ),
    resource(
        "/2/nodes/{node}/storage/modify",
        put=submit(
            OpNodeModifyStorage,
            fixed={
                "node_name": NODE,
                "storage_type": STORAGE_TYPE,
                "name": UNIT,
                "changes": Source(_changes, ALLOCATABLE),
            },
            body=False,
            permission="node.storage",
        ),
    ),
    resource(
        "/2/nodes/{node}/storage/repair",
        put=submit(
            OpRepairNodeStorage,
            fixed={"node_name": NODE, "storage_type": STORAGE_TYPE, "name": UNIT},
            body=False,
            permission="node.storage",
        ),
    ),
)
