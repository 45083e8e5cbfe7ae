"""The remote API described in the form of OpenAPI 3.1, made from the table of resources.

Arguments, bodies and rights follow from the declarations, types of bodies from the checks of
opcode parameters, answers from `answers.py`. Served at `/2/openapi.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Final

from ganeti.constants import SUBMIT_PRIORITIES
from ganeti.opcodes.base import Opcode, Param
from ganeti.opcodes.checks import Schema
from ganeti.rapi.answers import ANSWERS, ANY, JOB_ID, ROLES
from ganeti.rapi.call import Call
from ganeti.rapi.lists import LOCK, reading
from ganeti.rapi.reply import Reply
from ganeti.rapi.resources_job import QUERIED
from ganeti.rapi.submit import FREE
from ganeti.rapi.table import Access, Argument, Body, Method, Resource, resource
from ganeti.serializer import Json, dump_bytes
from ganeti.version import RELEASE

PATH: Final = "/2/openapi.json"
JSON_TYPE: Final = "application/json"
NUMBERS: Final = frozenset({"job_id", "index"})
SPECIAL_BODIES: Final[Mapping[tuple[str, str], Schema]] = {
    ("PUT", "/2/nodes/{node}/role"): ROLES,
}
ADDED_KEYS: Final[Mapping[tuple[str, str], Mapping[str, Schema]]] = {
    ("POST", "/2/instances"): {"__version__": {"const": 1}},
    ("PUT", "/2/instances/{instance}/modify"): {
        "custom_hvparams": {"description": "another name of hvparams"}
    },
}
NEEDED_KEYS: Final[Mapping[tuple[str, str], list[str]]] = {
    ("POST", "/2/instances"): ["__version__"]
}
OTHER_TYPES: Final[Mapping[str, str]] = {
    "/2/events": "text/event-stream",
    "/metrics": "application/openmetrics-text",
}
WEBSOCKETS: Final = frozenset({"/2/console"})
REFUSALS: Final[Mapping[int, str]] = {
    400: "an argument or the body is wrong",
    401: "a login is needed, or the credentials are wrong",
    403: "the user lacks the right, or the parameter can't be set here",
    408: "the request came too slowly",
    413: "the body is too large",
    429: "too many requests",
    500: "the master daemon refused it",
    502: "the master daemon does not answer",
    503: "the job queue is full or drained, or the server is busy",
    504: "the master daemon did not answer in time",
}


def document(resources: Iterable[Resource]) -> dict[str, Json]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Ganeti remote API",
            "version": RELEASE,
            "description": "Methods that change something answer with the number of a job.",
            "license": {"name": "GPL-2.0-or-later", "identifier": "GPL-2.0-or-later"},
        },
        "servers": [{"url": "/"}],
        "paths": {one.path: _path(one) for one in resources},
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "token": {"type": "http", "scheme": "bearer"},
            },
            "schemas": {"Error": _error_schema()},
            "responses": {str(code): _refusal(text) for code, text in _refusals().items()},
        },
    }


def _path(one: Resource) -> dict[str, Json]:
    made: dict[str, Json] = {
        name.lower(): _operation(one, name, method) for name, method in one.methods.items()
    }
    places = re.findall(r"{(\w+)}", one.path)
    if places:
        made["parameters"] = [_placeholder(name) for name in places]
    return made


def _placeholder(name: str) -> Json:
    """Source: facts/rapi.json, placeholders."""
    schema: Schema = {"type": "string", "pattern": "^[A-Za-z0-9_.-]+$"}
    if name in NUMBERS:
        schema = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
    elif name == "resource":
        schema = {"enum": sorted(QUERIED)}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _operation(one: Resource, name: str, method: Method) -> dict[str, Json]:
    key = (name, one.path)
    logins: list[Json] = [{"basic": []}, {"token": []}]
    made: dict[str, Json] = {
        "operationId": f"{name.lower()}_{_identifier(one.path)}",
        "summary": method.help,
        "tags": [_group(one.path)],
        "parameters": [_argument(argument, method) for argument in method.arguments],
        "responses": _responses(key, one, method),
        "security": [*logins, {}] if method.access == Access.NONE else logins,
        "x-access": method.access.value,
        "x-permission": method.permission,
        "x-since": max(one.since, method.since, key=_version),
    }
    if method.takes_body:
        made["requestBody"] = _request_body(key, method)
    return made


def _identifier(path: str) -> str:
    """`/2/jobs/{job_id}/wait` → `jobs_job_id_wait`."""
    return re.sub(r"\W+", "_", path.removeprefix("/2/")).strip("_") or "root"


def _group(path: str) -> str:
    parts = path.strip("/").split("/")
    return parts[1].split("-")[0] if len(parts) > 1 and parts[1] in _GROUPS else "cluster"


_GROUPS: Final = frozenset(
    {"jobs", "filters", "query", "nodes", "instances", "instances-multi-alloc", "networks"}
    | {"groups", "events"}
)


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _argument(one: Argument, method: Method) -> Json:
    made: dict[str, Json] = {"name": one.name, "in": "query", "description": one.help}
    if one.required:
        made["required"] = True
    if one is LOCK:
        return {**made, "schema": {"const": 0}, "deprecated": True}
    match one.kind:
        case "flag":
            schema: dict[str, Json] = {"type": "integer", "enum": [0, 1]}
            if one.default is not None:
                schema["default"] = int(bool(one.default))
        case "number":
            schema = {"type": "integer", "minimum": 0, "maximum": 2**53}
        case "texts":
            schema = {"type": "array", "items": {"type": "string"}}
            made |= {"style": "form", "explode": True}
        case "names":
            schema = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
            made |= {"style": "form", "explode": False}
        case _:
            typed = method.typed.get(one.name)
            schema = _without_null(typed.check.schema) if typed else {"type": "string"}
            if one.default is not None:
                schema["default"] = one.default
            elif typed and typed.required:
                made["required"] = True
    return {**made, "schema": schema}


def _without_null(schema: Schema) -> dict[str, Json]:
    """Without what a query can't say."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return dict(kinds[0] if len(kinds) == 1 else schema)


# Bodies.


def _request_body(key: tuple[str, str], method: Method) -> Json:
    schema = SPECIAL_BODIES.get(key)
    if schema is None and method.body is not None:
        schema = _object_schema(key, method, method.body)
    is_needed = method.body is None or method.body.required
    is_needed = is_needed or bool(schema and (schema.get("required") or schema.get("allOf")))
    content: dict[str, Json] = {"schema": schema or ANY}
    if method.body is not None and method.body.example is not None:
        content["example"] = method.body.example
    return {"required": is_needed, "content": {JSON_TYPE: content}}


def _object_schema(key: tuple[str, str], method: Method, body: Body) -> Schema:
    """The keys that a body may have. What has two names is given under one of them."""
    params = {name: one for name, one in body.params.items() if name not in body.forbidden}
    properties = {name: _param_schema(one) for name, one in params.items()}
    required = [name for name, one in params.items() if one.required]
    rules: list[Json] = []
    for other, name in body.renamed.items():
        properties[other] = properties[name]
        both = [{"required": [name]}, {"required": [other]}]
        if name in required:
            required.remove(name)
            rules.append({"oneOf": both})
        else:
            rules.append({"not": {"required": [name, other]}})
    properties |= ADDED_KEYS.get(key, {})
    if method.submits:
        properties |= _common(method)
    made: dict[str, Json] = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required or key in NEEDED_KEYS:
        made["required"] = required + NEEDED_KEYS.get(key, [])
    return {**made, "allOf": rules} if rules else made


def _common(method: Method) -> dict[str, Schema]:
    """Parameters of all opcodes; the trial run is an argument of the query in some places."""
    given = {argument.name.replace("-", "_") for argument in method.arguments}
    made = {name: _param_schema(Opcode.PARAMS[name]) for name in sorted(FREE - given)}
    made["priority"] = {**made["priority"], "enum": sorted(SUBMIT_PRIORITIES)}
    return made


def _param_schema(one: Param) -> Schema:
    made: dict[str, Json] = {**one.check.schema, "description": one.help}
    if not one.required:
        made["default"] = one.default
    return made


# Answers.


def _responses(key: tuple[str, str], one: Resource, method: Method) -> dict[str, Json]:
    schema = JOB_ID if method.submits else ANSWERS.get(key, ANY)
    content = OTHER_TYPES.get(one.path)
    answer = {content: {}} if content else {JSON_TYPE: {"schema": schema}}
    made: dict[str, Json] = {
        "200": {"description": method.answer or "done", "content": answer},
    }
    codes = set(REFUSALS)
    if one.path in WEBSOCKETS:
        made = {"101": {"description": method.answer}}
        codes |= {404, 426}
    if "bulk" in {argument.name for argument in method.arguments}:
        made["304"] = {"description": "it is what the client has already (If-None-Match)"}
    if one.path.count("{"):
        codes.add(404)
    if method.takes_body:
        codes.add(415)
    return made | {str(code): {"$ref": f"#/components/responses/{code}"} for code in sorted(codes)}


def _refusals() -> dict[int, str]:
    return {
        **REFUSALS,
        404: "there is no such object",
        415: "the body is not said to be JSON",
        426: "a websocket is spoken here",
    }


def _refusal(text: str) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {JSON_TYPE: {"schema": schema}}}


def _error_schema() -> Json:
    return {
        "type": "object",
        "properties": {
            "code": {"type": "integer", "enum": [int(one) for one in HTTPStatus if one >= 400]},
            "message": {"type": "string"},
            "explain": {"type": "string"},
        },
        "required": ["code", "message", "explain"],
    }


# The resource.


def described(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """The resources and one more, which describes them all."""

    @cache
    def text() -> bytes:
        return dump_bytes(document(made)) + b"\n"

    async def serve(call: Call) -> Reply:
        return Reply(text())

    about = resource(
        PATH,
        handler="openapi",
        get=reading(
            serve,
            help="This interface in the form of OpenAPI 3.1.",
            permission="cluster.read",
            answer="object",
        ),
        since="4.0",
    )
    made = (*resources, about)
    return made
