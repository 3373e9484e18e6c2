"""A task run that executes in another process: packed here, executed there as any other, and taken back.

The other process records for the flow run under this process's lease, so that states, logs and results are durable before
the answer is sent, and nothing is recorded twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import msgspec

from tidemill import clock, logs, serializers
from tidemill import settings as settings_module
from tidemill.client import connect
from tidemill.colour import AsyncIO, BlockingIO, run_blocking, run_here
from tidemill.engine.context import FlowRunContext, current_tags, running, tags
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.earlier import EarlierRuns
from tidemill.engine.failures import message_of
from tidemill.engine.stand_in import FlowRunFacts, context_from, facts_of
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import SerializationError
from tidemill.interrupts import Stopped
from tidemill.records import TaskRunEntry
from tidemill.results import load
from tidemill.runners.base import Values
from tidemill.runners.child_errors import ChildDied, RaisedInChild
from tidemill.states import COMPLETED, RUNNING, ResultReference, State, Unkept

Call = Callable[[bytes], bytes]

_BLOCKING = BlockingIO()
_ASYNC = AsyncIO()
# A process that does not end at its task's time limit by itself, being inside C code, is killed so much later.
_KILL_AFTER_SECONDS = 1.0
_LOST = Unkept("the process that had it has ended")


class Surroundings(msgspec.Struct):
    """What the other process needs besides the task: the settings, the leases under which it records, where it is."""

    settings: settings_module.Settings
    leases: tuple[str, ...]
    flow_run: FlowRunFacts | None
    tags: tuple[str, ...]


class Package(msgspec.Struct):
    """A task run on its way."""

    surroundings: Surroundings
    task: TaskDefinition
    entry: TaskRunEntry
    parameters: dict[str, Any]
    args: Any
    kwargs: dict[str, Any]
    log_prints: bool
    tries: int


class Answer(msgspec.Struct):
    """What came of it: the run as it was recorded last; the value, or the exception, unless it is kept with the run; the
    states of the runs made inside it; why the value cannot be brought back; whether it stays where it is."""

    entry: TaskRunEntry
    outcome: Any
    children: list[State[Any]]
    problem: str | None = None
    stays: bool = False


class Place:
    """Where a package is executed. This one: a process that takes one package after the other, each once."""

    may_come_again = False
    """Whether a package is brought to another process when the one that had it ends."""

    def keeps(self, entry: TaskRunEntry, value: Any) -> bool:
        """Whether a value stays here, instead of coming along with the answer."""
        return False

    def around(self, execution: TaskExecution) -> AbstractContextManager[None]:
        """For the time that the task run executes."""
        return nullcontext()


def execute_elsewhere(
    execution: TaskExecution, call: Call, stop: Callable[[], None] | None = None, values: Values | None = None
) -> None:
    """Executes a task run by `call`, which brings a package to another process and gives its answer; its end is recorded when
    this returns.

    Args:
        stop: kills the other process; for a task with a time limit.
        values: what stays there.
    """
    while True:
        try:
            answer = _answer(execution, call, stop, values)
        except ChildDied as error:
            if _goes_on_after(execution, error):
                continue
            return
        except (SerializationError, RaisedInChild) as error:
            execution.end_failed(_named(error, execution))
            return
        except BaseException as error:  # nobody waits any more, and whoever did has killed the other process
            end_interrupted(execution, error)
            raise
        _take_back(execution, answer, values)
        return


def _answer(execution: TaskExecution, call: Call, stop: Callable[[], None] | None, values: Values | None) -> Answer:
    with values.packing() if values is not None else nullcontext():
        package = _packed(execution)
    with _killing_late(execution, stop):
        return serializers.load("pickle", call(package))


def surroundings_of(flow_run: FlowRunContext | None) -> Surroundings:
    """What another process needs to know of this one, to execute something that belongs to it or to its flow run."""
    facts = facts_of(flow_run) if flow_run is not None else None
    return Surroundings(settings_module.current(), connect(_BLOCKING).leases, facts, current_tags())


def _packed(execution: TaskExecution) -> bytes:
    surroundings = surroundings_of(execution.flow_run)
    args, kwargs = execution.arguments
    package = Package(
        surroundings=surroundings,
        task=execution.task,
        entry=execution.entry,
        parameters=execution.parameters,
        args=args,
        kwargs=kwargs,
        log_prints=execution.prints_are_logged,
        tries=execution.tries,
    )
    return serializers.dump_by_value((execute_packed, package))


def execute_packed(package: Package, place: Place | None = None) -> bytes:
    """What the other process does: executes the task run to its durable end, and packs the answer.

    Raises:
        ChildDied: it has begun before, in a process that has ended.
    """
    place = place or Place()
    serializers.name_classes_of_main()
    with surrounded_by(package.surroundings) as flow_run:
        task = package.task
        entry = package.entry
        if place.may_come_again and (stored := _begun_before(entry)) is not None:
            return _packed_record(stored, place)
        kind = _DurablyBegun if place.may_come_again else TaskExecution
        execution = kind.continued(
            _ASYNC if task.is_async else _BLOCKING,
            task,
            entry,
            package.parameters,
            package.args,
            package.kwargs,
            package.log_prints,
        )
        execution.tries = package.tries
        with place.around(execution):
            _execute(execution)
            wait_for_submitted(flow_run)
        if place.may_come_again:
            connect(_BLOCKING).recorder.flush()  # this process may be killed as soon as the answer is sent
        children = states_to_send(flow_run, entry.id)
    if entry.progress.type is COMPLETED and place.keeps(entry, execution.value):
        return serializers.dump_by_value(Answer(entry, None, children, stays=True))
    outcome = execution.value if execution.error is None else execution.error
    if entry.result is not None:
        outcome = None
    answer = Answer(entry, outcome, children)
    try:
        return serializers.dump_by_value(answer)
    except SerializationError as error:
        problem = f"The value of task run {entry.name!r} cannot be brought back from its process: {error}."
        return serializers.dump_by_value(Answer(entry, None, children, problem))


class _DurablyBegun(TaskExecution):
    """A task run whose beginning is durable before its function is called, so that nobody takes it for one that has not
    begun when this process ends."""

    __slots__ = ()

    async def start(self) -> None:
        await super().start()
        await self.client.flush()


def _begun_before(entry: TaskRunEntry) -> TaskRunEntry | None:
    """The run as it is recorded, if it has begun since it was packed."""
    stored = run_blocking(connect(_BLOCKING).task_run_entry(entry.id))
    return stored if stored is not None and stored.progress.run_count > entry.progress.run_count else None


def _packed_record(entry: TaskRunEntry, place: Place) -> bytes:
    """The answer of a run that has ended in another process, which could not give it or has ended since."""
    if entry.progress.type is not COMPLETED or entry.result is None:
        raise ChildDied(f"The process that executed task run {entry.name!r} has ended.")
    return serializers.dump_by_value(Answer(entry, None, [], stays=place.keeps(entry, load(entry.result))))


def wait_for_submitted(flow_run: FlowRunContext | None) -> None:
    """Waits for the tasks that were submitted inside something executed elsewhere."""
    if flow_run is None or flow_run.submissions is None:
        return
    while futures := flow_run.submissions.outstanding():
        futures[0].wait()
    flow_run.submissions.close()


def _execute(execution: TaskExecution) -> None:
    try:
        run_here(execution.io, _to_the_end(execution))
    except BaseException as error:
        if not execution.has_ended or error is not execution.error:
            raise
        connect(_BLOCKING).recorder.flush()  # it crashed, which nobody has waited for


async def _to_the_end(execution: TaskExecution) -> None:
    await execution.work()
    await execution.conclude()


@contextmanager
def surrounded_by(surroundings: Surroundings) -> Generator[FlowRunContext | None]:
    """Puts this process into the place of another, for a block: gives the stand-in of the flow run."""
    settings_module.adopt(surroundings.settings)
    logs.set_up()
    client = connect(_BLOCKING)
    for lease in surroundings.leases:
        client.adopt_lease(lease)
    facts = surroundings.flow_run
    with tags(*surroundings.tags):
        if facts is None:
            yield None
            return
        earlier = _EarlierWhenNeeded(facts.run.id) if facts.attempt > 1 else None
        context = context_from(facts, client, earlier)
        with running(context):
            yield context


class _EarlierWhenNeeded(EarlierRuns):
    """What earlier attempts have left; looked up when a task calls another one, which few do."""

    def __init__(self, flow_run_id: str) -> None:
        super().__init__(())
        self._flow_run_id = flow_run_id
        self._looked_up = False
        self._looking_up = threading.Lock()

    def take(self, task_key: str, position: str, input_hash: str) -> TaskRunEntry | None:
        with self._looking_up:
            if not self._looked_up:
                super().__init__(run_blocking(connect(_BLOCKING).task_run_entries(self._flow_run_id)))
                self._looked_up = True
        return super().take(task_key, position, input_hash)


def _take_back(execution: TaskExecution, answer: Answer, values: Values | None) -> None:
    outcome = answer.outcome
    if answer.stays and values is not None:
        outcome = values.last(answer.entry)
    elif answer.entry.result is not None:
        outcome = load(answer.entry.result)
    execution.take_back(answer.entry, outcome)
    if execution.flow_run is not None:
        execution.flow_run.children.extend(answer.children)
    if answer.problem is not None:
        raise SerializationError(answer.problem)


def end_interrupted(execution: TaskExecution, error: BaseException) -> None:
    """Records that the wait for a task run in another process, which has been killed, was interrupted."""
    _take_over_stored(execution)
    if not execution.has_ended:
        execution.crash(error)


def _take_over_stored(execution: TaskExecution) -> None:
    """Goes on from what the other process has recorded."""
    stored = run_blocking(connect(_BLOCKING).task_run_entry(execution.entry.id))
    if stored is not None:
        execution.take_over(stored)


def _goes_on_after(execution: TaskExecution, error: ChildDied) -> bool:
    """Whether the task is to be executed again after its process ended in the middle."""
    story = len(execution.entry.progress.history)
    _take_over_stored(execution)
    if execution.has_ended:  # before it could say so
        kept = execution.entry.result
        execution.take_back(execution.entry, load(kept) if kept is not None else _LOST)
        return False
    if _has_passed(execution, story):
        execution.is_late = True
    if execution.entry.progress.type is not RUNNING:  # it died before it had recorded that it began
        execution.note_start()
    if execution.is_late:
        execution.end_timed_out()
        return False
    if error.stopped:
        execution.crash(Stopped())
        return False
    return run_here(execution.io, execution.fail(error))  # an async task waits on a loop


def _has_passed(execution: TaskExecution, story: int) -> bool:
    """Whether the time limit has passed of a run that has begun since it was packed, when its story had so many states."""
    limit = execution.longest_seconds
    began = next((time for type, _, _, time in execution.entry.progress.history[story:] if type == RUNNING.value), None)
    return limit is not None and began is not None and clock.now() - began >= limit * 1_000_000


@contextmanager
def _killing_late(execution: TaskExecution, stop: Callable[[], None] | None) -> Generator[None]:
    """Kills the process of a task that has not ended some time after its time limit."""
    limit = execution.longest_seconds
    if limit is None or stop is None:
        yield
        return

    def kill() -> None:
        execution.is_late = True
        stop()

    timer = threading.Timer(limit + _KILL_AFTER_SECONDS, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _named(error: Exception, execution: TaskExecution) -> Exception:
    if isinstance(error, SerializationError):
        return SerializationError(
            f"Task run {execution.entry.name!r} cannot execute in another process: "
            f"{culprit(execution.parameters) or message_of(error).rstrip('.')}. Pass what can be pickled, or run this task on "
            "threads."
        )
    return error


def culprit(parameters: dict[str, Any]) -> str | None:
    """Which parameter cannot be pickled, as a text; None if it is none of them."""
    for name, value in parameters.items():
        try:
            serializers.dump_by_value(value)
        except SerializationError as error:
            return f"its parameter {name!r}: {message_of(error)}"
    return None


def states_to_send(flow_run: FlowRunContext | None, but: str | None = None) -> list[State[Any]]:
    """The states of the runs that were made inside something executed elsewhere; without their values."""
    if flow_run is None:
        return []
    return [_without_value(state) for state in flow_run.children if but is None or state.state_details.task_run_id != but]


def _without_value(state: State[Any]) -> State[Any]:
    return state if isinstance(state.data, ResultReference) else msgspec.structs.replace(state, data=None)


__all__ = [
    "culprit",
    "end_interrupted",
    "execute_elsewhere",
    "execute_packed",
    "states_to_send",
    "surrounded_by",
    "surroundings_of",
]
