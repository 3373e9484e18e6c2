"""The attempts of a flow run: when each began and ended, which task runs it executed, and which it found done.

Task runs keep their whole history, so what an earlier attempt did is told from the times of its states. Times are milliseconds
since the epoch in what is given, and microseconds elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from tidemill import ids
from tidemill.records import Step, milliseconds
from tidemill.states import AWAITING_RERUN, COMPLETED, PAUSED, RUNNING, SCHEDULED, TERMINAL_TYPES, StateType
from tidemill.store.rows import Fetch

_decode_history = msgspec.json.Decoder(list[Step]).decode


class Attempt(msgspec.Struct, kw_only=True):
    """One attempt, and the state that it ended in, or is in. `executed` task runs began in it, of which `counts` says in which
    state it left them; `reused` ones had completed before and were not executed again."""

    attempt: int
    type: StateType
    name: str
    message: str | None
    began_ms: float
    ended_ms: float | None
    executed: int
    reused: int
    counts: dict[StateType, int]


class _State(NamedTuple):
    type: str
    name: str
    message: str | None
    time: int


def attempts(fetch: Fetch, flow_run_id: str) -> list[Attempt]:
    """The attempts of a flow run, first to last; none if it has not begun (or is not there)."""
    run = ids.to_bytes(flow_run_id)
    rows = fetch("SELECT type, name, message, timestamp FROM flow_run_state WHERE flow_run_id = ? ORDER BY seq", (run,))
    parts = _parts([_State(*row) for row in rows])
    if not parts:
        return []
    told = _Told([part[0].time for part in parts])
    simple, rest = _BY_NUMBER_OF_ATTEMPTS[len(parts) == 1]
    _tell_what_is_simple(fetch, run, told, simple)
    _tell_the_rest(fetch, run, told, rest)
    return [
        Attempt(
            attempt=n + 1,
            type=StateType(part[-1].type),
            name=part[-1].name,
            message=part[-1].message,
            began_ms=milliseconds(part[0].time),
            ended_ms=_end(part),
            executed=told.executed[n].total(),
            reused=told.reused[n],
            counts={StateType(type): number for type, number in told.executed[n].items()},
        )
        for n, part in enumerate(parts)
    ]


def _parts(states: Sequence[_State]) -> list[list[_State]]:
    """The states of each attempt: it begins when the run begins to run, unless it goes on after a pause, and ends in a final
    state or where it begins to wait for the next attempt."""
    parts: list[list[_State]] = []
    is_paused = has_ended = False
    for state in states:
        if state.type == RUNNING and not is_paused:
            parts.append([])
            has_ended = False
        if parts and not has_ended:
            parts[-1].append(state)
        has_ended = has_ended or state.type in TERMINAL_TYPES or (state.type == SCHEDULED and not is_paused)
        is_paused = state.type == PAUSED or (is_paused and state.type != RUNNING and not has_ended)
    return parts


def _end(part: Sequence[_State]) -> float | None:
    last = part[-1]
    is_over = last.type in TERMINAL_TYPES or (last.type == SCHEDULED and PAUSED.value not in [state.type for state in part])
    return milliseconds(last.time) if is_over else None


class _Told:
    """What is known of each attempt by now.

    Args:
        begins: when they began.
    """

    def __init__(self, begins: list[int]) -> None:
        self.begins = begins
        self.executed: list[Counter[str]] = [Counter() for _ in begins]
        self.reused = [0] * len(begins)

    def add_reused(self, number: int) -> None:
        """Notes task runs that completed in the first attempt, and were found done in all others."""
        for n in range(1, len(self.begins)):
            self.reused[n] += number

    def add(self, history: Sequence[Step]) -> None:
        """Notes a task run, whatever became of it in each attempt."""
        is_complete = False
        for n, steps in enumerate(self._by_attempt(history)):
            # Whoever asks for another execution does so between two attempts.
            own = [step for step in steps if step[1] != AWAITING_RERUN]
            if any(type == RUNNING for type, *_ in own):
                self.executed[n][own[-1][0]] += 1
            elif is_complete and (not own or own[-1][0] == COMPLETED):
                self.reused[n] += 1
            is_complete = steps[-1][0] == COMPLETED if steps else is_complete

    def _by_attempt(self, history: Sequence[Step]) -> list[list[Step]]:
        found: list[list[Step]] = [[] for _ in self.begins]
        for step in history:
            found[max(0, bisect_right(self.begins, step[3]) - 1)].append(step)
        return found


# What no later attempt has taken up was executed by the first, if it was at all: nearly always that is nearly everything. With
# one attempt, it is everything but what awaits the next, and an index knows that. Each with what is not so simple.
_IN_THE_FIRST = "attempt = 1 AND run_count <= 1 AND end_time IS NOT NULL"
_BY_NUMBER_OF_ATTEMPTS = {
    True: ("state_type <> 'SCHEDULED'", "state_type = 'SCHEDULED'"),
    False: (_IN_THE_FIRST, f"NOT ({_IN_THE_FIRST})"),
}


def _tell_what_is_simple(fetch: Fetch, run: bytes, told: _Told, which: str) -> None:
    rows = fetch(
        f"SELECT state_type, start_time IS NOT NULL, count(*) FROM task_run WHERE flow_run_id = ? AND {which} GROUP BY 1, 2",
        (run,),
    )
    for type, has_begun, number in rows:
        if has_begun:
            told.executed[0][type] += number
        if type == COMPLETED:
            told.add_reused(number)


def _tell_the_rest(fetch: Fetch, run: bytes, told: _Told, which: str) -> None:
    for (history,) in fetch(f"SELECT history FROM task_run WHERE flow_run_id = ? AND {which}", (run,)):
        told.add(_decode_history(history))
