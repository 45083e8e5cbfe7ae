"""gnt-cluster token: what it prints, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.command_line import NOW, Ended, Shell
from ganeti.errors import NoMasterError
from ganeti.rapi.tokens import Tokens

DAY_S = 86400


class Redistributing:
    """A master whose jobs succeed at once; it notes their opcodes."""

    def __init__(self, *, away: bool = False) -> None:
        self.jobs: list[str] = []
        self.away = away

    def call(self, method: str, *args: Any) -> Any:
        if self.away:
            raise NoMasterError("/a/socket")
        if method == "SubmitJob":
            self.jobs.append(args[0][0]["OP_ID"])
            return 7
        if method == "WaitForJobChange":
            return [["success"], []]
        assert method == "QueryJobs", method
        return [["success", ["success"], [None]]]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    made = Shell(tmp_path, Redistributing())
    made.ssconf("master_node", "node1.example.com")
    made.paths.rapi_users.parent.mkdir()
    made.paths.rapi_users.write_text("admin pw write\nops pw operator\n")
    return made


def add(shell: Shell, *more: str, user: str = "ops", scope: str = "operator") -> Ended:
    return shell.run("gnt-cluster", "token", "add", "--user", user, "--scope", scope, *more)


def listed(shell: Shell) -> list[dict[str, Any]]:
    found = json.loads(shell.run("gnt-cluster", "token", "list", "--format", "json").out)
    assert isinstance(found, list)
    return found


def test_a_new_token_is_printed_once_and_works(shell: Shell) -> None:
    done = add(shell, "--expires", "30d", "--note", "ci")
    assert done.status == 0
    secret = done.out.strip()
    tokens = Tokens(shell.paths.rapi_tokens)
    tokens.load()
    found = tokens.find(secret, NOW)
    assert found is not None and found.user == "ops"
    assert "shown only now" in done.err and secret not in done.err
    assert shell.master.jobs == ["OP_CLUSTER_REDIST_CONF"]
    assert listed(shell) == [
        {
            "id": found.id,
            "user": "ops",
            "scope": ["operator"],
            "created": NOW,
            "expires": NOW + 30 * DAY_S,
            "expired": False,
            "note": "ci",
        }
    ]
    assert secret not in shell.run("gnt-cluster", "token", "list").out
    log = shell.paths.commands_log
    assert not log.exists() or secret not in log.read_text()


def test_a_new_token_as_data(shell: Shell) -> None:
    done = add(shell, "--expires", "never", "--format", "json")
    made = json.loads(done.out)
    assert made["expires"] is None and made["token"].startswith(f"gnt_{made['id']}_")


def test_the_list_is_a_table(shell: Shell) -> None:
    add(shell, "--note", "one", scope="instance.start,job.cancel")
    (row,) = listed(shell)
    lines = shell.run("gnt-cluster", "token", "list").out.splitlines()
    assert lines[0].split() == ["ID", "User", "Scope", "Created", "Expires", "Expired", "Note"]
    assert lines[1].split() == [
        *(row["id"], "ops", "instance.start,job.cancel"),
        *("2010-01-01", "00:00:00", "2010-04-01", "00:00:00", "N", "one"),
    ]
    bare = shell.run("gnt-cluster", "token", "list", "--no-headers", "--separator=:").out
    assert bare.startswith(f"{row['id']}:ops:")


def test_what_the_user_lacks_is_told(shell: Shell) -> None:
    done = add(shell, scope="instance.start,instance.remove")
    assert done.status == 0
    assert "User ops has no permission instance.remove; " in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "--user", "ops"), "--user and --scope are needed"),
        (("add", "--user", "nobody", "--scope", "read"), "user 'nobody' does not stand in"),
        (("add", "--user", "ops", "--scope", "operater"), "scope 'operater' is no role"),
        (("add", "--user", "ops", "--scope", "instance.fly"), "scope 'instance.fly' is no role"),
        (("add", "--user", "ops", "--scope", "read", "--expires", "0"), "never be valid"),
        (("add", "--user", "ops", "--scope", "read", "--expires", "soon"), "'soon'"),
        (("add", "x", "--user", "ops", "--scope", "read"), "no further words: 'x'"),
        (("revoke",), "which token?"),
        (("revoke", "0123abcd"), "token '0123abcd' is not known"),
        (("rename",), "Command 'rename' is not valid."),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    shell: Shell, words: tuple[str, ...], said: str
) -> None:
    done = shell.run("gnt-cluster", "token", *words)
    assert done.status == 1 and said in done.err
    assert not shell.paths.rapi_tokens.exists() and not shell.master.jobs


def test_a_revoked_token_is_gone(shell: Shell) -> None:
    add(shell)
    (row,) = listed(shell)
    done = shell.run("gnt-cluster", "token", "revoke", row["id"])
    assert done == (0, f"Token {row['id']} of user ops is revoked.\n", "")
    assert listed(shell) == [] and len(shell.master.jobs) == 2
    again = shell.run("gnt-cluster", "token", "revoke", "--expired")
    assert again.status == 0 and len(shell.master.jobs) == 2


def test_a_master_that_is_away_is_told_and_the_change_stays(shell: Shell) -> None:
    shell.master.away = True
    done = add(shell)
    assert done.status == 1 and "gnt-cluster redist-conf brings" in done.err
    assert len(listed(shell)) == 1


def test_elsewhere_than_on_the_master_nothing_is_done(shell: Shell) -> None:
    shell.ssconf("master_node", "node2.example.com")
    done = add(shell)
    assert done.status == 1 and "run the command on node 'node2.example.com'" in done.err
    assert not shell.paths.rapi_tokens.exists()


def test_the_permissions_are_listed(shell: Shell) -> None:
    found = shell.run("gnt-cluster", "token", "permissions", "--format", "json").out
    rows = {row["permission"]: row["methods"] for row in json.loads(found)}
    assert rows["instance.start"] == ["PUT /2/instances/{instance}/startup"]
    assert "instance.start" in shell.run("gnt-cluster", "token", "permissions").out
