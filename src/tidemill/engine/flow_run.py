"""One flow run, from its creation to its final state, in either colour."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from tidemill import clock
from tidemill.client import connect
from tidemill.colour import IO, TimeLimitReached
from tidemill.engine import names, parameters, retries
from tidemill.engine.context import (
    FlowRunContext,
    current_run,
    current_tags,
    enclosing_flow_run,
    root_flow_run,
    running,
)
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.failures import crash_message, error_summary, traceback_text
from tidemill.engine.final_state import state_from_return
from tidemill.engine.hooks import OPTION_OF_TYPE, call_hooks
from tidemill.engine.subflows import ParentTaskRun
from tidemill.exceptions import FencedRun, FlowRunTimeoutError, OrchestrationError, ParameterTypeError
from tidemill.ids import new_id
from tidemill.interrupts import unwinding_signals
from tidemill.logs import engine_log, flow_run_log
from tidemill.records import FlowRun, NewFlowRun
from tidemill.results import keep, keep_error
from tidemill.states import (
    Crashed,
    Failed,
    Pending,
    Running,
    State,
    StateDetails,
    TimedOut,
    Unkept,
    error_of,
    states_in,
)


class FlowExecution:
    """The work on one flow run.

    Args:
        given: the parameters as the call bound them.
        cancel: how to cancel the asyncio task that executes the flow, where there is one.
    """

    def __init__(self, io: IO, flow: FlowDefinition, given: dict[str, Any], cancel: Callable[[], None] | None = None) -> None:
        self.io = io
        self.flow = flow
        self.client = connect(io)
        self.given = given
        self.value: Any = None
        self.error: BaseException | None = None
        self.state: State[Any] | None = None
        self._cancel = cancel
        self._id = new_id()
        self._started_at = clock.now()

    async def run(self) -> None:
        """Executes the flow until it has ended; `state`, `value` and `error` then say how."""
        context, parent_task = await self._create()
        with contextlib.ExitStack() as around:
            if context.parent is None:
                around.enter_context(root_flow_run(context))
                around.enter_context(unwinding_signals(self._cancel))
            around.enter_context(running(context))
            try:
                await self._call_hooks(self._state_now(), context)
                await self._run_attempts(context)
            except FencedRun:
                raise
            except BaseException as error:
                await self._crash(error, context, parent_task)
                raise
        parent_task.follow(self._final)

    async def _create(self) -> tuple[FlowRunContext, ParentTaskRun]:
        """Checks the parameters and records the run, which then is Running (or, with wrong parameters, Failed)."""
        flow, parent = self.flow, enclosing_flow_run()
        problem = self._check_parameters()
        name = two_words_or_template(flow, self.given)
        tags = tuple(dict.fromkeys((*flow.tags, *(parent.tags if parent else ()), *current_tags())))
        parent_task = ParentTaskRun(self.client, flow, parent)
        around = current_run()
        log_prints = flow.log_prints
        if log_prints is None:
            log_prints = around.log_prints if around is not None else flow.log_prints_by_default()
        log = flow_run_log(self.client.recorder, self._id, name, flow.name)
        context = FlowRunContext(flow, self._id, name, self.given, log, parent, tags, log_prints, self.describe)
        self._context = context
        states = [Pending(), self._rejected(problem) if problem else Running()]
        new = NewFlowRun(
            id=self._id,
            name=name,
            flow_name=flow.name,
            flow_version=flow.version,
            entrypoint=flow.entrypoint,
            parameters=parameters.as_json(self.given),
            tags=tags,
            policy=flow.policy,
            parent_task_run_id=parent_task.id,
            parent_flow_run_id=parent.id if parent else None,
        )
        started = await self.client.create_flow_run(new, states)
        self._now = started.verdict.state or states[-1]
        self._announce(context, parent)
        parent_task.follow(self._now)
        if problem is not None:
            self._say_rejected(problem, context)
            raise problem
        return context, parent_task

    def _check_parameters(self) -> ParameterTypeError | None:
        if not self.flow.should_validate_parameters:
            return None
        try:
            self.given = self.flow.signature.check(self.given)
        except ParameterTypeError as error:
            return error
        return None

    def _rejected(self, problem: ParameterTypeError) -> State[Any]:
        state = Failed(message=f"Validation of flow parameters failed with error: {problem}", data=keep_error(problem))
        state.state_details = StateDetails(error=error_summary(problem, str(problem)))
        return state

    def _announce(self, context: FlowRunContext, parent: FlowRunContext | None) -> None:
        if parent is not None:
            parent.log.info(f"Created subflow run {context.name!r} for flow {self.flow.name!r}")
            return
        log = engine_log(self.client.recorder, context.id)
        log.info(f"Created flow run {context.name!r} for flow {self.flow.name!r}")
        log.debug(f"Recording in {self.client.database.path}")

    def _say_rejected(self, problem: ParameterTypeError, context: FlowRunContext) -> None:
        context.log.error(f"Validation of flow parameters failed with error: {problem}")
        log = engine_log(self.client.recorder, context.id)
        log.info(f"Flow run {context.name!r} received invalid parameters and is marked as failed.")

    async def _run_attempts(self, context: FlowRunContext) -> None:
        while True:
            state = await self._attempt(context)
            if await self._propose_final(state, context):
                return
            context.log.info(
                "Received non-final state 'AwaitingRetry' when proposing final state 'Failed' and will attempt to run again..."
            )
            await self.io.sleep(retries.delay_before(self.flow.policy, context.attempt))
            await self._start_again(context)

    async def _attempt(self, context: FlowRunContext) -> State[Any]:
        """Calls the function once, and gives the state it ended in, with its value or exception as data."""
        self.error = None
        try:
            value = await self._call(context)
        except FlowRunTimeoutError as error:
            if error is not self._timed_out:
                return self._failed(error, context)
            self.error = error
            context.log.error(f"Encountered exception during execution:\n{traceback_text(error)}")
            return self._with_error(TimedOut(message=str(error), data=error), error)
        except FencedRun:
            raise
        except Exception as error:
            return self._failed(error, context)
        state = state_from_return(value, context.children)
        self.value = state.data
        if not state.is_completed() and state.is_final():
            self.error = error_of(state)
        return state

    async def _call(self, context: FlowRunContext) -> Any:
        flow = self.flow
        self._timed_out: FlowRunTimeoutError | None = None
        args, kwargs = flow.signature.arguments(self.given, flow.receiver)
        if flow.timeout_seconds is None:
            return await self.io.call(flow.function, args, kwargs)
        try:
            return await self.io.call_within(flow.timeout_seconds, flow.function, args, kwargs)
        except TimeLimitReached as reached:
            self._timed_out = FlowRunTimeoutError(f"Flow run exceeded timeout of {flow.timeout_seconds} seconds")
            raise self._timed_out from reached.__cause__

    def _failed(self, error: Exception, context: FlowRunContext) -> State[Any]:
        self.error = error
        context.log.error(f"Encountered exception during execution:\n{traceback_text(error)}")
        return self._with_error(Failed(message="Flow run encountered an exception.", data=error), error)

    def _with_error(self, state: State[Any], error: BaseException) -> State[Any]:
        state.state_details = StateDetails(error=error_summary(error, traceback_text(error)))
        return state

    async def _propose_final(self, state: State[Any], context: FlowRunContext) -> bool:
        """Records the final state, and all that was recorded before it; False if the run is to be tried again."""
        recorded = msgspec.structs.replace(state, data=self._kept(state, context))
        level = logging.INFO if state.is_completed() else logging.ERROR
        line = f"Finished in state {state}"
        retried = state.is_failed() and context.attempt <= self.flow.policy.retries
        noted = None if retried else context.log.note(level, line)
        verdict = await self.client.propose_flow_run_state(context.id, recorded, context.attempt)
        if verdict.status == "ABORT":
            raise FencedRun(f"Flow run {context.name!r} cannot end in state {state}: {verdict.reason}")
        if verdict.status == "REJECT" and verdict.state is not None and verdict.state.is_scheduled():
            return False
        self._final = self._finished(verdict.state or state, state.data, context)
        context.log.show(noted, level, line)
        await self._call_hooks(self._final, context)
        return True

    def _kept(self, state: State[Any], context: FlowRunContext) -> Any:
        if not state.is_completed():
            return keep_error(self.error) if self.error is not None else None
        if isinstance(state.data, State) or states_in(state.data):
            return None  # made of the states of runs, which are recorded themselves
        kept = keep(state.data)
        if isinstance(kept, Unkept):
            context.log.warning(f"The result of flow {self.flow.name!r} is not kept: {kept.reason}. The run goes on.")
        return kept

    def _finished(self, recorded: State[Any], data: Any, context: FlowRunContext) -> State[Any]:
        details = msgspec.structs.replace(recorded.state_details, flow_run_id=context.id)
        self.state = msgspec.structs.replace(recorded, data=data, state_details=details)
        self._now = self.state
        return self.state

    async def _start_again(self, context: FlowRunContext) -> None:
        verdict = await self.client.propose_flow_run_state(context.id, Running(), context.attempt)
        while verdict.status == "WAIT":
            await self.io.sleep(verdict.delay_seconds)
            verdict = await self.client.propose_flow_run_state(context.id, Running(), context.attempt)
        if verdict.status != "ACCEPT" or verdict.state is None:
            raise OrchestrationError(f"Flow run {context.name!r} cannot be tried again: {verdict.reason}")
        self._now = verdict.state
        context.begin_attempt(verdict.attempt)

    async def _crash(self, error: BaseException, context: FlowRunContext, parent_task: ParentTaskRun) -> None:
        """Records that the run ended from outside (or that the engine itself failed), and lets the hooks run."""
        message = crash_message(error)
        context.log.error(f"Crash detected! {message}")
        self.error = error
        state = self._with_error(Crashed(message=message, data=keep_error(error)), error)
        line = f"Finished in state {state}"
        noted = context.log.note(logging.ERROR, line)
        verdict = await self.client.propose_flow_run_state(context.id, state, context.attempt)
        if verdict.status == "ACCEPT":
            self._final = self._finished(state, error, context)
            parent_task.follow(self._final)
            context.log.show(noted, logging.ERROR, line)
            await self._call_hooks(self._final, context)

    async def _call_hooks(self, state: State[Any], context: FlowRunContext) -> None:
        hooks = self.flow.hooks[OPTION_OF_TYPE[state.type]]
        if hooks:
            await call_hooks(self.io, hooks, self.flow, self.describe(), state, context.log)

    def _state_now(self) -> State[Any]:
        return self._now

    def describe(self) -> FlowRun:
        """The run as a record."""
        context, state = self._context, self._now
        started = clock.to_datetime(self._started_at)
        return FlowRun(
            id=self._id,
            name=context.name,
            flow_id="",
            flow_name=self.flow.name,
            flow_version=self.flow.version,
            parameters=context.parameters,
            tags=list(context.tags),
            empirical_policy=self.flow.policy,
            parent_flow_run_id=context.parent.id if context.parent else None,
            run_count=context.attempt,
            state_id=state.id,
            state_type=state.type,
            state_name=state.name,
            state=state,
            created=started,
            start_time=started,
            end_time=state.timestamp if state.is_final() else None,
        )


def two_words_or_template(flow: FlowDefinition, given: dict[str, Any]) -> str:
    if flow.flow_run_name is None:
        return names.two_words()
    return names.from_template(flow.flow_run_name, given, "flow")
