"""One task run, from its creation to its final state, in either colour."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import msgspec

from tidemill.colour import IO, StoppedIteration, TimeLimitReached
from tidemill.engine.cached import CacheUse
from tidemill.engine.context import ALONE, FlowRunContext, running
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.exhausting import exhausted
from tidemill.engine.failures import crash_message, error_summary, is_cancellation, room_to_recover, traceback_text
from tidemill.engine.final_state import state_from_return
from tidemill.engine.hooks import OPTION_OF_TYPE, call_hooks
from tidemill.engine.task_record import Bound, RecordedTaskRun
from tidemill.exceptions import CancelledRun, OrchestrationError, StoreError, TaskRunTimeoutError, UnfinishedRun
from tidemill.interrupts import Stopped
from tidemill.records import TaskRunEntry
from tidemill.results import AS_USUAL, NOT_WANTED, keep, keep_error
from tidemill.states import (
    CANCELLED,
    COMPLETED,
    CRASHED,
    FAILED,
    PENDING,
    RUNNING,
    SCHEDULED,
    ResultReference,
    State,
    StateDetails,
    StateType,
    Unkept,
    ValueElsewhere,
    error_of,
    states_in,
)

# A value of at most so many bytes is kept with the state that the flow run remembers; a larger one is read again if asked
# for, so that a flow of many tasks does not hold all their results in memory.
_LARGEST_REMEMBERED = 512


class TaskExecution(RecordedTaskRun):
    """The work on one task run.

    Its life: created; `identify` when its inputs are known; `announce`; `work`, at whose end the outcome is recorded but not
    yet durable; `conclude`.
    """

    __slots__ = (
        "_cache",
        "_concluded",
        "_hooks_called",
        "_noted",
        "_timed_out",
        "abandoned",
        "error",
        "is_late",
        "ticket",
    )

    def _begin_with(self, io: IO, task: TaskDefinition, bound: Bound, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        super()._begin_with(io, task, bound, args, kwargs)
        self.error: BaseException | None = None
        self.ticket = 0  # of the commit that makes the end durable
        self.abandoned = False  # set when the flow run has ended without waiting for this task run
        self.is_late = False  # set when another process that executes it was killed because of its time limit
        self._cache: CacheUse | None = None
        self._concluded = False
        self._hooks_called = False
        self._noted = 0
        self._timed_out: TaskRunTimeoutError | None = None  # set when this run's own limit has passed

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
        execution._begin_with(io, task, (parameters, None), args, kwargs)
        execution._continue(entry, log_prints)
        return execution

    @property
    def longest_seconds(self) -> float | None:
        """How long all its tries with the waits between them may take, if the task has a time limit."""
        limit, policy = self.task.timeout_seconds, self.task.policy
        if limit is None:
            return None
        spread = 1 + (policy.retry_jitter_factor or 0)
        waits = sum(policy.delay_before(retry) * spread for retry in range(1, policy.retries + 1))
        return limit * (policy.retries + 1) + waits

    def take_back(self, entry: TaskRunEntry, outcome: Any) -> None:
        """Takes on the end that another process has brought the run to, made durable and told."""
        self.take_over(entry)
        if entry.progress.type is not COMPLETED:
            self.error = outcome if isinstance(outcome, BaseException) else None
        else:
            self.value = outcome
            if self.flow_run is not None:
                self._track(outcome, self.flow_run)
        self.state = state = self.state_now(outcome)
        if entry.details is not None:
            state.state_details.error = entry.details.error
        self._concluded = self._hooks_called = True
        self._remember(state)

    def _track(self, outcome: Any, flow_run: FlowRunContext) -> None:
        flow_run.tracked.add(outcome, self.entry.id)
        if isinstance(outcome, ValueElsewhere):
            outcome.when_fetched(partial(flow_run.tracked.add, run_id=self.entry.id))

    @property
    def is_isolated(self) -> bool:
        """Whether it is to be executed in a process of its own, which this is not."""
        return self.task.isolation is not None and not self.is_away and not self.is_reused

    @property
    def concludes_itself(self) -> bool:
        """Whether more is to be done once the end is durable than to let everybody know: hooks, or filling the cache."""
        if self._hooks_called:
            return False
        return self._cache is not None or bool(self.task.hooks.get(OPTION_OF_TYPE.get(self.entry.progress.type, "")))

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
            if self._cache is not None:
                await self._cache.give_up()
            await self._call_hooks()
            raise

    async def _work(self) -> None:
        if self.task.caching is not None and await self._is_cached():
            return
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

    async def _is_cached(self) -> bool:
        """Whether that is the end of it: an earlier result is used, or the cache key cannot be made."""
        assert self.task.caching is not None
        with running(self._context):
            self._cache = cache = CacheUse(self, self.task.caching)
            try:
                found = await cache.look()
            except (StoreError, OrchestrationError):
                raise
            except Exception as error:  # an input that cannot be hashed, or the user's own key function
                self.end_failed(error)
                return True
        if found is None:
            return False
        self.value, self.entry.result = found.value, found.reference
        if self.flow_run is not None:
            self.flow_run.tracked.add(found.value, self.entry.id)
        self._end(COMPLETED, "Cached", None, found.value)
        return True

    async def conclude(self) -> None:
        """Returns when the end is durable, its hooks have been called, and the flow run knows."""
        if not self.is_reused:
            await self.client.commit(self.ticket)
            if self._cache is not None:
                await self._cache.end(self.entry)
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
        self.note_start()
        await self._call_hooks()

    def note_start(self) -> None:
        """Records that the function is called."""
        self.tries += 1
        again = self.entry.progress.run_count > 0
        self.advance(RUNNING, "Retrying" if again else None, None)

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
        kept = self._kept(value)
        if not isinstance(kept, Unkept):
            self.entry.result = kept
        elif kept is not NOT_WANTED:
            self._say_unkept(kept)
        flow_run = self.flow_run
        if flow_run is not None:
            flow_run.tracked.add(value, self.entry.id)
        self._end(COMPLETED, name, message, value)

    def _kept(self, value: Any) -> ResultReference | Unkept:
        options, flow_run = self.task.results, self.flow_run
        if flow_run is not None:
            options = options.within(flow_run.results)
        if options is AS_USUAL:
            return keep(value)
        with running(self._context):
            names = {"parameters": self.parameters, "flow_run": flow_run, "task_run": self.entry}
            return keep(value, options, lambda: names)

    async def fail(self, error: Exception) -> bool:
        """Enters Failed with an exception, or AwaitingRetry; says whether the task is to be called again."""
        if self.abandoned:
            return False
        if isinstance(error, CancelledRun) and self.flow_run is not None and self.flow_run.is_cancelled:
            self.crash(Stopped())  # it is a subflow inside that has noticed first
            return False
        message = str(error) if error is self._timed_out else "Task run encountered an exception."
        if self.tries <= self.task.policy.retries and await self._is_retriable(error, message):
            self.log.error(f"Encountered exception during execution:\n{traceback_text(error)}")
            await self._await_retry(self.task.policy.jittered_delay(self.tries), message)
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
        self._note_error(error, text)
        message = str(error) if timed_out else "Task run encountered an exception."
        self._end(FAILED, "TimedOut" if timed_out else None, message, error)

    def _note_error(self, error: BaseException, text: str) -> None:
        details = self.entry.details or StateDetails()
        self.entry.details = msgspec.structs.replace(details, error=error_summary(error, text))

    def end_timed_out(self) -> None:
        """Enters TimedOut, after the process that executed it was killed."""
        self._timed_out = TaskRunTimeoutError(f"Task run exceeded timeout of {self.task.timeout_seconds} seconds")
        self.end_failed(self._timed_out)

    def complete_unkept(self) -> None:
        """Enters Completed without a value."""
        self._end(COMPLETED, None, None, None)

    def not_ready(self, reason: str, cause: BaseException) -> None:
        """Stays Pending for good, since something that it needs has failed."""
        self.note_sources()
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
        message = crash_message(error)
        self.error = error
        if is_cancellation(error) and self.flow_run is not None and self.flow_run.is_cancelled:
            error, message = Stopped(), "The run was cancelled."
        if isinstance(error, Stopped):
            self.ticket = self.advance(CANCELLED, None, message)
        else:
            self._note_error(error, traceback_text(error))
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

    def _say_unkept(self, kept: Unkept) -> None:
        said = (self.flow_run or ALONE).unkept_said
        if self.task.task_key not in said:
            said.add(self.task.task_key)
            self.log.warning(
                f"The result of task {self.task.name!r} is not kept: {kept.reason}. The run goes on; if it is resumed "
                "later, this task is executed again."
            )
