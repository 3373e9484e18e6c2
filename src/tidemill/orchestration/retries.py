"""Asking from outside for another attempt of a flow run, or for another run like it. Somebody's process then executes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from tidemill import clock, kept_calls
from tidemill.entrypoints import why_not_loadable
from tidemill.exceptions import FlowRunIsLive, OrchestrationError
from tidemill.ids import new_id
from tidemill.names import two_words
from tidemill.orchestration import corrections
from tidemill.orchestration.attempts import free
from tidemill.orchestration.proposing import fetching, not_found
from tidemill.records import FlowRun, NewFlowRun, RunPolicy
from tidemill.states import (
    CANCELLING,
    COMPLETED,
    PAUSED,
    RUNNING,
    TERMINAL_TYPES,
    AwaitingRetry,
    Scheduled,
)
from tidemill.store import Store, entries, reading, retried, writing

_CALL_IN_PYTHON = "Call the flow again in Python"
_encode = msgspec.json.Encoder().encode


class ToExecute(NamedTuple):
    """A flow run that waits for a process.

    Attributes:
        command: the line that executes it; None where no line does.
        reason: why there is no such line, and what to do instead.
    """

    flow_run: FlowRun
    command: str | None
    reason: str | None


@retried
def await_retry(store: Store, flow_run_id: str, task_run_id: str | None, message: str | None) -> ToExecute:
    """Makes a flow run that has ended, or whose process is gone, await its next attempt. One that awaits its beginning already
    goes on doing so.

    Args:
        task_run_id: a task run of it, or of its subflow runs, to be executed again with everything that follows from it.
        message: of the new state.

    Raises:
        FlowRunIsLive: a process works on it.
        ObjectNotFound: there is no such flow run, or no such task run in it.
        OrchestrationError: it has completed, and no task run is named; it is paused; or it is a subflow run.
    """
    with store.transaction() as execute:
        fetch = fetching(execute)
        facts, run = writing.flow_run_facts(execute, flow_run_id), reading.flow_run(fetch, flow_run_id)
        if facts is None or run is None:
            raise not_found(flow_run_id)
        _refuse_what_others_move(execute, run)
        facts = free(execute, flow_run_id, facts)
        if facts.state_type is COMPLETED and task_run_id is None:
            raise OrchestrationError(
                f"Flow run {run.name!r} has completed. Say from which of its task runs on to run it again "
                f"(from_task_run_id), or make another run like it: POST /api/flow_runs/{run.id}/rerun"
            )
        chosen = entries.task_run_entry(fetch, task_run_id) if task_run_id is not None else None
        message = message or corrections.message_from(chosen)
        if facts.state_type in TERMINAL_TYPES:
            writing.write_flow_run_state(execute, flow_run_id, AwaitingRetry(message=message), facts, None)
        if task_run_id is not None:
            corrections.reset_from(execute, flow_run_id, chosen, corrections.message_from(chosen))
        return _to_execute(fetch, flow_run_id, "retry")


@retried
def create_rerun(
    store: Store, flow_run_id: str, parameters: dict[str, Any] | None, name: str | None, tags: Sequence[str] | None
) -> ToExecute:
    """Creates a run of the same flow, called in the same way, which is scheduled for now.

    Args:
        parameters: those that are to have other values than in that run.
        name: by default two words.
        tags: in the place of that run's.

    Raises:
        ObjectNotFound: there is no such flow run.
        OrchestrationError: what it was called with could not be kept.
    """
    with store.transaction() as execute:
        fetch = fetching(execute)
        run = reading.flow_run(fetch, flow_run_id)
        if run is None:
            raise not_found(flow_run_id)
        call = reading.flow_run_call(fetch, flow_run_id)
        if call is not None and (reason := kept_calls.why_unkept(call)) is not None:
            raise OrchestrationError(
                f"What flow run {run.name!r} was called with could not be kept ({reason}), so there can be no other run like "
                f"it from here. {_CALL_IN_PYTHON}."
            )
        changes = {key: value for key, value in (parameters or {}).items() if _is_other(run.parameters, key, value)}
        policy = run.empirical_policy
        new = NewFlowRun(
            id=new_id(),
            name=name or two_words(),
            flow_name=run.flow_name or "",
            flow_id=run.flow_id,
            flow_version=run.flow_version,
            entrypoint=run.entrypoint,
            parameters=_encode({**run.parameters, **changes}),
            tags=run.tags if tags is None else tags,
            labels=_encode(run.labels),
            policy=RunPolicy(
                retries=policy.retries, retry_delay=policy.retry_delay, retry_jitter_factor=policy.retry_jitter_factor
            ),
            call=kept_calls.changed(call, changes) if call is not None and changes else call,
        )
        state = Scheduled(message=f"Another run like flow run {run.name!r} ({run.id}).")
        writing.insert_flow_run(execute, new, state, clock.now())
        return _to_execute(fetch, new.id, "resume")


def _refuse_what_others_move(execute: writing.Execute, run: FlowRun) -> None:
    state = run.state
    assert state is not None
    if run.parent_flow_run_id is not None:
        parent = reading.flow_run(fetching(execute), run.parent_flow_run_id)
        name = run.parent_flow_run_id if parent is None else parent.name
        raise OrchestrationError(
            f"Flow run {run.name!r} is a subflow run of {name!r} and is executed again with it: "
            f"POST /api/flow_runs/{run.parent_flow_run_id}/retry, with from_task_run_id to begin inside this one."
        )
    if state.type is PAUSED:
        raise OrchestrationError(f"Flow run {run.name!r} is paused. Let it go on: POST /api/flow_runs/{run.id}/resume")
    if state.type in (RUNNING, CANCELLING) and run.entrypoint is None:  # by a program that has no lease here
        raise FlowRunIsLive(
            f"Flow run {run.name!r} is at work, as the program says that recorded it: {state}. Wait until it has ended. If "
            f"that program is gone, say so first: POST /api/flow_runs/{run.id}/set_state with the type CRASHED."
        )


def _to_execute(fetch: reading.Fetch, flow_run_id: str, verb: str) -> ToExecute:
    run = reading.flow_run(fetch, flow_run_id)
    assert run is not None
    reason = _why_no_command(run, reading.flow_run_call(fetch, flow_run_id))
    return ToExecute(run, None if reason else f"tidemill flow-run {verb} {run.id}", reason)


def _why_no_command(run: FlowRun, call: kept_calls.KeptCall | None) -> str | None:
    if run.entrypoint is None:
        return (
            "Where its flow is defined was not recorded, so no command can find it: the program that recorded the run has to "
            f"execute it. If you know the place: tidemill flow-run resume {run.id} --entrypoint FILE:NAME"
        )
    reason = kept_calls.why_unkept(call) if call is not None else None
    if reason is not None:
        return f"What it was called with could not be kept ({reason}). {_CALL_IN_PYTHON}, with the same idempotency_key."
    return why_not_loadable(run.entrypoint)


def _is_other(parameters: dict[str, Any], name: str, value: Any) -> bool:
    """Whether a value is not the one that is recorded; as JSON, where 1, 1.0 and true are three things."""
    return name not in parameters or _encode(parameters[name]) != _encode(value)
