"""Journals: what of one is to be shipped, and up to where; on the server, what has arrived, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from tidemill.ids import from_bytes, new_id, to_bytes
from tidemill.protocol import BEGINNING, FlowRunRow, FlowRunStory, LogRow, Position, StateRow, TaskRunRow
from tidemill.records import Lease
from tidemill.store import changes, leases, recording, writing

Execute = Callable[[str, Sequence[Any]], Any]
Fetch = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_MOST_IDS_A_QUERY = 500
# What is shipped at once is read in parts of about so many rows, until it is large enough.
_MOST_CHANGES = 4000
_ROWS_A_PART = 250
_ROW_BYTES = 300
_TASK_RUN = ", ".join(TaskRunRow._fields)
_LOG = ", ".join(LogRow._fields)
_STATE = ", ".join(StateRow._fields)
_FLOW_RUN = ", ".join(f"flow_run.{name}" for name in FlowRunRow._fields)


# In the journal


class Progress(NamedTuple):
    """How far a journal has been shipped. `updated` is when that changed, or when the error came that there is since."""

    journal: str
    shipped: Position
    updated: int
    last_error: str | None


class Contents(NamedTuple):
    """What came into a journal after a place in it; nothing, if `upto` is that place."""

    upto: Position
    flow_runs: list[FlowRunStory]
    task_runs: list[TaskRunRow]
    logs: list[LogRow]
    leases: list[Lease]


def progress(fetch: Fetch, server: str) -> Progress | None:
    """How far this journal has been shipped to a server; None: no process has reached that server yet."""
    rows = fetch(
        "SELECT journal_id, shipped, shipped_time, updated, last_error FROM shipment WHERE server = ?",
        (server,),
    )
    if not rows:
        return None
    journal, shipped, time, updated, error = rows[0]
    return Progress(from_bytes(journal), Position(shipped, time), updated, error)


def servers(fetch: Fetch) -> list[str]:
    """The servers that a journal is shipped to: one."""
    return [row[0] for row in fetch("SELECT server FROM shipment", ())]


def begin(execute: Execute, server: str, now: int) -> None:
    """Notes that a server is there, from now on the one that gets this journal; nothing, if that is noted."""
    execute(
        "INSERT INTO shipment (server, journal_id, updated) VALUES (?, ?, ?) ON CONFLICT (server) DO NOTHING",
        (server, to_bytes(new_id()), now),
    )


def advance(execute: Execute, server: str, upto: Position, flow_runs: Iterable[bytes], now: int) -> None:
    """Notes that a server has everything up to a place, these flow runs among it."""
    execute(
        "UPDATE shipment SET shipped = ?, shipped_time = ?, updated = ?, last_error = NULL WHERE server = ?",
        (*upto, now, server),
    )
    for flow_run in flow_runs:
        execute(
            "INSERT INTO shipped_flow_run (flow_run_id) SELECT id FROM flow_run WHERE id = ? ON CONFLICT DO NOTHING",
            (flow_run,),
        )


def begin_anew(execute: Execute, server: str, journal: str, after: Position, now: int) -> None:
    """Gives the journal another id, under which the server gets it from a place on."""
    execute("UPDATE shipment SET journal_id = ? WHERE server = ?", (to_bytes(journal), server))
    if after == BEGINNING:
        go_back(execute, server, after, now)


def go_back(execute: Execute, server: str, to: Position, now: int) -> None:
    """Notes that the server has lost what came after a place."""
    execute("DELETE FROM shipped_flow_run", ())
    execute("UPDATE shipment SET shipped = ?, shipped_time = ?, updated = ? WHERE server = ?", (*to, now, server))


def note_error(execute: Execute, server: str, error: str, now: int) -> None:
    """Keeps why a journal is not being shipped; `updated` is when that began."""
    execute(
        "UPDATE shipment SET updated = CASE WHEN last_error IS NULL THEN ? ELSE updated END, last_error = ? WHERE server = ?",
        (now, error, server),
    )


def take_over(execute: Execute, story: FlowRunStory, task_runs: Sequence[TaskRunRow], lease: bytes, now: int) -> None:
    """Writes a flow run as the server has it, in the place of what the journal may have had of it."""
    run = story.run.id
    flow = writing.ensure_flow(execute, story.flow_name, now)
    write_flow_run(execute, story, flow, story.states[-1], lease)
    write_states(execute, run, story.states, 0)
    execute("DELETE FROM task_run WHERE flow_run_id = ?", (run,))
    recording.insert_rows(execute, task_runs, [])
    execute("INSERT INTO shipped_flow_run (flow_run_id) VALUES (?) ON CONFLICT DO NOTHING", (run,))


def were_shipped(fetch: Fetch, flow_run_ids: Sequence[str]) -> set[str]:
    """Those of the flow runs that the server has had."""
    marks = ",".join("?" * len(flow_run_ids))
    sql = f"SELECT flow_run_id FROM shipped_flow_run WHERE flow_run_id IN ({marks})"
    return {from_bytes(row[0]) for row in fetch(sql, [to_bytes(each) for each in flow_run_ids])}


def latest(fetch: Fetch) -> int:
    """The number of the newest change."""
    return int(changes.latest_place(fetch))


def time_of(fetch: Fetch, change: int) -> int | None:
    """When a change was made; None if it is not there."""
    found = changes.at(fetch, str(change))
    return found.time if found is not None else None


def contents(fetch: Fetch, after: Position, most_bytes: int) -> Contents:
    """What came after a place: about so many bytes, or one change; to be read in a snapshot, so that it fits together."""
    found = changes.after(fetch, str(after.change), _MOST_CHANGES)
    if not found:
        return Contents(after, [], [], [], [])
    task_runs: dict[str, TaskRunRow] = {}
    logs: list[LogRow] = []
    touched: set[bytes] = set()
    size = taken = 0
    waiting = list(_parts(found))[::-1]
    while waiting and size < most_bytes:
        part = waiting.pop()
        more_runs = list(_task_runs(fetch, {run for change in part for run in change.task_runs} - task_runs.keys()))
        more_logs = list(_logs(fetch, part))
        more = sum(map(_size_of_run, more_runs)) + sum(_ROW_BYTES + len(line.message) for line in more_logs)
        if size + more > most_bytes and len(part) > 1:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
            continue
        if size + more > most_bytes and taken:
            break
        size += more
        taken += len(part)
        logs += more_logs
        task_runs.update((from_bytes(run.id), run) for run in more_runs)
        touched.update(to_bytes(run) for change in part for run in change.flow_runs)
    touched.update(row.flow_run_id for row in (*task_runs.values(), *logs) if row.flow_run_id is not None)
    flow_runs = [story for run in sorted(touched) if (story := flow_run_story(fetch, run)) is not None]
    held = {story.run.lease_id for story in flow_runs} | {run.lease_id for run in task_runs.values()}
    held_by = [lease for lease in leases.all_leases(fetch) if to_bytes(lease.id) in held]
    last = found[taken - 1]
    return Contents(Position(int(last.place), last.time), flow_runs, list(task_runs.values()), logs, held_by)


def _size_of_run(run: TaskRunRow) -> int:
    return _ROW_BYTES + len(run.history) + len(run.task_inputs) + len(run.result or b"")


def _parts(found: Sequence[changes.Change]) -> Iterable[Sequence[changes.Change]]:
    """The changes in parts that are read at once."""
    begin = rows = 0
    for n, change in enumerate(found, 1):
        rows += len(change.task_runs) + change.logs
        if rows >= _ROWS_A_PART or n == len(found):
            yield found[begin:n]
            begin, rows = n, 0


def flow_run_story(fetch: Fetch, flow_run: bytes) -> FlowRunStory | None:
    """A flow run with all its states."""
    rows = fetch(
        f"SELECT flow.name, {_FLOW_RUN}, flow.parameter_schema, shipped_flow_run.flow_run_id FROM flow_run "
        "JOIN flow ON flow.id = flow_run.flow_id "
        "LEFT JOIN shipped_flow_run ON shipped_flow_run.flow_run_id = flow_run.id WHERE flow_run.id = ?",
        (flow_run,),
    )
    if not rows:
        return None
    flow_name, *run, schema, shipped = rows[0]
    known = shipped is not None
    return FlowRunStory(flow_name, FlowRunRow(*run), states(fetch, flow_run), known, None if known else schema)


def states(fetch: Fetch, flow_run: bytes) -> list[StateRow]:
    """The states of a flow run, first to last."""
    sql = f"SELECT {_STATE} FROM flow_run_state WHERE flow_run_id = ? ORDER BY seq"
    return [StateRow(*row) for row in fetch(sql, (flow_run,))]


def task_runs_of(fetch: Fetch, flow_run: bytes) -> list[TaskRunRow]:
    """The task runs of a flow run."""
    return [
        TaskRunRow(*row) for row in fetch(f"SELECT {_TASK_RUN} FROM task_run WHERE flow_run_id = ? ORDER BY id", (flow_run,))
    ]


def forget_ended(execute: Execute, server: str, before: int, most_rows: int) -> int:
    """Removes runs that ended before a time (microseconds) which itself is before the last change shipped, with their logs;
    about so many rows at most. Gives how many."""
    shipped = execute("SELECT shipped_time FROM shipment WHERE server = ?", (server,)).fetchall()
    if not shipped or shipped[0][0] <= before:
        return 0
    removed = len(_remove_alone(execute, before, most_rows))
    for (flow_run,) in execute("SELECT id FROM flow_run WHERE end_time < ? ORDER BY end_time LIMIT 100", (before,)).fetchall():
        if removed >= most_rows:
            break
        removed += _remove(execute, flow_run, most_rows - removed)
    return removed


def _remove_alone(execute: Execute, before: int, most: int) -> list[Any]:
    chosen = "SELECT id FROM task_run WHERE flow_run_id IS NULL AND end_time < ? ORDER BY created LIMIT ?"
    gone = execute(chosen, (before, most)).fetchall()
    for row in gone:
        execute("DELETE FROM log WHERE task_run_id = ? AND flow_run_id IS NULL", row)
        execute("DELETE FROM task_run WHERE id = ?", row)
    return gone


def _remove(execute: Execute, flow_run: bytes, most: int) -> int:
    """Removes a flow run, or, of a large one, some of its task runs."""
    own = "SELECT id FROM task_run WHERE flow_run_id = ? LIMIT ?"
    gone = execute(f"DELETE FROM task_run WHERE id IN ({own}) RETURNING 1", (flow_run, most)).fetchall()
    if len(gone) == most:
        return most
    changes.forget_last_logs(execute, from_bytes(flow_run))
    execute("DELETE FROM flow_run WHERE id = ?", (flow_run,))
    return len(gone) + 1


def _task_runs(fetch: Fetch, task_run_ids: Iterable[str]) -> Iterable[TaskRunRow]:
    ids = [to_bytes(run) for run in sorted(task_run_ids)]
    for start in range(0, len(ids), _MOST_IDS_A_QUERY):
        part = ids[start : start + _MOST_IDS_A_QUERY]
        for row in fetch(f"SELECT {_TASK_RUN} FROM task_run WHERE id IN ({','.join('?' * len(part))})", part):
            yield TaskRunRow(*row)


def _logs(fetch: Fetch, found: Sequence[changes.Change]) -> Iterable[LogRow]:
    """The lines that came with these changes, in their order; neighbours are read together."""
    spans: list[tuple[int, int]] = []
    for change in found:
        if change.first_log is None or change.last_log is None:
            continue
        if spans and spans[-1][1] + 1 == change.first_log:
            spans[-1] = (spans[-1][0], change.last_log)
        else:
            spans.append((change.first_log, change.last_log))
    for span in spans:
        for row in fetch(f"SELECT {_LOG} FROM log WHERE seq BETWEEN ? AND ? ORDER BY seq", span):
            yield LogRow(*row)


# On the server


def move(execute: Execute, journal: str, after: Position, upto: Position, begins: bool, now: int) -> bool:
    """Notes that everything of a journal up to a place is recorded, if it was up to `after`, or if it `begins`."""
    moved = execute(
        "UPDATE journal SET applied = ?, applied_time = ?, updated = ? WHERE id = ? AND applied = ? AND applied_time = ? "
        "RETURNING 1",
        (*upto, now, to_bytes(journal), *after),
    ).fetchall()
    if not moved and begins:
        moved = execute(
            "INSERT INTO journal (id, applied, applied_time, updated) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1",
            (to_bytes(journal), *upto, now),
        ).fetchall()
    return bool(moved)


def position(execute: Execute, journal: str) -> Position | None:
    """Up to where a journal is recorded; None: it is not known."""
    rows = execute("SELECT applied, applied_time FROM journal WHERE id = ?", (to_bytes(journal),)).fetchall()
    return Position(*rows[0]) if rows else None


def write_flow_run(execute: Execute, story: FlowRunStory, flow_id: bytes, current: StateRow, lease: bytes | None) -> None:
    """Writes a flow run as its journal has it, in a state that may be another's."""
    run = story.run
    ended = current.type in ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")
    values = {
        **run._asdict(),
        "flow_id": flow_id,
        "lease_id": None if ended or current.type == "PAUSED" else lease,
        "state_id": current.id,
        "state_type": current.type,
        "state_name": current.name,
        "state_timestamp": current.timestamp,
        "end_time": current.timestamp if ended else None,
    }
    fixed = ("id", "flow_id", "created", "idempotency_key")
    changed = ", ".join(f"{name} = excluded.{name}" for name in values if name not in fixed)
    marks = ", ".join("?" * len(values))
    execute(
        f"INSERT INTO flow_run ({', '.join(values)}) VALUES ({marks}) ON CONFLICT (id) DO UPDATE SET {changed}",
        tuple(values.values()),
    )


def write_states(execute: Execute, flow_run: bytes, states: Sequence[StateRow], first: int) -> None:
    """Writes states of a flow run, the first of them as the one of this number, in the place of any from there on."""
    execute("DELETE FROM flow_run_state WHERE flow_run_id = ? AND seq >= ?", (flow_run, first))
    for seq, state in enumerate(states, first):
        execute(
            f"INSERT INTO flow_run_state (flow_run_id, seq, {_STATE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (flow_run, seq, *state),
        )


def remove_task_runs(execute: Execute, ids: Iterable[bytes]) -> None:
    """Removes task runs, whose true story follows."""
    for id in ids:
        execute("DELETE FROM task_run WHERE id = ?", (id,))
