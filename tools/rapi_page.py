"""The page doc/rapi.rst: every resource and method as declared, with recorded examples."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ganeti.opcodes.base import Param
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.table import Access, Argument, Method, Resource

TOP = Path(__file__).resolve().parent.parent
PAGE = TOP / "doc/rapi.rst"
EXAMPLES = TOP / "doc/examples/rapi.json"
COLUMNS = 100

Example = Mapping[str, Any]
"""`method`, `path` (of the table), `target` (as sent), `body`, `status`, `answer`."""

BEGIN = """\
Remote API
==========

.. This page is written by tools/make-rapi-doc; change that, or the declarations in lib/ganeti/rapi.

``ganeti-rapi`` serves the remote API on the master node: HTTPS, port 5080. What follows is made
from the declarations that the daemon itself works with; ``/2/openapi.json`` gives them to
programs (OpenAPI 3.1). The examples were recorded from a running cluster; identifiers and times
in them are made even, and long values are cut short (``…``).

Asking
------

A request with a body says ``Content-Type: application/json``. Answers are JSON. Users, roles
and tokens are told in ganeti-rapi(8). *Right* is the name of the permission that a method
needs; where *anybody* may ask, a login is only needed when the daemon runs with
``--require-authentication``.

Methods that change something answer at once with the number of a job; ``/2/jobs/{job_id}``
tells how it goes. Names of objects that do not exist are found out by the job, not by the
request. The body of such a method may also have ``depends``, ``comment``, ``priority`` (-10, 0
or 10), ``debug_level`` and, where it is no argument of the query, ``dry_run``. The argument
``reason`` stands in the job's reason trail.

An error has a status of 400 or more (see `Statuses`_) and the body
``{"code", "message", "explain"}``.

From Python, the module ``ganeti.rapi.client`` has a method for each of these; it needs nothing
but the standard library and may be copied to other machines::

    from ganeti.rapi.client import GanetiRapiClient, GenericCurlConfig

    config = GenericCurlConfig(cafile="/etc/ssl/cluster.pem")
    client = GanetiRapiClient("cluster.example.com", username="admin", password="…",
                              curl_config_fn=config)
    job = client.StartupInstance("web1.example.com")
    client.WaitForJobCompletion(job)

Statuses
--------

=== ==============================================================================================
400 bad JSON; a wrong type; a missing, unknown or invalid parameter; two names of one parameter
401 not logged in, or wrong credentials
403 the user lacks the right; a parameter that can't be set here
404 no such path, or no such object
413 the body is too large
415 a body that is not said to be JSON
429 too many requests; ``Retry-After`` says when to come again
500 the master daemon refused what was asked
501 the path has no such method
502 the master daemon does not answer, or not sensibly; ``Retry-After`` says when to come again
503 the job queue is full or drained; the console of an instance that does not run
504 the master daemon took too long
=== ==============================================================================================
"""


def page(resources: Iterable[Resource], examples: Sequence[Example]) -> str:
    """The whole text."""
    lines = BEGIN.splitlines()
    for one in resources:
        for name, method in one.methods.items():
            found = [it for it in examples if (it["method"], it["path"]) == (name, one.path)]
            title = f"{name} {one.path}"
            lines += ["", title, "-" * len(title), ""]
            lines += _method(method, max(one.since, method.since, key=_version))
            for example in found:
                lines += ["", *_example(example)]
    return "\n".join(lines) + "\n"


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _method(method: Method, since: str) -> Iterator[str]:
    yield method.help
    yield ""
    yield f":Right: {_right(method)}"
    yield f":Since: {since}"
    yield f":Answer: {_plain(method.answer or 'object')}"
    if method.arguments:
        yield ""
        yield "Arguments of the query:"
        yield ""
        for argument in method.arguments:
            yield from _item(argument.name, _kind(argument, method), _plain(argument.help))
    if method.body is not None:
        other = {known: new for new, known in method.body.renamed.items()}
        params = [one for key, one in method.body.params.items()
                  if key not in method.body.forbidden]  # fmt: skip
        if params:
            yield ""
            yield "Keys of the body:"
            yield ""
        for one in params:
            yield from _item(one.name, _param_kind(one, other.get(one.name)), _plain(one.help))


def _right(method: Method) -> str:
    who = {Access.NONE: "; anybody may", Access.READ: ", or any right to read it"}
    return f"``{method.permission}``{who.get(method.access, '')}"


def _item(name: str, kind: str, help: str) -> Iterator[str]:
    yield f"``{name}`` ({kind})"
    if help:
        yield f"    {help}"


def _kind(one: Argument, method: Method) -> str:
    words = {
        "flag": "0 or 1", "number": "number", "text": "text", "texts": "text, may be repeated",
        "names": "names with commas",
    }[one.kind]  # fmt: skip
    typed = method.typed.get(one.name)
    if one.kind == "text" and typed is not None and "enum" in typed.check.schema:
        words = "one of " + ", ".join(map(str, typed.check.schema["enum"]))
    if one.required or typed is not None and typed.required and one.default is None:
        return f"{words}; required"
    if one.default is not None:
        default = int(one.default) if isinstance(one.default, bool) else one.default
        return f"{words}; default {default}"
    return words


def _param_kind(one: Param, other: str | None) -> str:
    words = _plain(one.notation)
    if "enum" in one.check.schema:
        words = "one of " + ", ".join(map(str, one.check.schema["enum"]))
    if other:
        words += f"; also called ``{other}``"
    if one.required:
        return f"{words}; required"
    if one.default in (None, (), [], {}):
        return words
    return f"{words}; default {_plain(json.dumps(one.default))}"


def _plain(text: str) -> str:
    """Nothing in it is markup."""
    for sign in ("\\", "*", "`", "|", "_"):
        text = text.replace(sign, "\\" + sign)
    return text


def _example(example: Example) -> Iterator[str]:
    yield "::"
    yield ""
    yield f"    {example['method']} {example['target']}"
    if example["body"] is not None:
        yield from _indented(example["body"])
    yield ""
    yield f"    {example['status']}"
    yield from _indented(example["answer"])


def _indented(value: Any) -> Iterator[str]:
    for line in _layout(value, 4).splitlines():
        yield f"    {line}"


def _layout(value: Any, indent: int) -> str:
    """JSON that is as long as it must be: what fits into a line stands in one."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) + indent < COLUMNS or not value or not isinstance(value, (dict, list)):
        return short
    inside = " " * 2
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_layout(item, indent + 2 + len(key) + 4)}"
                 for key, item in value.items()]  # fmt: skip
        begin, end = "{}"
    else:
        parts = [_layout(item, indent + 2) for item in value]
        begin, end = "[]"
    body = ",\n".join(inside + part.replace("\n", "\n" + inside) for part in parts)
    return f"{begin}\n{body}\n{end}"


def read_examples() -> list[Example]:
    made: list[Example] = json.loads(EXAMPLES.read_text())
    return made


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="tools/make-rapi-doc")
    parser.add_argument("--record", action="store_true", help="ask a cluster for new examples")
    chosen = parser.parse_args(arguments)
    if chosen.record:
        from rapi_examples import record

        found = record()
        lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in found)
        EXAMPLES.write_text(f"[\n{lines}\n]\n")
    PAGE.write_text(page(RESOURCES, read_examples()))
    return 0
