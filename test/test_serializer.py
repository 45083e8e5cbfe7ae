"""JSON at the edge: what no peer may make us stumble over."""

from __future__ import annotations

import pytest
from ganeti.errors import ParseError, SignatureError
from ganeti.serializer import dumps, dumps_signed, loads, loads_signed, sign


def test_a_signed_value_comes_back_with_its_salt() -> None:
    assert loads_signed(dumps_signed({"a": 1}, "key", "salt"), "key") == ({"a": 1}, "salt")


def test_another_key_does_not_pass() -> None:
    with pytest.raises(SignatureError, match="does not match"):
        loads_signed(dumps_signed({"a": 1}, "key", "salt"), "other")


@pytest.mark.parametrize("signature", ["é" * 40, "\ud800", "", "0" * 40])
def test_a_wrong_signature_is_refused_whatever_its_characters(signature: str) -> None:
    with pytest.raises(SignatureError, match="does not match"):
        loads_signed(dumps({"msg": "1", "salt": "x", "hmac": signature}), "key")


def test_half_a_surrogate_pair_in_a_signed_text_is_no_crash() -> None:
    message = '"\ud800"'
    whole = dumps({"msg": message, "salt": "x", "hmac": sign("key", message, "x")})
    assert loads_signed(whole, "key") == ("\ud800", "x")


def test_a_number_that_python_does_not_read_is_a_parse_error() -> None:
    with pytest.raises(ParseError, match="request holds a number that is too long"):
        loads("[" + "1" * 10_000 + "]", "request")


def test_deep_nesting_is_a_parse_error() -> None:
    with pytest.raises(ParseError, match="nested too deeply"):
        loads("[" * 100_000)


def test_not_a_number_is_no_json() -> None:
    with pytest.raises(ParseError):
        loads('{"a": NaN}')
