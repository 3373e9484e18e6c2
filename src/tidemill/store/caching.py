"""The cache: results that later calls may use, by key, and who is computing one just now.

Each function runs inside its caller's transaction, or reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from tidemill import clock
from tidemill.cache_keys import KeyedRun, closest, differing, has_hit, ingredient_in_words, maker, why_hit_or_missed
from tidemill.ids import from_bytes, to_bytes
from tidemill.states import ResultReference, StateType

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Results that have expired and are removed while another is kept: more than one, so that they get fewer.
_EXPIRED_AT_ONCE = 10
_MOST_KEYS_A_QUERY = 500


class CachedResult(NamedTuple):
    """A result that may be used again, and the task run that gave it. Times are microseconds."""

    task_run_id: str
    created: int
    expires: int | None
    reference: ResultReference


class RunOfKey(msgspec.Struct, kw_only=True, frozen=True):
    """A task run whose result was used."""

    task_run_id: str
    name: str
    flow_run_id: str | None


class KeyPart(msgspec.Struct, kw_only=True, frozen=True):
    """What a key was made of: what it is in words, a short fingerprint of its value, and whether that differs in the run whose
    key comes closest (null if there is none to compare with)."""

    name: str
    fingerprint: str
    differs: bool | None


class WhyCached(msgspec.Struct, kw_only=True, frozen=True):
    """Why a task run used an earlier result, or was executed: in a sentence or two, and in parts."""

    hit: bool
    cache_key: str | None
    reason: str
    found_in: RunOfKey | None
    parts: list[KeyPart]


class _Details(msgspec.Struct):
    """What a task run's state details say about caching."""

    cache_ingredients: dict[str, str] | None = None
    cache_expiration: datetime | None = None
    refresh_cache: bool | None = None


_decode_details = msgspec.json.Decoder(_Details).decode


def find(fetch: Fetch, key: str, now: int) -> CachedResult | None:
    """The result that is kept under a key and has not expired."""
    rows = fetch(
        "SELECT task_run_id, created, expires, result_serializer, result, result_key FROM cache "
        "WHERE key = ? AND (expires IS NULL OR expires > ?)",
        (key, now),
    )
    if not rows:
        return None
    task_run_id, created, expires, serializer, inline, storage_key = rows[0]
    return CachedResult(from_bytes(task_run_id), created, expires, ResultReference(serializer, inline, storage_key))


def fill(execute: Execute, key: str, result: CachedResult, flow_run_id: str | None) -> None:
    """Keeps a result under a key, instead of the one before.

    Args:
        flow_run_id: the only flow run that can use it; nothing is kept for one that has been deleted.
    """
    run = None if flow_run_id is None else to_bytes(flow_run_id)
    if run is not None and not execute("SELECT 1 FROM flow_run WHERE id = ?", (run,)).fetchall():
        return
    execute(
        "INSERT INTO cache (key, task_run_id, flow_run_id, created, expires, result_serializer, result, result_key) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET task_run_id = excluded.task_run_id, "
        "flow_run_id = excluded.flow_run_id, created = excluded.created, expires = excluded.expires, "
        "result_serializer = excluded.result_serializer, result = excluded.result, result_key = excluded.result_key",
        (key, to_bytes(result.task_run_id), run, result.created, result.expires, *result.reference),
    )
    execute(
        "DELETE FROM cache WHERE key IN "
        "(SELECT key FROM cache WHERE expires <= ? LIMIT ? /*postgres: FOR UPDATE SKIP LOCKED */)",
        (result.created, _EXPIRED_AT_ONCE),
    )


def forget(execute: Execute, key: str, task_run_id: str) -> None:
    """Removes the result of a task run from a key, if no other has taken its place."""
    execute("DELETE FROM cache WHERE key = ? AND task_run_id = ?", (key, to_bytes(task_run_id)))


def claim(execute: Execute, key: str, owner: str, lease_id: str, now: int) -> bool:
    """Notes that the task run `owner` computes the result of a key; False if another does."""
    rows = execute(
        "INSERT INTO cache_claim (key, owner, lease_id, acquired) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE "
        "SET lease_id = excluded.lease_id WHERE cache_claim.owner = excluded.owner RETURNING 1",
        (key, to_bytes(owner), to_bytes(lease_id), now),
    )
    return bool(rows.fetchall())


def release(execute: Execute, key: str, owner: str) -> None:
    """Takes back what `claim` noted."""
    execute("DELETE FROM cache_claim WHERE key = ? AND owner = ?", (key, to_bytes(owner)))


def remove_expired(execute: Execute, now: int, limit: int) -> list[str | None]:
    """Removes results that have expired at the time `now`, at most so many; gives the keys of their files, None for no file."""
    oldest = "SELECT key FROM cache WHERE expires <= ? ORDER BY expires LIMIT ?"
    gone = execute(f"DELETE FROM cache WHERE key IN ({oldest}) RETURNING result_key", (now, limit))
    return [row[0] for row in gone.fetchall()]


def keys_in_use(fetch: Fetch, keys: Sequence[str]) -> set[str]:
    """Those of the keys of result files that some run or cached result has: a run that hit shares the file of the other."""
    used: set[str] = set()
    for start in range(0, len(keys), _MOST_KEYS_A_QUERY):
        part = keys[start : start + _MOST_KEYS_A_QUERY]
        marks = ",".join("?" * len(part))
        for table in ("task_run", "flow_run_state", "cache"):
            used.update(row[0] for row in fetch(f"SELECT result_key FROM {table} WHERE result_key IN ({marks})", part))
    return used


_KEYED_COLUMNS = "id, name, created, start_time, end_time, state_type, state_name, cache_key, details"


def keyed_run(fetch: Fetch, task_run_id: str) -> KeyedRun | None:
    """A task run, as far as its cache key is concerned."""
    rows = fetch(f"SELECT {_KEYED_COLUMNS} FROM task_run WHERE id = ?", (to_bytes(task_run_id),))
    return _to_keyed_run(rows[0]) if rows else None


def earlier_keyed_runs(fetch: Fetch, task_run_id: str, limit: int) -> list[KeyedRun]:
    """The runs before a task run that have its cache key, or that are of the same task and have another; newest first."""
    rows = fetch("SELECT cache_key, task_key, created FROM task_run WHERE id = ?", (to_bytes(task_run_id),))
    if not rows:
        return []
    cache_key, task_key, created = rows[0]
    found: dict[bytes, tuple[Any, ...]] = {}
    for column, value in (("cache_key", cache_key), ("task_key", task_key)):
        same = (
            f"SELECT {_KEYED_COLUMNS} FROM task_run WHERE {column} = ? AND cache_key IS NOT NULL AND created <= ? AND id < ? "
            "ORDER BY created DESC, id DESC LIMIT ?"
        )
        found.update((row[0], row) for row in fetch(same, (value, created, to_bytes(task_run_id), limit)))
    newest_first = sorted(found.values(), key=lambda row: (row[2], row[0]), reverse=True)
    return [_to_keyed_run(row) for row in newest_first]


def why_cached(fetch: Fetch, task_run_id: str, limit: int) -> WhyCached | None:
    """Why a task run used an earlier result, or was executed; None if there is none of this id.

    Args:
        limit: so many earlier runs are looked at.
    """
    run = keyed_run(fetch, task_run_id)
    if run is None:
        return None
    earlier = earlier_keyed_runs(fetch, task_run_id, limit)
    hit = has_hit(run)
    made = maker(run, earlier) if hit else None
    compared = made if hit else closest(run, earlier)
    others = {} if compared is None else compared.ingredients
    differences = set(differing(run.ingredients, others))
    parts = [
        KeyPart(name=ingredient_in_words(name), fingerprint=value, differs=name in differences if others else None)
        for name, value in run.ingredients.items()
    ]
    return WhyCached(
        hit=hit,
        cache_key=run.cache_key,
        reason=why_hit_or_missed(run, earlier),
        found_in=None if made is None else _of_key(fetch, made),
        parts=parts,
    )


def _of_key(fetch: Fetch, run: KeyedRun) -> RunOfKey:
    rows = fetch("SELECT flow_run_id FROM task_run WHERE id = ?", (to_bytes(run.id),))
    flow_run_id = from_bytes(rows[0][0]) if rows and rows[0][0] is not None else None
    return RunOfKey(task_run_id=run.id, name=run.name, flow_run_id=flow_run_id)


def _to_keyed_run(row: tuple[Any, ...]) -> KeyedRun:
    id, name, created, started, ended, type, state_name, cache_key, details_json = row
    details = _decode_details(details_json) if details_json else _Details()
    return KeyedRun(
        id=from_bytes(id),
        name=name,
        time=clock.to_datetime(created if started is None else started),
        ended=None if ended is None else clock.to_datetime(ended),
        state_type=StateType(type),
        state_name=state_name,
        cache_key=cache_key,
        ingredients=details.cache_ingredients or {},
        expires=details.cache_expiration,
        refreshed=details.refresh_cache is True,
    )
