"""Tokens: made, shown once, used, revoked."""

from __future__ import annotations

import base64
import itertools
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.rapi_bed import RapiBed, a_server, on_loop
from ganeti.errors import ConfigurationError, OpPrereqError
from ganeti.luxi.pool import LuxiPool
from ganeti.rapi.access import Users
from ganeti.rapi.gate import GateSettings
from ganeti.rapi.service import ServiceSettings
from ganeti.rapi.tokens import MAX_NOTE, Tokens, TokenStore

DAY_S = 86400


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> TokenStore:
    (tmp_path / "users").write_text("admin pw write\nops pw operator\nviewer pw read\n")
    return TokenStore(tmp_path / "tokens", clock)


def read(store: TokenStore) -> Tokens:
    tokens = Tokens(store.path)
    tokens.load()
    return tokens


def users_of(store: TokenStore) -> Users:
    return Users(store.path.with_name("users"))


def test_the_file_has_no_secret_and_few_may_read_it(store: TokenStore) -> None:
    token, secret = store.add("ops", ["operator"], expires_in_s=DAY_S, note="for the night")
    assert secret.startswith(f"gnt_{token.id}_")
    text = store.path.read_text()
    assert secret.split("_", 2)[2] not in text and "for the night" in text
    assert store.path.stat().st_mode & 0o777 == 0o640
    assert token.hash != store.add("ops", ["operator"], expires_in_s=None)[0].hash


def test_a_token_is_found_by_its_secret_until_it_expires(store: TokenStore, clock: Clock) -> None:
    token, secret = store.add("ops", ["operator"], expires_in_s=DAY_S)
    tokens = read(store)
    assert tokens.find(secret, clock.now + DAY_S - 1) == token
    assert tokens.find(secret, clock.now + DAY_S) is None
    assert tokens.is_valid(token.id, clock.now + DAY_S) is None


def test_nothing_near_a_secret_is_accepted(store: TokenStore, clock: Clock) -> None:
    _, secret = store.add("ops", ["operator"], expires_in_s=None)
    other, _ = store.add("ops", ["operator"], expires_in_s=None)
    rest = secret.split("_", 2)[2]
    tokens = read(store)
    wrong = "B" if secret[-1] == "A" else "A"
    for text in (
        "", "gnt", "gnt__", secret[:-1], secret + "A", secret[:-1] + wrong, secret.upper(),
        f"gnt_{other.id}_{rest}", f"gnt_00000000_{rest}", f"x{secret}", f"{secret}\n",
    ):  # fmt: skip
        assert tokens.find(text, clock.now) is None, text


def test_a_revoked_token_is_gone_and_the_others_stay(store: TokenStore, clock: Clock) -> None:
    (one, secret), (two, other) = (
        store.add("ops", ["read"], expires_in_s=None, note=note) for note in ("one", "two")
    )
    assert store.revoke([one.id]) == [one]
    tokens = read(store)
    assert tokens.find(secret, clock.now) is None and tokens.find(other, clock.now) == two


def test_revoking_an_unknown_token_revokes_none(store: TokenStore) -> None:
    one, _ = store.add("ops", ["read"], expires_in_s=None)
    with pytest.raises(OpPrereqError, match="'ffffffff' is not known"):
        store.revoke([one.id, "ffffffff"])
    assert store.tokens() == (one,)


def test_expired_tokens_are_revoked_together(store: TokenStore, clock: Clock) -> None:
    short, _ = store.add("ops", ["read"], expires_in_s=1)
    long, _ = store.add("ops", ["read"], expires_in_s=DAY_S)
    clock.now += 2
    assert store.revoke([], expired=True) == [short]
    assert store.tokens() == (long,)


def test_a_note_has_a_limit_and_no_line_breaks(store: TokenStore) -> None:
    for note in ("x" * (MAX_NOTE + 1), "two\nlines"):
        with pytest.raises(OpPrereqError, match="printable"):
            store.add("ops", ["read"], expires_in_s=None, note=note)


@pytest.mark.parametrize("text", ["", "{", '{"version": 2, "tokens": []}', '{"tokens": 1}', "\xff"])
def test_from_a_damaged_file_nobody_gets_in(store: TokenStore, clock: Clock, text: str) -> None:
    _, secret = store.add("ops", ["operator"], expires_in_s=None)
    tokens = read(store)
    store.path.write_text(text, encoding="latin-1")
    tokens.load()
    assert tokens.find(secret, clock.now) is None
    with pytest.raises(ConfigurationError, match=r"tokens file .*/tokens"):
        store.add("ops", ["operator"], expires_in_s=None)
    assert store.path.read_text(encoding="latin-1") == text


def test_a_token_has_no_more_rights_than_its_user_has_now(store: TokenStore, clock: Clock) -> None:
    _, secret = store.add("ops", ["instance.*", "read"], expires_in_s=None)
    users = users_of(store)
    user = users.find_token(secret, clock.now)
    assert user is not None and user.name == "ops" and user.token
    assert user.rights.has("instance.start") and user.rights.has("node.read")
    assert not user.rights.has("instance.remove") and not user.rights.has("job.cancel")
    users.path.write_text("ops pw read\n")
    users.load()
    again = users.again(user, clock.now)
    assert again is not None and not again.rights.has("instance.start")
    users.path.write_text("admin pw write\n")
    users.load()
    assert users.find_token(secret, clock.now) is None and users.again(user, clock.now) is None


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_requests_are_let_in_by_token(store: TokenStore, clock: Clock) -> None:
    token, secret = store.add("admin", ["instance.start"], expires_in_s=DAY_S)
    gate = GateSettings(require_authentication=True, clock=clock)

    async def status(bed: RapiBed, headers: dict[str, str], method: str, path: str) -> int:
        return (await bed.ask(method, path, headers=headers)).status

    async def work() -> None:
        master = LuxiPool(store.path.with_name("no-socket"))
        settings = replace(ServiceSettings(), gate=gate)
        async with a_server(master, store.path.with_name("users"), settings=settings) as bed:
            good = bearer(secret)
            assert await status(bed, {}, "GET", "/version") == 401
            assert await status(bed, good, "GET", "/version") == 200
            assert await status(bed, good, "PUT", "/2/instances/web/startup") == 502  # no master
            assert await status(bed, good, "PUT", "/2/instances/web/shutdown") == 403
            answer = await bed.ask("GET", "/version", headers=bearer(f"gnt_{token.id}_x"))
            assert answer.status == 401 and "www-authenticate" in answer.headers
            basic = base64.b64encode(f"admin:{secret}".encode()).decode()
            assert await status(bed, {"Authorization": f"Basic {basic}"}, "GET", "/version") == 401
            user = await bed.server.gate.user(good, "192.0.2.1")
            assert bed.server.gate.is_welcome(user)
            clock.now += DAY_S
            assert await status(bed, good, "GET", "/version") == 401
            assert not bed.server.gate.is_welcome(user)
            clock.now -= DAY_S
            store.revoke([token.id])
            bed.server.gate.users.load()
            assert await status(bed, good, "GET", "/version") == 401
            assert not bed.server.gate.is_welcome(user)

    on_loop(work)


def test_of_many_writers_each_token_stays(store: TokenStore) -> None:
    stores = [TokenStore(store.path, Clock()) for _ in range(3)]
    made = [
        one.add("ops", ["read"], expires_in_s=None)[0]
        for one in itertools.islice(itertools.cycle(stores), 9)
    ]
    assert store.tokens() == tuple(made)
