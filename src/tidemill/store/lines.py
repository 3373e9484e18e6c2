"""The log lines of a flow run in columns, by their numbers, for a page that shows many and follows the rest live."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidemill import ids
from tidemill.records import milliseconds
from tidemill.store import reading
from tidemill.store.rows import Fetch

_MOST_IDS_A_QUERY = 500


class NamedRun(msgspec.Struct, kw_only=True):
    """A run; it has no name if it has been deleted since."""

    id: str
    name: str | None


class Lines(msgspec.Struct, kw_only=True):
    """Log lines in the order of `seq`: each list has an entry for each. Times are milliseconds since the epoch.

    `flow_run` and `task_run` are indices into the lists of runs, `task_run` is null for what the flow run itself logged. `more`
    says whether there are further lines in the direction that was asked for, `total` how many there are in all.
    """

    seq: list[int]
    level: list[int]
    at_ms: list[float]
    message: list[str]
    logger: list[str]
    flow_run: list[int]
    task_run: list[int | None]
    flow_runs: list[NamedRun]
    task_runs: list[NamedRun]
    more: bool
    total: int


def lines(
    fetch: Fetch, flow_run_id: str, after: int = 0, before: int | None = None, limit: int = 5000, include_subflows: bool = False
) -> Lines | None:
    """The first lines of a flow run and its task runs after the number `after` or, where `before` is given, the last ones
    before that; None if there is no such flow run.

    Args:
        include_subflows: also those of its subflow runs.
    """
    if not fetch("SELECT 1 FROM flow_run WHERE id = ?", (ids.to_bytes(flow_run_id),)):
        return None
    subflow_runs = sorted(reading.subflow_runs(fetch, [flow_run_id])) if include_subflows else []
    runs = [ids.to_bytes(run) for run in (flow_run_id, *subflow_runs)]
    marks = ",".join("?" * len(runs))
    last, order = (before, "DESC") if before is not None else (2**63 - 1, "ASC")
    rows = fetch(
        f"SELECT seq, level, timestamp, message, name, flow_run_id, task_run_id FROM log WHERE flow_run_id IN ({marks}) "
        f"AND seq > ? AND seq < ? /*postgres: AND {_SETTLED} */ ORDER BY seq {order} LIMIT ?",
        (*runs, after, last, limit + 1),
    )
    more = len(rows) > limit
    rows = rows[:limit] if before is None else rows[:limit][::-1]
    ((total,),) = fetch(f"SELECT count(*) FROM log WHERE flow_run_id IN ({marks})", runs)
    of_flow_runs = {run: n for n, run in enumerate(dict.fromkeys(row[5] for row in rows))}
    of_task_runs = {run: n for n, run in enumerate(dict.fromkeys(row[6] for row in rows if row[6] is not None))}
    return Lines(
        seq=[row[0] for row in rows],
        level=[row[1] for row in rows],
        at_ms=[milliseconds(row[2]) for row in rows],
        message=[row[3] for row in rows],
        logger=[row[4] for row in rows],
        flow_run=[of_flow_runs[row[5]] for row in rows],
        task_run=[of_task_runs.get(row[6]) for row in rows],
        flow_runs=_named(fetch, "flow_run", list(of_flow_runs)),
        task_runs=_named(fetch, "task_run", list(of_task_runs)),
        more=more,
        total=total,
    )


# Of a run that goes on, others may yet commit lines that come before the newest: who asks for what comes after a line that
# was given would never see them.
_SETTLED = (
    "(log.seq < settled() OR EXISTS (SELECT 1 FROM flow_run WHERE flow_run.id = log.flow_run_id AND end_time IS NOT NULL))"
)


def _named(fetch: Fetch, table: str, runs: Sequence[bytes]) -> list[NamedRun]:
    names: dict[bytes, str] = {}
    for start in range(0, len(runs), _MOST_IDS_A_QUERY):
        part = runs[start : start + _MOST_IDS_A_QUERY]
        names.update(fetch(f"SELECT id, name FROM {table} WHERE id IN ({','.join('?' * len(part))})", part))
    return [NamedRun(id=ids.from_bytes(run), name=names.get(run)) for run in runs]
