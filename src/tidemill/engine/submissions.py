"""The task runs of a flow run that were submitted: each is handed to the task runner when all it needs is there, and
settled, which is when its future is done, once its end is durable."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from tidemill.client import close_sessions, connect
from tidemill.colour import IO, AsyncIO, BlockingIO, run_blocking, run_here, running_loop
from tidemill.engine import isolation
from tidemill.engine.context import ALONE, Submitted, TaskRunContext, current_run, enclosing_flow_run
from tidemill.engine.definitions import TaskDefinition
from tidemill.engine.dependencies import Inputs, Upstream, failed_upstream, resolved, why_not_ready
from tidemill.engine.shipping import execute_elsewhere
from tidemill.engine.task_run import TaskExecution
from tidemill.exceptions import FencedRun, StoreError
from tidemill.futures import TaskRunFuture
from tidemill.interrupts import Stopped, end_by_signal_of, stop_thread, unwinding_signals
from tidemill.runners.base import TaskRunner, Values
from tidemill.runners.threads import ThreadPoolTaskRunner
from tidemill.states import State

if TYPE_CHECKING:
    import asyncio

_BLOCKING = BlockingIO()
_ASYNC = AsyncIO()
# For so long a flow run that is ending waits for threads that were told to stop.
_GRACE_SECONDS = 1.0


class Submission:
    """One submitted task run: what the runner executes, and what stands behind the future."""

    __slots__ = (
        "_guard",
        "_needs_resolving",
        "_problem",
        "_settled",
        "_thread",
        "_waiting_for",
        "args",
        "context",
        "execution",
        "future",
        "kwargs",
        "loop",
        "loop_task",
        "owner",
        "upstream",
    )

    def __init__(
        self,
        owner: Submissions,
        execution: TaskExecution,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        upstream: Sequence[Upstream],
        needs_resolving: bool,
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        self.owner = owner
        self.execution = execution
        self.args = args
        self.kwargs = kwargs
        self.upstream = upstream
        self.loop = loop
        self.loop_task: asyncio.Task[None] | None = None
        self.context: Context = copy_context()
        self.future: TaskRunFuture[Any] = TaskRunFuture(self)
        self._needs_resolving = needs_resolving
        self._problem: BaseException | None = None
        self._settled = False
        self._thread: int | None = None
        self._waiting_for = 0

    @property
    def task_run_id(self) -> str:
        return self.execution.entry.id

    @property
    def name(self) -> str:
        return self.execution.entry.name

    @property
    def state_now(self) -> State[Any]:
        return self.execution.state or self.execution.state_now()

    def wait_for_upstream(self) -> None:
        """Has the owner launch this as soon as the last of what it needs is done. Holds no thread meanwhile."""
        self._waiting_for = len(self.upstream) + 1
        self._guard = threading.Lock()
        for one in self.upstream:
            one.future.add_done_callback(self._note_one_done)
        self._note_one_done()

    def _note_one_done(self, _: object = None) -> None:
        with self._guard:
            self._waiting_for -= 1
            ready = self._waiting_for == 0
        if ready:
            self.owner.launch(self)

    def execute(self) -> bool:
        """See `runners.base.Work`."""
        return self._within(self._execute)

    def execute_elsewhere(
        self, call: Callable[[bytes], bytes], stop: Callable[[], None] | None, values: Values | None = None
    ) -> bool:
        """See `runners.base.Work`."""
        return self._within(lambda: self._ship(call, stop, values))

    def _within(self, work: Callable[[], bool]) -> bool:
        self._thread = threading.get_ident()
        try:
            return self.context.run(work)
        except BaseException as error:  # it is the future's business; a worker goes on
            if isinstance(error, Stopped) and not self.execution.has_ended:  # it came between two steps of ours
                self.execution.crash(error)
            self._problem = error
            return True
        finally:
            self._thread = None

    def _execute(self) -> bool:
        if not self._can_start():
            return True
        run_here(self.execution.io, isolation.execute(self.execution))
        return self._to_be_settled()

    def _to_be_settled(self) -> bool:
        if not self.execution.concludes_itself:
            return True
        run_here(self.execution.io, self.execution.conclude())
        self.finish()
        return False

    def _ship(self, call: Callable[[bytes], bytes], stop: Callable[[], None] | None, values: Values | None) -> bool:
        if self._can_start() and not self.execution.is_reused:
            execute_elsewhere(self.execution, call, stop, values)
        return self._to_be_settled()

    def _can_start(self) -> bool:
        """Takes the inputs; if some are missing, or the flow run is ending, that is the end of the run."""
        execution = self.execution
        if self._settled:
            return False
        if self.owner.ending is not None:
            execution.crash(Stopped(self.owner.ending))
            return False
        failed = failed_upstream(self.upstream)
        if failed:
            execution.not_ready(*why_not_ready(failed))
            return False
        self.take_inputs()
        return True

    def take_inputs(self) -> None:
        """Puts values in the place of futures, and finds what the run continues."""
        execution = self.execution
        if execution.is_identified:
            return
        args, kwargs = self.args, self.kwargs
        if self._needs_resolving:
            # A template may use any part of a value for the run's name.
            stands_in = self.owner.runner.stands_in if execution.task.task_run_name is None else None
            args = tuple(resolved(value, stands_in) for value in args)
            kwargs = {name: resolved(value, stands_in) for name, value in kwargs.items()}
        execution.identify(args, kwargs)

    async def run_on_loop(self) -> None:
        """Executes it on the event loop of its flow."""
        execution = self.execution
        try:
            if self._can_start():
                await isolation.execute(execution)
            await execution.conclude()
        except Exception as error:
            self._problem = error
        except BaseException as error:
            self._problem = error
            raise
        finally:
            self.finish()

    def settle(self, problem: BaseException | None) -> None:
        """Lets everybody know how it ended; to be called when that is durable, or cannot be made so."""
        if self._problem is None:
            self._problem = problem
        if self._problem is None:
            try:
                self.execution.conclude_durable()
            except Exception as error:
                self._problem = error
        self.finish()

    def finish(self) -> None:
        """Settles the future, once."""
        if self._settled:
            return
        self._settled = True
        execution = self.execution
        state = execution.state
        value = execution.error
        if state is not None and state.is_completed():
            value = execution.value if execution.task.keeps_in_memory else execution.entry.result or execution.value
        problem = self._problem
        if problem is execution.error:
            problem = None  # it is how the task ended
        if isinstance(problem, StoreError | FencedRun) and self.owner.problem is None:
            self.owner.problem = problem
        self.future.settle(state, value, problem)
        self.owner.forget(self)

    def abandon(self, reason: BaseException) -> None:
        """Ends it without waiting for what it is doing."""
        if not self.execution.has_ended:
            self.execution.abandon(reason)
        self.finish()

    def interrupt(self) -> None:
        """Raises `Stopped` in the thread that executes it, or cancels it on its event loop."""
        thread, task = self._thread, self.loop_task
        if thread is not None:
            stop_thread(thread, lambda: self._thread == thread)
        elif task is not None and self.loop is running_loop():
            task.cancel()


class Submissions:
    """The submitted task runs of one flow run that are not settled yet, and the task runner."""

    def __init__(self, runner: TaskRunner, commit: Callable[[int], None]) -> None:
        self.runner = runner
        self.ending: str | None = None  # why nothing is begun any more
        self.problem: BaseException | None = None  # the first that kept an end from being recorded
        self._commit = commit
        self._started_in: int | None = None
        self._outstanding: dict[int, Submission] = {}
        self._previous: TaskRunFuture[Any] | None = None

    def submit(
        self,
        task: TaskDefinition,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: Inputs | None,
    ) -> TaskRunFuture[Any]:
        """Creates a task run, to be executed when all it needs is there."""
        self._start_runner()
        bound = task.signature.bind(args, kwargs)
        loop = running_loop() if task.is_async and self.runner.shares_the_loop else None
        execution = TaskExecution(_ASYNC if task.is_async else _BLOCKING, task, bound, args, kwargs)
        upstream, needs_resolving = (), False
        if inputs is not None:
            upstream, needs_resolving = inputs.upstream, inputs.need_resolving
            execution.waited_for = inputs.waited_for
        submission = Submission(self, execution, args, kwargs, upstream, needs_resolving, loop)
        if not upstream:
            submission.take_inputs()
        if loop is not None and not self.runner.overlaps:
            self._put_after_previous(submission)
        future = submission.future
        self._outstanding[id(submission)] = submission
        execution.announce("Submitted task run {!r} for execution.")
        if execution.is_identified or not execution.continues_earlier:
            execution.enter_pending()
        if submission.upstream:
            submission.wait_for_upstream()
        else:
            self.launch(submission)
        return future

    def launch(self, submission: Submission) -> None:
        """Has it executed, now that nothing is missing."""
        loop = submission.loop
        if loop is None:
            self.runner.run(submission)
        elif loop is running_loop():
            self._start_on_loop(submission)
        else:
            loop.call_soon_threadsafe(self._start_on_loop, submission)

    def settle(self, submissions: Sequence[Submission]) -> None:
        """Makes the ends of some durable by one commit, and lets everybody know."""
        problem: BaseException | None = None
        try:
            self._commit(max(submission.execution.ticket for submission in submissions))
        except StoreError as error:
            problem = error
        for submission in submissions:
            submission.settle(problem)

    def forget(self, submission: Submission) -> None:
        self._outstanding.pop(id(submission), None)

    def outstanding(self) -> list[TaskRunFuture[Any]]:
        """The futures that are not done."""
        return [submission.future for submission in list(self._outstanding.values())]

    def drop(self, reason: str) -> None:
        """Begins nothing any more: what has not started ends as Cancelled."""
        self.ending = reason

    async def stop(self, io: IO, reason: str) -> None:
        """Ends everything as soon as can be: what is executing is interrupted, and given up if it does not end."""
        self.ending = reason
        self.runner.kill()
        for submission in list(self._outstanding.values()):
            submission.interrupt()
        deadline = time.monotonic() + _GRACE_SECONDS
        for future in self.outstanding():
            await io.until(future, max(0.0, deadline - time.monotonic()))
        for submission in list(self._outstanding.values()):
            submission.abandon(Stopped(reason))
        self.close()

    def close(self) -> None:
        """Lets the workers go."""
        if self._started_in == os.getpid():
            self.runner.close()
        self._started_in = None

    def _start_runner(self) -> None:
        if self._started_in != os.getpid():
            if self._started_in is not None:  # in a forked child there are no workers, and what waits is the parent's
                self.runner = self.runner.fresh()
                self._outstanding.clear()
            self.runner.start(self.settle)
            self._started_in = os.getpid()

    def _start_on_loop(self, submission: Submission) -> None:
        assert submission.loop is not None
        # Held by the submission, since the loop itself holds its tasks weakly.
        submission.loop_task = submission.loop.create_task(submission.run_on_loop(), context=submission.context)

    def _put_after_previous(self, submission: Submission) -> None:
        if isinstance(current_run(), TaskRunContext):
            return  # a task that submits another may wait for it
        previous, self._previous = self._previous, submission.future
        if previous is not None and not previous.done():
            submission.upstream = [*submission.upstream, Upstream(previous, may_fail=True)]


def submissions_here() -> Submitted:
    """Where a task submitted here goes: the flow run around, or where there is none a pool of the process's own."""
    place = enclosing_flow_run() or ALONE
    if place.submissions is None:
        recorder = connect(_BLOCKING).recorder
        runner = place.task_runner.fresh() if place.task_runner is not None else ThreadPoolTaskRunner()
        place.submissions = Submissions(runner, recorder.commit if not recorder.relaxed else _no_commit)
    return place.submissions


def _no_commit(ticket: int) -> None:
    """Nobody waits for a commit where durability is relaxed."""


@atexit.register
def _finish_alone() -> None:
    """Tasks submitted outside a flow run end before the interpreter does; when that is interrupted, as far as they can."""
    submissions = ALONE.submissions
    if submissions is None:
        return
    try:
        with unwinding_signals():
            while outstanding := submissions.outstanding():
                outstanding[0].wait()
    except BaseException as error:
        run_blocking(submissions.stop(_BLOCKING, "The program was interrupted."))
        close_sessions()
        end_by_signal_of(error)
