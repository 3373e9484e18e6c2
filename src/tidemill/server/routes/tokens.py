"""Tokens of the server's users, for its admins."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from tidemill import clock
from tidemill.server.answers import existing
from tidemill.server.errors import Conflict
from tidemill.server.requests import microseconds
from tidemill.server.services import TheServices, TheStore
from tidemill.server.tokens import TokenTaken, create_token
from tidemill.store import tokens
from tidemill.store.tokens import RoleName, Token

_NO_TOKEN = "There is no such token; GET /api/admin/tokens lists them."


class NewToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token to be made: whose it is, what it allows, and until when; for ever, if nothing is said."""

    name: Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$")]
    role: RoleName
    expires: datetime | None = None


class MadeToken(msgspec.Struct, kw_only=True):
    """A token, with its secret: nobody can be shown that again."""

    token: Token
    secret: str


@get("/admin/tokens")
async def list_tokens(store: TheStore) -> list[Token]:
    """Every token, by name; revoked ones too."""
    return await store.read(tokens.all_tokens)


@post("/admin/tokens")
async def make_token(store: TheStore, services: TheServices, data: JSONBody[NewToken]) -> MadeToken:
    """Makes a token; 409 if there is one of its name. From the first one on the server asks everybody for one."""
    expires = None if data.expires is None else microseconds(data.expires)
    try:
        token, secret = await store.write(create_token, data.name, data.role, expires)
    except TokenTaken as taken:
        raise Conflict(str(taken)) from None
    services.security.tokens_changed()
    return MadeToken(token=token, secret=secret)


@post("/admin/tokens/{name:str}/revoke", status_code=204)
async def revoke_token(store: TheStore, services: TheServices, name: FromPath[str]) -> None:
    """From now on a token gives no access. It stays in the list, and the server goes on asking for tokens."""
    existing(await store.transact(tokens.revoke, name, clock.now()), _NO_TOKEN)
    services.security.tokens_changed()


HANDLERS = [list_tokens, make_token, revoke_token]
