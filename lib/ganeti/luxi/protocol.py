"""The messages of LUXI: framing, requests and answers. Source: facts/luxi.json.

A message is JSON text and the end byte 0x03, which JSON text can't contain. Nothing here does
input or output.
"""

from collections.abc import Iterator
from typing import NamedTuple

from ganeti.constants import LUXI_END
from ganeti.errors import (
    GenericError,
    LuxiError,
    ParseError,
    ProtocolError,
    RequestError,
    decode_error,
    encode_error,
)
from ganeti.serializer import Json, dump_bytes, loads
from ganeti.version import CONFIG_VERSION

LUXI_VERSION = CONFIG_VERSION
"""What a client may send along, and gets back."""

MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # 10,000 jobs of full size in one SubmitManyJobs
RESULT_KEY = b'{"success": true, "result": '


class Request(NamedTuple):
    """A call: `args` is what the client sent, not checked yet."""

    method: str
    args: Json
    version: int | None = None


class Splitter:
    """Cuts a stream of bytes into messages.

    ProtocolError when a message grows beyond `limit` bytes; the stream is of no use after that.
    """

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished message is here."""
        return self._size

    def feed(self, received: bytes) -> Iterator[bytes]:
        """The messages that `received` completes, without their end byte."""
        *ends, rest = received.split(LUXI_END)
        for piece in ends:
            self._add(piece)
            message = b"".join(self._pieces)
            self._pieces.clear()
            self._size = 0
            yield message
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        if not piece:
            return
        self._size += len(piece)
        if self._size > self._limit:
            raise ProtocolError(f"a message is longer than {self._limit} bytes")
        self._pieces.append(piece)


# Requests.


def encode_request(method: str, args: Json, version: int | None = None) -> bytes:
    """The message of a call, with its end byte."""
    value = {"method": method, "args": args}
    if version is not None:
        value["version"] = version
    return dump_bytes(value) + LUXI_END


def decode_request(message: bytes) -> Request:
    """The call in a message; ParseError when it is none.

    Blanks before the opening brace are refused, as 3.0 does; bytes that are not UTF-8 are not.
    """
    if not message.startswith((b"{", b"[")):
        raise ParseError("request is not a JSON object: it does not begin with a brace")
    value = loads(message.decode("utf-8", "replace"), "request")
    if not isinstance(value, dict):
        raise ParseError("request is not a JSON object")
    for key in ("method", "args"):
        if key not in value:
            raise ParseError(f"request has no key {key!r}")
    method, version = value["method"], value.get("version")
    if not isinstance(method, str):
        raise ParseError(f"request: the method is a text, not {method!r}")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise ParseError(f"request: the version is a whole number, not {version!r}")
    return Request(method, value["args"], version)


# Answers.


def encode_result(result: Json, version: int | None = None) -> bytes:
    """The message of an answer, with its end byte."""
    return _answer({"success": True, "result": result}, version)


def encode_failure(error: BaseException, version: int | None = None) -> bytes:
    """The message of an error, as [class name, arguments]."""
    return _answer({"success": False, "result": encode_error(error)}, version)


def encode_refusal(text: str, version: int | None = None) -> bytes:
    """The message for a request that can't be understood: the result is a plain text."""
    return _answer({"success": False, "result": text}, version)


def _answer(value: dict[str, Json], version: int | None) -> bytes:
    if version is not None:
        value["version"] = version
    return dump_bytes(value) + LUXI_END


def result_end(version: int | None = None) -> bytes:
    """What follows a result that is sent in pieces after RESULT_KEY."""
    tail = b"}" if version is None else b', "version": %d}' % version
    return tail + LUXI_END


def decode_answer(message: bytes, *, version: int | None = None) -> Json:
    """The result in an answer.

    Raises the error that the answer carries; RequestError when that is none of ours, ProtocolError
    when this is no answer, LuxiError when it is of another version than `version`.
    """
    try:
        value = loads(message, "answer of the master")
    except ParseError as error:
        raise ProtocolError(str(error)) from error
    if not isinstance(value, dict) or "success" not in value or "result" not in value:
        raise ProtocolError("answer of the master: keys success and result are expected")
    theirs = value.get("version")
    if version is not None and theirs is not None and theirs != version:
        raise LuxiError(f"the master speaks LUXI version {theirs}, this program {version}")
    result = value["result"]
    if value["success"]:
        return result
    known: GenericError | None = decode_error(result)
    raise known if known is not None else RequestError(result)
