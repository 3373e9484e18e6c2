"""Tokens: how one is made, and what is kept of it."""

from __future__ import annotations

import hashlib
import secrets

from tidemill import clock
from tidemill.exceptions import TidemillError
from tidemill.ids import new_id
from tidemill.store import Store, tokens
from tidemill.store.tokens import RoleName, Token

# By this scanners find a token that somebody has published, and people see what it is for.
PREFIX = "tidemill_"
_RANDOM_BYTES = 32


class TokenTaken(TidemillError):
    """There is a token of that name already."""


def create_token(store: Store, name: str, role: RoleName, expires: int | None = None) -> tuple[Token, str]:
    """Makes a token and records its hash. Gives the token's record, and the secret, which nobody can see again.

    Args:
        expires: when it stops giving access, in microseconds since the epoch; None: never.

    Raises:
        TokenTaken: there is one of that name already.
    """
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    token = Token(
        id=new_id(),
        name=name,
        role=role,
        created=clock.to_datetime(clock.now()),
        expires=None if expires is None else clock.to_datetime(expires),
    )
    with store.transaction() as execute:
        if not tokens.insert(execute, token, hash_of(secret)):
            raise TokenTaken(
                f"There is a token {name!r} already; choose another name, or delete it: tidemill server token delete {name}"
            )
    return token, secret


def hash_of(secret: str) -> bytes:
    """What is kept of a token. It has so much randomness that nothing slower than SHA-256 is needed."""
    return hashlib.sha256(secret.encode()).digest()
