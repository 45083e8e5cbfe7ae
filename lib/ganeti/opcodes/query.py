"""Opcodes that list things."""

from collections.abc import Sequence

from ganeti.opcodes.base import Opcode, opcode, param
from ganeti.opcodes.checks import ANY, STRING, member, named, row, sequence, shape
from ganeti.opcodes.types import ROWS, Name, Resource
from ganeti.serializer import Json
from ganeti.types import FieldStatus

FIELDS = sequence(shape(name=STRING, title=STRING, kind=STRING, doc=STRING))
CELL = row(member(FieldStatus), ANY)
QUERY_RESPONSE = named("QueryResponse", shape(fields=FIELDS, data=sequence(sequence(CELL))))
QUERY_FIELDS_RESPONSE = named("QueryFieldsResponse", shape(fields=FIELDS))


@opcode(result=ROWS)
class OpExtStorageDiagnose(Opcode):
    """List the external storage providers and their state on each node."""

    output_fields: Sequence[Name] = param("fields to show")
    names: Sequence[Name] = param("providers to show; none: all", default=())


@opcode(result=ROWS)
class OpOsDiagnose(Opcode):
    """List the OS definitions and their state on each node."""

    output_fields: Sequence[Name] = param("fields to show")
    names: Sequence[Name] = param("OS names to show; none: all", default=())


@opcode(summary="what", result=QUERY_RESPONSE)
class OpQuery(Opcode):
    """List objects: fields and a filter in, rows out."""

    what: Resource = param("kind of object")
    use_locking: bool = param("take locks while looking", default=False)
    fields: Sequence[Name] = param("fields to show")
    qfilter: Sequence[Json] | None = param("which objects to show", default=None)


@opcode(summary="what", result=QUERY_FIELDS_RESPONSE)
class OpQueryFields(Opcode):
    """Describe the fields that a list can have."""

    what: Resource = param("kind of object")
    fields: Sequence[Name] | None = param("fields to describe; none: all", default=None)
