"""One engine, two colours: what blocks never suspends, what suspends never stalls its loop."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.client.recorder import Recorder
from tidemill.colour import AsyncIO, BlockingIO, StoppedIteration, TimeLimitReached, run_blocking
from tidemill.exceptions import StoreFull
from tidemill.interrupts import Limit, LimitPassed, call_within
from tidemill.records import Batch
from tidemill.store.sqlite import SqliteDatabase

LINE = (None, "01920000-0000-7000-8000-000000000001", 20, 0, "tidemill.task_runs", "said")


class Turnstile:
    """A real database as a section, and a thread that can stand in it."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.database = database
        self.free = threading.Event()
        self._thread = threading.Thread(target=self._stand)

    def _stand(self) -> None:
        self.database.enter()
        self._inside.set()
        self.free.wait()
        self.database.leave()

    def __enter__(self) -> "Turnstile":
        self._inside = threading.Event()
        self._thread.start()
        self._inside.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self._thread.join()


@pytest.fixture
def section(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(str(tmp_path / "section.db"))
    yield database
    database.close()


@pytest.fixture
def taken(section: SqliteDatabase) -> Iterator[Turnstile]:
    """The section, with another thread in it."""
    with Turnstile(section) as turnstile:
        yield turnstile


@pytest.fixture
def written() -> list[Batch]:
    return []


@pytest.fixture
def recorder(section: SqliteDatabase, written: list[Batch]) -> Recorder:
    def write(batch: Batch) -> dict[str, str]:
        written.append(batch)
        return {}

    return Recorder(section, write)


def ticket_of(recorder: Recorder) -> int:
    """A ticket for one more line that waits."""
    recorder.put_logs([LINE])
    return recorder.committed + recorder.waiting


class TestRunBlocking:
    def test_it_gives_what_the_coroutine_returns(self) -> None:
        async def inner() -> int:
            return 42

        async def outer() -> int:
            return await inner()

        assert run_blocking(outer()) == 42

    def test_it_raises_what_the_coroutine_raises(self) -> None:
        async def fails() -> None:
            raise KeyError("x")

        with pytest.raises(KeyError, match="x"):
            run_blocking(fails())

    def test_a_coroutine_that_really_suspends_is_refused_and_closed(self) -> None:
        closed: list[bool] = []

        async def suspends() -> None:
            try:
                await asyncio.sleep(0)
            finally:
                closed.append(True)

        with pytest.raises(RuntimeError, match=r"really suspends.*io\.\* only"):
            run_blocking(suspends())
        assert closed == [True]

    def test_it_works_inside_a_running_loop(self) -> None:
        async def answer() -> int:
            await BlockingIO().sleep(0)
            return 42

        async def main() -> int:
            return run_blocking(answer())

        assert asyncio.run(main()) == 42


class TestBlockingIO:
    def test_nothing_it_does_suspends(self, section: SqliteDatabase, recorder: Recorder, written: list[Batch]) -> None:
        io = BlockingIO()
        assert run_blocking(io.call(divmod, (7, 2), {})) == (3, 1)
        assert run_blocking(io.call_within(60, dict, (), {"a": 1})) == {"a": 1}
        assert run_blocking(io.within(section, lambda: "work")) == "work"
        run_blocking(io.sleep(-1))
        run_blocking(io.commit(recorder, ticket_of(recorder)))
        assert len(written) == 1

    def test_the_section_is_left_when_the_work_raises(self, section: SqliteDatabase) -> None:
        with pytest.raises(ZeroDivisionError):
            run_blocking(BlockingIO().within(section, lambda: 1 // 0))
        with Turnstile(section):
            pass

    @pytest.mark.parametrize("limit", [None, 60.0])
    def test_a_stop_iteration_comes_out_as_what_it_was(self, limit: float | None) -> None:
        io, stopped = BlockingIO(), StopIteration("value")

        def stops() -> None:
            raise stopped

        with pytest.raises(StoppedIteration) as caught:
            run_blocking(io.call(stops, (), {}) if limit is None else io.call_within(limit, stops, (), {}))
        assert caught.value.error is stopped

    def test_a_call_that_takes_too_long_is_interrupted(self) -> None:
        with pytest.raises(TimeLimitReached):
            run_blocking(BlockingIO().call_within(0.01, time.sleep, (30,), {}))

    def test_a_call_that_ends_too_late_is_told_all_the_same(self) -> None:
        def stubborn() -> str:
            try:
                time.sleep(30)
            except LimitPassed:
                pass
            return "too late"

        with pytest.raises(TimeLimitReached):
            run_blocking(BlockingIO().call_within(0.01, stubborn, (), {}))

    def test_a_limit_around_it_passes_through(self) -> None:
        outer, inner = Limit(0.01), BlockingIO()
        with pytest.raises(LimitPassed) as caught:
            call_within(outer, lambda: run_blocking(inner.call_within(60, time.sleep, (30,), {})), (), {})
        assert caught.value.limit is outer


class TestAsyncIO:
    def test_it_awaits_what_can_be_awaited_and_gives_the_rest(self) -> None:
        async def answer() -> int:
            await asyncio.sleep(0)
            return 42

        assert asyncio.run(AsyncIO().call(answer, (), {})) == 42
        assert asyncio.run(AsyncIO().call(len, ("abc",), {})) == 3

    def test_a_call_that_takes_too_long_is_interrupted(self) -> None:
        with pytest.raises(TimeLimitReached):
            asyncio.run(AsyncIO().call_within(0.01, asyncio.sleep, (30,), {}))

    def test_a_call_that_blocks_and_ends_too_late_is_told_all_the_same(self) -> None:
        with pytest.raises(TimeLimitReached):
            asyncio.run(AsyncIO().call_within(0.01, time.sleep, (0.02,), {}))

    def test_a_timeout_of_the_functions_own_is_not_the_limit(self) -> None:
        async def times_out() -> None:
            async with asyncio.timeout(0):
                await asyncio.sleep(30)

        with pytest.raises(TimeoutError):
            asyncio.run(AsyncIO().call_within(60, times_out, (), {}))

    def test_work_in_a_free_section_is_done_at_once_in_the_same_thread(self, section: SqliteDatabase) -> None:
        assert asyncio.run(AsyncIO().within(section, threading.get_ident)) == threading.get_ident()

    def test_work_in_a_taken_section_goes_to_a_thread_and_the_loop_turns_on(
        self, section: SqliteDatabase, taken: Turnstile
    ) -> None:
        async def main() -> None:
            waiting = asyncio.create_task(AsyncIO().within(section, threading.get_ident))
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not waiting.done()
            taken.free.set()
            assert await waiting != threading.get_ident()

        asyncio.run(main())

    def test_cancelled_while_it_waits_the_work_is_still_done_and_the_section_left(
        self, section: SqliteDatabase, taken: Turnstile
    ) -> None:
        done: list[str] = []

        async def main() -> None:
            waiting = asyncio.create_task(AsyncIO().within(section, lambda: done.append("work")))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert done == []
            taken.free.set()
            while not done:
                await asyncio.sleep(0)

        asyncio.run(main())
        with Turnstile(section):
            pass


class TestSharedCommit:
    """`AsyncIO.commit`: all that end in one turn of the loop share one transaction."""

    def commit_all(self, recorder: Recorder, count: int, then: Callable[..., Awaitable[Any]] | None = None) -> list[Any]:
        async def main() -> list[Any]:
            tasks = [asyncio.create_task(AsyncIO().commit(recorder, ticket_of(recorder))) for _ in range(count)]
            if then is not None:
                await then(tasks)
            return await asyncio.gather(*tasks, return_exceptions=True)

        return asyncio.run(main())

    def test_many_that_wait_share_one_commit(self, recorder: Recorder, written: list[Batch]) -> None:
        assert self.commit_all(recorder, 1_000) == [None] * 1_000
        assert [len(batch.logs) for batch in written] == [1_000]

    def test_what_is_committed_already_is_not_waited_for(self, recorder: Recorder, written: list[Batch]) -> None:
        ticket = ticket_of(recorder)
        recorder.commit(ticket)
        waiting = AsyncIO().commit(recorder, ticket)
        with pytest.raises(StopIteration):
            waiting.send(None)
        assert len(written) == 1

    def test_cancelling_one_leaves_the_others_alone(self, recorder: Recorder, written: list[Batch]) -> None:
        async def cancel_first(tasks: list[asyncio.Task[None]]) -> None:
            await asyncio.sleep(0)
            tasks[0].cancel()

        first, *others = self.commit_all(recorder, 10, cancel_first)
        assert isinstance(first, asyncio.CancelledError)
        assert others == [None] * 9
        assert [len(batch.logs) for batch in written] == [10]

    def test_an_error_reaches_all(self, section: SqliteDatabase) -> None:
        def write(batch: Batch) -> dict[str, str]:
            raise StoreFull

        answers = self.commit_all(Recorder(section, write), 10)
        assert [type(answer) for answer in answers] == [StoreFull] * 10

    def test_while_another_writes_the_loop_turns_on(self, recorder: Recorder, taken: Turnstile, written: list[Batch]) -> None:
        async def keep_turning(tasks: list[asyncio.Task[None]]) -> None:
            for _ in range(1_000):
                await asyncio.sleep(0)
            assert not any(task.done() for task in tasks)
            taken.free.set()

        assert self.commit_all(recorder, 10, keep_turning) == [None] * 10
        assert sum(len(batch.logs) for batch in written) == 10

    def test_loops_one_after_the_other_each_get_their_commit(self, recorder: Recorder, written: list[Batch]) -> None:
        for _ in range(3):
            assert self.commit_all(recorder, 2) == [None] * 2
        assert [len(batch.logs) for batch in written] == [2, 2, 2]

    def test_a_loop_that_ended_before_its_commit_does_not_hold_up_the_next(self, recorder: Recorder) -> None:
        loop = asyncio.new_event_loop()
        abandoned = AsyncIO().commit(recorder, ticket_of(recorder))
        loop.call_soon(loop.create_task, abandoned)
        loop.call_soon(loop.stop)
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        assert self.commit_all(recorder, 2) == [None] * 2
