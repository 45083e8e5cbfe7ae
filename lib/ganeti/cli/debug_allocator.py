"""gnt-debug iallocator: what an allocator would be asked, or what it answers."""

from __future__ import annotations

from ganeti.cli import options
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError
from ganeti.types import AllocatorDirection, AllocatorMode, DiskTemplate, EvacuateMode
from ganeti.utils.text import parse_unit

NEW = (AllocatorMode.ALLOCATE, AllocatorMode.MULTI_ALLOCATE)
MOVING = (AllocatorMode.NODE_EVACUATE, AllocatorMode.CHANGE_GROUP)

ASKING = (
    options.value(
        "--dir",
        dest="direction",
        default="in",
        choices=("in", "out"),
        help="in: show what it would be asked; out: ask it and show its answer",
    ),
    options.IALLOCATOR,
    options.value(
        "-m",
        "--mode",
        dest="mode",
        default="relocate",
        choices=tuple(mode.value for mode in AllocatorMode),
        help="what is asked",
    ),
    options.value(
        "--memory", dest="memory", kind="unit", default=128, help="memory of the instance"
    ),
    options.value("--disks", dest="disks", default="4096,4096", help="sizes of its disks"),
    options.DISK_TEMPLATE,
    options.value(
        "--nics",
        dest="nics",
        default="00:11:22:33:44:55",
        help="its interfaces: MAC/IP/BRIDGE,..., the last two may be left out",
    ),
    options.OS_TYPE,
    options.value("-p", "--vcpus", dest="vcpus", kind="int", default=1, help="its virtual CPUs"),
    options.value("--tags", dest="tags", help="its tags, separated by commas"),
    options.value(
        "--evac-mode",
        dest="evac_mode",
        default="all",
        choices=("primary-only", "secondary-only", "all"),
        help="for node-evacuate: which instances leave",
    ),
    options.value(
        "--target-groups",
        dest="target_groups",
        default=[],
        many=True,
        help="for change-group: where to; may be given again",
    ),
    options.value(
        "--spindle-use", dest="spindle_use", kind="int", default=1, help="spindles it uses"
    ),
    options.value(
        "--count", dest="count", kind="int", default=2, help="for multi-allocate: how many"
    ),
    options.DRY_RUN,
    options.PRIORITY,
)


def ask_allocator(run: Run) -> None:
    """Names: the new instance; or the ones to move, of which relocate takes one."""
    from ganeti.opcodes.test import OpTestAllocator

    wanted = run.options
    mode = AllocatorMode(wanted.mode)
    if mode not in MOVING and len(run.names) != 1:
        raise OpPrereqError(f"mode {mode} takes one instance", Code.INVAL)
    new = mode in NEW
    result = run.submit(
        OpTestAllocator(
            direction=AllocatorDirection(wanted.direction),
            mode=mode,
            name=run.names[0],
            instances=run.names if mode in MOVING else None,
            disks=_disks(wanted.disks) if new else None,
            nics=_nics(wanted.nics) if new else None,
            memory=wanted.memory if new else None,
            vcpus=wanted.vcpus if new else None,
            os=wanted.os,
            disk_template=DiskTemplate(wanted.disk_template) if wanted.disk_template else None,
            iallocator=wanted.iallocator,
            tags=[tag for tag in (wanted.tags or "").split(",") if tag],
            evac_mode=EvacuateMode(wanted.evac_mode) if mode in MOVING else None,
            target_groups=wanted.target_groups or None,
            spindle_use=wanted.spindle_use,
            count=wanted.count,
        )
    )
    run.out(str(result))


def _disks(text: str) -> list[dict[str, object]]:
    return [{"size": parse_unit(word), "mode": "rw"} for word in text.split(",") if word]


def _nics(text: str) -> list[dict[str, str | None]]:
    made = []
    for row in text.split(","):
        mac, ip, bridge = [part or None for part in [*row.split("/"), "", ""][:3]]
        made.append({"mac": mac, "ip": ip, "bridge": bridge})
    return made
