"""`tidemill server token`."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import App, Parameter

from tidemill import clock, settings
from tidemill.cli.options import BARE, FIRST_PAGE, Listing, UsageError
from tidemill.cli.output import Column, exact, note, show_list, when
from tidemill.exceptions import ObjectNotFound
from tidemill.server.tokens import create_token
from tidemill.store import Store, open_store, tokens
from tidemill.store.tokens import RoleName, Token

app = App(name="token", help="Say who may use the server.", help_format="plaintext", default_parameter=BARE)

_LIFE = re.compile(r"(\d+)\s*([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}
_MICROSECONDS_AN_HOUR = 3600 * 1_000_000

TokenName = Annotated[str, Parameter(help="Name of the token.")]


@app.command
def create(
    name: Annotated[str, Parameter(help="Name by which lists and logs tell whose it is.")],
    /,
    *,
    role: Annotated[RoleName, Parameter(help="viewer reads; operator also changes runs; admin does everything.")],
    expires: Annotated[str | None, Parameter(help="How long it is valid: hours, days or weeks (12h, 90d, 4w).")] = None,
) -> None:
    """Create a token, and show it: nobody can do that again.

    For example:
        tidemill server token create laptop --role operator --expires 90d
    """
    if not name.strip() or not name.isprintable():
        raise UsageError(f"{name!r} cannot be the name of a token.")
    with _store() as store:
        token, secret = create_token(store, name, role, _moment(expires))
    print(secret)
    note(f"This is the token {token.name!r} ({token.role}). Keep it now: it is shown this once, and only a hash is kept.")


@app.command
def ls(*, listing: Listing = FIRST_PAGE) -> None:
    """List tokens."""
    with _store() as store:
        found = tokens.all_tokens(store.database.fetch)
    end = None if listing.page.limit is None else listing.page.offset + listing.page.limit
    show_list(found[listing.page.offset : end], _COLUMNS, listing, "tokens", lambda: len(found))


@app.command
def revoke(name: TokenName, /) -> None:
    """From now on a token gives no access. It stays in the list, and the server goes on asking for tokens."""
    with _store() as store, store.transaction() as execute:
        if not tokens.revoke(execute, name, clock.now()):
            raise _missing(name)
    print(f"Revoked the token {name!r}. Servers notice within seconds.")


@app.command
def delete(name: TokenName, /) -> None:
    """Remove a token, as if it had never been. Without any, a server asks nobody for a token any more."""
    with _store() as store, store.transaction() as execute:
        if not tokens.delete(execute, name):
            raise _missing(name)
    print(f"Deleted the token {name!r}. Servers notice within seconds.")


@contextmanager
def _store() -> Generator[Store]:
    current = settings.current()
    store = open_store(current.database_address, durability=current.durability, limits=current.database_limits)
    try:
        yield store
    finally:
        store.database.close()


def _moment(life: str | None) -> int | None:
    if life is None:
        return None
    found = _LIFE.fullmatch(life.strip())
    if found is None or int(found[1]) == 0:
        raise UsageError(f"--expires takes hours, days or weeks (12h, 90d, 4w), not {life!r}.")
    return clock.now() + int(found[1]) * _HOURS[found[2]] * _MICROSECONDS_AN_HOUR


def _missing(name: str) -> ObjectNotFound:
    return ObjectNotFound(f"There is no token {name!r}. To see which there are: tidemill server token ls")


def _state(token: Token) -> str:
    if token.revoked is not None:
        return f"revoked {when(token.revoked)}"
    if token.expires is None:
        return "valid"
    return f"valid until {exact(token.expires)}" if token.is_valid(clock.now()) else f"expired {when(token.expires)}"


_COLUMNS = [
    Column[Token]("name", lambda token: token.name),
    Column[Token]("role", lambda token: token.role),
    Column[Token]("access", _state),
    Column[Token]("created", lambda token: when(token.created)),
    Column[Token]("last used", lambda token: when(token.last_used) or "never"),
]
