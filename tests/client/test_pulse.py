"""The pulse: what nobody waits for is written within the interval, the lease is renewed, and it stops when told to."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tidemill.client import pulse
from tidemill.client.pulse import Pulse
from tidemill.exceptions import StoreFull

INTERVAL = 0.02


class Renewals:
    """Counts renewals, and the times they came at."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.in_the_way: Exception | None = None

    def __call__(self) -> None:
        self.times.append(time.monotonic())
        if self.in_the_way is not None:
            raise self.in_the_way


@pytest.fixture
def renewals() -> Renewals:
    return Renewals()


Threads = Callable[[], list[threading.Thread]]


@pytest.fixture
def pulse_threads() -> Threads:
    """The threads of this test's pulses."""
    before = set(threading.enumerate())
    return lambda: [thread for thread in threading.enumerate() if thread.name == "tidemill-pulse" and thread not in before]


@pytest.fixture
def make_pulse(
    book: Any, renewals: Renewals, pulse_threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Pulse]]:
    made: list[Pulse] = []
    monkeypatch.setattr(pulse, "_RETRY_SECONDS", 0.01)

    def make(interval: float = INTERVAL, renew_seconds: float = 60.0) -> Pulse:
        made.append(Pulse(book.recorder, renewals, interval=interval, renew_seconds=renew_seconds))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    for thread in pulse_threads():
        thread.join(60)


class TestWriting:
    def test_what_nobody_waits_for_is_written(self, book: Any, make_pulse: Any, wait_until: Any) -> None:
        make_pulse()
        book.recorder.put(book.entry())
        book.recorder.put_logs([book.line("said")])
        wait_until(lambda: book.recorder.waiting == 0)
        assert (len(book.states()), book.messages()) == (1, ["said"])

    def test_it_leaves_others_half_the_interval_to_commit_it(self, book: Any, make_pulse: Any, wait_until: Any) -> None:
        make_pulse(interval=0.2)
        before = time.monotonic()
        book.recorder.put(book.entry())
        wait_until(lambda: book.batches)
        assert time.monotonic() - before >= 0.1

    def test_what_others_commit_meanwhile_is_not_written_again(self, book: Any, make_pulse: Any, wait_until: Any) -> None:
        make_pulse()
        book.recorder.commit(book.recorder.put(book.entry()))
        wait_until(lambda: book.recorder.wake is not None)  # it has looked, and sleeps
        assert book.batches == [(1, 0)]

    def test_it_works_again_after_it_had_nothing_to_do(self, book: Any, make_pulse: Any, wait_until: Any) -> None:
        make_pulse()
        for n in range(1, 6):
            book.recorder.put_logs([book.line(str(n))])
            wait_until(lambda: book.recorder.waiting == 0)
            wait_until(lambda: book.recorder.wake is not None)  # it sleeps
        assert book.messages() == ["1", "2", "3", "4", "5"]

    def test_what_is_put_at_the_moment_it_goes_to_sleep_is_written_too(
        self, book: Any, make_pulse: Any, wait_until: Any
    ) -> None:
        make_pulse(interval=0.001)
        for n in range(30):
            book.recorder.put_logs([book.line(str(n))])
            wait_until(lambda: book.recorder.waiting == 0)
        assert len(book.messages()) == 30

    def test_there_is_one_thread_and_none_before_it_is_needed(
        self, book: Any, make_pulse: Any, wait_until: Any, pulse_threads: Threads
    ) -> None:
        make_pulse()
        assert pulse_threads() == []
        for _ in range(3):
            book.recorder.put(book.entry())
            wait_until(lambda: book.recorder.waiting == 0)
        (thread,) = pulse_threads()
        assert thread.daemon

    def test_a_store_that_cannot_write_is_tried_again(self, book: Any, make_pulse: Any, wait_until: Any) -> None:
        tried = threading.Event()
        book.in_the_way = StoreFull()
        real = book.recorder._write

        def write(batch: Any) -> dict[str, str]:
            tried.set()
            return real(batch)

        book.recorder._write = write
        make_pulse()
        book.recorder.put(book.entry())
        assert tried.wait(60)
        book.in_the_way = None
        wait_until(lambda: book.recorder.waiting == 0)
        assert len(book.states()) == 1


class TestRenewing:
    def test_nothing_is_renewed_before_it_is_asked_for(
        self, book: Any, make_pulse: Any, renewals: Renewals, wait_until: Any
    ) -> None:
        make_pulse(renew_seconds=0.001)
        book.recorder.put(book.entry())
        wait_until(lambda: book.recorder.wake is not None)
        assert renewals.times == []

    def test_from_then_on_it_is_renewed_again_and_again(self, make_pulse: Any, renewals: Renewals, wait_until: Any) -> None:
        make_pulse(renew_seconds=0.03).start_renewing()
        wait_until(lambda: len(renewals.times) >= 4)
        waits = [later - earlier for earlier, later in zip(renewals.times, renewals.times[1:], strict=False)]
        assert min(waits) >= 0.029

    def test_it_is_renewed_while_user_code_is_busy(self, make_pulse: Any, renewals: Renewals) -> None:
        """A loop that never lets go of the interpreter by itself."""
        make_pulse(renew_seconds=0.02).start_renewing()
        deadline = time.monotonic() + 60
        while len(renewals.times) < 3 and time.monotonic() < deadline:
            pass
        assert len(renewals.times) >= 3

    def test_it_is_renewed_while_much_is_recorded(self, book: Any, make_pulse: Any, renewals: Renewals) -> None:
        make_pulse(renew_seconds=0.02).start_renewing()
        deadline = time.monotonic() + 60
        while len(renewals.times) < 3 and time.monotonic() < deadline:
            book.recorder.commit(book.recorder.put(book.entry()))
        assert len(renewals.times) >= 3

    def test_a_renewal_that_fails_is_tried_again(self, make_pulse: Any, renewals: Renewals, wait_until: Any) -> None:
        renewals.in_the_way = StoreFull()
        make_pulse(renew_seconds=0.01).start_renewing()
        wait_until(lambda: len(renewals.times) >= 2)

    def test_asking_twice_changes_nothing(
        self, make_pulse: Any, wait_until: Any, renewals: Renewals, pulse_threads: Threads
    ) -> None:
        beating = make_pulse(renew_seconds=0.01)
        beating.start_renewing()
        beating.start_renewing()
        wait_until(lambda: renewals.times)
        assert len(pulse_threads()) == 1


class TestStopping:
    def test_its_thread_ends(self, book: Any, make_pulse: Any, pulse_threads: Threads) -> None:
        beating = make_pulse()
        book.recorder.put(book.entry())
        (thread,) = pulse_threads()
        beating.stop()
        thread.join(60)
        assert not thread.is_alive()

    def test_its_thread_ends_while_it_sleeps(self, book: Any, make_pulse: Any, wait_until: Any, pulse_threads: Threads) -> None:
        beating = make_pulse()
        book.recorder.put(book.entry())
        wait_until(lambda: book.recorder.wake is not None)
        (thread,) = pulse_threads()
        beating.stop()
        thread.join(60)
        assert not thread.is_alive()

    def test_told_to_stop_between_two_beats_it_does_nothing_more(
        self, book: Any, make_pulse: Any, renewals: Renewals, wait_until: Any, pulse_threads: Threads
    ) -> None:
        """Whoever stopped it has given the lease back and closed the store."""
        beating = make_pulse(interval=1.0, renew_seconds=0.0)  # long enough to stop it before the next beat
        beating.start_renewing()
        wait_until(lambda: renewals.times)
        before = len(renewals.times)
        beating.stop()
        (thread,) = pulse_threads()
        thread.join(60)
        assert len(renewals.times) == before
