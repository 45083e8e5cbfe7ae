"""Resources of the cluster as a whole."""

from __future__ import annotations

from ganeti.errors import GenericError, decode_error
from ganeti.opcodes.cluster import OpClusterRedistConf, OpClusterSetParams
from ganeti.opcodes.query import OpOsDiagnose
from ganeti.rapi.call import Call
from ganeti.rapi.lists import reading
from ganeti.rapi.reply import HttpError
from ganeti.rapi.table import resource, submit
from ganeti.serializer import Json

VERSION = 2
FEATURES = [
    "instance-create-reqv1",
    "instance-reinstall-reqv1",
    "node-migrate-reqv1",
    "node-evac-res1",
]
ALIASES = {"volume_group_name": "vg_name", "drbd_usermode_helper": "drbd_helper"}
WAIT_FIELDS = ["status", "opresult"]
ENDED = frozenset({"success", "error", "canceled"})


async def nothing(call: Call) -> Json:
    return None


async def version(call: Call) -> Json:
    return VERSION


async def features(call: Call) -> Json:
    return FEATURES


async def info(call: Call) -> Json:
    found = dict(await call.master.call("QueryClusterInfo"))
    return found | {alias: found[name] for name, alias in ALIASES.items() if name in found}


async def guest_systems(call: Call) -> Json:
    """Names with their variants, of a job that is waited for."""
    opcode = OpOsDiagnose(output_fields=["name", "variants"], names=[])
    rows = await result_of(call, await call.submit(opcode))
    if not isinstance(rows, list):
        raise HttpError(502, "the list of OS definitions has not the form that is expected")
    return [
        name
        for base, variants in rows
        for name in ([f"{base}+{one}" for one in variants] if variants else [base])
    ]


async def result_of(call: Call, job: int) -> Json:
    """The result of the job's only opcode; its error as the master would have raised it."""
    info: Json = None
    while True:
        changed = await call.master.call("WaitForJobChange", job, WAIT_FIELDS, info, None, 10.0)
        if isinstance(changed, list):
            info = changed[0]
            if info[0] in ENDED:
                break
    status, (result,) = info
    if status == "success":
        return result
    raise decode_error(result) or GenericError(f"job {job} ended with status {status}")


RESOURCES = (
    resource("/", get=reading(nothing, help="Nothing.", permission="cluster.read", answer="null")),
    resource("/2", get=reading(nothing, help="Nothing.", permission="cluster.read", answer="null")),
    resource(
        "/version",
        get=reading(
            version, help="Version of this interface.", permission="cluster.read", answer="2"
        ),
    ),
    resource(
        "/2/info",
        get=reading(
            info,
            help="Parameters of the cluster.",
            permission="cluster.read",
            answer="object",
        ),
    ),
    resource(
        "/2/features",
        get=reading(
            features,
            help="What this interface can do beyond its first version.",
            permission="cluster.read",
            answer="list of texts",
        ),
    ),
    resource(
        "/2/os",
        get=reading(
            guest_systems,
            help="OS definitions that can be installed, with their variants.",
            permission="os.read",
            answer="list of names",
        ),
    ),
    resource(
        "/2/redistribute-config",
        handler="redist_config",
        put=submit(OpClusterRedistConf, permission="cluster.redistribute"),
    ),
    resource(
        "/2/modify",
        handler="cluster_modify",
        put=submit(
            OpClusterSetParams,
            permission="cluster.modify",
            forbidden=frozenset({"compression_tools"}),
        ),
    ),
)
