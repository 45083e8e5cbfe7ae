"""Framing, requests and answers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fact_tables import facts
from ganeti import errors
from ganeti.luxi import protocol
from ganeti.luxi.protocol import LUXI_VERSION, Request, Splitter
from hypothesis import given
from hypothesis import strategies as st

MESSAGES = st.lists(st.binary(max_size=30).map(lambda raw: raw.replace(b"\x03", b"")), max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(MESSAGES, st.lists(st.integers(1, 20), min_size=1, max_size=5), st.binary(max_size=5))
def test_messages_come_out_however_the_stream_is_cut(
    messages: list[bytes], cuts: list[int], rest: bytes
) -> None:
    rest = rest.replace(b"\x03", b"")
    stream = b"".join(message + b"\x03" for message in messages) + rest
    splitter, found, at, turn = Splitter(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += list(splitter.feed(stream[at : at + size]))
        at, turn = at + size, turn + 1
    assert found == messages
    assert splitter.pending_bytes == len(rest)


def test_a_message_beyond_the_limit_is_refused_before_it_ends() -> None:
    splitter = Splitter(limit=10)
    assert list(splitter.feed(b"0123456789\x030123456789")) == [b"0123456789"]
    with pytest.raises(errors.ProtocolError, match="10 bytes"):
        list(splitter.feed(b"x"))


@given(st.text(), JSON, st.none() | st.integers())
def test_requests_survive_the_wire(method: str, args: object, version: int | None) -> None:
    message = protocol.encode_request(method, args, version)
    assert message.count(b"\x03") == 1 and message.endswith(b"\x03")
    assert protocol.decode_request(message[:-1]) == Request(method, args, version)


@given(JSON, st.none() | st.integers(0, 5_000_000))
def test_results_survive_the_wire_whole_or_in_pieces(result: object, version: int | None) -> None:
    whole = protocol.encode_result(result, version)
    assert protocol.decode_answer(whole[:-1], version=version) == result
    middle = json.dumps(result).encode()
    pieces = protocol.RESULT_KEY + middle + protocol.result_end(version)
    assert json.loads(pieces[:-1]) == json.loads(whole[:-1])


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"method": "QueryTags"}',
        b'{"args": []}',
        b'{"method": 5, "args": []}',
        b' {"method": "QueryTags", "args": []}',
        b'\n{"method": "QueryTags", "args": []}',
        b'{"method": "QueryTags", "args": [], "version": "x"}',
        b'{"method": "QueryTags", "args": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises(errors.ParseError):
        protocol.decode_request(message)


def test_unknown_keys_newlines_and_odd_bytes_do_no_harm() -> None:
    message = b'{"method":\n "QueryTags", "args": ["\xff\xfe"], "extra": 1}\n'
    assert protocol.decode_request(message) == Request("QueryTags", ["\ufffd\ufffd"], None)


def test_examples_of_the_table_are_understood() -> None:
    examples = {
        key: text.encode().rstrip(b"\x03") for key, text in facts("luxi")["examples"].items()
    }
    assert protocol.decode_request(examples["request"]).method == "QueryNodes"
    assert protocol.decode_answer(examples["success"]) == [["node1.example.com"]]
    with pytest.raises(errors.OpPrereqError) as caught:
        protocol.decode_answer(examples["failure"])
    assert caught.value.code == "unknown_entity"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"success": False, "result": ["JobLost", ["gone"]]}, errors.JobLost),
        ({"success": False, "result": ["HooksAbort", [[["n", "s", "o"]]]]}, errors.HooksAbort),
        ({"success": False, "result": "plain text"}, errors.RequestError),
        ({"success": False, "result": ["NoSuchClass", []]}, errors.RequestError),
        ({"success": False, "result": None}, errors.RequestError),
        ({"success": True}, errors.ProtocolError),
        ({"result": 1}, errors.ProtocolError),
        ([], errors.ProtocolError),
        ({"success": True, "result": 1, "version": 2_010_000}, errors.LuxiError),
    ],
)
def test_answers_that_are_errors_raise_them(answer: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        protocol.decode_answer(json.dumps(answer).encode(), version=LUXI_VERSION)


def test_an_error_comes_over_with_class_and_arguments() -> None:
    sent = errors.OpPrereqError("no such node", errors.Code.NOENT)
    with pytest.raises(errors.OpPrereqError) as caught:
        protocol.decode_answer(protocol.encode_failure(sent)[:-1])
    assert caught.value.args == sent.args


def test_client_and_opcodes_import_nothing_slow() -> None:
    code = "import sys; import ganeti.luxi.client, ganeti.opcodes.instance; print(*sys.modules)"
    lib = Path(protocol.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(lib)!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert "ganeti.opcodes.instance" in loaded
    slow = {"asyncio", "dataclasses", "inspect", "logging", "pathlib", "ssl", "subprocess"}
    assert not loaded & slow
    own = {name for name in loaded if name.startswith("ganeti.opcodes.")}
    assert own == {
        f"ganeti.opcodes.{name}" for name in ("base", "checks", "instance", "registry", "types")
    }
