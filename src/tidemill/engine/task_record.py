"""A task run as it is recorded: created for a call, matched with what earlier attempts have left, moved from state to state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tidemill import clock, records
from tidemill.client import connect
from tidemill.colour import IO
from tidemill.engine import inputs, names
from tidemill.engine.context import (
    ALONE,
    FlowRunContext,
    TaskRunContext,
    current_run,
    current_tags,
    enclosing_flow_run,
    running,
)
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.dependencies import Upstream
from tidemill.engine.earlier import is_finished
from tidemill.engine.prints import capture_prints
from tidemill.exceptions import MissingResult
from tidemill.ids import new_id
from tidemill.logs import engine_log, task_run_log
from tidemill.records import Progress, TaskRun, TaskRunEntry
from tidemill.results import load
from tidemill.states import PENDING, RUNNING, SCHEDULED, TERMINAL_TYPES, State, StateDetails, StateType

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode

# While it enters one of these, its process goes on with it; what stays Pending for good is nobody's any more.
_WORKED_ON = frozenset({RUNNING, SCHEDULED})

# What `Signature.bind` gives: the parameters by name, and apart from them the instance or class of a method.
Bound = tuple[dict[str, Any], Any]


# What a run of an earlier attempt takes on when a call continues it.
_TAKEN_FROM_THE_CALL = ("attempt", "task_version", "tags", "policy", "task_inputs", "input_hash")


class RecordedTaskRun:
    """One task run, as this process knows and records it.

    Args:
        bound: the parameters by name, among which there may be futures, and the receiver of a method.
    """

    __slots__ = (
        "_args",
        "_context",
        "_created_in",
        "_given",
        "_kwargs",
        "_position",
        "client",
        "entry",
        "io",
        "is_away",
        "is_identified",
        "is_reused",
        "log",
        "state",
        "task",
        "tries",
        "value",
        "waited_for",
    )

    def __init__(self, io: IO, task: TaskDefinition, bound: Bound, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._begin_with(io, task, bound, args, kwargs)
        self._create(bound[0])

    def _begin_with(self, io: IO, task: TaskDefinition, bound: Bound, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.io = io
        self.task = task
        self.client = connect(io)
        self.value: Any = None
        self.state: State[Any] | None = None
        self.is_identified = False
        self.is_away = False  # whether this process executes it for another
        self.is_reused = False  # whether an earlier attempt has finished it
        self.waited_for: Sequence[Upstream] = ()  # what is to be done first, although it gives no argument
        self.tries: int = 0  # how often this attempt has called the function
        self._given = bound
        self._args: tuple[Any, ...] = args
        self._kwargs: dict[str, Any] = kwargs

    def _create(self, parameters: dict[str, Any]) -> None:
        task = self.task
        around = current_run()
        flow_run = enclosing_flow_run()
        tags = tuple(dict.fromkeys((*task.tags, *current_tags()))) if task.tags or current_tags() else ()
        self._position = (flow_run or ALONE).next_dynamic_key(task.task_key)
        now = clock.now()
        self.entry = entry = TaskRunEntry(
            id=new_id(),
            flow_run_id=flow_run.id if flow_run is not None else None,
            attempt=flow_run.attempt if flow_run is not None else 1,
            name=f"{task.name}-{names.short_hash(task.task_key)}-{self._position}",
            task_key=task.task_key,
            dynamic_key=self._position,
            tags=_encode(tags).decode() if tags else "[]",
            policy=task.policy_json,
            created=now,
            progress=Progress(PENDING, "Pending", (("PENDING", None, None, now),)),
            task_version=task.version,
            lease_id=self.client.lease_for_task_run() if flow_run is None else None,
        )
        recorder = self.client.recorder
        self.log = task_run_log(recorder, entry.flow_run_id, entry.id, entry.name, task.name)
        self._created_in = flow_run.log if flow_run is not None else engine_log(recorder, None, entry.id)
        log_prints = task.log_prints
        if log_prints is None:
            log_prints = around.log_prints if around is not None else task.log_prints_by_default()
        if log_prints:
            capture_prints()
        self._context = TaskRunContext(task, entry, parameters, self.log, around, flow_run, tags, log_prints, self.describe)

    def _continue(self, entry: TaskRunEntry, log_prints: bool) -> None:
        """Fills in what `_create` does, for a run that another process has created and announced."""
        self.is_identified = self.is_away = True
        self._position = entry.dynamic_key
        self.entry = entry
        flow_run = enclosing_flow_run()
        recorder = self.client.recorder
        self.log = log = task_run_log(recorder, entry.flow_run_id, entry.id, entry.name, self.task.name)
        self._created_in = flow_run.log if flow_run is not None else engine_log(recorder, None, entry.id)
        if log_prints:
            capture_prints()
        tags = tuple(_decode(entry.tags))
        parameters = self._given[0]
        self._context = TaskRunContext(self.task, entry, parameters, log, flow_run, flow_run, tags, log_prints, self.describe)

    def identify(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Takes the inputs, now that all are known, and finds the run of an earlier attempt that this one continues.

        Args:
            args, kwargs: what was given, with values in the place of futures.
        """
        parameters, receiver = self._given
        if args is not self._args or kwargs is not self._kwargs:
            self._args, self._kwargs = args, kwargs
            parameters, receiver = self.task.signature.bind(args, kwargs)
        self.is_identified = True
        context, entry = self._context, self.entry
        context.parameters = parameters
        flow_run = context.flow_run
        tracked = flow_run.tracked if flow_run is not None else inputs.NOTHING_TRACKED
        self.note_sources()
        entry.input_hash = inputs.input_hash(parameters, tracked, receiver)
        if flow_run is not None and flow_run.earlier is not None:
            self._find_earlier(flow_run, entry.input_hash)
        if self.task.task_run_name is not None:
            with running(context):
                self._rename(names.from_template(self.task.task_run_name, parameters, "task"))

    def note_sources(self) -> None:
        """Notes which runs the inputs come from."""
        flow_run, around = self._context.flow_run, self._context.around
        tracked = flow_run.tracked if flow_run is not None else inputs.NOTHING_TRACKED
        parent = around.entry.id if isinstance(around, TaskRunContext) else None
        waited_for = [one.future.task_run_id for one in self.waited_for]
        self.entry.task_inputs = inputs.task_inputs(self._given[0], tracked, parent, waited_for)

    def _find_earlier(self, flow_run: FlowRunContext, input_hash: str) -> None:
        earlier = flow_run.earlier
        assert earlier is not None
        entry = self.entry
        found = earlier.take(entry.task_key, self._position, input_hash)
        if found is None:
            entry.dynamic_key = earlier.next_number(entry.task_key) + flow_run.mark
            self._rename(f"{self.task.name}-{names.short_hash(entry.task_key)}-{entry.dynamic_key}")
            return
        if is_finished(found) and self._take_value(found):
            self.is_reused = True
        else:
            for field in _TAKEN_FROM_THE_CALL:
                setattr(found, field, getattr(entry, field))
            found.result = found.details = None
            found.progress = found.progress.then(PENDING, None, None, clock.now())
        self.entry = self._context.entry = found
        self._rename(found.name)
        if self.is_reused:
            self.state = self.state_now(self.value)
            flow_run.tracked.add(self.value, found.id)

    def _take_value(self, found: TaskRunEntry) -> bool:
        assert found.result is not None
        try:
            self.value = load(found.result)
        except MissingResult as error:
            self._created_in.warning(f"Task run {found.name!r} had finished, but is executed again. {error}")
            return False
        return True

    def _rename(self, name: str) -> None:
        entry = self.entry
        entry.name = name
        self.log = task_run_log(self.client.recorder, entry.flow_run_id, entry.id, name, self.task.name)
        self._context.log = self.log

    @property
    def flow_run(self) -> FlowRunContext | None:
        return self._context.flow_run

    @property
    def is_outermost(self) -> bool:
        """Whether the task was called outside any run."""
        return self._context.around is None

    @property
    def continues_earlier(self) -> bool:
        """Whether it may turn out to be a run of an earlier attempt, once its inputs are known."""
        return self.flow_run is not None and self.flow_run.earlier is not None

    @property
    def has_ended(self) -> bool:
        """Whether the run is in a final state."""
        return self.entry.progress.type in TERMINAL_TYPES

    @property
    def arguments(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the function is called with."""
        return self._args, self._kwargs

    @property
    def parameters(self) -> dict[str, Any]:
        """The same, by name."""
        return self._context.parameters

    @property
    def prints_are_logged(self) -> bool:
        return self._context.log_prints

    def take_over(self, entry: TaskRunEntry) -> None:
        """Goes on from what another process has recorded of the run."""
        self.tries += entry.progress.run_count - self.entry.progress.run_count
        self.entry = self._context.entry = entry

    def here(self) -> Any:
        """Makes this run the current one, for a `with` block."""
        return running(self._context)

    def announce(self, how: str = "Executing {!r} immediately...") -> None:
        """Says that there is such a run."""
        if not self.is_reused:
            name = self.entry.name
            self._created_in.info(f"Created task run {name!r} for task {self.task.name!r}", how.format(name))

    def enter_pending(self) -> None:
        """Has the run recorded as it is before it begins."""
        if not self.is_reused:
            self.client.recorder.put(self.entry)

    def advance(self, type: StateType, name: str | None, message: str | None) -> int:
        """Moves the run to its next state, to be written by the next commit; gives the ticket of that."""
        entry = self.entry
        entry.progress = entry.progress.then(type, name, message, clock.now())
        if entry.lease_id is not None and type not in _WORKED_ON:
            entry.lease_id = None
        return self.client.recorder.put(entry)

    def state_now(self, data: Any = None) -> State[Any]:
        """The state that the run is in."""
        entry = self.entry
        _, _, message, time = entry.progress.history[-1]
        details = StateDetails(flow_run_id=entry.flow_run_id, task_run_id=entry.id)
        return State(
            type=entry.progress.type,
            name=entry.progress.name,
            message=message,
            timestamp=clock.to_datetime(time),
            data=data,
            state_details=details,
        )

    def describe(self) -> TaskRun:
        """The run as a record."""
        return records.task_run_of(self.entry, self.state or self.state_now())
