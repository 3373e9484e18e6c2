"""One flow run, from its creation to its final state, in either colour."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from typing import Any

import msgspec

from tidemill import clock
from tidemill.client import Started, connect
from tidemill.colour import IO, StoppedIteration, TimeLimitReached
from tidemill.engine import names
from tidemill.engine.context import FlowRunContext, current_run, current_tags, enclosing_flow_run, root_flow_run, running
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.earlier import EarlierRuns
from tidemill.engine.failures import crash_message, error_summary, is_cancellation, room_to_recover, traceback_text
from tidemill.engine.final_state import state_from_return, states_for_futures
from tidemill.engine.flow_record import (
    call_to_keep,
    flow_run_record,
    kept_result,
    new_flow_run,
    rejected,
    value_of_completed,
)
from tidemill.engine.hooks import OPTION_OF_TYPE, call_hooks
from tidemill.engine.isolation import function_in_child
from tidemill.engine.prints import capture_prints
from tidemill.engine.subflows import ParentTaskRun
from tidemill.exceptions import (
    CancelledRun,
    DefinitionError,
    FencedRun,
    FlowRunTimeoutError,
    ObjectNotFound,
    OrchestrationError,
    ParameterTypeError,
    StoreError,
)
from tidemill.ids import new_id
from tidemill.interrupts import Stop, Stopped, unwinding_signals
from tidemill.logs import engine_log, flow_run_log
from tidemill.names import two_words
from tidemill.records import FlowRun
from tidemill.results import keep_error
from tidemill.states import (
    Cancelled,
    Crashed,
    Failed,
    Pending,
    Running,
    State,
    StateDetails,
    TimedOut,
    error_of,
)


class FlowExecution:
    """The work on one flow run.

    Args:
        given: the parameters as the call bound them.
        receiver: the instance or class, if the flow is a method.
        cancel: how to cancel the asyncio task that executes the flow, where there is one.
        resumes: the id of the flow run whose next attempt this is.
        asked: the parameters with the futures that stood in their places, where there were any.
    """

    def __init__(
        self,
        io: IO,
        flow: FlowDefinition,
        given: dict[str, Any],
        receiver: Any,
        cancel: Callable[[], None] | None = None,
        resumes: str | None = None,
        asked: dict[str, Any] | None = None,
    ) -> None:
        self.io = io
        self.flow = flow
        self.client = connect(io)
        self.value: Any = None
        self.error: BaseException | None = None
        self.state: State[Any] | None = None
        self._receiver = receiver
        self._cancel = cancel
        self._resumes = resumes
        self._stop = Stop(cancel)
        self._given = given
        self._tries = 0
        self._now: State[Any] = Pending()
        self._created = clock.now()
        self._parent_task, self.context = self._prepare(given, asked or given)

    def _prepare(self, given: dict[str, Any], asked: dict[str, Any]) -> tuple[ParentTaskRun, FlowRunContext]:
        flow, around, parent = self.flow, current_run(), enclosing_flow_run()
        tags = tuple(dict.fromkeys((*flow.tags, *(parent.tags if parent else ()), *current_tags())))
        log_prints = flow.log_prints
        if log_prints is None:
            log_prints = around.log_prints if around is not None else flow.log_prints_by_default()
        if log_prints:
            capture_prints()
        name = two_words() if flow.flow_run_name is None else flow.name  # the latter until it is known
        log = flow_run_log(self.client.recorder, new_id(), name, flow.name)
        context = FlowRunContext(
            flow_name=flow.name,
            flow_version=flow.version,
            parameters=given,
            log=log,
            parent=parent,
            tags=tags,
            log_prints=log_prints,
            describe=self.describe,
            task_runner=flow.task_runner,
            results=flow.results,
        )
        context.stop = self._stop
        return ParentTaskRun(self.client, flow, parent, given, asked, self._receiver), context

    async def run(self) -> None:
        """Executes the flow until it has ended; `state`, `value` and `error` then say how."""
        with contextlib.ExitStack() as around:
            if self.context.parent is None:
                around.enter_context(unwinding_signals(self._cancel))
                around.enter_context(root_flow_run(self.context))
            around.enter_context(running(self.context))
            around.callback(self._let_go)
            await self._execute()

    def _let_go(self) -> None:
        self.client.unwatch(self.context.id)
        if self.context.submissions is not None:
            self.context.submissions.close()

    async def _execute(self) -> None:
        try:
            problem = self._check_parameters()
            await self._create(problem)
            if self.state is None:
                await self._call_hooks(self._now)
                await self._run_attempts()
        except (OrchestrationError, StoreError, DefinitionError):
            raise
        except RecursionError as error:  # it was the engine that ran out of stack
            with room_to_recover(error):
                if self.state is None:
                    with contextlib.suppress(ObjectNotFound):  # it was not even recorded
                        await self._propose_final(self._failed(error))
                if self.state is None:
                    raise
        except BaseException as error:
            if self._is_cancelled(error):
                await self._end_cancelled()
                return
            await self._crash(error)
            raise

    async def _create(self, problem: ParameterTypeError | None) -> None:
        """Records the run, which then is Running, or, with wrong parameters, Failed. Or takes up one that is recorded."""
        started = await self._begin(problem)
        context = self.context
        verdict = started.verdict
        if started.existed:
            context.rename(started.name, started.flow_run_id)
        if verdict.status == "ACCEPT":
            self._announce("Resumed" if started.existed else "Created")
        if verdict.status == "REJECT" and verdict.state is not None:
            await self._end_with_kept(verdict.state)
        elif verdict.status != "ACCEPT" or verdict.state is None:
            raise OrchestrationError(f"Flow run {started.name!r} cannot begin: {verdict.reason}")
        elif problem is not None:
            await self._end_rejected(verdict.state, problem)
        else:
            self._enter(verdict.state)
            self.client.watch(context.id, self._stop.stop)
            if started.existed:
                await self._begin_attempt(started.attempt)

    async def _begin(self, problem: ParameterTypeError | None) -> Started:
        flow, context, parent = self.flow, self.context, self.context.parent
        resumes = self._resumes or self._parent_task.child_to_resume
        if resumes is not None:
            if problem is not None:
                raise problem
            try:
                return await self.client.begin_next_attempt(resumes, again=self._parent_task.is_to_be_repeated)
            except ObjectNotFound:  # a subflow run that was announced, but not created any more
                if self._resumes is not None:
                    raise
        if flow.flow_run_name is not None:
            context.rename(names.from_template(flow.flow_run_name, context.parameters, "flow"))
        key = self._idempotency_key() if problem is None else None
        new = new_flow_run(flow, context, self._parent_task.id, call_to_keep(self._given, self._receiver), key)
        if parent is not None:
            self._parent_task.announce_child(context.id)
            await self.client.flush()
        database = self.client.database.path
        new.parameter_schema = flow.unknown_schema(database)
        started = await self.client.create_flow_run(new, [Pending(), rejected(problem) if problem else Running()])
        flow.schema_is_known(database)
        return started

    def _idempotency_key(self) -> str | None:
        key = self.flow.idempotency_key
        return names.idempotency_key(key, self.context.parameters, self._receiver) if key is not None else None

    async def _end_rejected(self, state: State[Any], problem: ParameterTypeError) -> None:
        context = self.context
        context.log.error(f"Validation of flow parameters failed with error: {problem}")
        engine_log(self.client.recorder, context.id).info(
            f"Flow run {context.name!r} received invalid parameters and is marked as failed."
        )
        self.error = problem
        self._end(state, problem)
        await self._call_hooks(self._now)

    async def _end_with_kept(self, state: State[Any]) -> None:
        """Ends at once, as a run that has completed before: with the result kept then."""
        context = self.context
        engine_log(self.client.recorder, None).info(
            f"Flow run {context.name!r} has completed before; it gives its kept result and is not executed again."
        )
        self.value = await value_of_completed(self.client, context.id, state)
        self._end(state, self.value)

    async def _begin_attempt(self, attempt: int) -> None:
        """Looks up what earlier attempts have finished, so that it is not executed again."""
        context = self.context
        entries = await self.client.task_run_entries(context.id)
        if self._parent_task.is_to_be_repeated:
            for entry in entries:
                entry.result = None
        earlier = EarlierRuns(entries)
        context.begin_attempt(attempt, earlier)
        if not len(earlier):
            return
        context.log.info(
            f"Attempt {attempt}: {earlier.finished:,} of {len(earlier):,} task runs have finished before and give their kept "
            "results."
        )

    def _check_parameters(self) -> ParameterTypeError | None:
        if self.flow.should_validate_parameters:
            try:
                self.context.parameters = self.flow.signature.check(self.context.parameters)
            except ParameterTypeError as error:
                return error
        return None

    def _announce(self, what: str) -> None:
        context, parent = self.context, self.context.parent
        if parent is not None:
            parent.log.info(f"{what} subflow run {context.name!r} for flow {self.flow.name!r}")
            return
        log = engine_log(self.client.recorder, context.id)
        log.info(f"{what} flow run {context.name!r} for flow {self.flow.name!r}")
        log.debug(f"Recording in {self.client.database.path}")

    async def _run_attempts(self) -> None:
        while True:
            state = await self._attempt()
            if await self._propose_final(state):
                return
            self.context.log.info(
                "Received non-final state 'AwaitingRetry' when proposing final state 'Failed' and will attempt to run again..."
            )
            with self._stop:
                await self.io.sleep(self.flow.policy.jittered_delay(self._tries))
            await self._start_again()

    async def _attempt(self) -> State[Any]:
        """Calls the function once, and gives the state it ended in, with its value or exception as data."""
        self._tries += 1
        self.error = None
        try:
            value = await self._call()
        except TimeLimitReached as reached:
            await self._finish_submitted("The flow run around it exceeded its timeout.")
            return self._timed_out(reached)
        except (FencedRun, StoreError):
            raise
        except Exception as error:
            with room_to_recover(error):
                await self._finish_submitted("The flow run around it failed before this task run had started.")
                return self._failed(error.error if isinstance(error, StoppedIteration) else error)
        await self._finish_submitted()
        value = states_for_futures(value)
        state = state_from_return(value, self.context.judged_by())
        self.value = state.data
        if not state.is_completed() and state.is_final():
            self.error = error_of(state)
        return state

    async def _call(self) -> Any:
        flow = self.flow
        args, kwargs = flow.signature.arguments(self.context.parameters, self._receiver)
        function = flow.function if flow.isolation is None else function_in_child(self.io, flow, self.context)
        with self._stop:
            if flow.timeout_seconds is None:
                return await self.io.call(function, args, kwargs)
            return await self.io.call_within(flow.timeout_seconds, function, args, kwargs)

    async def _finish_submitted(self, drop: str | None = None) -> None:
        """Waits for the submitted task runs. With a reason to `drop` them, those that have not started do not start."""
        submissions = self.context.submissions
        if submissions is None:
            return
        if drop is not None:
            submissions.drop(drop)
        with self._stop:
            while futures := submissions.outstanding():
                for future in futures:
                    await self.io.until(future)
        submissions.ending = None
        if submissions.problem is not None:
            raise submissions.problem

    def _timed_out(self, reached: TimeLimitReached) -> State[Any]:
        message = f"Flow run exceeded timeout of {self.flow.timeout_seconds} seconds"
        error = FlowRunTimeoutError(message).with_traceback(reached.where)
        return self._log_error(TimedOut(message=message, data=error), error)

    def _failed(self, error: Exception) -> State[Any]:
        return self._log_error(Failed(message="Flow run encountered an exception.", data=error), error)

    def _log_error(self, state: State[Any], error: BaseException) -> State[Any]:
        self.error = error
        text = traceback_text(error)
        self.context.log.error(f"Encountered exception during execution:\n{text}")
        state.state_details = StateDetails(error=error_summary(error, text))
        return state

    async def _propose_final(self, state: State[Any]) -> bool:
        """Records the final state, and all that was recorded before it; False if the run is to be tried again."""
        context = self.context
        if context.pid != os.getpid():  # a forked child came to the end of the function; the run is its parent's
            self.state = state
            return True
        recorded = msgspec.structs.replace(state, data=self._kept(state))
        level = logging.INFO if state.is_completed() else logging.ERROR
        line = f"Finished in state {state}"
        to_be_retried = state.is_failed() and self._tries <= self.flow.policy.retries
        noted = 0 if to_be_retried else context.log.note(level, line)
        verdict = await self.client.propose_flow_run_state(context.id, recorded, context.attempt)
        if verdict.status == "ABORT":
            raise FencedRun(f"Flow run {context.name!r} cannot end in state {state}: {verdict.reason}")
        if verdict.status == "REJECT" and verdict.state is not None and verdict.state.is_scheduled():
            return False
        if verdict.status == "REJECT" and verdict.state is None and not state.is_cancelled():
            await self._end_cancelled()  # somebody has cancelled it at the last moment
            return True
        self._end(verdict.state or state, state.data)
        context.log.show(noted, level, line)
        await self._call_hooks(self._now)
        return True

    def _kept(self, state: State[Any]) -> Any:
        if not state.is_completed():
            return keep_error(self.error) if self.error is not None else None
        return kept_result(state.data, self.context)

    def _enter(self, state: State[Any], data: Any = None) -> None:
        details = msgspec.structs.replace(state.state_details, flow_run_id=self.context.id)
        self._now = msgspec.structs.replace(state, data=data, state_details=details)
        self._parent_task.follow(self._now)

    def _end(self, recorded: State[Any], data: Any) -> None:
        self._enter(recorded, data)
        self.state = self._now

    async def _start_again(self) -> None:
        context = self.context
        verdict = await self.client.propose_flow_run_state(context.id, Running(), context.attempt)
        while verdict.status == "WAIT":
            with self._stop:
                await self.io.sleep(verdict.delay_seconds)
            verdict = await self.client.propose_flow_run_state(context.id, Running(), context.attempt)
        if verdict.status == "REJECT" and verdict.state is None:  # somebody has cancelled it meanwhile
            self._stop.requested = True
            raise Stopped
        if verdict.status != "ACCEPT" or verdict.state is None:
            raise OrchestrationError(f"Flow run {context.name!r} cannot be tried again: {verdict.reason}")
        await self._begin_attempt(verdict.attempt)
        self._enter(verdict.state)
        await self._call_hooks(self._now)

    def _is_cancelled(self, error: BaseException) -> bool:
        return self._stop.requested and self.state is None and (isinstance(error, Stopped) or is_cancellation(error))

    async def _end_cancelled(self) -> None:
        """Records that somebody cancelled the run, and lets the hooks run."""
        run = await self.client.flow_run(self.context.id)
        reason = run.state.message if run is not None and run.state is not None and run.state.is_cancelling() else None
        message = reason or "The run was cancelled."
        await self._stop_submitted(message)
        state = Cancelled(message=message)
        if await self._propose_final(state):
            self.value = None
            self.error = CancelledRun(f"Flow run {self.context.name!r} was cancelled: {message}")

    async def _stop_submitted(self, reason: str) -> None:
        if self.context.submissions is not None and self.context.pid == os.getpid():
            await self.context.submissions.stop(self.io, reason)

    async def _crash(self, error: BaseException) -> None:
        """Records that the run ended from outside (or that the engine itself failed), and lets the hooks run."""
        if self.state is not None or self.context.pid != os.getpid():
            return
        await self._stop_submitted("The flow run around it was interrupted.")
        log, message = self.context.log, crash_message(error)
        log.error(f"Crash detected! {message}")
        self.error = error
        details = StateDetails(error=error_summary(error, traceback_text(error)))
        state = Crashed(message=message, data=keep_error(error))
        state.state_details = details
        line = f"Finished in state {state}"
        noted = log.note(logging.ERROR, line)
        try:
            verdict = await self.client.propose_flow_run_state(self.context.id, state, self.context.attempt)
        except ObjectNotFound:  # it was interrupted before it was recorded
            return
        if verdict.status == "ACCEPT":
            self._end(state, error)
            log.show(noted, logging.ERROR, line)
            await self._call_hooks(self._now)

    async def _call_hooks(self, state: State[Any]) -> None:
        hooks = self.flow.hooks.get(OPTION_OF_TYPE.get(state.type, ""))
        if hooks:
            await call_hooks(self.io, hooks, self.flow, self.describe(), state, self.context.log)

    def describe(self) -> FlowRun:
        """The run as a record."""
        return flow_run_record(self.flow, self.context, self._parent_task.id, self._now, self._created)
