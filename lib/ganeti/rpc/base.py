"""What a call is: name, wire order of its arguments, types, how long it may take.

A call is declared once, as a function without a body (`rpc/calls/`); its signature types the
client and the serving function, its annotations make the codecs, its docstring is the manual.
Form on the wire: facts/node-rpc.json, `transport`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar

from ganeti.constants import NODED_PORT
from ganeti.errors import OpExecError, ParseError, ProgrammerError
from ganeti.model.node import Node
from ganeti.serializer import Json, decoder, encode

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N")

# How long a call may take, in seconds (facts/node-rpc.json, transport.timeouts.classes_s).
URGENT: Final = 60.0
FAST: Final = 300.0
NORMAL: Final = 900.0
SLOW: Final = 3600.0
FOUR_HOURS: Final = 14400.0
ONE_DAY: Final = 86400.0

Deadline = float | Callable[..., float]
"""Seconds, or a function of the call's arguments that gives them."""


@dataclass(frozen=True, slots=True)
class Codec:
    """The compiled annotations of one call."""

    names: tuple[str, ...]
    required: int
    readers: tuple[Callable[[Json, str], Any], ...]
    result: Callable[[Json, str], Any]
    takes_none: bool  # the result may be None


@dataclass(frozen=True, slots=True, eq=False)
class Call(Generic[P, R]):
    """One row of the call table.

    `none_as` is what the wire has in place of None (some calls answer `{}`). `offline_too`: the
    call is also made to a node that is marked offline. `express`: it is short and others wait for
    it; the node has workers for such calls that no long one can take.
    """

    name: str
    function: Callable[P, R]
    timeout_s: Deadline
    offline_too: bool = False
    none_as: Json = None
    express: bool = False
    _codec: list[Codec] = field(default_factory=list, repr=False)

    @property
    def codec(self) -> Codec:
        """Made at first use: the annotations name types that a start would not need."""
        if not self._codec:
            self._codec.append(compile_codec(self.function))
        return self._codec[0]

    def positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
        """All arguments in wire order."""
        if not kwargs and len(args) == len(self.codec.names):
            return args
        bound = inspect.signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args

    def deadline_s(self, args: tuple[Any, ...]) -> float:
        return self.timeout_s(*args) if callable(self.timeout_s) else self.timeout_s

    def encode_arguments(self, args: tuple[Any, ...]) -> list[Json]:
        return [encode(argument) for argument in args]

    def decode_arguments(self, values: Json) -> list[Any]:
        """Typed arguments from a JSON list; ParseError when they don't fit the declaration.

        Arguments beyond the declared ones are ignored, as 3.x does.
        """
        if not isinstance(values, list):
            raise ParseError(f"{self.name}: a list of arguments is expected")
        codec = self.codec
        if len(values) < codec.required:
            missing = ", ".join(codec.names[len(values) : codec.required])
            raise ParseError(
                f"{self.name}: {len(values)} arguments, at least {codec.required} needed;"
                f" missing: {missing}"
            )
        return [
            reader(value, f"{self.name}, argument {name}")
            for reader, name, value in zip(codec.readers, codec.names, values)
        ]

    def encode_result(self, result: object) -> Json:
        return self.none_as if result is None else encode(result)

    def decode_result(self, value: Json) -> R:
        codec = self.codec
        if codec.takes_none and value == self.none_as:
            value = None
        return typing.cast(R, codec.result(value, f"answer of {self.name}"))


def compile_codec(function: Callable[..., Any]) -> Codec:
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())
    result = hints["return"]
    return Codec(
        names=tuple(p.name for p in parameters),
        required=sum(p.default is inspect.Parameter.empty for p in parameters),
        readers=tuple(decoder(hints[p.name]) for p in parameters),
        result=decoder(result),
        takes_none=result is type(None) or type(None) in typing.get_args(result),
    )


CALLS: Final[dict[str, Call[..., Any]]] = {}
"""Every declared call by its name on the wire."""

SERVED: Final[dict[str, Callable[..., Any]]] = {}
"""Every serving function by the call's name; filled when the modules of node/ are imported."""


def call(
    *,
    timeout_s: Deadline,
    offline_too: bool = False,
    none_as: Json = None,
    express: bool = False,
) -> Callable[[Callable[P, R]], Call[P, R]]:
    """Declare a call: `@call(timeout_s=URGENT) def version() -> int: ...`."""

    def declare(function: Callable[P, R]) -> Call[P, R]:
        name = function.__name__
        if name in CALLS:
            raise ProgrammerError(f"call {name} is declared twice")
        made = Call(name, function, timeout_s, offline_too, none_as, express)
        CALLS[name] = made
        return made

    return declare


def serves(
    call: Call[P, R],
) -> Callable[[Callable[Concatenate[N, P], R]], Callable[Concatenate[N, P], R]]:
    """Register the function that serves `call`; it gets the node's context first."""

    def register(function: Callable[Concatenate[N, P], R]) -> Callable[Concatenate[N, P], R]:
        if call.name in SERVED:
            raise ProgrammerError(f"call {call.name} is served twice")
        SERVED[call.name] = function
        return function

    return register


@dataclass(frozen=True, slots=True)
class Target:
    """A node as the RPC client sees it. `address` is an IP address or a host name."""

    uuid: str
    name: str
    address: str
    offline: bool = False
    port: int = NODED_PORT


def target_of(node: Node) -> Target:
    return Target(node.uuid, node.name, node.primary_ip, node.offline)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R]):
    """What one node answered: a value, or an error text. A fan-out has one per node."""

    node: Target
    value: R | None = None
    error: str | None = None
    offline: bool = False  # marked offline: no connection was made

    @property
    def ok(self) -> bool:
        return self.error is None

    def get(self, what: str = "") -> R:
        """The value; OpExecError "what: node X: error" if there is none."""
        if self.error is not None:
            place = f"{what}: " if what else ""
            raise OpExecError(f"{place}node {self.node.name}: {self.error}")
        return typing.cast(R, self.value)
