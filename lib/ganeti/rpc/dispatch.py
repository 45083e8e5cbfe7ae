"""From a request to the serving function and back. One `Dispatcher` per node daemon.

An error of ours is answered with its own text; anything else becomes "Error while executing backend
function: …", with the traceback in the log (facts/node-rpc.json, transport).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from ganeti.errors import GenericError, ParseError
from ganeti.rpc.base import Call
from ganeti.serializer import Json, dump_bytes, loads

logger = logging.getLogger(__name__)

N = TypeVar("N")

BACKEND = "Error while executing backend function"


class Dispatcher(Generic[N]):
    """Answers calls for one node. `calls` and `served` are the registries of `rpc.base`."""

    def __init__(
        self,
        node: N,
        calls: Mapping[str, Call[..., Any]],
        served: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._node = node
        self._calls = calls
        self._served = served

    def knows(self, name: str) -> bool:
        return name in self._calls

    def answer(self, name: str, body: bytes) -> bytes:
        """The `[ok, payload]` text for one request; never raises."""
        began = time.monotonic()
        pair = self._pair(name, body)
        try:
            text = dump_bytes(pair) + b"\n"
        except (TypeError, ValueError) as error:
            logger.exception("call %s: the result has no JSON form", name)
            text = dump_bytes([False, f"{BACKEND}: {error}"]) + b"\n"
        logger.debug("call %s: ok %s, %.4f s", name, pair[0], time.monotonic() - began)
        return text

    def _pair(self, name: str, body: bytes) -> list[Json]:
        call = self._calls.get(name)
        if call is None:
            return [False, f"there is no call {name!r}"]
        function = self._served.get(name)
        if function is None:
            return [False, f"call {name} is not served by this version of ganeti-noded"]
        try:
            arguments = call.decode_arguments(loads(body, f"body of {name}"))
        except ParseError as error:
            return [False, f"{BACKEND}: {error}"]
        try:
            return [True, call.encode_result(function(self._node, *arguments))]
        except GenericError as error:
            logger.info("call %s: %s", name, error)
            return [False, str(error) or type(error).__name__]
        except Exception as error:
            logger.exception("call %s", name)
            return [False, f"{BACKEND}: {error}" if str(error) else f"{BACKEND}: {error!r}"]
