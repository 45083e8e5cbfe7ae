"""The audit log: what stands in it, what never does, and what happens to the file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.rapi_bed import RapiBed, on_loop
from ganeti.rapi.access import Users
from ganeti.rapi.audit import AuditLog, Record, shown_query
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.reply import Reply
from ganeti.rapi.resources import RESOURCES
from ganeti.rapi.service import RapiServer, ServiceSettings
from ganeti.rapi.table import Access, Argument, Method, resource
from ganeti.rapi.tokens import TokenStore

ADMIN = "Basic YWRtaW46c2VjcmV0"  # admin:secret
PASSWORD = "hunter2hunter2"
METHODS = {
    (name, one.path): method for one in RESOURCES for name, method in one.methods.items()
}  # fmt: skip


class FakeMaster:
    """Takes every job; knows nothing."""

    def __init__(self) -> None:
        self.jobs = 16

    async def call(self, method: str, *args: Any) -> Any:
        if method == "SubmitJob":
            self.jobs += 1
            return self.jobs
        return []

    async def close(self) -> None:
        pass


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def with_server(
    tmp_path: Path, work: Callable[[RapiBed, AuditLog], Awaitable[None]], *, reads: bool = False
) -> list[dict[str, Any]]:
    """The lines of the log after that."""
    (tmp_path / "users").write_text("admin secret write\nviewer secret read\n")
    path = tmp_path / "rapi-audit.log"

    async def main() -> None:
        audit = AuditLog(path, reads=reads)
        settings = ServiceSettings(gate=GateSettings(require_authentication=True))
        users = Users(tmp_path / "users")
        server = RapiServer(RESOURCES, FakeMaster(), users, settings, tls=None, audit=audit)
        await server.start("127.0.0.1", 0)
        try:
            await work(RapiBed(server, server.master), audit)
        finally:
            await server.stop(grace_s=0.1)

    on_loop(main)
    return lines(path) if path.exists() else []


def headers(credentials: str = ADMIN) -> dict[str, str]:
    return {"Authorization": credentials, "Content-Type": "application/json"}


def test_a_change_stands_in_it_with_its_job(tmp_path: Path) -> None:
    async def work(bed: RapiBed, audit: AuditLog) -> None:
        path = "/2/instances/web/startup?force=1&reason=storm&password=" + PASSWORD
        assert (await bed.ask("PUT", path, headers=headers())).status == 200

    (line,) = with_server(tmp_path, work)
    assert line.pop("duration_s") >= 0
    assert line.pop("time").endswith("Z")
    assert line == {
        "user": "admin",
        "token": None,
        "address": "127.0.0.1",
        "method": "PUT",
        "path": "/2/instances/web/startup",
        "query": {"force": ["1"], "reason": ["storm"], "password": ["<hidden>"]},
        "status": 200,
        "job": 17,
    }
    assert (tmp_path / "rapi-audit.log").stat().st_mode & 0o777 == 0o640


def test_secrets_of_a_body_never_appear(tmp_path: Path) -> None:
    secrets = {"osparams_private": {"pw": PASSWORD}, "osparams_secret": {"key": PASSWORD}}

    async def work(bed: RapiBed, audit: AuditLog) -> None:
        body = {"__version__": 1, "mode": "create", "instance_name": "web", "disks": [], "nics": []}
        for extra in (secrets, {"nosuch": PASSWORD}):
            text = json.dumps({**body, "disk_template": "diskless", **extra})
            await bed.ask("POST", "/2/instances", text, headers())
        await bed.ask("PUT", "/2/instances/web/modify", json.dumps(secrets), headers())
        await bed.ask("PUT", "/2/instances/web/modify", f"{{{PASSWORD}", headers())

    found = with_server(tmp_path, work)
    assert [line["status"] for line in found] == [200, 400, 400, 400]
    assert PASSWORD not in (tmp_path / "rapi-audit.log").read_text()


def test_refused_logins_stand_in_it_without_what_was_tried(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens", lambda: 0.0)
    token, secret = store.add("admin", ["read"], expires_in_s=1)

    async def work(bed: RapiBed, audit: AuditLog) -> None:
        import base64

        wrong = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        for given in (f"Basic {wrong}", f"Bearer {secret}", f"Bearer {PASSWORD}", PASSWORD):
            assert (await bed.ask("GET", "/2/info", headers=headers(given))).status == 401
        assert (await bed.ask("GET", "/2/info")).status == 401

    found = with_server(tmp_path, work)
    assert [(line["user"], line["token"], line["status"]) for line in found] == [
        ("admin", None, 401), (None, token.id, 401), (None, None, 401), (None, None, 401),
        (None, None, 401),
    ]  # fmt: skip
    text = (tmp_path / "rapi-audit.log").read_text()
    assert PASSWORD not in text and secret.split("_", 2)[2] not in text


def test_use_of_a_token_names_it(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / "tokens", lambda: 0.0)
    token, secret = store.add("admin", ["instance.stop"], expires_in_s=None)

    async def work(bed: RapiBed, audit: AuditLog) -> None:
        for action in ("shutdown", "startup"):
            await bed.ask("PUT", f"/2/instances/w/{action}", headers=headers(f"Bearer {secret}"))

    found = with_server(tmp_path, work)
    assert [(one["user"], one["token"], one["status"], one["job"]) for one in found] == [
        ("admin", token.id, 200, 17), ("admin", token.id, 403, None),
    ]  # fmt: skip


@pytest.mark.parametrize("reads", [False, True])
def test_reads_stand_in_it_only_on_request(tmp_path: Path, reads: bool) -> None:
    async def work(bed: RapiBed, audit: AuditLog) -> None:
        await bed.ask("GET", "/version", headers=headers())

    found = with_server(tmp_path, work, reads=reads)
    assert [line["path"] for line in found] == (["/version"] if reads else [])


def test_whatever_changes_something_matters() -> None:
    for (name, path), method in METHODS.items():
        record = Record(name, path, "", 0.0, resource=method)
        if name != "GET" or method.opcodes:
            assert record.matters(200), path
        assert record.matters(401) and record.matters(403)


def test_a_ticket_is_hidden_though_it_is_an_argument() -> None:
    assert shown_query({"ticket": ["x"]}, METHODS["GET", "/2/console"]) == {"ticket": ["<hidden>"]}


def test_a_rotated_file_is_left_alone(tmp_path: Path) -> None:
    path, former = tmp_path / "log", tmp_path / "log.1"

    async def work() -> None:
        audit = AuditLog(path)
        audit.end(audit.begin("PUT", "/one", ""), 200)
        await audit.flush()
        os.rename(path, former)
        audit.end(audit.begin("PUT", "/two", ""), 200)
        await audit.flush()
        audit.reopen()
        audit.end(audit.begin("PUT", "/three", ""), 200)
        await audit.close()

    on_loop(work)
    assert [line["path"] for line in lines(former)] == ["/one", "/two"]
    assert [line["path"] for line in lines(path)] == ["/three"]


def test_a_request_does_not_wait_for_a_file_that_blocks(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)  # to open it for writing blocks until somebody reads

    async def work() -> None:
        audit = AuditLog(path, most_waiting=2)
        for number in range(5):
            audit.end(audit.begin("PUT", f"/{number}", ""), 200)
            await asyncio.sleep(0)
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        await audit.flush()
        audit.end(audit.begin("PUT", "/last", ""), 200)
        await audit.close()
        got = [json.loads(line) for line in os.read(fd, 65536).splitlines()]
        os.close(fd)
        assert [one["path"] for one in got] == ["/0", "/1", "/2", "/last"]
        assert got[-1]["lost_before"] == 2

    on_loop(work)


def test_a_file_that_cannot_be_written_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        audit = AuditLog(tmp_path / "nosuch" / "log")
        audit.end(audit.begin("PUT", "/", ""), 200)
        await audit.close()

    on_loop(work)
    assert "1 lines are lost" in caplog.text and "nosuch" in caplog.text


def test_without_a_path_nothing_is_kept() -> None:
    async def work() -> None:
        audit = AuditLog(None, reads=True)
        audit.end(audit.begin("GET", "/", ""), 200)
        await audit.close()

    on_loop(work)


def test_long_texts_are_cut() -> None:
    argument = Argument(name="x", kind="texts", help="")
    made = Method(serve=_nothing, help="", permission="a.b", arguments=(argument,))
    assert resource("/", get=made).methods["GET"].access == Access.NONE
    record = Record("PUT", "/" + "p" * 5000, "", 0.0, {"x": ["v" * 5000] * 500}, made, "u" * 5000)
    assert len(json.dumps(record.to_json(200, 1.0))) < 120_000


async def _nothing(call: object) -> Reply:
    return Reply(b"")
