"""The recorder: what is put waits until somebody needs it, failures lose nothing, and the buffer has an end."""

import threading
from typing import Any

import pytest

from tidemill import ids
from tidemill.exceptions import StoreError, StoreFull
from tidemill.store.filelock import FileLock


class TestCommit:
    def test_what_is_put_waits_until_somebody_needs_it(self, book: Any) -> None:
        ticket = book.recorder.put(book.entry())
        book.recorder.put_logs([book.line("said"), book.line("said again")])
        assert book.recorder.waiting == 3
        assert book.batches == []
        book.recorder.commit(ticket)
        assert book.recorder.waiting == 0
        assert book.batches == [(1, 2)]

    def test_what_is_committed_is_in_the_store(self, book: Any) -> None:
        entry = book.entry()
        book.recorder.commit(book.recorder.put(entry))
        assert book.states() == {entry.id: "PENDING"}

    def test_tickets_are_committed_in_their_order(self, book: Any) -> None:
        tickets = [book.recorder.put(book.entry()) for _ in range(3)]
        assert tickets == sorted(set(tickets))
        book.recorder.commit(tickets[0])
        assert book.recorder.committed >= tickets[2]

    def test_what_is_committed_already_is_not_written_again(self, book: Any) -> None:
        tickets = [book.recorder.put(book.entry()) for _ in range(3)]
        for ticket in tickets:
            book.recorder.commit(ticket)
        assert book.batches == [(3, 0)]

    def test_flushing_nothing_writes_nothing(self, book: Any) -> None:
        book.recorder.flush()
        assert book.recorder.try_flush()
        assert book.batches == []

    def test_progress_of_an_entry_that_waits_makes_no_second_one(self, book: Any) -> None:
        entry = book.entry()
        book.recorder.put(entry)
        book.recorder.commit(book.recorder.put(book.end(entry)))
        assert book.batches == [(1, 0)]
        assert book.states() == {entry.id: "COMPLETED"}

    def test_progress_after_a_commit_is_written_by_the_next(self, book: Any) -> None:
        entry = book.entry()
        book.recorder.commit(book.recorder.put(entry))
        book.recorder.commit(book.recorder.put(book.end(entry)))
        assert book.batches == [(1, 0), (1, 0)]
        assert book.states() == {entry.id: "COMPLETED"}

    def test_lines_are_written_in_the_order_they_were_said(self, book: Any) -> None:
        book.recorder.put_logs([book.line("a"), book.line("b")])
        book.recorder.put_logs([book.line("c")])
        book.recorder.flush()
        book.recorder.put_logs([book.line("d")])
        book.recorder.flush()
        assert book.messages() == ["a", "b", "c", "d"]

    def test_flow_runs_that_are_refused_are_remembered_with_the_reason(self, book: Any) -> None:
        gone, kept = ids.new_id(), book.entry()
        book.recorder.put(book.entry(flow_run_id=gone))
        book.recorder.commit(book.recorder.put(kept))
        assert book.recorder.refused == {gone: (1, "the flow run was deleted")}
        assert list(book.states()) == [kept.id]

    def test_whoever_forks_leaves_what_waits_to_the_parent(self, book: Any) -> None:
        book.recorder.put(book.entry())
        book.recorder.put_logs([book.line("x")])
        book.recorder.forget()
        book.recorder.flush()
        assert book.batches == []


class TestFailure:
    def test_what_could_not_be_written_waits_and_is_written_later(self, book: Any) -> None:
        entry = book.entry()
        ticket = book.recorder.put(entry)
        book.recorder.put_logs([book.line("said")])
        book.in_the_way = StoreFull()
        for _ in range(2):
            with pytest.raises(StoreFull):
                book.recorder.commit(ticket)
        assert book.recorder.waiting == 2
        assert book.recorder.committed < ticket
        book.in_the_way = None
        book.recorder.commit(ticket)
        assert book.states() == {entry.id: "PENDING"}
        assert book.messages() == ["said"]

    def test_the_queue_is_free_afterwards(self, book: Any) -> None:
        book.recorder.put(book.entry())
        book.in_the_way = StoreFull()
        with pytest.raises(StoreError):
            book.recorder.flush()
        lock = FileLock(f"{book.store.database.path}.lock")
        assert lock.acquire(wait=False)
        lock.forget()

    def test_progress_since_is_what_is_written_later(self, book: Any) -> None:
        entry = book.entry()
        book.recorder.put(entry)
        book.in_the_way = StoreFull()
        with pytest.raises(StoreFull):
            book.recorder.flush()
        book.recorder.put(book.end(entry))
        book.in_the_way = None
        book.recorder.flush()
        assert book.states() == {entry.id: "COMPLETED"}

    def test_a_commit_of_another_thread_fails_for_itself(self, book: Any) -> None:
        book.in_the_way = StoreFull()
        errors: list[type] = []

        def work() -> None:
            try:
                book.recorder.commit(book.recorder.put(book.entry()))
            except StoreError as error:
                errors.append(type(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == [StoreFull] * 4
        assert book.recorder.waiting == 4

    def test_text_that_is_no_unicode_does_not_stop_the_recorder(self, book: Any) -> None:
        entry = book.entry()
        entry.progress = entry.progress.then(entry.progress.type, "odd \ud800", "odd \ud800", 0)
        book.recorder.put(entry)
        book.recorder.commit(book.recorder.put(book.entry()))
        assert len(book.states()) == 2


class TestBackPressure:
    def test_whoever_adds_to_a_full_buffer_writes_first(self, book: Any) -> None:
        most = 0
        for n in range(20_500):
            book.recorder.put(book.entry(dynamic_key=str(n)))
            most = max(most, book.recorder.waiting)
        assert most <= 20_001
        assert len(book.batches) == 1

    def test_lines_are_not_endless_either(self, book: Any) -> None:
        for _ in range(70):
            book.recorder.put_logs([book.line("x")] * 1_000)
        assert len(book.batches) == 1
        assert book.recorder.waiting < 20_000

    def test_when_relaxed_nobody_waits_and_batches_are_small(self, make_book: Any) -> None:
        book = make_book(relaxed=True)
        for n in range(1_100):
            book.recorder.put(book.entry(dynamic_key=str(n)))
        assert [tasks for tasks, _ in book.batches] == [513, 513]
        assert book.recorder.waiting == 74
