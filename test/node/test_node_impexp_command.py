"""Command lines of transfers and what their parts say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fact_tables import facts
from fakes.nodes import JumpingClock
from ganeti.errors import GenericError
from ganeti.node.impexp_command import (
    Descriptors,
    End,
    SocatLine,
    check,
    pack_argv,
    parse_dd,
    parse_socat,
    shell_argv,
    socat_argv,
    unpack_argv,
)
from ganeti.node.impexp_daemon import end_of, make_parser
from ganeti.node.impexp_progress import MIB, Progress, StatusFile
from ganeti.serializer import loads
from ganeti.utils.files import LocalDisk

SOCAT = "socat -ls -d -d -b1048576 -u"
TLS = (
    "keepalive,keepidle=60,keepintvl=10,keepcnt=5,verify=1,cipher=HIGH:-DES:-3DES:-EXPORT:-DH,"
    "compress=none,key=/k,cert=/c,cafile=/a"
)
RECEIVER = End(mode="import", key="/k", cert="/c", ca="/a", compress="none", suffix="| cat >/x")
SENDER = End(
    mode="export",
    key="/k",
    cert="/c",
    ca="/a",
    host="192.0.2.7",
    port=4711,
    compress="none",
    prefix="cat /x |",
    connect_retries=10,
    peer_name="node2.example.com",
)
REPORT = Descriptors(socat=5, dd=6, dd_pid=7)
DD = "( echo $BASHPID >&7; exec dd bs=1048576 2>&6 )"
SENDS = (
    f"{SOCAT} stdin OPENSSL:192.0.2.7:4711,connect-timeout=20,retry=10,intervall=1,{TLS},pf=ipv4,"
    "openssl-commonname=node2.example.com"
)


def test_socat_of_the_receiver() -> None:
    listen = "OPENSSL-LISTEN:0,reuseaddr,forever,intervall=0.01"
    assert " ".join(socat_argv(RECEIVER)) == f"{SOCAT} {listen},{TLS},pf=ipv4 stdout"
    bound = replace(RECEIVER, bind="::1", ipv6=True)
    listen = "OPENSSL-LISTEN:0,bind=[::1],reuseaddr,forever,intervall=0.01"
    assert " ".join(socat_argv(bound)) == f"{SOCAT} {listen},{TLS},pf=ipv6 stdout"


def test_socat_of_the_sender() -> None:
    assert " ".join(socat_argv(SENDER)) == SENDS
    assert "OPENSSL:[2001:db8::7]:4711," in socat_argv(replace(SENDER, host="2001:db8::7"))[-1]


def test_paths_with_commas_stay_one_option() -> None:
    assert r"key=/a\,b" in socat_argv(replace(SENDER, key="/a,b"))[-1]


def test_the_pipe_of_each_end() -> None:
    *shell, receive = shell_argv(RECEIVER, REPORT)
    assert shell == ["bash", "-o", "errexit", "-o", "pipefail", "-c"]
    assert receive.endswith(f"stdout 2>&5 | {DD} | cat >/x")
    *_, send = shell_argv(SENDER, REPORT)
    assert send == f"cat /x | {DD} | {SENDS} 2>&5"


def test_compression_stands_between_dd_and_socat() -> None:
    *_, receive = shell_argv(replace(RECEIVER, compress="gzip"), REPORT)
    assert receive.endswith(f"stdout 2>&5 | gzip -d -c | {DD} | cat >/x")
    *_, send = shell_argv(replace(SENDER, compress="gzip"), REPORT)
    assert send.startswith(f"cat /x | {DD} | gzip -1 -c | socat ")


@pytest.mark.parametrize(
    ("tool", "pack", "unpack"),
    [
        ("gzip-fast", "gzip -1 -c", "gzip -d -c"),
        ("gzip-slow", "gzip -c", "gzip -d -c"),
        ("lzop", "lzop -c", "lzop -d -c"),
        ("zstd", "zstd", "zstd -d"),
    ],
)
def test_tools_and_their_reverse(tool: str, pack: str, unpack: str) -> None:
    assert (" ".join(pack_argv(tool)), " ".join(unpack_argv(tool))) == (pack, unpack)


def test_the_magic_comes_before_everything_else() -> None:
    *_, send = shell_argv(replace(SENDER, magic="abcde", compress="gzip"), REPORT)
    assert send.startswith(f"{{ printf %s M=abcde; cat /x | {DD} | gzip -1 -c; }} | socat ")
    *_, receive = shell_argv(replace(RECEIVER, magic="abcde", compress="gzip"), REPORT)
    assert "| { magic=$(dd bs=7 count=1 iflag=fullblock status=none); " in receive
    assert receive.endswith(f"; gzip -d -c | {DD} | cat >/x; }}")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mode": "copy"},
        {"magic": "four"},
        {"magic": "spa ce"},
        {"compress": "gzip; reboot"},
        {"host": "node 2"},
        {"port": 0},
        {"host": ""},
    ],
)
def test_what_can_be_no_command_is_refused(wrong: dict[str, str | int]) -> None:
    check(SENDER)
    with pytest.raises(GenericError):
        check(replace(SENDER, **wrong))  # type: ignore[arg-type]


def test_lines_of_socat() -> None:
    stamp = "2026/11/22 17:50:07 socat[14778]"
    assert parse_socat(f"{stamp} N listening on AF=2 127.99.1.1:40019") == SocatLine(port=40019)
    line = f"{stamp} N listening on AF=10 [0000:0000:0000:0000:0000:0000:0000:0001]:4711"
    assert parse_socat(line) == SocatLine(port=4711)
    line = f"{stamp} N starting data transfer loop with FDs [8,8] and [1,1]"
    assert parse_socat(line) == SocatLine(connected=True)
    assert parse_socat(f"{stamp} N exiting with status 0") == SocatLine()
    assert parse_socat(f"{stamp} E read(): Broken pipe").text == "socat: read(): Broken pipe"


def test_lines_of_dd() -> None:
    assert parse_dd("41943040 bytes (42 MB, 40 MiB) copied, 0.02 s, 2.1 GB/s") == 41943040
    assert parse_dd("1 byte copied, 5e-05 s, 20 kB/s") == 1
    assert parse_dd("40+0 records in") is None


def test_rate_is_that_of_the_last_minute() -> None:
    progress = Progress(expected_mib=400)
    assert (progress.mib, progress.rate, progress.percent, progress.eta_s) == (None,) * 4
    for second in range(0, 121, 5):
        progress.add(second, min(second, 60) * MIB)
    assert progress.mib == 60
    assert progress.rate == 0
    assert progress.percent == 15
    progress.add(125, 120 * MIB)
    assert progress.rate == 1
    assert progress.eta_s == 280


def test_a_status_file_is_written_each_5_s_or_for_what_matters(tmp_path: Path) -> None:
    clock = JumpingClock()
    path = tmp_path / "status"
    status = StatusFile(path, LocalDisk(), clock)
    progress = Progress()
    status.write()
    progress.add(clock.monotonic(), MIB)
    status.show(progress)
    assert loads(path.read_bytes())["progress_mbytes"] is None
    status.set_port(4711)
    assert loads(path.read_bytes())["listen_port"] == 4711
    assert loads(path.read_bytes())["progress_mbytes"] == 1
    progress.add(clock.monotonic(), 2 * MIB)
    clock.sleep(5)
    status.show(progress)
    assert loads(path.read_bytes())["progress_mbytes"] == 2
    for number in range(30):
        status.say(f"line {number}")
    status.end(1, "exited with exit code 1")
    found = loads(path.read_bytes())
    assert found["recent_output"] == [f"line {number}" for number in range(10, 30)]
    assert (found["exit_status"], found["error_message"]) == (1, "exited with exit code 1")


def test_options_are_those_of_the_facts() -> None:
    rows = facts("cli")["tools"]["import-export"]["options"]
    wanted = {flag for row in rows for flag in row["flags"]}
    parser = make_parser()
    ours = {flag for action in parser._actions for flag in action.option_strings}
    assert wanted <= ours
    options = parser.parse_args(["s", "import"])
    assert (options.connect_timeout, options.connect_retries, options.compress) == (60, 0, "gzip")


def test_both_ends_need_key_certificate_and_authority() -> None:
    with pytest.raises(GenericError, match="--key is missing"):
        end_of(make_parser().parse_args(["s", "import"]))
