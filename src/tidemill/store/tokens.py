"""Tokens of the server's users. Of a token only a hash is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from tidemill import clock
from tidemill.ids import from_bytes, to_bytes

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

RoleName = Literal["viewer", "operator", "admin"]

_COLUMNS = "id, name, role, created, expires, last_used, revoked"


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a token. One that is revoked stays, so that its name tells in the logs whose it was."""

    id: str
    name: str
    role: RoleName
    created: datetime
    expires: datetime | None = None
    last_used: datetime | None = None
    revoked: datetime | None = None

    def is_valid(self, now: int) -> bool:
        """Whether it gives access at the time `now` (microseconds)."""
        return self.revoked is None and (self.expires is None or clock.from_datetime(self.expires) > now)


def insert(execute: Execute, token: Token, hash: bytes) -> bool:
    """Records a token; False if there is one of that name already."""
    values = (
        to_bytes(token.id),
        token.name,
        token.role,
        clock.from_datetime(token.created),
        token.expires and clock.from_datetime(token.expires),
        hash,
    )
    sql = "INSERT INTO token (id, name, role, created, expires, hash) VALUES (?, ?, ?, ?, ?, ?)"
    return bool(execute(f"{sql} ON CONFLICT (name) DO NOTHING RETURNING 1", values).fetchall())


def all_tokens(fetch: Fetch) -> list[Token]:
    """Every token, by name."""
    return [_to_token(row) for row in fetch(f"SELECT {_COLUMNS} FROM token ORDER BY name", ())]


def of_hash(fetch: Fetch, hash: bytes) -> tuple[Token, bytes] | None:
    """The token of this hash, with the hash as it is recorded."""
    rows = fetch(f"SELECT {_COLUMNS}, hash FROM token WHERE hash = ?", (hash,))
    return (_to_token(rows[0][:-1]), rows[0][-1]) if rows else None


def any_recorded(fetch: Fetch) -> bool:
    """Whether there is a token, be it revoked: who has once asked for one does not stop because the last has gone."""
    return bool(fetch("SELECT 1 FROM token LIMIT 1", ()))


def note_used(execute: Execute, token_id: str, now: int) -> None:
    execute("UPDATE token SET last_used = ? WHERE id = ?", (now, to_bytes(token_id)))


def revoke(execute: Execute, name: str, now: int) -> bool:
    """From now on a token gives no access; False if there is none of that name."""
    sql = "UPDATE token SET revoked = coalesce(revoked, ?) WHERE name = ? RETURNING 1"
    return bool(execute(sql, (now, name)).fetchall())


def delete(execute: Execute, name: str) -> bool:
    """Removes a token, as if it had never been; False if there is none of that name."""
    return bool(execute("DELETE FROM token WHERE name = ? RETURNING 1", (name,)).fetchall())


def delete_old(execute: Execute, before: int) -> int:
    """Removes tokens that were revoked or expired before a time (microseconds), but for the newest; gives how many."""
    gone = execute(
        "DELETE FROM token WHERE (revoked < ? OR expires < ?) AND EXISTS "
        "(SELECT 1 FROM token AS newer WHERE (newer.created, newer.id) > (token.created, token.id)) RETURNING 1",
        (before, before),
    )
    return len(gone.fetchall())


def _to_token(row: tuple[Any, ...]) -> Token:
    id, name, role, created, expires, last_used, revoked = row
    return Token(
        id=from_bytes(id),
        name=name,
        role=role,
        created=clock.to_datetime(created),
        expires=expires and clock.to_datetime(expires),
        last_used=last_used and clock.to_datetime(last_used),
        revoked=revoked and clock.to_datetime(revoked),
    )
