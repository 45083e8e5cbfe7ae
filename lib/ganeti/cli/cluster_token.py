"""gnt-cluster token: tokens for the remote API, which stand for a user with fewer rights.

What is changed here is valid on the master at once; a job brings the file to the other nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ganeti.cli import formats, options, table, text
from ganeti.cli.lists import print_table
from ganeti.cli.run import Run
from ganeti.cli.values import read_duration, split_list
from ganeti.constants import EXIT_FAILURE, EXIT_SUCCESS
from ganeti.errors import Code, GenericError, OpPrereqError
from ganeti.serializer import Json

LIFE = "90d"
NEVER = "never"

OPTIONS = (
    options.value("--user", dest="user", help="user of the remote API for whom the token stands"),
    options.value(
        "--scope", dest="scope", help="what it may do: roles and permissions, separated by commas"
    ),
    options.value(
        "--expires",
        dest="expires",
        default=LIFE,
        help=f"how long it is valid, as 12h, 30d, or {NEVER}; without it {LIFE}",
    ),
    options.value("--note", dest="note", default="", help="what it is for"),
    options.switch("--expired", dest="expired", help="revoke: all that are no longer valid"),
    options.NO_HEADERS,
    options.SEPARATOR,
    options.FORMAT,
)

FIELDS = ("id", "user", "scope", "created", "expires", "expired", "note")
COLUMNS = (
    table.Column("ID"),
    table.Column("User"),
    table.Column("Scope", text.joined),
    table.Column("Created", text.moment),
    table.Column("Expires", lambda value: NEVER if value is None else text.moment(value)),
    table.Column("Expired", text.yes_no),
    table.Column("Note"),
)


def token(run: Run) -> int:
    """The word after `token` says what is done; the exit status."""
    word, *numbers = run.names
    match word:
        case "add" if not numbers:
            return _add(run)
        case "list" if not numbers:
            return _list(run)
        case "revoke":
            return _revoke(run, numbers)
        case "permissions" if not numbers:
            return _permissions(run)
        case "add" | "list" | "permissions":
            raise OpPrereqError(f"token {word} takes no further words: {numbers[0]!r}", Code.INVAL)
    raise OpPrereqError(
        f"Command {word!r} is not valid.", Code.INVAL, hint="add, list, revoke or permissions"
    )


def _store(run: Run) -> Any:
    """The file of the cluster; OpPrereqError elsewhere than on the master."""
    from ganeti.rapi.tokens import TokenStore

    master = run.world.cluster_value("master_node")
    if master != run.world.hostname:
        raise OpPrereqError(
            f"this is not the master node; run the command on node {master!r}", Code.INVAL
        )
    return TokenStore(run.world.paths.rapi_tokens, run.world.now)


def _add(run: Run) -> int:
    wanted = run.options
    store = _store(run)
    if not wanted.user or not wanted.scope:
        raise OpPrereqError("--user and --scope are needed for a new token", Code.INVAL)
    scope = _checked_scope(run, wanted.user, split_list(wanted.scope))
    life_s = None if wanted.expires == NEVER else read_duration(wanted.expires)
    if life_s == 0:
        raise OpPrereqError("--expires 0: the token would never be valid", Code.INVAL)
    made, secret = store.add(wanted.user, scope, expires_in_s=life_s, note=wanted.note)
    if wanted.format == "table":
        run.out(secret)
        run.err(f"This is token {made.id}. It is shown only now; keep it like a password.")
    else:
        shown = {**_row(made, run.world.now()), "token": secret}
        run.world.stdout.write(formats.render(shown, wanted.format))
    return _distribute(run)


def _checked_scope(run: Run, user: str, words: Sequence[str]) -> Sequence[str]:
    """The words, each of which is a role or covers a permission; warns of what the user lacks."""
    from ganeti.rapi.access import Users
    from ganeti.rapi.rights import permissions, rights_of

    users = Users(run.world.paths.rapi_users)
    owner = users.rights_of(user)
    if owner is None:
        raise OpPrereqError(
            f"user {user!r} does not stand in {users.path}", Code.NOENT, hint="add the user first"
        )
    known = permissions()
    for word in words:
        rights, unknown = rights_of([word], users.roles)
        if unknown or not any(map(rights.has, known)):
            raise OpPrereqError(
                f"scope {word!r} is no role and no permission",
                Code.INVAL,
                hint="gnt-cluster token permissions lists them",
            )
    rights, _ = rights_of(words, users.roles)
    lacking = [name for name in known if rights.has(name) and not owner.has(name)]
    if lacking:
        run.err(
            f"User {user} has no permission {', '.join(lacking)}; while that is so, the token has"
            " none either"
        )
    return words


def _row(one: Any, now: float) -> dict[str, Json]:
    return {
        "id": one.id,
        "user": one.user,
        "scope": list(one.scope),
        "created": one.created,
        "expires": one.expires,
        "expired": one.has_expired(now),
        "note": one.note,
    }


def _list(run: Run) -> int:
    now = run.world.now()
    found = sorted(_store(run).tokens(), key=lambda one: (one.user, one.created, one.id))
    rows = [_row(one, now) for one in found]
    if run.options.format != "table":
        run.world.stdout.write(formats.render(rows, run.options.format))
        return EXIT_SUCCESS
    texts = [[column.format(row[name]) for column, name in zip(COLUMNS, FIELDS)] for row in rows]
    print_table(run, COLUMNS, texts)
    return EXIT_SUCCESS


def _revoke(run: Run, numbers: Sequence[str]) -> int:
    if not numbers and not run.options.expired:
        raise OpPrereqError(
            "which token? give its number, or --expired", Code.INVAL,
            hint="gnt-cluster token list shows their numbers",
        )  # fmt: skip
    gone = _store(run).revoke(numbers, expired=run.options.expired)
    for one in gone:
        run.out(f"Token {one.id} of user {one.user} is revoked.")
    return _distribute(run) if gone else EXIT_SUCCESS


def _permissions(run: Run) -> int:
    from ganeti.rapi.rights import permissions

    rows = [{"permission": name, "methods": methods} for name, methods in permissions().items()]
    if run.options.format != "table":
        run.world.stdout.write(formats.render(rows, run.options.format))
        return EXIT_SUCCESS
    columns = (table.Column("Permission"), table.Column("Method"))
    texts = [[str(row["permission"]), one] for row in rows for one in row["methods"]]
    print_table(run, columns, texts)
    return EXIT_SUCCESS


def _distribute(run: Run) -> int:
    """The other nodes have the file as well: after a failover a revoked token shall not be valid
    again."""
    from ganeti.opcodes.cluster import OpClusterRedistConf

    try:
        run.submit(OpClusterRedistConf())
    except GenericError as error:
        run.err(
            f"It is valid on this node; the other nodes have the former tokens file: {error}\n"
            "gnt-cluster redist-conf brings them the new one."
        )
        return EXIT_FAILURE
    return EXIT_SUCCESS
