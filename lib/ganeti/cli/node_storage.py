"""gnt-node list-storage, volumes and modify-storage. Tables are of the older kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ganeti.cli import text
from ganeti.cli.lists import print_data, print_table
from ganeti.cli.run import Run
from ganeti.cli.table import Column
from ganeti.cli.values import read_fields
from ganeti.constants import EXIT_FAILURE
from ganeti.errors import Code, OpPrereqError
from ganeti.types import StorageType
from ganeti.utils.text import format_unit

STORAGE_FIELDS = ["node", "type", "name", "size", "used", "free", "allocatable"]
VOLUME_FIELDS = ["node", "phys", "vg", "name", "size", "instance"]
TITLES: Mapping[str, str] = {
    "node": "Node", "type": "Type", "name": "Name", "size": "Size", "used": "Used",
    "free": "Free", "allocatable": "Allocatable", "phys": "PhysDev", "vg": "VG",
    "instance": "Instance",
}  # fmt: skip
SIZES = frozenset({"size", "used", "free"})


def list_storage(run: Run) -> None:
    from ganeti.opcodes.node import OpNodeQueryStorage

    fields = read_fields(run.options.output, STORAGE_FIELDS)
    kind = run.options.user_storage_type
    rows = run.submit(
        OpNodeQueryStorage(
            output_fields=fields,
            storage_type=StorageType(kind) if kind else None,
            nodes=run.names,
        )
    )
    _print(run, fields, rows)


def list_volumes(run: Run) -> None:
    from ganeti.opcodes.node import OpNodeQueryvols

    fields = read_fields(run.options.output, VOLUME_FIELDS)
    rows = run.submit(OpNodeQueryvols(output_fields=fields, nodes=run.names))
    _print(run, fields, rows)


def _print(run: Run, fields: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    options = run.options
    if options.format != "table":
        print_data(run, fields, rows)
        return
    units = options.units or ("m" if options.separator else "h")
    columns = [Column(TITLES.get(name, name), right=name in SIZES) for name in fields]
    cells = [[_cell(name, value, units) for name, value in zip(fields, row)] for row in rows]
    print_table(run, columns, cells, old=True)


def _cell(name: str, value: Any, units: str) -> str:
    if name in SIZES and isinstance(value, (int, float)):
        return format_unit(value, units)
    return text.yes_no(value) if name == "allocatable" else str(value)


def modify_storage(run: Run) -> int | None:
    from ganeti.opcodes.node import OpNodeModifyStorage

    node, kind, name = run.names
    if kind not in set(StorageType):
        raise OpPrereqError(f"Unknown storage type: {kind}", Code.INVAL)
    if run.options.allocatable is None:
        run.err("Please give at least one of the parameters.")
        return EXIT_FAILURE
    run.submit(
        OpNodeModifyStorage(
            node_name=node,
            storage_type=StorageType(kind),
            name=name,
            changes={"allocatable": run.options.allocatable},
        )
    )
    return None
