"""The client that answers in this process, from the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from tidemill import clock, orchestration, storage
from tidemill.client.caching import CachingVerbs
from tidemill.client.session import Session
from tidemill.colour import IO
from tidemill.exceptions import FencedRun, StoreReadOnly
from tidemill.filters import EVERYTHING, FIRST_PAGE, Filters, FlowRunSort, FlowSort, LogFilter, LogSort, Page, TaskRunSort
from tidemill.orchestration import Started, Verdict
from tidemill.records import Flow, FlowRun, Log, NewFlowRun, TaskRun, TaskRunEntry
from tidemill.states import State, StateType
from tidemill.store import entries, reading

T = TypeVar("T")


class LocalClient(CachingVerbs):
    """Verbs on flows and runs, in the colour of `io`. Any of them may raise a StoreError."""

    def __init__(self, io: IO, session: Session) -> None:
        self.io = io
        self.recorder = session.recorder
        self.database = session.store.database
        self._session = session
        self._store = session.store

    @property
    def is_open(self) -> bool:
        """Whether the session behind it has not been closed."""
        return not self._session.closed

    async def create_flow_run(self, run: NewFlowRun, states: Sequence[State[Any]]) -> Started:
        """Creates a flow run, held by this process, and takes it through `states`.

        If its flow has a run of the same idempotency key, that one is begun again in its place, in the last of `states`;
        one that has completed stays as it is: the verdict is REJECT, with its state.

        Raises:
            FlowRunIsLive: there is a run of that key, and another process works on it.
        """

        def create() -> Started:
            return self._session.begin(lambda lease: orchestration.create_flow_run(self._store, run, states, lease))

        return await self._in_queue(create)

    async def begin_next_attempt(self, flow_run_id: str, *, again: bool = False) -> Started:
        """Takes a flow run over and proposes Running: after it ended, after its process was lost, or when nobody has begun
        it yet. One that has completed stays as it is: the verdict is REJECT, with its state.

        Args:
            again: begins also one that has completed.

        Raises:
            FlowRunIsLive: another process works on it.
            ObjectNotFound: there is no such flow run.
        """

        def begin() -> Started:
            return self._session.begin(
                lambda lease: orchestration.begin_next_attempt(self._store, flow_run_id, lease, again=again)
            )

        return await self._in_queue(begin)

    async def propose_flow_run_state(self, flow_run_id: str, state: State[Any], attempt: int) -> Verdict:
        """Asks for a state for a run that this process works on, once all it recorded before is committed.

        Raises:
            FencedRun: another attempt has taken over.
        """
        lease_id = self._session.lease().id

        def write() -> Verdict:
            self.recorder.flush()
            verdict = orchestration.propose_flow_run_state(self._store, flow_run_id, state, lease_id=lease_id, attempt=attempt)
            self._session.follow(flow_run_id, verdict)
            return verdict

        return await self._in_queue(write)

    async def cancel_flow_run(self, flow_run_id: str, reason: str | None = None) -> Verdict:
        """Cancels a flow run and the subflow runs that have not ended.

        A run that a living process works on becomes Cancelling, and its process ends it; any other one becomes Cancelled,
        with its task runs. The verdict is ABORT for a run that has ended, REJECT for one that is being cancelled already.

        Args:
            reason: the message of the new state.

        Raises:
            ObjectNotFound: there is no such flow run.
        """
        verdict = await self._in_queue(lambda: orchestration.cancel_flow_run(self._store, flow_run_id, reason))
        self._session.watch.look_again()
        return verdict

    def watch(self, flow_run_id: str, on_cancelling: Callable[[], None]) -> None:
        """Has `on_cancelling` called, once, on a thread of its own, within about a second after a flow run that this
        process works on became Cancelling."""
        self._session.watch_for_cancelling(flow_run_id, on_cancelling)

    def unwatch(self, flow_run_id: str) -> None:
        """Ends `watch`."""
        self._session.watch.remove(flow_run_id)

    async def rerun_from(self, flow_run_id: str, task_run_id: str) -> None:
        """Makes the next attempt of a flow run execute a task run again, and everything downstream of it.

        Raises:
            FlowRunIsLive: a process works on the flow run.
            ObjectNotFound: there is no such flow run, or no such task run in it.
        """
        await self._in_queue(lambda: orchestration.rerun_from(self._store, flow_run_id, task_run_id))

    async def set_task_run_state(self, task_run_id: str, state: State[Any]) -> None:
        """Gives a task run a final state from outside, which the next attempt of its flow run honours.

        Args:
            state: its data is the result, as a `ResultReference`; a completed one without has the result None.

        Raises:
            FlowRunIsLive: a process works on the flow run (on the task run, if it is outside a flow), and the task run has
                not ended.
            IllegalTransition: the state is not final.
            ObjectNotFound: there is no such task run.
        """
        await self._in_queue(lambda: orchestration.set_task_run_state(self._store, task_run_id, state))

    async def end_open_task_runs(self, flow_run_id: str, type: StateType, message: str) -> None:
        """Ends the unfinished task runs of a flow run of this process, after the child process is gone that executed them."""
        await self._in_queue(lambda: orchestration.end_open_task_runs(self._store, flow_run_id, type, message))

    async def reclaim_lost_runs(self) -> list[str]:
        """Ends the runs whose process is gone, unless others do; gives the ids of the flow runs."""
        with suppress(StoreReadOnly):  # then somebody else has to
            return [run.flow_run_id for run in orchestration.reclaim_lost_runs(self._store, clock.now())]
        return []

    @property
    def lease_id(self) -> str:
        """The lease under which this process works on runs, recorded by now; for a child process to adopt."""
        return self._session.recorded_lease_id()

    @property
    def leases(self) -> tuple[str, ...]:
        """That lease and those that this process has adopted itself: all under which it may record."""
        mine = self.lease_id
        return (mine, *(lease for lease in self.recorder.leases if lease != mine))

    def lease_for_task_run(self) -> str:
        """Takes a task run outside a flow under this process's lease, which the run is to name until it ends: so that it is
        ended as crashed if the process is gone before. Nothing is written; the lease is recorded with the run."""
        return self._session.lease_id

    def adopt_lease(self, lease_id: str) -> None:
        """In a process that was started for a task of another process: records for the other's flow run, or task run, too,
        under its lease."""
        self._session.adopt(lease_id)

    async def answer(self, question: str, answer: type[T] | Any, *arguments: Any) -> T:
        """The answer, of this type, to one of `orchestration.questions`."""
        from tidemill.orchestration.questions import READS, WRITES

        if question in READS:
            return READS[question].answer(self.database.fetch, *arguments)
        return await self._in_queue(lambda: WRITES[question].answer(self._store, *arguments))

    async def delete_flow(self, flow_id: str) -> None:
        """Removes a flow with all its runs, and their result files.

        Raises:
            ObjectNotFound: there is no such flow.
        """
        keys: list[str] = await self.answer("delete_flow", list[str], flow_id)
        for key in keys:
            storage.delete(key)

    async def answering_version(self) -> str | None:
        """The version of Tidemill on the server that answers; None where this process does."""
        return None

    async def catch_up(self, seconds: float) -> bool:
        """Sends a server what waits to be sent there; False if that was not done within so many seconds."""
        return True

    async def commit(self, ticket: int) -> None:
        """Returns when everything recorded up to `ticket` is durable (at once when durability is `relaxed`)."""
        if not self.recorder.relaxed:
            await self.io.commit(self.recorder, ticket)

    async def flush(self) -> None:
        """Returns when everything recorded so far is durable."""
        await self._in_queue(self.recorder.flush)

    def raise_if_fenced(self, flow_run_id: str | None, run: str, attempt: int | None = None) -> None:
        """Raises FencedRun when the store has refused what this process recorded for a flow run.

        Args:
            run: how to name what was done, e.g. "task run 'add_one-3c3112ef-0'".
            attempt: of which attempt; None: of the one that this process works on now.
        """
        if not self.recorder.refused or flow_run_id is None:
            return
        reason = self.recorder.refusal(flow_run_id, attempt or self._session.attempts.get(flow_run_id))
        if reason is not None:
            raise FencedRun(
                f"What this process did for {run} was not recorded: {reason}. Nothing of the other attempt was changed; "
                "see `tidemill flow-run inspect`."
            )

    async def flows(
        self, filters: Filters = EVERYTHING, sort: FlowSort = FlowSort.NAME_ASC, page: Page = FIRST_PAGE
    ) -> list[Flow]:
        return reading.flows(self.database.fetch, filters, sort, page)

    async def count_flows(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_flows(self.database.fetch, filters)

    async def flow_run(self, flow_run_id: str) -> FlowRun | None:
        return reading.flow_run(self.database.fetch, flow_run_id)

    async def flow_run_call(self, flow_run_id: str) -> tuple[str, bytes] | None:
        """The arguments a flow run was called with (serializer, bytes), where its parameters do not give them back."""
        return reading.flow_run_call(self.database.fetch, flow_run_id)

    async def flow_runs(
        self, filters: Filters = EVERYTHING, sort: FlowRunSort = FlowRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[FlowRun]:
        return reading.flow_runs(self.database.fetch, filters, sort, page)

    async def count_flow_runs(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_flow_runs(self.database.fetch, filters)

    async def flow_run_states(self, flow_run_id: str) -> list[State[Any]]:
        """Every state a flow run went through, first to last."""
        return reading.flow_run_states(self.database.fetch, flow_run_id)

    async def find_flow_runs(self, text: str) -> list[FlowRun]:
        """The flow runs that `text` may mean: by id, by the beginning of an id, or by exact name; newest first."""
        return reading.find_flow_runs(self.database.fetch, text)

    async def task_runs(
        self, filters: Filters = EVERYTHING, sort: TaskRunSort = TaskRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[TaskRun]:
        return reading.task_runs(self.database.fetch, filters, sort, page)

    async def count_task_runs(self, filters: Filters = EVERYTHING) -> int:
        return reading.count_task_runs(self.database.fetch, filters)

    async def task_run_states(self, task_run_id: str) -> list[State[Any]]:
        """Every state a task run went through, first to last."""
        return reading.task_run_states(self.database.fetch, task_run_id)

    async def task_run_entries(self, flow_run_id: str) -> list[TaskRunEntry]:
        """Every task run of a flow run, whole, as it can be recorded again; in the order of their ids."""
        return entries.task_run_entries(self.database.fetch, flow_run_id)

    async def task_run_entry(self, task_run_id: str) -> TaskRunEntry | None:
        """The task run of this id, whole, as it can be recorded again."""
        return entries.task_run_entry(self.database.fetch, task_run_id)

    async def find_task_runs(self, text: str, flow_run_id: str | None = None) -> list[TaskRun]:
        """As `find_flow_runs`, among the task runs of one flow run or of all."""
        return reading.find_task_runs(self.database.fetch, text, flow_run_id)

    async def logs(
        self, filter: LogFilter | None = None, sort: LogSort = LogSort.TIMESTAMP_ASC, page: Page = FIRST_PAGE
    ) -> list[Log]:
        return reading.logs(self.database.fetch, filter, sort, page)

    async def logs_after(self, seq: int, flow_run_id: str, limit: int = 1000) -> list[Log]:
        """The lines of a flow run that were committed after line `seq`, in the order of their commits."""
        return reading.logs_after(self.database.fetch, seq, flow_run_id, limit)

    async def delete_flow_run(self, flow_run_id: str) -> None:
        """Removes a flow run with its states, task runs, logs and result files.

        Raises:
            ObjectNotFound: there is no such flow run.
        """
        keys = await self._in_queue(lambda: orchestration.delete_flow_run(self._store, flow_run_id))
        self._remove_unused_files(keys)

    async def check(self) -> list[str]:
        """What is wrong with the database; empty when nothing is."""
        return self.database.check()

    async def backup(self, target: str) -> None:
        """Copies the database into the new file `target`."""
        self.database.backup(target)

    async def _in_queue(self, work: Callable[[], T]) -> T:
        return await self.io.within(self.database, work)
