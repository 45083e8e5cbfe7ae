"""Every option of ganeti-rapi, where it is really used: the daemon starts with it and does it."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cluster_bed import ClusterBed, until, virtual_cluster
from ganeti.rapi.daemon import make_parser
from ganeti.utils.daemons import RAPI

PORT = 5080
LOGIN = "admin:Example1"
TICKET = "/2/instances/web1.example.com/console-ticket"


@dataclass
class Bed:
    """One node, whose remote API each test starts its own way."""

    bed: ClusterBed
    directory: Path
    certificates: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> str:
        return self.bed.cluster.address(1)

    @property
    def other(self) -> str:
        return f"{self.bed.cluster.network}.77"

    def log(self, name: str) -> str:
        path = self.bed.cluster.paths(1).log / name
        return path.read_text() if path.exists() else ""


@dataclass(frozen=True)
class Asked:
    """How to ask: `trusts` is the file of an authority, None for what has signed itself."""

    host: str
    port: int = PORT
    tls: bool = True
    trusts: str | None = None

    def __call__(self, path: str = "/version", user: str = "", method: str = "GET") -> Any:
        """Status and parsed body."""
        with closing(self.line()) as line:
            return ask_on(line, path, user, method)

    def line(self) -> http.client.HTTPConnection:
        if not self.tls:
            return http.client.HTTPConnection(self.host, self.port, timeout=30)
        context = ssl.create_default_context(cafile=self.trusts)
        context.check_hostname = False
        if self.trusts is None:
            context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(self.host, self.port, context=context, timeout=30)


def ask_on(
    line: http.client.HTTPConnection, path: str, user: str = "", method: str = "GET"
) -> tuple[int, Any]:
    headers = {"Authorization": f"Basic {b64encode(user.encode()).decode()}"} if user else {}
    line.request(method, path, headers=headers)
    answer = line.getresponse()
    return answer.status, json.loads(answer.read())


def make_certificates(directory: Path) -> dict[str, str]:
    """A root, one that it has signed, and a server's that this has signed."""
    for name, by in (("root", ""), ("middle", "root"), ("server", "middle")):
        authority = "FALSE" if name == "server" else "TRUE"
        signing = ["-CA", f"{by}.pem", "-CAkey", f"{by}.key"] if by else []
        argv = [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", *signing),
            *("-addext", f"basicConstraints=critical,CA:{authority}"),
        ]
        subprocess.run(argv, cwd=directory, check=True, capture_output=True)
    return {path.name: str(path) for path in directory.iterdir()}


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    directory = tmp_path_factory.mktemp("certificates")
    with virtual_cluster(1) as bed:
        bed.init_all()
        bed.cluster.paths(1).rapi_users.write_text("admin Example1 write\n")
        bed.stop(RAPI)
        yield Bed(bed, directory, make_certificates(directory))


@contextmanager
def daemon(stand: Bed, options: str) -> Iterator[None]:
    try:
        stand.bed.ok(f"ganeti-rapi {options}")
        yield
    finally:
        stand.bed.stop(RAPI)


def is_closed(host: str, port: int = PORT) -> bool:
    with socket.socket() as line:
        return line.connect_ex((host, port)) != 0


def free_port() -> int:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        return int(line.getsockname()[1])


def test_without_options_it_has_the_nodes_address_and_certificate(stand: Bed) -> None:
    with daemon(stand, ""):
        trusts = str(stand.bed.cluster.paths(1).rapi_pem)
        assert Asked(stand.own, trusts=trusts)() == (200, 2)
        assert is_closed(stand.other)


# Where it listens.


@pytest.mark.parametrize("option", ["-b", "--bind="])
def test_an_address(stand: Bed, option: str) -> None:
    with daemon(stand, f"{option}{stand.other}"):
        assert Asked(stand.other)() == (200, 2)
        assert is_closed(stand.own)


@pytest.mark.parametrize("option", ["-i", "--interface="])
def test_the_address_of_an_interface(stand: Bed, option: str) -> None:
    port = free_port()  # another test's daemon may have 5080 there
    with daemon(stand, f"{option}lo -p {port}"):
        assert Asked("127.0.0.1", port)() == (200, 2)
        assert is_closed(stand.own, port)


@pytest.mark.parametrize("option", ["-p", "--port="])
def test_a_port(stand: Bed, option: str) -> None:
    with daemon(stand, f"{option}5081"):
        assert Asked(stand.own, 5081)() == (200, 2)
        assert is_closed(stand.own)


# What it encrypts with.


def test_no_encryption(stand: Bed) -> None:
    with daemon(stand, "--no-ssl"):
        assert Asked(stand.own, tls=False)() == (200, 2)
        with pytest.raises(ssl.SSLError):
            Asked(stand.own)()


@pytest.mark.parametrize("options", ["-K{key} -C{pem}", "--ssl-key={key} --ssl-cert={pem}"])
def test_another_certificate_with_its_key(stand: Bed, options: str) -> None:
    named = {"key": stand.certificates["root.key"], "pem": stand.certificates["root.pem"]}
    with daemon(stand, options.format(**named)):
        assert Asked(stand.own, trusts=named["pem"])() == (200, 2)


def test_the_chain_of_those_who_have_signed(stand: Bed) -> None:
    files = stand.certificates
    options = f"-K {files['server.key']} -C {files['server.pem']}"
    asked = Asked(stand.own, trusts=files["root.pem"])
    with daemon(stand, options), pytest.raises(ssl.SSLCertVerificationError):
        asked()
    with daemon(stand, f"{options} --ssl-chain={files['middle.pem']}"):
        assert asked() == (200, 2)


# Whom it lets in, and how many.


def test_authentication(stand: Bed) -> None:
    with daemon(stand, "--require-authentication"):
        asked = Asked(stand.own)
        assert asked()[0] == 401
        assert asked(user=LOGIN) == (200, 2)


def has_ended(line: http.client.HTTPConnection) -> bool:
    assert line.sock is not None
    line.sock.settimeout(20)
    return line.sock.recv(1) == b""


@pytest.mark.parametrize("option", ["--max-clients", "--max-client-connections"])
def test_most_connections(stand: Bed, option: str) -> None:
    with daemon(stand, f"{option}=2"):
        lines = [Asked(stand.own).line() for _ in range(3)]
        for line in lines:
            assert ask_on(line, "/version") == (200, 2)
        assert has_ended(lines[0])
        assert ask_on(lines[1], "/version") == (200, 2)
        for line in lines:
            line.close()


def test_most_requests(stand: Bed) -> None:
    with daemon(stand, "--max-requests=1"), closing(Asked(stand.own).line()) as line:
        answers = [ask_on(line, "/version")[0] for _ in range(12)]
        assert set(answers) == {200, 429} and answers[0] == 200


# What it does besides.


def test_audit_of_reads(stand: Bed) -> None:
    with daemon(stand, "--audit-reads"):
        assert Asked(stand.own)("/2/features", user=LOGIN)[0] == 200
        until(lambda: "/2/features" in stand.log("rapi-audit.log"), "the read is audited")


def test_the_console_proxy(stand: Bed) -> None:
    for option, text in (("", "consoles are not carried here"), ("--console-proxy", "not found")):
        with daemon(stand, option):
            status, body = Asked(stand.own)(TICKET, LOGIN, "POST")
            assert status == 404 and text in body["message"]


@pytest.mark.parametrize("option", ["-d", "--debug"])
def test_requests_in_the_log(stand: Bed, option: str) -> None:
    def lines() -> int:
        return stand.log("rapi-daemon.log").count('"GET /version HTTP/1.1" 200')

    before = lines()
    with daemon(stand, ""):
        assert Asked(stand.own)() == (200, 2)
    assert lines() == before
    with daemon(stand, option):
        assert Asked(stand.own)() == (200, 2)
        until(lambda: lines() > before, "the request is in the log")


@pytest.mark.parametrize("option", ["-f", "--foreground"])
def test_in_the_foreground(stand: Bed, option: str) -> None:
    argv = stand.bed.cluster.argv(1, "ganeti-rapi", option)
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: not is_closed(stand.own), "it listens")
        assert Asked(stand.own)() == (200, 2)
        assert child.poll() is None
    finally:
        child.terminate()
        _, said = child.communicate(timeout=30)
    assert child.returncode == 0, said


def test_only_syslog_has_the_log(stand: Bed) -> None:
    before = stand.log("rapi-daemon.log")
    with daemon(stand, "--syslog=only"):
        assert Asked(stand.own)() == (200, 2)
    assert stand.log("rapi-daemon.log") == before


@pytest.mark.parametrize("option", ["--syslog=yes", "--no-user-checks"])
def test_both_logs_and_any_user(stand: Bed, option: str) -> None:
    before = stand.log("rapi-daemon.log")
    with daemon(stand, option):
        assert Asked(stand.own)() == (200, 2)
    assert stand.log("rapi-daemon.log") != before


def test_it_tells_its_version(stand: Bed) -> None:
    assert stand.bed.ok("ganeti-rapi --version").startswith("ganeti-rapi (ganeti) ")


def test_no_option_is_left_out() -> None:
    text = Path(__file__).read_text()
    options = [one for action in make_parser()._actions for one in action.option_strings]
    missing = [one for one in options if not re.search(rf"(?<![\w-]){one}(?![\w-])", text)]
    assert not set(missing) - {"-h", "--help"}
