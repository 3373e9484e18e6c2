"""The change feed: which runs changed and which logs came, transaction by transaction, in the order of their commits.

Who writes runs or logs notes it here in the same transaction. Who follows reads on from a place, and misses nothing and
sees nothing twice. A place is text that only this module reads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import Any

import msgspec

from tidemill import clock
from tidemill.ids import from_bytes, to_bytes

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

# Who has been away for longer than this reads everything anew.
KEPT_MICROSECONDS = 24 * 60 * 60 * 1_000_000


class Change(msgspec.Struct, frozen=True, gc=False):
    """What one transaction changed: the ids of flow runs and task runs, and the first and last row of the logs it added.

    `place` is where a reader is who has seen it; `time` is microseconds since the epoch, UTC.
    """

    place: str
    time: int
    flow_runs: tuple[str, ...] = ()
    task_runs: tuple[str, ...] = ()
    first_log: int | None = None
    last_log: int | None = None

    @property
    def logs(self) -> int:
        """How many log lines came with it."""
        return 0 if self.first_log is None or self.last_log is None else self.last_log - self.first_log + 1


# Which rows are in their final order, by kind of database: in SQLite writers queue, in PostgreSQL a transaction that is open
# still may yet commit rows that come before others.
_SETTLED = {"sqlite": "TRUE"}
_SETTLED_BESIDE_OTHERS = "seq < settled()"
_START = "0"


def note(execute: Execute, *, flow_runs: Collection[str] = (), task_runs: Collection[str] = ()) -> None:
    """Notes that runs were created, changed or deleted, in the transaction that does it.

    Args:
        execute: the transaction's function that executes statements.
        flow_runs: ids of flow runs.
        task_runs: ids of task runs.
    """
    if flow_runs or task_runs:
        values = (clock.now(), _packed(flow_runs), _packed(task_runs))
        execute("INSERT INTO change (time, flow_runs, task_runs) VALUES (?, ?, ?)", values)


def note_recorded(execute: Execute, task_runs: Collection[str], logs: int) -> None:
    """Notes the task runs that a batch has written and how many log lines, which must be the last rows inserted.

    Every task's commit passes here: it is one statement, and looks nothing up.
    """
    if logs:
        execute(
            "INSERT INTO change (time, task_runs, first_log, last_log) "
            "VALUES (?, ?, last_insert_rowid() - ?, last_insert_rowid())",
            (clock.now(), _packed(task_runs), logs - 1),
        )
    elif task_runs:
        execute("INSERT INTO change (time, task_runs) VALUES (?, ?)", (clock.now(), _packed(task_runs)))


def forget_last_logs(execute: Execute, flow_run_id: str) -> None:
    """To be called before a flow run is deleted with its logs. If they are the last rows of `log`, the next lines will get
    their numbers: then no earlier change may name them, else who reads both would see those lines twice."""
    run = to_bytes(flow_run_id)
    last = execute("SELECT max(seq) FROM log", ()).fetchall()[0][0]
    own = execute("SELECT max(seq) FROM log WHERE flow_run_id = ?", (run,)).fetchall()[0][0]
    if last is None or own != last:
        return
    rows = execute("SELECT max(seq) FROM log WHERE flow_run_id IS DISTINCT FROM ?", (run,)).fetchall()
    kept = rows[0][0] or 0
    since = "seq > coalesce((SELECT seq FROM change WHERE last_log <= ?1 ORDER BY seq DESC LIMIT 1), 0)"
    execute(f"UPDATE change SET first_log = NULL, last_log = NULL WHERE {since} AND first_log > ?1", (kept,))
    execute(f"UPDATE change SET last_log = ?1 WHERE {since} AND last_log > ?1", (kept,))


def latest_place(fetch: Fetch, *, kind: str = "sqlite") -> str:
    """Where a reader is who has seen everything that is committed.

    Args:
        fetch: runs a query and gives its rows.
        kind: of the database (`Database.kind`).
    """
    rows = fetch(f"SELECT seq FROM change WHERE {_settled(kind)} ORDER BY seq DESC LIMIT 1", ())
    return str(rows[0][0]) if rows else _START


def is_known(fetch: Fetch, place: str) -> bool:
    """Whether everything since `place` is still there. If not (it was pruned, or the place is another database's), a reader
    cannot go on from it and has to read everything anew."""
    seq = _seq(place)
    oldest = fetch(f"SELECT (SELECT max(seq) FROM change), seq, {_EMPTY} FROM change ORDER BY seq LIMIT 1", ())
    if seq is None or not oldest:
        return place == _START
    newest, first, is_pruned = oldest[0]
    return seq <= newest and (seq >= first or not is_pruned)


def at(fetch: Fetch, place: str) -> Change | None:
    """The change that this place comes right after; None if it is not there, or not any more."""
    seq = _seq(place)
    rows = fetch(f"SELECT {_COLUMNS} FROM change WHERE seq = ? AND NOT {_EMPTY}", (seq,)) if seq is not None else []
    return _to_change(rows[0]) if rows else None


def after(fetch: Fetch, place: str, limit: int, *, kind: str = "sqlite") -> list[Change]:
    """The next changes after `place`, at most `limit`, in the order of their commits.

    Raises:
        ValueError: this is no place.
    """
    sql = f"SELECT {_COLUMNS} FROM change WHERE seq > ? AND {_settled(kind)} ORDER BY seq LIMIT ?"
    return [_to_change(row) for row in fetch(sql, (_certain_seq(place), limit))]


def count_after(fetch: Fetch, place: str, limit: int, *, kind: str = "sqlite") -> int:
    """How many changes there are after `place`; counts no further than `limit`.

    Raises:
        ValueError: this is no place.
    """
    sql = f"SELECT count(*) FROM (SELECT 1 FROM change WHERE seq > ? AND {_settled(kind)} LIMIT ?) AS following"
    return fetch(sql, (_certain_seq(place), limit))[0][0]


def prune(execute: Execute, before_time: int, limit: int) -> int:
    """Removes the oldest changes, at most `limit`, as far as all were made before `before_time` (microseconds); gives how
    many. Those stay that a server has not got yet (`shipment`), and the newest, so that no number is given twice.

    The last one removed leaves an empty row, by which readers know how far back they can go.
    """
    # Nothing goes that comes after one that stays, however old its clock says it is: what is kept has no gaps.
    rows: list[tuple[int, int]] = execute(_REMOVABLE, (limit,)).fetchall()
    old = list(takewhile(lambda row: row[1] < before_time, rows))
    if old:
        last = old[-1][0]
        execute("DELETE FROM change WHERE seq < ?", (last,))
        emptied = "flow_runs = NULL, task_runs = NULL, first_log = NULL, last_log = NULL"
        execute(f"UPDATE change SET {emptied} WHERE seq = ?", (last,))
    return len(old)


def has_old(fetch: Fetch, before_time: int) -> bool:
    """Whether there is anything for `prune` to remove."""
    oldest = fetch(_REMOVABLE, (1,))
    return bool(oldest) and oldest[0][1] < before_time


_COLUMNS = "seq, time, flow_runs, task_runs, first_log, last_log"
_EMPTY = "(flow_runs IS NULL AND task_runs IS NULL AND first_log IS NULL)"
_REMOVABLE = (
    f"SELECT seq, time FROM change WHERE NOT {_EMPTY} "
    "AND seq <= (SELECT coalesce(min(shipped), 9223372036854775807) FROM shipment) "
    "AND seq < (SELECT max(seq) FROM change) ORDER BY seq LIMIT ?"
)


def _settled(kind: str) -> str:
    return _SETTLED.get(kind, _SETTLED_BESIDE_OTHERS)


def _to_change(row: tuple[Any, ...]) -> Change:
    seq, time, flow_runs, task_runs, first_log, last_log = row
    return Change(str(seq), time, _unpacked(flow_runs), _unpacked(task_runs), first_log, last_log)


def _seq(place: str) -> int | None:
    return int(place) if place.isascii() and place.isdigit() and len(place) < 19 else None


def _certain_seq(place: str) -> int:
    seq = _seq(place)
    if seq is None:
        raise ValueError(f"{place!r} is no place in the changes of a database.")
    return seq


def _packed(run_ids: Collection[str]) -> bytes | None:
    return bytes.fromhex("".join(run_ids).replace("-", "")) if run_ids else None


def _unpacked(packed: bytes | None) -> tuple[str, ...]:
    return tuple(from_bytes(packed[n : n + 16]) for n in range(0, len(packed), 16)) if packed else ()
