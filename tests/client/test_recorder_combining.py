"""Group commit by combining: whoever needs durability commits for all, and nothing that was acknowledged is missing."""

import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tidemill.client.recorder import Recorder
from tidemill.store.filelock import FileLock


@pytest.fixture
def fast_switches() -> Iterator[None]:
    """Threads take turns as often as Python can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def all_together(count: int, work: Callable[[int], None]) -> None:
    """Lets so many threads do something, starting at one moment; raises what one of them raised."""
    barrier = threading.Barrier(count)
    errors: list[BaseException] = []

    def run(n: int) -> None:
        try:
            barrier.wait()
            work(n)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if errors:
        raise errors[0]


class TestCombining:
    def test_two_threads_one_commit_serves_both(self, book: Any) -> None:
        """The first is in the middle of its commit when two others ask: one of the two writes for both."""
        asked = threading.Barrier(3)
        others: list[threading.Thread] = []

        def ask() -> None:
            ticket = book.recorder.put(book.entry())
            asked.wait()
            book.recorder.commit(ticket)

        def start_others() -> None:
            book.meanwhile = None
            others.extend(threading.Thread(target=ask) for _ in range(2))
            for thread in others:
                thread.start()
            asked.wait()

        book.meanwhile = start_others
        book.recorder.commit(book.recorder.put(book.entry()))
        for thread in others:
            thread.join(60)
        assert book.batches == [(1, 0), (2, 0)]

    def test_try_flush_answers_at_once_when_another_is_at_work(self, book: Any) -> None:
        book.recorder.put(book.entry())
        answers: list[bool] = []

        def ask() -> None:
            book.meanwhile = None
            thread = threading.Thread(target=lambda: answers.append(book.recorder.try_flush()))
            thread.start()
            thread.join(60)

        book.meanwhile = ask
        assert book.recorder.try_flush()
        assert answers == [False]

    def test_try_flush_answers_at_once_when_another_process_is_at_work(self, book: Any) -> None:
        book.recorder.flush()
        lock = FileLock(f"{book.store.database.path}.lock")
        lock.acquire()
        book.recorder.put(book.entry())
        assert not book.recorder.try_flush()
        lock.release()
        assert book.recorder.try_flush()
        lock.forget()
        assert book.batches == [(1, 0)]

    def test_what_is_put_during_a_commit_is_written_by_the_next(self, book: Any) -> None:
        late = book.entry()

        def put_late() -> None:
            book.meanwhile = None
            book.recorder.put(late)
            book.recorder.put_logs([book.line("late")])

        book.meanwhile = put_late
        book.recorder.put_logs([book.line("early")])
        ticket = book.recorder.put(book.entry())
        book.recorder.commit(ticket)
        assert late.id not in book.states()
        assert book.recorder.waiting == 2
        book.recorder.flush()
        assert late.id in book.states()
        assert book.messages() == ["early", "late"]

    def test_progress_made_during_a_commit_is_written_by_the_next(self, book: Any) -> None:
        entry = book.entry()
        tickets: list[int] = []

        def advance() -> None:
            book.meanwhile = None
            tickets.append(book.recorder.put(book.end(entry)))

        book.meanwhile = advance
        book.recorder.commit(book.recorder.put(entry))
        book.recorder.commit(tickets[0])
        assert book.states() == {entry.id: "COMPLETED"}

    @pytest.mark.usefixtures("fast_switches")
    def test_whatever_threads_do_at_once_what_was_acknowledged_is_written(self, book: Any) -> None:
        missing: list[str] = []
        written: set[str] = set()
        real = book.recorder._write

        def write(batch: Any) -> dict[str, str]:
            refused = real(batch)
            written.update(entry.id for entry in batch.task_runs if entry.progress.name == "Completed")
            return refused

        recorder = Recorder(book.store.database, write)

        def work(_: int) -> None:
            for _ in range(150):
                entry = book.entry()
                recorder.put(entry)
                recorder.put_logs([book.line(entry.id)])
                recorder.commit(recorder.put(book.end(entry)))
                if entry.id not in written:
                    missing.append(entry.id)

        all_together(6, work)
        assert missing == []
        assert list(book.states().values()) == ["COMPLETED"] * 900
        assert len(set(book.messages())) == 900

    def test_what_another_thread_puts_between_any_two_steps_of_a_commit_takes_nothing_from_it(self, book: Any) -> None:
        """At every instruction of the recorder's own, in turn, something more is put."""
        code = {function.__code__ for function in vars(Recorder).values() if hasattr(function, "__code__")}
        code -= {Recorder.put.__code__, Recorder._ticket.__code__}
        reached = True
        at = 1
        while reached:
            reached = False
            passed = 0

            def trace(frame: FrameType, event: str, _: Any, at: int = at) -> Any:
                nonlocal passed, reached
                if frame.f_code not in code:
                    return None
                frame.f_trace_opcodes = True
                if event == "opcode":
                    passed += 1
                    if passed == at:
                        reached = True
                        book.recorder.put(book.entry())
                return trace

            entries = [book.entry() for _ in range(3)]
            ticket = max(book.recorder.put(entry) for entry in entries)
            before = sys.gettrace()
            sys._getframe().f_trace_opcodes = True  # Python 3.12 gives opcodes to a tracer only if it is asked before
            sys.settrace(trace)
            try:
                book.recorder.commit(ticket)
            finally:
                sys.settrace(before)
            assert {entry.id for entry in entries} <= set(book.states()), f"lost when something was put at step {at}"
            book.recorder.flush()
            at += 1
        assert at > 50
