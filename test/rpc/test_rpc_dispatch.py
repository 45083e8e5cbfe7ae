"""From text to function and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ganeti.errors import OpExecError, ParseError
from ganeti.rpc.base import Call
from ganeti.rpc.dispatch import Dispatcher
from ganeti.rpc.packed import pack, unpack
from ganeti.serializer import loads


def add(first: int, second: int = 2) -> int: ...  # type: ignore[empty-body]
def nothing() -> None: ...
def unserved() -> None: ...


CALLS: dict[str, Call[..., Any]] = {
    function.__name__: Call(function.__name__, function, 60.0)
    for function in (add, nothing, unserved)
}


def broken(node: str) -> None:
    raise KeyError("inner")


def refused(node: str) -> None:
    raise OpExecError("volume xenvg/a: no space")


def answer(
    name: str, body: bytes, nothing: Callable[..., None] = lambda node: None
) -> tuple[bool, Any]:
    served = {"add": lambda node, first, second=2: first + second, "nothing": nothing}
    ok, payload = loads(Dispatcher("node", CALLS, served).answer(name, body))
    return ok, payload


def test_arguments_are_typed_and_the_result_is_answered() -> None:
    assert answer("add", b"[1, 5]") == (True, 6)


def test_missing_arguments_take_their_defaults() -> None:
    assert answer("add", b"[1]\n") == (True, 3)


def test_too_many_arguments_are_ignored() -> None:
    assert answer("add", b"[1, 2, 3]") == (True, 3)


def test_too_few_arguments_are_named() -> None:
    ok, text = answer("add", b"[]")
    assert not ok and "missing: first" in text


@pytest.mark.parametrize("body", [b"", b"not json", b"{}", b'["x"]', b"[" * 100_000, b"\xff"])
def test_a_wrong_body_is_answered_with_a_sentence(body: bytes) -> None:
    ok, text = answer("add", body)
    assert not ok and text.startswith("Error while executing backend function: ")


def test_an_error_of_ours_is_answered_with_its_own_text() -> None:
    assert answer("nothing", b"[]", refused) == (False, "volume xenvg/a: no space")


def test_any_other_error_is_told_as_such() -> None:
    ok, text = answer("nothing", b"[]", broken)
    assert (ok, text) == (False, "Error while executing backend function: 'inner'")


def test_a_call_that_nobody_serves_says_so() -> None:
    ok, text = answer("unserved", b"[]")
    assert not ok and text == "call unserved is not served by this version of ganeti-noded"


def test_a_result_without_json_form_is_an_error() -> None:
    ok, text = answer("nothing", b"[]", lambda node: object())  # type: ignore[return-value]
    assert not ok and "has no JSON form" in text


@pytest.mark.parametrize("contents", [b"", b"x", b"\xff\x00", b"long" * 1000])
def test_packed_contents_come_back(contents: bytes) -> None:
    assert unpack(pack(contents)) == contents


@pytest.mark.parametrize("packed", [(2, "x"), (1, "%%"), (1, "eJw="), (1, pack(b"a" * 999)[1][:8])])
def test_damaged_packed_contents_are_refused(packed: tuple[int, str]) -> None:
    with pytest.raises(ParseError, match="packed contents"):
        unpack(packed)


def test_contents_that_unpack_to_too_much_are_refused() -> None:
    with pytest.raises(ParseError, match="more than 1000 bytes"):
        unpack(pack(b"\0" * 1_000_000), 1000)
