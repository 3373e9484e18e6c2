"""The negotiated half of the write path: flows, flow runs and their states.

Each function runs inside its caller's transaction. What may be written is decided before, in orchestration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill import clock
from tidemill.ids import from_bytes, new_id, to_bytes
from tidemill.records import FlowRunPolicy, NewFlowRun
from tidemill.states import RUNNING, TERMINAL_TYPES, ResultReference, State, StateDetails, StateType
from tidemill.store import changes, flows, rows
from tidemill.store.filtering import Condition
from tidemill.texts import storable

Execute = Callable[[str, Sequence[Any]], Any]

_encode = msgspec.json.Encoder().encode
_decode_policy = msgspec.json.Decoder(FlowRunPolicy).decode
_decode_details = msgspec.json.Decoder(StateDetails).decode


class FlowRunFacts(NamedTuple):
    """What the rules ask about a flow run before they let it change. Times are microseconds, delays seconds."""

    name: str
    state_type: StateType
    state_timestamp: int
    attempt: int
    lease_id: str | None
    start_time: int | None
    total_run_time: int
    policy: FlowRunPolicy
    states: int
    scheduled_time: int | None
    transition_id: str | None
    result_kept: bool
    details: StateDetails
    parent_task_run_id: str | None
    infrastructure_pid: str | None


def ensure_flow(execute: Execute, name: str, now: int) -> bytes:
    """The id of the flow of this name, which is created if there is none."""
    found = execute("SELECT id FROM flow WHERE name = ?", (name,)).fetchall()
    if found:
        return found[0][0]
    execute(
        "INSERT INTO flow (id, name, created, updated) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO NOTHING",
        (to_bytes(new_id()), name, now, now),
    )
    return execute("SELECT id FROM flow WHERE name = ?", (name,)).fetchall()[0][0]


def insert_flow_run(execute: Execute, run: NewFlowRun, state: State[Any], now: int) -> None:
    """Creates a flow run in its first state, which is an attempt only if it runs already."""
    state.id = state.id or new_id()
    began = clock.from_datetime(state.timestamp)
    running = state.type is RUNNING
    flow_id = to_bytes(run.flow_id) if run.flow_id else ensure_flow(execute, run.flow_name, now)
    if run.parameter_schema is not None:
        flows.record_parameters(execute, flow_id, run.parameter_schema.decode())
    execute(
        "INSERT INTO flow_run (id, flow_id, name, flow_version, entrypoint, state_id, state_type, state_name, "
        "state_timestamp, parameters, tags, labels, context, job_variables, empirical_policy, parent_task_run_id, "
        "parent_flow_run_id, idempotency_key, created, updated, expected_start_time, attempt, start_time, end_time, "
        "call_serializer, call) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        (
            to_bytes(run.id),
            flow_id,
            run.name,
            run.flow_version,
            run.entrypoint,
            to_bytes(state.id),
            state.type.value,
            storable(state.name),
            began,
            run.parameters.decode(),
            _encode(list(run.tags)).decode(),
            run.labels.decode(),
            run.context.decode(),
            run.job_variables.decode(),
            _encode(run.policy).decode(),
            to_bytes(run.parent_task_run_id) if run.parent_task_run_id else None,
            to_bytes(run.parent_flow_run_id) if run.parent_flow_run_id else None,
            run.idempotency_key,
            now,
            now,
            _scheduled_for(state) or now,
            int(running),
            began if running else None,
            began if state.type in TERMINAL_TYPES else None,
            *(run.call or (None, None)),
        ),
    )
    _insert_state(execute, run.id, 0, state)
    changes.note(execute, flow_runs=[run.id])


def flow_run_with_key(execute: Execute, flow_name: str, idempotency_key: str) -> str | None:
    """The id of the run of this flow that was created with this key."""
    sql = "SELECT run.id FROM flow_run AS run JOIN flow ON flow.id = run.flow_id WHERE flow.name = ? AND idempotency_key = ?"
    found = execute(sql, (flow_name, idempotency_key)).fetchall()
    return from_bytes(found[0][0]) if found else None


def flow_run_facts(execute: Execute, flow_run_id: str) -> FlowRunFacts | None:
    """What the rules need to know of a flow run; None if there is none of this id. Until the end of the transaction nobody
    else changes the run."""
    run = to_bytes(flow_run_id)
    # First, as a statement of its own: what the next one sees is then what others have committed before.
    execute("SELECT 1 FROM flow_run WHERE id = ? /*postgres: FOR NO KEY UPDATE */", (run,))
    rows = execute(
        "SELECT run.name, run.state_type, run.state_timestamp, run.attempt, run.lease_id, run.start_time, run.total_run_time, "
        "run.empirical_policy, run.parent_task_run_id, run.infrastructure_pid, state.seq, state.details, "
        "state.result_serializer FROM flow_run AS run "
        "JOIN flow_run_state AS state ON state.flow_run_id = run.id WHERE run.id = ? ORDER BY state.seq DESC LIMIT 1",
        (run,),
    ).fetchall()
    if not rows:
        return None
    name, type, timestamp, attempt, lease, start_time, total, policy_json, parent, pid, *last = rows[0]
    seq, details_json, serializer = last
    details = _decode_details(details_json)
    return FlowRunFacts(
        name=name,
        state_type=StateType(type),
        state_timestamp=timestamp,
        attempt=attempt,
        lease_id=from_bytes(lease) if lease else None,
        start_time=start_time,
        total_run_time=total,
        policy=_decode_policy(policy_json),
        states=seq + 1,
        scheduled_time=clock.from_datetime(details.scheduled_time) if details.scheduled_time else None,
        transition_id=details.transition_id,
        result_kept=serializer is not None,
        details=details,
        parent_task_run_id=from_bytes(parent) if parent else None,
        infrastructure_pid=pid,
    )


def retries_made(execute: Execute, flow_run_id: str) -> int:
    """How often the run has been retried since somebody began it, the first time or again after it had ended. What stands right
    behind an end is not such a retry: there, somebody asked for the next attempt."""
    run = to_bytes(flow_run_id)
    rows = execute(
        "SELECT count(*) FROM flow_run_state WHERE flow_run_id = ?1 AND type = 'SCHEDULED' AND name = 'AwaitingRetry' "
        "AND seq > (SELECT coalesce(max(seq) + 1, -1) FROM flow_run_state WHERE flow_run_id = ?1 "
        "AND type IN ('COMPLETED', 'FAILED', 'CANCELLED', 'CRASHED'))",
        (run,),
    )
    return rows.fetchall()[0][0]


def write_flow_run_state(
    execute: Execute, flow_run_id: str, state: State[Any], facts: FlowRunFacts, lease_id: str | None, *, goes_on: bool = False
) -> None:
    """Makes `state` the run's current one. A run that starts running begins an attempt, unless it `goes_on` after a pause, and
    is held by `lease_id`; one that stops is held by nobody, unless it only waits for its retry. Times never decrease within a
    run, whatever the clock does."""
    state.id = state.id or new_id()
    timestamp = max(clock.from_datetime(state.timestamp), facts.state_timestamp + 1)
    state.timestamp = clock.to_datetime(timestamp)
    running = state.type is RUNNING
    waits_for_retry = state.type is StateType.SCHEDULED and facts.state_type is RUNNING
    held = running or waits_for_retry or state.type in (StateType.PENDING, StateType.CANCELLING)
    ran_for = timestamp - facts.state_timestamp if facts.state_type is RUNNING else 0
    holder = (lease_id or facts.lease_id) if held else None
    execute(
        "UPDATE flow_run SET state_id = ?, state_type = ?, state_name = ?, state_timestamp = ?, attempt = ?, lease_id = ?, "
        "updated = ?, start_time = ?, end_time = ?, total_run_time = ?, "
        "expected_start_time = coalesce(?, expected_start_time) WHERE id = ?",
        (
            to_bytes(state.id),
            state.type.value,
            storable(state.name),
            timestamp,
            facts.attempt + (running and not goes_on),
            to_bytes(holder) if holder else None,
            clock.now(),
            facts.start_time if facts.start_time is not None or not running else timestamp,
            timestamp if state.type in TERMINAL_TYPES else None,
            facts.total_run_time + ran_for,
            _scheduled_for(state) if facts.start_time is None else None,
            to_bytes(flow_run_id),
        ),
    )
    _insert_state(execute, flow_run_id, facts.states, state)
    changes.note(execute, flow_runs=[flow_run_id])


def unfinished_subflow_runs(execute: Execute, flow_run_id: str) -> list[str]:
    """The flow runs called in this one that have not ended, oldest first."""
    sql = "SELECT id FROM flow_run WHERE parent_flow_run_id = ? AND end_time IS NULL ORDER BY id"
    return [from_bytes(row[0]) for row in execute(sql, (to_bytes(flow_run_id),)).fetchall()]


def parents_of(execute: Execute, flow_run_id: str) -> tuple[str, str] | tuple[None, None]:
    """The flow run that called this one, and the task run that stands for it there."""
    sql = "SELECT parent_flow_run_id, parent_task_run_id FROM flow_run WHERE id = ? AND parent_task_run_id IS NOT NULL"
    rows = execute(sql, (to_bytes(flow_run_id),)).fetchall()
    return (from_bytes(rows[0][0]), from_bytes(rows[0][1])) if rows and rows[0][0] is not None else (None, None)


def result_keys(execute: Execute, flow_run_id: str) -> list[str]:
    """The keys of the result files of a flow run and its task runs."""
    run = to_bytes(flow_run_id)
    rows = execute(
        "SELECT result_key FROM task_run WHERE flow_run_id = ?1 AND result_key IS NOT NULL UNION ALL "
        "SELECT result_key FROM flow_run_state WHERE flow_run_id = ?1 AND result_key IS NOT NULL",
        (run,),
    )
    return [row[0] for row in rows]


def delete_flow_run(execute: Execute, flow_run_id: str) -> bool:
    """Removes a flow run with its states, task runs and logs; says whether there was one."""
    changes.forget_last_logs(execute, flow_run_id)
    if not execute("DELETE FROM flow_run WHERE id = ? RETURNING 1", (to_bytes(flow_run_id),)).fetchall():
        return False
    changes.note(execute, flow_runs=[flow_run_id])
    return True


def _insert_state(execute: Execute, flow_run_id: str, seq: int, state: State[Any]) -> None:
    result = state.data if isinstance(state.data, ResultReference) else None
    execute(
        "INSERT INTO flow_run_state (flow_run_id, seq, id, type, name, message, timestamp, details, result_serializer, "
        "result, result_key) VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (
            to_bytes(flow_run_id),
            seq,
            to_bytes(state.id or new_id()),
            state.type.value,
            storable(state.name),
            state.message and storable(state.message),
            clock.from_datetime(state.timestamp),
            _encode(state.state_details).decode(),
            None if result is None else result.serializer,
            None if result is None else result.inline,
            None if result is None else result.storage_key,
        ),
    )


def change_flow_run(execute: Execute, flow_run_id: str, values: Mapping[str, Any]) -> bool:
    """Gives columns of a flow run new values; False if there is none of this id."""
    condition = Condition("id = ?", (to_bytes(flow_run_id),))
    if not rows.change(execute, "flow_run", {**values, "updated": clock.now()}, condition):
        return False
    changes.note(execute, flow_runs=[flow_run_id])
    return True


def write_policy(execute: Execute, flow_run_id: str, policy: FlowRunPolicy) -> None:
    """Keeps how a flow run is retried and paused from now on; the caller notes the change."""
    execute("UPDATE flow_run SET empirical_policy = ? WHERE id = ?", (_encode(policy).decode(), to_bytes(flow_run_id)))


def _scheduled_for(state: State[Any]) -> int | None:
    when = state.state_details.scheduled_time
    return None if when is None else clock.from_datetime(when)
