"""One task run, from its creation to its final state, in either colour."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from tidemill import clock, records
from tidemill.client import connect
from tidemill.colour import IO, StoppedIteration, TimeLimitReached
from tidemill.engine import inputs, names, retries
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
from tidemill.engine.earlier import is_finished
from tidemill.engine.failures import crash_message, error_summary, room_to_recover, traceback_text
from tidemill.engine.final_state import state_from_return
from tidemill.engine.generators import exhausted
from tidemill.engine.hooks import OPTION_OF_TYPE, call_hooks
from tidemill.engine.prints import capture_prints
from tidemill.exceptions import MissingResult, TaskRunTimeoutError, UnfinishedRun
from tidemill.ids import new_id
from tidemill.interrupts import Stopped
from tidemill.logs import engine_log, task_run_log
from tidemill.records import Progress, TaskRun, TaskRunEntry
from tidemill.results import keep, keep_error, load
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    TERMINAL_TYPES,
    State,
    StateDetails,
    StateType,
    Unkept,
    error_of,
    states_in,
)

# A value of at most so many bytes is kept with the state that the flow run remembers; a larger one is read again if asked
# for, so that a flow of many tasks does not hold all their results in memory.
_LARGEST_REMEMBERED = 512

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(list[str]).decode


class TaskExecution:
    """The work on one task run.

    Its life: created; `identify` when its inputs are known; `announce`; `work`, at whose end the outcome is recorded but not
    yet durable; `conclude`.

    Args:
        parameters: as the call bound them; among them there may be futures.
    """

    __slots__ = (
        "_args",
        "_concluded",
        "_context",
        "_created_in",
        "_given",
        "_hooks_called",
        "_is_away",
        "_kwargs",
        "_noted",
        "_position",
        "_timed_out",
        "_tries",
        "abandoned",
        "client",
        "entry",
        "error",
        "io",
        "is_identified",
        "is_late",
        "is_reused",
        "log",
        "state",
        "task",
        "ticket",
        "value",
    )

    def __init__(
        self, io: IO, task: TaskDefinition, parameters: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._begin_with(io, task, parameters, args, kwargs)
        self._create(parameters)

    def _begin_with(
        self, io: IO, task: TaskDefinition, parameters: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.io = io
        self.task = task
        self.client = connect(io)
        self.value: Any = None
        self.error: BaseException | None = None
        self.state: State[Any] | None = None
        self.ticket = 0  # of the commit that makes the end durable
        self.abandoned = False  # set when the flow run has ended without waiting for this task run
        self.is_identified = False
        self.is_late = False  # set when another process that executes it was killed because of its time limit
        self._concluded = False
        self._hooks_called = False
        self._is_away = False  # whether this process executes it for another
        self._noted = 0
        self._tries = 0
        self.is_reused = False  # whether an earlier attempt has finished it
        self._timed_out: TaskRunTimeoutError | None = None  # set when this run's own limit has passed
        self._given = parameters
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

    @classmethod
    def continued(
        cls,
        io: IO,
        task: TaskDefinition,
        entry: TaskRunEntry,
        parameters: dict[str, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        log_prints: bool,
    ) -> TaskExecution:
        """The work on a task run that another process has created and announced."""
        execution = object.__new__(cls)
        execution._begin_with(io, task, parameters, args, kwargs)
        execution.is_identified = execution._is_away = True
        execution._position = entry.dynamic_key
        execution.entry = entry
        flow_run = enclosing_flow_run()
        recorder = execution.client.recorder
        execution.log = log = task_run_log(recorder, entry.flow_run_id, entry.id, entry.name, task.name)
        execution._created_in = flow_run.log if flow_run is not None else engine_log(recorder, None, entry.id)
        if log_prints:
            capture_prints()
        tags = tuple(_decode(entry.tags))
        execution._context = TaskRunContext(
            task, entry, parameters, log, flow_run, flow_run, tags, log_prints, execution.describe
        )
        return execution

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

    @property
    def longest_seconds(self) -> float | None:
        """How long all its tries with the waits between them may take, if the task has a time limit."""
        limit, policy = self.task.timeout_seconds, self.task.policy
        if limit is None:
            return None
        spread = 1 + (policy.retry_jitter_factor or 0)
        waits = sum(policy.delay_before(retry) * spread for retry in range(1, policy.retries + 1))
        return limit * (policy.retries + 1) + waits

    def take_over(self, entry: TaskRunEntry) -> None:
        """Goes on from what another process has recorded of the run."""
        self.entry = self._context.entry = entry
        self._tries = entry.progress.run_count

    def take_back(self, entry: TaskRunEntry, outcome: Any) -> None:
        """Takes on the end that another process has brought the run to, made durable and told."""
        self.take_over(entry)
        if entry.progress.type is not COMPLETED:
            self.error = outcome if isinstance(outcome, BaseException) else None
        else:
            self.value = outcome
            if self.flow_run is not None:
                self.flow_run.tracked.add(outcome, entry.id)
        self.state = state = self.state_now(outcome)
        if entry.details is not None:
            state.state_details.error = entry.details.error
        self._concluded = self._hooks_called = True
        self._remember(state)

    def identify(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Takes the inputs, now that all are known, and finds the run of an earlier attempt that this one continues.

        Args:
            args, kwargs: what was given, with values in the place of futures.
        """
        parameters = self._given
        if args is not self._args or kwargs is not self._kwargs:
            self._args, self._kwargs = args, kwargs
            parameters, _ = self.task.signature.bind(args, kwargs)
        self.is_identified = True
        context, entry = self._context, self.entry
        context.parameters = parameters
        flow_run, around = context.flow_run, context.around
        tracked = flow_run.tracked if flow_run is not None else inputs.NOTHING_TRACKED
        parent = around.entry.id if isinstance(around, TaskRunContext) else None
        entry.task_inputs = inputs.task_inputs(self._given, tracked, parent)
        entry.input_hash = inputs.input_hash(parameters, tracked)
        if flow_run is not None and flow_run.earlier is not None:
            self._find_earlier(flow_run, entry.input_hash)
        if self.task.task_run_name is not None:
            with running(context):
                self._rename(names.from_template(self.task.task_run_name, parameters, "task"))

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
            found.attempt, found.task_version, found.tags, found.policy = (
                entry.attempt,
                entry.task_version,
                entry.tags,
                entry.policy,
            )
            found.task_inputs, found.input_hash = entry.task_inputs, input_hash
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
    def is_isolated(self) -> bool:
        """Whether it is to be executed in a process of its own, which this is not."""
        return self.task.isolation is not None and not self._is_away and not self.is_reused

    @property
    def waits_for_hooks(self) -> bool:
        """Whether hooks are to be called at its end, once that is durable."""
        return not self._hooks_called and bool(self.task.hooks.get(OPTION_OF_TYPE.get(self.entry.progress.type, "")))

    def announce(self, how: str = "Executing {!r} immediately...") -> None:
        """Says that there is such a run."""
        if not self.is_reused:
            name = self.entry.name
            self._created_in.info(f"Created task run {name!r} for task {self.task.name!r}", how.format(name))

    def enter_pending(self) -> None:
        """Has the run recorded as it is before it begins."""
        if not self.is_reused:
            self.client.recorder.put(self.entry)

    async def work(self) -> None:
        """Executes the task until its end is recorded; `conclude` waits until that is durable."""
        if self.is_reused:
            return
        try:
            await self._work()
        except RecursionError as error:
            if self.has_ended:
                raise
            with room_to_recover(error):  # it was the engine that ran out of stack
                self.end_failed(error)
        except BaseException as error:
            if not self.has_ended:
                self.crash(error)
            raise

    async def _work(self) -> None:
        while True:
            await self.start()
            try:
                with running(self._context):
                    value = await self._call()
            except Exception as error:
                with room_to_recover(error):
                    if await self.fail(error.error if isinstance(error, StoppedIteration) else error):
                        continue
            else:
                self.end_with(value)
            return

    async def conclude(self) -> None:
        """Returns when the end is durable, its hooks have been called, and the flow run knows."""
        if not self.is_reused:
            await self.client.commit(self.ticket)
        self.conclude_durable()
        await self._call_hooks()

    def conclude_durable(self) -> None:
        """The part of `conclude` that follows the commit, without hooks.

        Raises:
            FencedRun: it was not recorded, since another attempt has taken over.
        """
        state, entry = self.state, self.entry
        assert state is not None, "the run has not ended"
        if self._concluded:
            return
        self._concluded = True
        if not self.is_reused:
            self.client.raise_if_fenced(entry.flow_run_id, f"task run {entry.name!r}")
            level = logging.INFO if state.type is COMPLETED else logging.ERROR
            self.log.show(self._noted, level, f"Finished in state {state}")
        self._remember(state)

    async def start(self) -> None:
        """Enters Running, or Retrying."""
        self._tries += 1
        again = self.entry.progress.run_count > 0
        self.advance(RUNNING, "Retrying" if again else None, None)
        await self._call_hooks()

    def here(self) -> Any:
        """Makes this run the current one, for a `with` block."""
        return running(self._context)

    async def _call(self) -> Any:
        task = self.task
        function = task.function if not task.is_generator else exhausted(task.function)
        if task.timeout_seconds is None:
            return await self.io.call(function, self._args, self._kwargs)
        try:
            return await self.io.call_within(task.timeout_seconds, function, self._args, self._kwargs)
        except TimeLimitReached as reached:
            self._timed_out = TaskRunTimeoutError(f"Task run exceeded timeout of {task.timeout_seconds} seconds")
            raise self._timed_out.with_traceback(reached.where) from None

    def end_with(self, value: Any) -> None:
        """Ends the run by what the function returned: a value completes it, a state says itself what becomes of it."""
        if not isinstance(value, State) and not states_in(value):
            self.complete(value)
            return
        state = state_from_return(value, [])
        if state.is_completed():
            self.complete(state.data, state.name, state.message)
            return
        self.value = state.data
        self.error = error_of(state) if state.is_final() else None
        if self.error is not None:
            self.entry.result = keep_error(self.error)
        self._end(state.type, state.name, state.message, state.data)

    def complete(self, value: Any, name: str | None = None, message: str | None = None) -> None:
        """Enters Completed with a value."""
        if self.abandoned:
            return
        self.value = value
        kept = keep(value)
        if isinstance(kept, Unkept):
            self._say_unkept(kept)
        else:
            self.entry.result = kept
        flow_run = self.flow_run
        if flow_run is not None:
            flow_run.tracked.add(value, self.entry.id)
        self._end(COMPLETED, name, message, value)

    async def fail(self, error: Exception) -> bool:
        """Enters Failed with an exception, or AwaitingRetry; says whether the task is to be called again."""
        if self.abandoned:
            return False
        message = str(error) if error is self._timed_out else "Task run encountered an exception."
        if self._tries <= self.task.policy.retries and await self._is_retriable(error, message):
            self.log.error(f"Encountered exception during execution:\n{traceback_text(error)}")
            await self._await_retry(retries.delay_before(self.task.policy, self._tries), message)
            return not self.abandoned
        self.end_failed(error)
        return False

    def end_failed(self, error: Exception) -> None:
        """Enters Failed, without a further try."""
        timed_out = error is self._timed_out
        self.error = error
        text = traceback_text(error)
        self.log.error(f"Encountered exception during execution:\n{text}")
        self.entry.result = keep_error(error)
        self.entry.details = StateDetails(error=error_summary(error, text))
        message = str(error) if timed_out else "Task run encountered an exception."
        self._end(FAILED, "TimedOut" if timed_out else None, message, error)

    def end_timed_out(self) -> None:
        """Enters TimedOut, after the process that executed it was killed."""
        self._timed_out = TaskRunTimeoutError(f"Task run exceeded timeout of {self.task.timeout_seconds} seconds")
        self.end_failed(self._timed_out)

    def complete_unkept(self) -> None:
        """Enters Completed without a value."""
        self._end(COMPLETED, None, None, None)

    def not_ready(self, reason: str, cause: BaseException) -> None:
        """Stays Pending for good, since something that it needs has failed."""
        self.error = UnfinishedRun(f"Task run {self.entry.name!r} never started: {reason}")
        self.error.__cause__ = cause
        self._end(PENDING, "NotReady", reason, None)

    def abandon(self, error: BaseException) -> None:
        """Ends the run from outside, whatever its thread is doing; what that comes to is no longer recorded."""
        self.crash(error)
        self.abandoned = True

    def crash(self, error: BaseException) -> None:
        """Enters Crashed, or Cancelled. Whoever catches what interrupted the run makes that durable; nobody waits for it
        here."""
        if self.abandoned:
            return
        entry = self.entry
        message = crash_message(error)
        self.error = error
        if isinstance(error, Stopped):
            self.ticket = self.advance(CANCELLED, None, message)
        else:
            entry.details = StateDetails(error=error_summary(error, traceback_text(error)))
            self.ticket = self.advance(CRASHED, None, message)
            self.log.error(f"Crash detected! {message}")
        self.state = self.state_now(data=error)
        self._concluded = True
        self._remember(self.state)
        self.log.error(f"Finished in state {self.state}")

    async def _is_retriable(self, error: Exception, message: str) -> bool:
        condition = self.task.retry_condition_fn
        if condition is None:
            return True
        state = State[Any](type=FAILED, message=message, data=error)
        try:
            return bool(await self.io.call(condition, (self.task, self.describe(), state), {}))
        except Exception as problem:
            self.log.error(f"The retry_condition_fn failed, so there is no retry:\n{traceback_text(problem)}")
            return False

    async def _await_retry(self, delay: float, message: str) -> None:
        self.advance(SCHEDULED, "AwaitingRetry", message)
        self.log.info(
            "Received non-final state 'AwaitingRetry' when proposing final state 'Failed' and will attempt to run again..."
        )
        await self.io.sleep(delay)

    def advance(self, type: StateType, name: str | None, message: str | None) -> int:
        """Moves the run to its next state, to be written by the next commit; gives the ticket of that."""
        self.entry.progress = self.entry.progress.then(type, name, message, clock.now())
        return self.client.recorder.put(self.entry)

    def _end(self, type: StateType, name: str | None, message: str | None, data: Any) -> None:
        if self.abandoned:
            return
        self.ticket = self.advance(type, name, message)
        self.state = state = self.state_now(data)
        self._noted = self.log.note(logging.INFO if type is COMPLETED else logging.ERROR, f"Finished in state {state}")

    def _remember(self, state: State[Any]) -> None:
        """Leaves the state with the flow run, which may be judged by it; a large value only as a reference."""
        if self.flow_run is None:
            return
        result = self.entry.result
        if result is not None and (result.inline is None or len(result.inline) > _LARGEST_REMEMBERED):
            state = msgspec.structs.replace(state, data=result)
        self.flow_run.children.append(state)

    async def _call_hooks(self) -> None:
        hooks = self.task.hooks.get(OPTION_OF_TYPE.get(self.entry.progress.type, ""))
        if hooks and not self.is_reused and not self.abandoned and not self._hooks_called:
            state = self.state or self.state_now()
            await call_hooks(self.io, hooks, self.task, self.describe(), state, self.log)

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

    def _say_unkept(self, kept: Unkept) -> None:
        said = (self.flow_run or ALONE).unkept_said
        if self.task.task_key not in said:
            said.add(self.task.task_key)
            self.log.warning(
                f"The result of task {self.task.name!r} is not kept: {kept.reason}. The run goes on; if it is resumed "
                "later, this task is executed again."
            )
