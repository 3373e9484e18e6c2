"""What journals ship to a server: recorded once, whatever is sent twice, and refused where others have taken a run over.

The process whose journal it is remains the authority on its runs. What the server has noted meanwhile stays in a run's
story where it happened: that somebody wants it to be cancelled, or that it was taken to be lost since its process was not
heard of. A run that was taken to be lost goes on when its process is heard of again, unless another attempt has begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import clock
from tidemill.ids import from_bytes, nth_id, to_bytes
from tidemill.protocol import FlowRunStory, LogRow, News, Receipt, Shipment, SignOfLife, Standing, StateRow, TaskRunRow
from tidemill.records import Lease, Progress, Refusals, Step, TaskRunEntry, add_refusal
from tidemill.states import CANCELLING, CRASHED, TERMINAL_TYPES, StateDetails, StateType
from tidemill.store import Store, changes, entries, flows, leases, reading, recording, retried, shipments, writing

_TERMINAL = frozenset(type.value for type in TERMINAL_TYPES)
_decode_history = msgspec.json.Decoder(tuple[Step, ...]).decode
_decode_details = msgspec.json.Decoder(StateDetails).decode
_decode_inputs = msgspec.json.Decoder(dict[str, list[dict[str, Any]]]).decode
_decode_tags = msgspec.json.Decoder(list[str]).decode
_TAKEN_BACK = "The process that runs it is heard of again."


@retried
def record_shipment(store: Store, shipment: Shipment) -> Receipt:
    """Records a shipment, all of it or nothing; the same one again changes nothing.

    Raises:
        msgspec.DecodeError, ValueError: a row holds what none can.
    """
    for run in shipment.task_runs:
        _check(run)
    now = clock.now()
    with store.transaction() as execute:
        if not shipments.move(execute, shipment.journal, shipment.after, shipment.upto, shipment.begins, now):
            return Receipt(False, shipments.position(execute, shipment.journal))
        held = {to_bytes(lease.id) for lease in shipment.leases}
        for lease in shipment.leases:
            leases.ensure_lease(execute, _valid_from_now(lease, shipment.lease_seconds, now))
        refused: Refusals = {}
        arrived: set[bytes] = set()
        changed: list[str] = []
        for story in shipment.flow_runs:
            outcome = _FlowRunOnServer(execute, story, held).record()
            if outcome is None:
                arrived.add(story.run.id)
            elif outcome is _CHANGED:
                arrived.add(story.run.id)
                changed.append(from_bytes(story.run.id))
            else:
                add_refusal(refused, from_bytes(story.run.id), story.run.attempt, outcome)
        changes.note(execute, flow_runs=changed)
        recording.write_rows(execute, *_of_runs(shipment, arrived, held))
    return Receipt(True, shipment.upto, refused)


def _of_runs(shipment: Shipment, arrived: set[bytes], held: set[bytes]) -> tuple[list[TaskRunRow], list[LogRow]]:
    """The task runs and lines of the flow runs that are recorded, and of none."""
    task_runs = [run for run in shipment.task_runs if run.flow_run_id is None or run.flow_run_id in arrived]
    logs = [line for line in shipment.logs if line.flow_run_id is None or line.flow_run_id in arrived]
    return [run if run.lease_id is None or run.lease_id in held else run._replace(lease_id=None) for run in task_runs], logs


def _check(run: TaskRunRow) -> None:
    """Raises if this is no row of a task run: readers rely on what is recorded."""
    StateType(run.state_type)
    _decode_history(run.history)
    _decode_tags(run.tags)
    if run.task_inputs != "{}":
        _decode_inputs(run.task_inputs)
    if run.details is not None:
        _decode_details(run.details)


def _valid_from_now(lease: Lease, seconds: float, now: int) -> Lease:
    """The lease by the server's own clock."""
    return msgspec.structs.replace(lease, deadline=now + int(seconds * 1_000_000))


_CHANGED = ""


class _FlowRunOnServer:
    """One flow run of a shipment, and what the server has of it."""

    def __init__(self, execute: writing.Execute, story: FlowRunStory, held: set[bytes]) -> None:
        self._execute = execute
        self._fetch: reading.Fetch = lambda sql, bindings: execute(sql, bindings).fetchall()
        self._story = story
        self._run = story.run
        self._lease = story.run.lease_id if story.run.lease_id in held else None

    def record(self) -> str | None:
        """Brings the run up to date: says `_CHANGED` if that changed it, None if not; else why it is refused."""
        rows = self._execute(
            "SELECT attempt, lease_id FROM flow_run WHERE id = ? /*postgres: FOR UPDATE*/", (self._run.id,)
        ).fetchall()
        if not rows:
            return "the flow run was deleted" if self._story.known else self._create()
        own, theirs = self._story.states, shipments.states(self._fetch, self._run.id)
        known = {state.id for state in own}
        foreign = [state for n, state in enumerate(theirs) if state.id not in known and not _is_taken_back(theirs, n)]
        mine = own[-1]
        if (reason := _reason_to_refuse(foreign, mine)) is not None:
            return reason
        if any(state.type == "CRASHED" for state in foreign) and mine.type != "CRASHED":
            self._revive_task_runs({state.message for state in foreign})
        return self._update(rows[0], own, theirs)

    def _create(self) -> str:
        flow = writing.ensure_flow(self._execute, self._story.flow_name, self._run.created)
        if self._story.parameter_schema is not None:
            flows.record_parameters(self._execute, flow, self._story.parameter_schema)
        shipments.write_flow_run(self._execute, self._story, flow, self._story.states[-1], self._lease)
        shipments.write_states(self._execute, self._run.id, self._story.states, 0)
        return _CHANGED

    def _update(self, row: Sequence[Any], own: Sequence[StateRow], theirs: list[StateRow]) -> str | None:
        attempt, lease = row
        merged = _merged(own, theirs)
        current = merged[-1]
        if merged == theirs and attempt == self._run.attempt and (lease == self._lease or current.type in _TERMINAL):
            return None
        same = next((n for n, (a, b) in enumerate(zip(merged, theirs, strict=False)) if a != b), min(len(merged), len(theirs)))
        flow = writing.ensure_flow(self._execute, self._story.flow_name, self._run.created)
        shipments.write_flow_run(self._execute, self._story, flow, current, self._lease)
        shipments.write_states(self._execute, self._run.id, merged[same:], same)
        return _CHANGED

    def _revive_task_runs(self, messages: set[str | None]) -> None:
        """Takes back that task runs were lost, which was noted when the flow run was taken to be."""
        lost: list[TaskRunEntry] = []
        for entry in entries.task_run_entries(self._fetch, from_bytes(self._run.id)):
            *before, last = entry.progress.history
            if entry.progress.type is CRASHED and before and last[2] in messages:
                entry.progress = _progress_of(before)
                lost.append(entry)
        shipments.remove_task_runs(self._execute, [to_bytes(entry.id) for entry in lost])
        recording.write_task_runs(self._execute, lost)


def _progress_of(history: Sequence[Step]) -> Progress:
    """The progress of a task run that went through these states."""
    type, name, _, time = history[0]
    progress = Progress(StateType(type), name or type.capitalize(), (history[0],))
    for type, name, message, time in history[1:]:
        progress = progress.then(StateType(type), name, message, time)
    return progress


def _is_taken_back(states: Sequence[StateRow], n: int) -> bool:
    """Whether a state says that the one before was a mistake."""
    return n > 0 and states[n].id == _id_of_taking_back(states[n - 1])


def _id_of_taking_back(state: StateRow) -> bytes:
    return to_bytes(nth_id(from_bytes(state.id), 0))


def _reason_to_refuse(foreign: Sequence[StateRow], mine: StateRow) -> str | None:
    """Why a journal has lost a run, on which others have put these states; None: it has not."""
    for state in foreign:
        if state.type == "RUNNING":
            return "another attempt of the flow run has taken over"
        if state.type in ("CRASHED", "CANCELLING") or (state.type == mine.type and mine.type in _TERMINAL):
            continue
        return f"the flow run was changed by others: it became {state.type}"
    return None


def _merged(own: Sequence[StateRow], theirs: Sequence[StateRow]) -> list[StateRow]:
    """The states of a run in the order of their times. Where the run has ended by its own journal, that is its last; where it
    is still at work, that it was taken to be lost is taken back."""
    known = {state.id for state in own}
    last = own[-1]
    ended = last.type in _TERMINAL
    others = [state for state in theirs if state.id not in known]
    noticed = ended and any(state.type == last.type for state in others)  # the server says the same
    merged = sorted([*own[: -1 if noticed else None], *others], key=lambda state: state.timestamp)
    if ended and not noticed:
        return [state for state in merged if state.id in known or state.timestamp < last.timestamp]
    if not ended and merged[-1].type == "CRASHED":
        lost = merged[-1]
        when = max(clock.now(), lost.timestamp + 1)
        merged.append(last._replace(id=_id_of_taking_back(lost), message=_TAKEN_BACK, timestamp=when))
    return merged


@retried
def hear_from(store: Store, sign: SignOfLife) -> list[str]:
    """Renews the leases of a process that lives; gives those that are not there (any more)."""
    deadline = clock.now() + int(sign.lease_seconds * 1_000_000)
    with store.transaction() as execute:
        return [lease.id for lease in sign.leases if not leases.renew_lease(execute, lease.id, deadline)]


def standings(fetch: reading.Fetch, flow_run_ids: Sequence[str]) -> dict[str, Standing]:
    """How those of the flow runs stand that are there."""
    found: dict[str, Standing] = {}
    for run_id, (type, attempt, lease) in reading.holds(fetch, flow_run_ids).items():
        cancelling = shipments.states(fetch, to_bytes(run_id))[-1] if type is CANCELLING else None
        found[run_id] = Standing(type, attempt, lease, cancelling)
    return found


def news_for(store: Store, sign: SignOfLife) -> News:
    """What a process that lives is to know."""
    lost = hear_from(store, sign) if sign.leases else []
    return News(lost, standings(store.database.fetch, sign.flow_runs) if sign.flow_runs else {})
