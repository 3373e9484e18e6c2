"""The changes in the store as events for those who watch: read page by page from any position, always the same events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from tidemill.filters import Filters, FlowRunFilter, IdFilter, Page, TaskRunFilter
from tidemill.records import FlowRun, Log, TaskRun
from tidemill.store import changes, reading
from tidemill.store.changes import Change
from tidemill.store.reading import Fetch

FLOW_RUN, TASK_RUN, LOG = "flow-run", "task-run", "log"
DELETED, RESET = "deleted", "reset"
KINDS = frozenset({FLOW_RUN, TASK_RUN, LOG})

_WHOLE = 2**62  # as a part: after everything of a change
_ALL = Page(None)
_CHANGES_AT_ONCE = 50
_DATA = b"\ndata: "
_MOST_RUNS_IN_A_QUERY = 100
_encode = msgspec.json.Encoder().encode

Run = TypeVar("Run", FlowRun, TaskRun)


class Position(NamedTuple):
    """How far somebody has come: after so many changes, and after this part (from 0) of the last of them."""

    place: int
    part: int = _WHOLE

    @classmethod
    def after(cls, place: str) -> Position:
        """Right after the change at this place, or before all at the first place."""
        return cls(int(place))

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position that `str` has given; None for any other text."""
        place, dash, index = text.partition("-")
        digits = place + index
        if not (place and digits.isascii() and digits.isdigit() and len(place) < 19 and len(index) < 19):
            return None
        if bool(dash) != bool(index):
            return None
        return cls(int(place), int(index) if dash else _WHOLE)

    def __str__(self) -> str:
        return str(self.place) if self.part == _WHOLE else f"{self.place}-{self.part}"


class Deleted(msgspec.Struct, frozen=True):
    """A flow run that is there no more, nor its task runs and logs."""

    flow_run_id: str


class Reset(msgspec.Struct, frozen=True):
    """What happened before cannot be told any more: who keeps anything has to read it anew."""


Record = FlowRun | TaskRun | Log | Deleted | Reset


class LiveEvent:
    """One thing that has happened: a run as it is now, a line that was logged, or a run that was deleted."""

    __slots__ = ("_frame", "flow_run_id", "kind", "position", "record")

    def __init__(self, kind: str, position: Position, flow_run_id: str | None, record: Record) -> None:
        self.kind = kind
        self.position = position
        self.flow_run_id = flow_run_id
        self.record = record
        self._frame: bytes | None = None

    @property
    def id(self) -> str:
        """What tells a server, this one or another, after which event somebody goes on."""
        return str(self.position)

    @property
    def frame(self) -> bytes:
        """The event as server-sent events have it, made once for all who get it."""
        if self._frame is None:
            self._frame = sse_frame(self.kind, self.id, _encode(self.record))
        return self._frame

    @property
    def encoded(self) -> bytes:
        """The record as JSON."""
        return self.frame[self.frame.index(_DATA) + len(_DATA) : -2]


def sse_frame(kind: str, id: str, data: bytes) -> bytes:
    """One server-sent event; the data must be a single line, as JSON is."""
    return b"event: %b\nid: %b%b%b\n\n" % (kind.encode(), id.encode(), _DATA, data)


class Selection:
    """What somebody wants to be told of.

    Args:
        flow_run_ids: only these flow runs, with their task runs and logs; None: all.
        include_subflows: of these also the flow runs called in them, and so on.
        kinds: only events of these kinds. Who wants flow runs is told of their deletion too.
    """

    def __init__(
        self, flow_run_ids: Iterable[str] | None = None, *, include_subflows: bool = False, kinds: Iterable[str] = KINDS
    ) -> None:
        self.kinds = frozenset(kinds)
        self.runs: set[str] | None = None if flow_run_ids is None else set(flow_run_ids)
        self.include_subflows = include_subflows and flow_run_ids is not None
        self._told_of = self.kinds | {DELETED} if FLOW_RUN in self.kinds else self.kinds

    def with_subflows(self, fetch: Fetch) -> None:
        """Adds the subflow runs that are there already; those to come are added when they are seen."""
        if self.include_subflows and self.runs is not None:
            self.runs |= reading.subflow_runs(fetch, self.runs)

    def note(self, flow_run: FlowRun) -> None:
        """To be told of every flow run: it may be a subflow of one that was asked for."""
        if self.include_subflows and self.runs is not None and flow_run.parent_flow_run_id in self.runs:
            self.runs.add(flow_run.id)

    def wants(self, event: LiveEvent) -> bool:
        """Whether it was asked for."""
        if isinstance(event.record, FlowRun):
            self.note(event.record)
        if event.kind == RESET:
            return True
        return event.kind in self._told_of and (self.runs is None or event.flow_run_id in self.runs)


class Pruned(Exception):
    """What comes after the position is not complete any more."""


class EventPage(NamedTuple):
    """The next events, and how far they go, those left out included."""

    events: list[LiveEvent]
    position: Position


class _Part(NamedTuple):
    """The parts of one change with indexes from `start` to before `stop`: flow runs, then task runs, then logs."""

    change: Change
    start: int
    stop: int

    @property
    def flow_runs(self) -> Sequence[str]:
        return self.change.flow_runs[self.start : self.stop]

    @property
    def task_runs(self) -> Sequence[str]:
        before = len(self.change.flow_runs)
        return self.change.task_runs[max(0, self.start - before) : max(0, self.stop - before)]

    @property
    def logs(self) -> range:
        before = len(self.change.flow_runs) + len(self.change.task_runs)
        first = self.change.first_log or 0
        return range(first + max(0, self.start - before), first + max(0, self.stop - before))

    @property
    def first_task_run(self) -> int:
        return max(self.start, len(self.change.flow_runs))

    @property
    def first_line(self) -> int:
        return max(self.start, len(self.change.flow_runs) + len(self.change.task_runs))

    @property
    def end(self) -> Position:
        whole = self.stop == _length(self.change)
        return Position(int(self.change.place), _WHOLE if whole else self.stop - 1)


def latest(fetch: Fetch, kind: str) -> Position:
    """Where one is who has seen everything in this kind of database."""
    return Position.after(changes.latest_place(fetch, kind=kind))


def next_page(fetch: Fetch, kind: str, position: Position, most: int, selection: Selection) -> EventPage:
    """The events after `position` that were selected, out of at most `most`.

    Raises:
        Pruned: some of them are gone, so that one cannot go on from there.
    """
    parts = _next_parts(fetch, kind, position, most)
    if not parts:
        return EventPage([], Position(position.place))
    flow_runs = _flow_runs(fetch, parts, selection)
    task_runs = _task_runs(fetch, parts, selection)
    lines = _lines(fetch, parts, selection)
    events: list[LiveEvent] = []
    for part in parts:
        place = int(part.change.place)
        for index, run_id in enumerate(part.flow_runs, part.start):
            flow_run = flow_runs.get(run_id)
            kind, record = (FLOW_RUN, flow_run) if flow_run is not None else (DELETED, Deleted(run_id))
            events.append(LiveEvent(kind, Position(place, index), run_id, record))
        for index, run_id in enumerate(part.task_runs, part.first_task_run):
            task_run = task_runs.get(run_id)
            if task_run is not None:
                events.append(LiveEvent(TASK_RUN, Position(place, index), task_run.flow_run_id, task_run))
        for index, seq in enumerate(part.logs, part.first_line):
            line = lines.get(seq)
            if line is not None:
                events.append(LiveEvent(LOG, Position(place, index), line.flow_run_id, line))
    return EventPage([event for event in events if selection.wants(event)], parts[-1].end)


def reset(position: Position) -> LiveEvent:
    """Tells somebody to read everything anew, and that what comes next is what happened after `position`."""
    return LiveEvent(RESET, position, None, Reset())


def is_known(fetch: Fetch, position: Position) -> bool:
    """Whether one can go on from there."""
    return changes.is_known(fetch, str(position.place))


def is_near(fetch: Fetch, kind: str, position: Position, most: int) -> bool:
    """Whether there are at most so many changes from there to now."""
    return changes.count_after(fetch, str(position.place), most + 1, kind=kind) <= most


def _next_parts(fetch: Fetch, kind: str, position: Position, most: int) -> list[_Part]:
    """The next changes as far as they have `most` parts in all."""
    parts: list[_Part] = []
    if position.part != _WHOLE:
        begun = changes.at(fetch, str(position.place))
        if begun is None:
            raise Pruned
        if position.part + 1 < _length(begun):
            most = _add(parts, begun, position.part + 1, most)
    place = str(position.place)
    while most > 0 and (following := changes.after(fetch, place, min(most, _CHANGES_AT_ONCE), kind=kind)):
        for change in following:
            most = _add(parts, change, 0, most) if most > 0 else most
        place = following[-1].place
    # Asked afterwards: if the place is there still, nothing that comes after it had been removed before we read.
    if not changes.is_known(fetch, str(position.place)):
        raise Pruned
    return parts


def _add(parts: list[_Part], change: Change, start: int, most: int) -> int:
    stop = min(_length(change), start + most)
    parts.append(_Part(change, start, stop))
    return most - (stop - start)


def _length(change: Change) -> int:
    return len(change.flow_runs) + len(change.task_runs) + change.logs


def _flow_runs(fetch: Fetch, parts: Sequence[_Part], selection: Selection) -> dict[str, FlowRun]:
    wanted = list({run_id for part in parts for run_id in part.flow_runs})
    if not wanted:
        return {}
    found = reading.flow_runs(fetch, Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=wanted))), page=_ALL)
    runs = {run.id: _without_result(run) for run in found}
    for part in parts:  # before their task runs are asked for; who calls comes before who is called
        for run_id in part.flow_runs:
            if run_id in runs:
                selection.note(runs[run_id])
    return runs


def _task_runs(fetch: Fetch, parts: Sequence[_Part], selection: Selection) -> dict[str, TaskRun]:
    wanted = list({run_id for part in parts for run_id in part.task_runs})
    if not wanted or TASK_RUN not in selection.kinds:
        return {}
    filter = TaskRunFilter(id=IdFilter(any_=wanted))
    if selection.runs is not None and len(selection.runs) <= _MOST_RUNS_IN_A_QUERY:
        filter.flow_run_id = IdFilter(any_=list(selection.runs))
    found = reading.task_runs(fetch, Filters(task_runs=filter), page=_ALL)
    return {run.id: _without_result(run) for run in found}


def _lines(fetch: Fetch, parts: Sequence[_Part], selection: Selection) -> dict[int, Log]:
    ranges = [part.logs for part in parts if part.logs]
    if not ranges or LOG not in selection.kinds:
        return {}
    # The lines of changes that follow each other follow each other too, with none of others between them.
    return {line.seq: line for line in reading.logs_between(fetch, ranges[0][0], ranges[-1][-1])}


def _without_result(run: Run) -> Run:
    """A result may be large, and nobody needs it to see how a run goes."""
    if run.state is not None:
        run.state.data = None
    return run
