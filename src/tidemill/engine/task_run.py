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
from tidemill.engine.failures import crash_message, error_summary, room_to_recover, traceback_text
from tidemill.engine.final_state import state_from_return
from tidemill.engine.hooks import OPTION_OF_TYPE, call_hooks
from tidemill.engine.prints import capture_prints
from tidemill.exceptions import TaskRunTimeoutError
from tidemill.ids import new_id
from tidemill.logs import engine_log, task_run_log
from tidemill.records import Progress, TaskRun, TaskRunEntry
from tidemill.results import keep, keep_error
from tidemill.states import (
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


class TaskExecution:
    """The work on one task run."""

    __slots__ = (
        "_args",
        "_context",
        "_created_in",
        "_kwargs",
        "_timed_out",
        "client",
        "entry",
        "error",
        "io",
        "log",
        "state",
        "task",
        "value",
    )

    def __init__(
        self, io: IO, task: TaskDefinition, parameters: dict[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.io = io
        self.task = task
        self.client = connect(io)
        self.value: Any = None
        self.error: BaseException | None = None
        self.state: State[Any] | None = None
        self._timed_out: TaskRunTimeoutError | None = None  # set when this run's own limit has passed
        self._args = args
        self._kwargs = kwargs
        self._create(parameters)

    def _create(self, parameters: dict[str, Any]) -> None:
        task = self.task
        around = current_run()
        flow_run = enclosing_flow_run()
        tags = tuple(dict.fromkeys((*task.tags, *current_tags()))) if task.tags or current_tags() else ()
        tracked = flow_run.tracked if flow_run is not None else inputs.NOTHING_TRACKED
        parent = around.entry.id if isinstance(around, TaskRunContext) else None
        dynamic_key = (flow_run or ALONE).next_dynamic_key(task.task_key)
        now = clock.now()
        self.entry = TaskRunEntry(
            id=new_id(),
            flow_run_id=flow_run.id if flow_run is not None else None,
            attempt=flow_run.attempt if flow_run is not None else 1,
            name=f"{task.name}-{names.short_hash(task.task_key)}-{dynamic_key}",
            task_key=task.task_key,
            dynamic_key=dynamic_key,
            tags=_encode(tags).decode() if tags else "[]",
            policy=task.policy_json,
            created=now,
            progress=Progress(PENDING, "Pending", (("PENDING", None, None, now),)),
            task_version=task.version,
            task_inputs=inputs.task_inputs(parameters, tracked, parent),
            input_hash=inputs.input_hash(parameters, tracked),
        )
        entry = self.entry
        recorder = self.client.recorder
        self.log = task_run_log(recorder, entry.flow_run_id, entry.id, entry.name, task.name)
        self._created_in = flow_run.log if flow_run is not None else engine_log(recorder, None, entry.id)
        log_prints = task.log_prints
        if log_prints is None:
            log_prints = around.log_prints if around is not None else task.log_prints_by_default()
        if log_prints:
            capture_prints()
        self._context = TaskRunContext(task, entry, parameters, self.log, around, flow_run, tags, log_prints, self.describe)
        if task.task_run_name is not None:
            with running(self._context):
                entry.name = names.from_template(task.task_run_name, parameters, "task")
            self.log = self._context.log = task_run_log(recorder, entry.flow_run_id, entry.id, entry.name, task.name)

    @property
    def flow_run(self) -> FlowRunContext | None:
        return self._context.flow_run

    @property
    def is_outermost(self) -> bool:
        """Whether the task was called outside any run."""
        return self._context.around is None

    async def run(self) -> None:
        """Executes the task until it has ended; `state`, `value` and `error` then say how."""
        try:
            await self._run()
        except RecursionError as error:
            if self._has_ended:
                raise
            with room_to_recover(error):  # it was the engine that ran out of stack
                await self.fail_for_good(error)
        except BaseException as error:
            if not self._has_ended:
                await self.crash(error)
            raise

    @property
    def _has_ended(self) -> bool:
        return self.entry.progress.type in TERMINAL_TYPES

    async def _run(self) -> None:
        await self.begin()
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
                await self.end_with(value)
            return

    async def begin(self) -> None:
        """Announces the run."""
        entry = self.entry
        self._created_in.info(
            f"Created task run {entry.name!r} for task {self.task.name!r}", f"Executing {entry.name!r} immediately..."
        )

    async def start(self) -> None:
        """Enters Running, or Retrying."""
        again = self.entry.progress.run_count > 0
        self.advance(RUNNING, "Retrying" if again else None, None)
        await self._call_hooks()

    def here(self) -> Any:
        """Makes this run the current one, for a `with` block."""
        return running(self._context)

    async def _call(self) -> Any:
        task = self.task
        if task.timeout_seconds is None:
            return await self.io.call(task.function, self._args, self._kwargs)
        try:
            return await self.io.call_within(task.timeout_seconds, task.function, self._args, self._kwargs)
        except TimeLimitReached as reached:
            self._timed_out = TaskRunTimeoutError(f"Task run exceeded timeout of {task.timeout_seconds} seconds")
            raise self._timed_out.with_traceback(reached.where) from None

    async def end_with(self, value: Any) -> None:
        """Ends the run by what the function returned: a value completes it, a state says itself what becomes of it."""
        if not isinstance(value, State) and not states_in(value):
            await self.complete(value)
            return
        state = state_from_return(value, [])
        if state.is_completed():
            await self.complete(state.data, state.name, state.message)
            return
        self.value = state.data
        self.error = error_of(state) if state.is_final() else None
        if self.error is not None:
            self.entry.result = keep_error(self.error)
        await self._finish(state.type, state.name, state.message, state.data)

    async def complete(self, value: Any, name: str | None = None, message: str | None = None) -> None:
        """Enters Completed with a value, and returns when that is durable."""
        self.value = value
        kept = keep(value)
        if isinstance(kept, Unkept):
            self._say_unkept(kept)
        else:
            self.entry.result = kept
        flow_run = self.flow_run
        if flow_run is not None:
            flow_run.tracked.add(value, self.entry.id)
        await self._finish(COMPLETED, name, message, value)

    async def fail(self, error: Exception) -> bool:
        """Enters Failed with an exception, or AwaitingRetry; says whether the task is to be called again."""
        entry, policy = self.entry, self.task.policy
        timed_out = error is self._timed_out
        message = str(error) if timed_out else "Task run encountered an exception."
        text = traceback_text(error)
        self.log.error(f"Encountered exception during execution:\n{text}")
        retry = entry.progress.run_count
        if retry <= policy.retries and await self._is_retriable(error, message):
            await self._await_retry(retries.delay_before(policy, retry), message)
            return True
        self.error = error
        entry.result = keep_error(error)
        entry.details = StateDetails(error=error_summary(error, text))
        await self._finish(FAILED, "TimedOut" if timed_out else None, message, error)
        return False

    async def fail_for_good(self, error: Exception) -> None:
        """Enters Failed, without a further try."""
        self.error = error
        text = traceback_text(error)
        self.log.error(f"Encountered exception during execution:\n{text}")
        self.entry.result = keep_error(error)
        self.entry.details = StateDetails(error=error_summary(error, text))
        await self._finish(FAILED, None, "Task run encountered an exception.", error)

    async def complete_unkept(self) -> None:
        """Enters Completed without a value."""
        await self._finish(COMPLETED, None, None, None)

    async def crash(self, error: BaseException) -> None:
        """Enters Crashed. Whoever catches what interrupted the run makes that durable; nobody waits for it here."""
        entry = self.entry
        message = crash_message(error)
        self.error = error
        entry.details = StateDetails(error=error_summary(error, traceback_text(error)))
        self.advance(CRASHED, None, message)
        self.state = self._state_now(data=error)
        self._remember(self.state)
        self.log.error(f"Crash detected! {message}")
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

    async def _finish(self, type: StateType, name: str | None, message: str | None, data: Any) -> None:
        entry = self.entry
        ticket = self.advance(type, name, message)
        self.state = state = self._state_now(data)
        level, line = (logging.INFO if type is COMPLETED else logging.ERROR), f"Finished in state {state}"
        noted = self.log.note(level, line)
        await self.client.commit(ticket)
        self.client.raise_if_fenced(entry.flow_run_id, f"task run {entry.name!r}")
        self.log.show(noted, level, line)
        self._remember(state)
        await self._call_hooks()

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
        if hooks:
            state = self.state or self._state_now()
            await call_hooks(self.io, hooks, self.task, self.describe(), state, self.log)

    def _state_now(self, data: Any = None) -> State[Any]:
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
        return records.task_run_of(self.entry, self.state or self._state_now())

    def _say_unkept(self, kept: Unkept) -> None:
        said = (self.flow_run or ALONE).unkept_said
        if self.task.task_key not in said:
            said.add(self.task.task_key)
            self.log.warning(
                f"The result of task {self.task.name!r} is not kept: {kept.reason}. The run goes on; if it is resumed "
                "later, this task is executed again."
            )
