"""The tag commands, which every program for tagged objects has."""

from __future__ import annotations

from collections.abc import Sequence

from ganeti.cli import options
from ganeti.cli.app import Argument, Command, Program
from ganeti.cli.run import Run
from ganeti.errors import Code, OpPrereqError
from ganeti.types import TagKind

CHANGING = (options.TAGS_FROM, options.PRIORITY, *options.SUBMITTING)


def add_tag_commands(program: Program, kind: TagKind) -> None:
    """list-tags, add-tags and remove-tags for objects of this kind; a cluster has no name."""
    named: Sequence[Argument] = [] if kind is TagKind.CLUSTER else [Argument(_WORDS[kind])]
    words = Argument("free", 0, None)

    def list_tags(run: Run) -> None:
        for tag in sorted(run.master.call("QueryTags", str(kind), _name(run, kind)[0])):
            run.out(tag)

    def add_tags(run: Run) -> None:
        from ganeti.opcodes.tags import OpTagsSet

        name, tags = _name_and_tags(run, kind, "added")
        run.submit(OpTagsSet(kind=kind, name=name, tags=tags))

    def remove_tags(run: Run) -> None:
        from ganeti.opcodes.tags import OpTagsDel

        name, tags = _name_and_tags(run, kind, "removed")
        run.submit(OpTagsDel(kind=kind, name=name, tags=tags))

    of_it = f"of the {kind}" if kind is TagKind.CLUSTER else f"of {_ARTICLES[kind]}"
    list_tags.__doc__ = f"List the tags {of_it}."
    add_tags.__doc__ = f"Add to the tags {of_it}."
    remove_tags.__doc__ = f"Remove from the tags {of_it}."
    program.add(Command("list-tags", list_tags, named, (), None))
    program.add(Command("add-tags", add_tags, [*named, words], CHANGING, None))
    program.add(Command("remove-tags", remove_tags, [*named, words], CHANGING, None))


_WORDS = {
    TagKind.NODE: "node", TagKind.INSTANCE: "instance", TagKind.NODEGROUP: "group",
    TagKind.NETWORK: "network",
}  # fmt: skip
_ARTICLES = {
    TagKind.NODE: "a node", TagKind.INSTANCE: "an instance", TagKind.NODEGROUP: "a node group",
    TagKind.NETWORK: "a network",
}  # fmt: skip


def _name(run: Run, kind: TagKind) -> tuple[str, list[str]]:
    """The object's name, and the other arguments."""
    return ("", run.names) if kind is TagKind.CLUSTER else (run.names[0], run.names[1:])


def _name_and_tags(run: Run, kind: TagKind, done: str) -> tuple[str, list[str]]:
    name, tags = _name(run, kind)
    tags = [*tags, *_tags_from(run)]
    if not tags:
        raise OpPrereqError(f"no tags to be {done}", Code.INVAL)
    return name, tags


def _tags_from(run: Run) -> list[str]:
    source = run.options.tags_source
    if source is None:
        return []
    if source == "-":
        text = run.world.stdin.read()
    else:
        try:
            with open(source, encoding="utf-8") as file:
                text = file.read()
        except OSError as error:
            raise OpPrereqError(f"{source}: {error.strerror}", Code.INVAL) from error
    return [line.strip() for line in text.splitlines() if line.strip()]
