"""Opcodes of tags."""

from collections.abc import Sequence

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.types import Name
from ganeti.types import TagKind


@opcode()
class OpTagsDel(Opcode):
    """Remove tags from an object."""

    kind: TagKind = param("kind of object")
    tags: Sequence[str] = param("tags")
    name: str | None = param("name of the object", default=None)


@opcode(summary="name", result=Sequence[Name])
class OpTagsGet(Opcode):
    """Read the tags of an object."""

    kind: TagKind = param("kind of object")
    use_locking: bool = param("take locks while looking", default=False)
    name: str | None = param("name of the object", default=None)


@opcode(summary="pattern", result=Sequence[tuple[Name, Name]])
class OpTagsSearch(Opcode):
    """Find the objects with tags that match a pattern."""

    pattern: Name = param("regular expression for tags")


@opcode()
class OpTagsSet(Opcode):
    """Add tags to an object."""

    kind: TagKind = param("kind of object")
    tags: Sequence[str] = param("tags")
    name: str | None = param("name of the object", default=None)
