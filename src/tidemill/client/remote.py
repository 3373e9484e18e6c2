"""The client of a process whose runs are recorded by a server.

What the process does itself goes into its journal, as into a database. The server is asked for what others may have a say
in: runs that may be elsewhere, cached results, and everything that is read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tidemill import clock, storage
from tidemill.cache_keys import KeyedRun
from tidemill.client.journal import JournalSession
from tidemill.client.local import LocalClient
from tidemill.colour import IO
from tidemill.exceptions import StoreError
from tidemill.filters import EVERYTHING, FIRST_PAGE, Filters, FlowRunSort, FlowSort, LogFilter, LogSort, Page, TaskRunSort
from tidemill.ids import new_id
from tidemill.orchestration import Started, Verdict, handed_over
from tidemill.orchestration.questions import READS
from tidemill.protocol import Taken
from tidemill.records import Flow, FlowRun, Log, NewFlowRun, TaskRun, TaskRunEntry
from tidemill.states import ResultReference, Running, State
from tidemill.store.caching import CachedResult

T = TypeVar("T")

# How long the server is waited for before it is asked for something, and while it is.
_PATIENCE_SECONDS = 10.0

_log = logging.getLogger("tidemill")


class RemoteClient(LocalClient):
    """The same verbs, where a server records the runs. Any of them may raise a StoreError."""

    _session: JournalSession

    def __init__(self, io: IO, session: JournalSession) -> None:
        super().__init__(io, session)
        self._server = session.server
        self._lease_seconds = session.lease_seconds

    # What the process does itself

    async def create_flow_run(self, run: NewFlowRun, states: Sequence[State[Any]]) -> Started:
        if run.parent_flow_run_id is None:
            self._session.outermost.add(run.id)
        if run.idempotency_key is None:
            return await super().create_flow_run(run, states)
        for state in states:
            state.id = state.id or new_id()  # who asks twice, since an answer was lost, is known by it
        return await self._begin("create_flow_run", run, list(states))

    async def begin_next_attempt(self, flow_run_id: str, *, again: bool = False) -> Started:
        state = Running()
        state.id = new_id()
        return await self._begin("begin_next_attempt", flow_run_id, state, again)

    async def propose_flow_run_state(self, flow_run_id: str, state: State[Any], attempt: int) -> Verdict:
        verdict = await super().propose_flow_run_state(flow_run_id, state, attempt)
        if verdict.state is not None and verdict.state.is_final() and flow_run_id in self._session.outermost:
            await self._acknowledged()
            self.raise_if_fenced(flow_run_id, f"flow run {flow_run_id}", attempt)
            self._session.outermost.discard(flow_run_id)
        return verdict

    async def reclaim_lost_runs(self) -> list[str]:
        lost = await super().reclaim_lost_runs()
        if lost:
            self._session.recorded()
        return lost

    async def answer(self, question: str, answer: type[T] | Any, *arguments: Any) -> T:
        if question in READS:
            return await self._read(question, answer, *arguments)
        return await self._order(question, answer, *arguments)

    async def answering_version(self) -> str | None:
        greeting = await self.io.in_thread(self._server.greet)
        return greeting.tidemill

    async def catch_up(self, seconds: float) -> bool:
        return await self.io.in_thread(lambda: self._session.acknowledged(seconds))

    # What the server is asked to do

    async def cancel_flow_run(self, flow_run_id: str, reason: str | None = None) -> Verdict:
        verdict: Verdict = await self._order("cancel_flow_run", Verdict, flow_run_id, reason)
        return verdict

    async def rerun_from(self, flow_run_id: str, task_run_id: str) -> None:
        await self._order("rerun_from", None, flow_run_id, task_run_id)

    async def set_task_run_state(self, task_run_id: str, state: State[Any]) -> None:
        await self._order("set_task_run_state", None, task_run_id, state)

    async def delete_flow_run(self, flow_run_id: str) -> None:
        keys: list[str] = await self._order("delete_flow_run", list[str], flow_run_id)
        for key in keys:
            storage.delete(key)

    # What is read

    async def flows(
        self, filters: Filters = EVERYTHING, sort: FlowSort = FlowSort.NAME_ASC, page: Page = FIRST_PAGE
    ) -> list[Flow]:
        return await self._read("flows", list[Flow], filters, sort, page)

    async def count_flows(self, filters: Filters = EVERYTHING) -> int:
        return await self._read("count_flows", int, filters)

    async def flow_run(self, flow_run_id: str) -> FlowRun | None:
        if flow_run_id in self._session.attempts:  # of its own runs nobody knows more than the process
            return await super().flow_run(flow_run_id)
        return await self._read("flow_run", FlowRun | None, flow_run_id)

    async def flow_run_call(self, flow_run_id: str) -> tuple[str, bytes] | None:
        return await self._read("flow_run_call", tuple[str, bytes] | None, flow_run_id)

    async def flow_runs(
        self, filters: Filters = EVERYTHING, sort: FlowRunSort = FlowRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[FlowRun]:
        return await self._read("flow_runs", list[FlowRun], filters, sort, page)

    async def count_flow_runs(self, filters: Filters = EVERYTHING) -> int:
        return await self._read("count_flow_runs", int, filters)

    async def flow_run_states(self, flow_run_id: str) -> list[State[Any]]:
        return await self._read("flow_run_states", list[State[Any]], flow_run_id)

    async def find_flow_runs(self, text: str) -> list[FlowRun]:
        return await self._read("find_flow_runs", list[FlowRun], text)

    async def task_runs(
        self, filters: Filters = EVERYTHING, sort: TaskRunSort = TaskRunSort.ID_DESC, page: Page = FIRST_PAGE
    ) -> list[TaskRun]:
        return await self._read("task_runs", list[TaskRun], filters, sort, page)

    async def count_task_runs(self, filters: Filters = EVERYTHING) -> int:
        return await self._read("count_task_runs", int, filters)

    async def task_run_states(self, task_run_id: str) -> list[State[Any]]:
        return await self._read("task_run_states", list[State[Any]], task_run_id)

    async def task_run_entries(self, flow_run_id: str) -> list[TaskRunEntry]:
        if await super().flow_run(flow_run_id) is not None:  # begun here, so the journal has it whole
            return await super().task_run_entries(flow_run_id)
        return await self._read("task_run_entries", list[TaskRunEntry], flow_run_id)

    async def task_run_entry(self, task_run_id: str) -> TaskRunEntry | None:
        own = await super().task_run_entry(task_run_id)
        return own if own is not None else await self._read("task_run_entry", TaskRunEntry | None, task_run_id)

    async def find_task_runs(self, text: str, flow_run_id: str | None = None) -> list[TaskRun]:
        return await self._read("find_task_runs", list[TaskRun], text, flow_run_id)

    async def logs(
        self, filter: LogFilter | None = None, sort: LogSort = LogSort.TIMESTAMP_ASC, page: Page = FIRST_PAGE
    ) -> list[Log]:
        return await self._read("logs", list[Log], filter, sort, page)

    async def logs_after(self, seq: int, flow_run_id: str, limit: int = 1000) -> list[Log]:
        return await self._read("logs_after", list[Log], seq, flow_run_id, limit)

    async def keyed_run(self, task_run_id: str) -> KeyedRun | None:
        return await self._read("keyed_run", KeyedRun | None, task_run_id)

    async def earlier_keyed_runs(self, task_run_id: str, limit: int = 200) -> list[KeyedRun]:
        return await self._read("earlier_keyed_runs", list[KeyedRun], task_run_id, limit)

    # Cached results: without the server there are none but this machine's

    async def find_cached(self, key: str, now: int | None = None, *, key_storage: str | None = None) -> CachedResult | None:
        found = await super().find_cached(key, now, key_storage=key_storage)
        if found is not None or key_storage is not None:
            return found
        try:
            there = await self._read("find_cached", CachedResult | None, key, clock.now() if now is None else now)
        except StoreError as error:
            self._tell_cache_is_out_of_reach(error)
            return None
        if there is None or there.reference.inline is not None:
            return there
        return there if storage.may_exist(there.reference.storage_key or "") else None

    async def fill_cache(
        self,
        key: str,
        task_run_id: str,
        expires: int | None,
        reference: ResultReference,
        *,
        flow_run_id: str | None = None,
        key_storage: str | None = None,
    ) -> None:
        if key_storage is not None or flow_run_id is not None:  # a key that holds for one run is for this process
            await super().fill_cache(key, task_run_id, expires, reference, flow_run_id=flow_run_id, key_storage=key_storage)
        if key_storage is None:
            result = CachedResult(task_run_id, clock.now(), expires, reference)
            await self._use_cache("fill_cache", key, result, flow_run_id)

    async def forget_cached(self, key: str, task_run_id: str, *, key_storage: str | None = None) -> None:
        await super().forget_cached(key, task_run_id, key_storage=key_storage)
        if key_storage is None:
            await self._use_cache("forget_cached", key, task_run_id)

    async def claim_cache_key(self, key: str, owner: str, *, key_storage: str | None = None) -> bool:
        if key_storage is not None:
            return await super().claim_cache_key(key, owner, key_storage=key_storage)
        lease = self._session.lease()
        return await self._use_cache("claim_cache_key", key, owner, lease) is not False

    async def release_cache_key(self, key: str, owner: str, *, key_storage: str | None = None) -> None:
        if key_storage is not None:
            await super().release_cache_key(key, owner, key_storage=key_storage)
        else:
            await self._use_cache("release_cache_key", key, owner)

    # How

    async def _begin(self, question: str, *what: Any) -> Started:
        """Has the server begin a flow run that may be elsewhere, and takes it into the journal."""
        lease = await super()._in_queue(self._session.held_lease)
        await self.reclaim_lost_runs()
        taken: Taken = await self._order(question, Taken, *what, lease, self._lease_seconds)

        def take_in() -> Started:
            handed_over.write_in_journal(self._store, taken, lease)
            verdict = Verdict(taken.status, taken.state, taken.reason, taken.delay_seconds, taken.attempt)
            self._session.follow(taken.flow_run_id, verdict)
            if taken.story is not None and taken.story.run.parent_flow_run_id is None:
                self._session.outermost.add(taken.flow_run_id)
            return Started(taken.flow_run_id, verdict, taken.name, taken.attempt, taken.existed)

        return await self._in_queue(take_in)

    async def _order(self, question: str, answer: Any, *arguments: Any) -> Any:
        """Has the server do something, once it has all that is recorded here."""

        def order() -> Any:
            self._session.ship_first(_PATIENCE_SECONDS)
            return self._server.ask(question, answer, *arguments, patience=_PATIENCE_SECONDS)

        return await self.io.in_thread(order)

    async def _read(self, question: str, answer: Any, *arguments: Any) -> Any:
        return await self._ask(f"{question}/read", answer, *arguments)

    async def _ask(self, question: str, answer: Any, *arguments: Any) -> Any:
        def ask() -> Any:
            return self._server.ask(question, answer, *arguments)

        return await self.io.in_thread(ask)

    async def _use_cache(self, question: str, *arguments: Any) -> Any:
        """What the server says; None where it says nothing, being down."""
        answer = bool if question == "claim_cache_key" else None
        try:
            return await self._ask(question, answer, *arguments)
        except StoreError as error:
            self._tell_cache_is_out_of_reach(error)
            return None

    def _tell_cache_is_out_of_reach(self, error: StoreError) -> None:
        if not self._session.told_of_cache:
            self._session.told_of_cache = True
            _log.warning("Cached results are out of reach, so tasks are executed: %s", error)

    async def _acknowledged(self) -> None:
        if not await self.io.in_thread(self._session.acknowledged):
            self._session.tell_waiting()

    async def _in_queue(self, work: Callable[[], T]) -> T:
        result = await super()._in_queue(work)
        self._session.recorded()
        return result
