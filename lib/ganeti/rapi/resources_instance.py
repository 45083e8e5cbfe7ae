"""Resources of instances."""

from __future__ import annotations

from ganeti.opcodes.backup import OpBackupExport, OpBackupPrepare
from ganeti.opcodes.base import Opcode, param
from ganeti.opcodes.checks import BOOL, NAME, OBJECT, optional
from ganeti.opcodes.disk import (
    OpInstanceActivateDisks,
    OpInstanceDeactivateDisks,
    OpInstanceGrowDisk,
    OpInstanceRecreateDisks,
    OpInstanceReplaceDisks,
)
from ganeti.opcodes.instance import (
    OpInstanceCreate,
    OpInstanceFailover,
    OpInstanceMigrate,
    OpInstanceMultiAlloc,
    OpInstanceQueryData,
    OpInstanceReboot,
    OpInstanceReinstall,
    OpInstanceRemove,
    OpInstanceRename,
    OpInstanceSetParams,
    OpInstanceShutdown,
    OpInstanceStartup,
)
from ganeti.rapi.call import Call
from ganeti.rapi.lists import listing, reading, single
from ganeti.rapi.reply import HttpError, bad_request
from ganeti.rapi.submit import checked_body, make_opcode, rename
from ganeti.rapi.table import (
    DRY_RUN,
    Access,
    Argument,
    Body,
    Method,
    Source,
    constant,
    flag,
    from_path,
    own_params,
    resource,
    submit,
    text,
)
from ganeti.serializer import Json
from ganeti.types import QueryResource

FIELDS = (
    "name", "admin_state", "os", "pnode", "snodes", "disk_template", "nic.ips", "nic.macs",
    "nic.modes", "nic.uuids", "nic.names", "nic.links", "nic.networks", "nic.networks.names",
    "nic.bridges", "network_port", "disk.sizes", "disk.spindles", "disk_usage", "disk.uuids",
    "disk.names", "beparams", "hvparams", "oper_state", "oper_ram", "oper_vcpus", "status",
    "custom_hvparams", "custom_beparams", "custom_nicparams", "custom_osparams", "ctime", "mtime",
    "uuid", "serial_no", "tags",
)  # fmt: skip

LIVE = frozenset({"oper_state", "oper_ram", "oper_vcpus", "status"})

INSTANCE = from_path("instance")
VERSION_KEY = "__version__"


def with_memory(instance: dict[str, Json]) -> dict[str, Json]:
    """beparams have the name of before 2.6 as well."""
    beparams = instance["beparams"]
    if beparams and "maxmem" in beparams:
        instance["beparams"] = beparams | {"memory": beparams["maxmem"]}
    return instance


def with_usb_list(values: dict[str, Json]) -> dict[str, Json]:
    """Blanks between USB devices become commas."""
    hvparams = values.get("hvparams")
    if isinstance(hvparams, dict) and isinstance(hvparams.get("usb_devices"), str):
        devices = ",".join(hvparams["usb_devices"].split())
        return values | {"hvparams": hvparams | {"usb_devices": devices}}
    return values


def creation(call: Call, values: dict[str, Json]) -> dict[str, Json]:
    """Only the first version of the form of the body is taken."""
    version = values.pop(VERSION_KEY, 0)
    if version == 0:
        raise bad_request(
            f"Instance creation request version 0 is no longer supported; give {VERSION_KEY!r}: 1"
        )
    if version != 1 or isinstance(version, bool):
        raise bad_request(f"Unsupported request data version {version}; give {VERSION_KEY!r}: 1")
    return with_usb_list(values)


def modification(call: Call, values: dict[str, Json]) -> dict[str, Json]:
    return with_usb_list(rename(values, {"custom_hvparams": "hvparams"}))


CREATE_NAMES = {one.rapi: name for name, one in OpInstanceCreate.PARAMS.items() if one.rapi}


def several(call: Call, values: dict[str, Json]) -> dict[str, Json]:
    """Each instance in the form of a single creation, without a version."""
    instances = values.get("instances")
    if instances is None:
        raise bad_request("parameter 'instances' is missing: a list of instances to create")
    if not isinstance(instances, list) or not all(isinstance(one, dict) for one in instances):
        raise bad_request("parameter 'instances': a list of objects is expected")
    made = [make_opcode(OpInstanceCreate, rename(one, CREATE_NAMES), {}) for one in instances]
    return values | {"instances": [one.to_json() for one in made]}


OLD_OS = Argument(name="os", kind="text", help="older form of the body's os")
OLD_NO_STARTUP = Argument(name="nostartup", kind="flag", help="older form of start: false")


REINSTALL = own_params(
    os=param("another OS to install", check=optional(NAME), default=None),
    osparams=param("OS parameters", check=optional(OBJECT), default=None),
    start=param("start it again afterwards", check=BOOL, default=True),
)


async def reinstall(call: Call) -> Json:
    """Stop, install, and start again: one job."""
    if call.query and call.body is not None:
        raise bad_request("give either a body or query arguments (the older form), not both")
    if call.query or call.body is None:
        values: dict[str, Json] = {"os": call.text(OLD_OS), "start": not call.flag("nostartup")}
    else:
        values = checked_body(call, REINSTALL)
    name = {"instance_name": call.path["instance"]}
    job: list[Opcode] = [make_opcode(OpInstanceShutdown, {}, name)]
    system = {"os_type": values["os"], "osparams": values.get("osparams")}
    job.append(make_opcode(OpInstanceReinstall, system, name))
    if values["start"]:
        job.append(make_opcode(OpInstanceStartup, {"force": False}, name))
    return await call.submit(*job, with_reasons=False)  # as the classic one


def replacement(call: Call, values: dict[str, Json]) -> dict[str, Json]:
    """Without a body the query is the older form; disks may be a text with commas."""
    if call.body is None:
        names = ("mode", "disks", "remote_node", "iallocator")
        values = {name: call.query[name][0] for name in names if call.query.get(name)}
    disks = values.get("disks")
    if isinstance(disks, str):
        try:
            return values | {"disks": [int(one) for one in disks.split(",") if one]}
        except ValueError:
            raise bad_request(f"disks: {disks!r} is not a list of numbers") from None
    return values


async def console(call: Call) -> Json:
    """How to reach the console of a running instance."""
    name = call.path["instance"]
    rows = await call.master.call("QueryInstances", [name], ["console", "oper_state"], False)
    if not rows:
        raise HttpError(404, f"instance {name} not found")
    found, running = rows[0]
    if not running or not found:
        raise HttpError(503, f"instance {name} is not running; start it first")
    return {key: value for key, value in found.items() if value is not None}


def older(name: str) -> Argument:
    return Argument(name=name, kind="text", help=f"older form of the body's {name}")


REBOOT_TYPE = text("type", "soft, hard or full", default="hard")
MODE = text("mode", "local or remote", required=True)

CREATION = (
    resource(
        "/2/instances",
        get=listing(
            QueryResource.INSTANCE,
            "/2/instances",
            FIELDS,
            has_lock=True,
            permission="instance.read",
            help="All instances.",
            live=LIVE,
        ),
        post=submit(
            OpInstanceCreate,
            fixed={"dry_run": DRY_RUN},
            prepare=creation,
            body_required=True,
            permission="instance.create",
        ),
    ),
    resource(
        "/2/instances-multi-alloc",
        handler="instances_multi_alloc",
        post=submit(
            OpInstanceMultiAlloc,
            fixed={"dry_run": DRY_RUN},
            prepare=several,
            permission="instance.create",
            since="2.7",
        ),
        since="2.7",
    ),
    resource(
        "/2/instances/{instance}",
        get=single(
            QueryResource.INSTANCE,
            "instance",
            FIELDS,
            noun="instance",
            permission="instance.read",
            help="One instance.",
            finish=with_memory,
        ),
        delete=submit(
            OpInstanceRemove,
            fixed={
                "instance_name": INSTANCE,
                "ignore_failures": constant(False),
                "dry_run": DRY_RUN,
            },
            permission="instance.remove",
        ),
    ),
    resource(
        "/2/instances/{instance}/info",
        get=submit(
            OpInstanceQueryData,
            fixed={
                "instances": Source(lambda call: [call.path["instance"]]),
                "static": flag("static", "do not ask the nodes"),
            },
            body=False,
            access=Access.NONE,
            permission="instance.read",
        ),
    ),
    resource(
        "/2/instances/{instance}/console",
        get=reading(
            console,
            help="How to reach the console of a running instance.",
            access=Access.READ,
            permission="instance.console",
            answer="object",
        ),
        since="2.4",
    ),
)

LIFE = (
    resource(
        "/2/instances/{instance}/reboot",
        post=submit(
            OpInstanceReboot,
            fixed={
                "instance_name": INSTANCE,
                "reboot_type": REBOOT_TYPE,
                "ignore_secondaries": flag("ignore_secondaries", "go on without its secondary"),
                "dry_run": DRY_RUN,
            },
            permission="instance.reboot",
        ),
    ),
    resource(
        "/2/instances/{instance}/startup",
        put=submit(
            OpInstanceStartup,
            fixed={
                "instance_name": INSTANCE,
                "force": flag("force", "start even if some disks are degraded"),
                "no_remember": flag("no_remember", "do not record the wanted state", since="2.4"),
                "dry_run": DRY_RUN,
            },
            body=False,
            permission="instance.start",
        ),
    ),
    resource(
        "/2/instances/{instance}/shutdown",
        put=submit(
            OpInstanceShutdown,
            fixed={
                "instance_name": INSTANCE,
                "no_remember": flag("no_remember", "do not record the wanted state", since="2.4"),
                "dry_run": DRY_RUN,
            },
            permission="instance.stop",
        ),
    ),
    resource(
        "/2/instances/{instance}/reinstall",
        post=Method(
            serve=reinstall,
            help="Stop an instance, install its guest OS again, and start it.",
            permission="instance.reinstall",
            access=Access.WRITE,
            arguments=(OLD_OS, OLD_NO_STARTUP),
            body=Body(params=REINSTALL),
            takes_body=True,
            answer="number of the job",
            opcodes=(OpInstanceShutdown, OpInstanceReinstall, OpInstanceStartup),
        ),
    ),
    resource(
        "/2/instances/{instance}/migrate",
        put=submit(
            OpInstanceMigrate, fixed={"instance_name": INSTANCE}, permission="instance.migrate"
        ),
    ),
    resource(
        "/2/instances/{instance}/failover",
        put=submit(
            OpInstanceFailover, fixed={"instance_name": INSTANCE}, permission="instance.failover"
        ),
    ),
)

CHANGES = (
    resource(
        "/2/instances/{instance}/rename",
        put=submit(
            OpInstanceRename, fixed={"instance_name": INSTANCE}, permission="instance.rename"
        ),
    ),
    resource(
        "/2/instances/{instance}/modify",
        put=submit(
            OpInstanceSetParams,
            fixed={"instance_name": INSTANCE},
            prepare=modification,
            body_required=True,
            permission="instance.modify",
        ),
    ),
    resource(
        "/2/instances/{instance}/prepare-export",
        put=submit(
            OpBackupPrepare,
            fixed={"instance_name": INSTANCE, "mode": MODE},
            body=False,
            permission="instance.export",
        ),
    ),
    resource(
        "/2/instances/{instance}/export",
        put=submit(OpBackupExport, fixed={"instance_name": INSTANCE}, permission="instance.export"),
    ),
)

DISKS = (
    resource(
        "/2/instances/{instance}/replace-disks",
        post=submit(
            OpInstanceReplaceDisks,
            fixed={"instance_name": INSTANCE},
            prepare=replacement,
            arguments=tuple(map(older, ("mode", "disks", "remote_node", "iallocator"))),
            permission="instance.disks",
        ),
    ),
    resource(
        "/2/instances/{instance}/activate-disks",
        put=submit(
            OpInstanceActivateDisks,
            fixed={
                "instance_name": INSTANCE,
                "ignore_size": flag("ignore_size", "whatever size is recorded"),
            },
            body=False,
            permission="instance.disks",
        ),
    ),
    resource(
        "/2/instances/{instance}/deactivate-disks",
        put=submit(
            OpInstanceDeactivateDisks,
            fixed={
                "instance_name": INSTANCE,
                "force": flag("force", "without a look whether it runs"),
            },
            body=False,
            permission="instance.disks",
        ),
    ),
    resource(
        "/2/instances/{instance}/recreate-disks",
        post=submit(
            OpInstanceRecreateDisks, fixed={"instance_name": INSTANCE}, permission="instance.disks"
        ),
    ),
    resource(
        "/2/instances/{instance}/disk/{index}/grow",
        handler="instances_name_disk_grow",
        post=submit(
            OpInstanceGrowDisk,
            fixed={"instance_name": INSTANCE, "disk": from_path("index", int)},
            permission="instance.disks",
        ),
    ),
)

RESOURCES = (*CREATION, *LIFE, *CHANGES, *DISKS)
