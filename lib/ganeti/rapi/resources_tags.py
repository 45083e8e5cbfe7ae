"""Resources of tags: the same three methods for each kind of object."""

from __future__ import annotations

from ganeti.opcodes.tags import OpTagsDel, OpTagsSet
from ganeti.rapi.call import Call
from ganeti.rapi.lists import reading
from ganeti.rapi.table import (
    DRY_RUN,
    Argument,
    Resource,
    Source,
    constant,
    from_path,
    resource,
    submit,
)
from ganeti.serializer import Json
from ganeti.types import TagKind

TAG = Argument(name="tag", kind="texts", help="a tag; may be given again")
TAGS = Source(lambda call: call.texts("tag"), TAG)


def tags_of(path: str, kind: TagKind, placeholder: str, since: str) -> Resource:
    """The resource of the tags of one kind of object."""
    noun = kind.value.removeprefix("node") or "node"

    async def read(call: Call) -> Json:
        return await call.master.call("QueryTags", kind.value, call.path.get(placeholder, ""))

    fixed = {
        "kind": constant(kind.value),
        "name": from_path(placeholder) if placeholder else constant(None),
        "tags": TAGS,
        "dry_run": DRY_RUN,
    }
    return resource(
        path,
        get=reading(read, help="Tags.", permission=f"{noun}.read", answer="list of tags"),
        put=submit(OpTagsSet, fixed=fixed, body=False, permission=f"{noun}.tag", help="Add tags."),
        delete=submit(
            OpTagsDel, fixed=fixed, body=False, permission=f"{noun}.tag", help="Remove tags."
        ),
        since=since,
    )


RESOURCES = (
    tags_of("/2/tags", TagKind.CLUSTER, "", "2.0"),
    tags_of("/2/nodes/{node}/tags", TagKind.NODE, "node", "2.0"),
    tags_of("/2/instances/{instance}/tags", TagKind.INSTANCE, "instance", "2.0"),
    tags_of("/2/groups/{group}/tags", TagKind.NODEGROUP, "group", "2.5"),
    tags_of("/2/networks/{network}/tags", TagKind.NETWORK, "network", "2.7"),
)
