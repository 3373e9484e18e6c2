"""Time limits and signals stop code, and what must not be stopped in the middle is not."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any

import pytest

from tidemill.exceptions import TerminationSignal
from tidemill.interrupts import Limit, LimitPassed, shielded, time_limit, unwinding_signals

LONG = 30
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)


@pytest.fixture(autouse=True)
def python_signals() -> Iterator[None]:
    """Signals do what they do in a fresh interpreter, whoever started the tests; afterwards what they did before."""
    before = [signal.getsignal(number) for number in SIGNALS]
    for number, handler in zip(SIGNALS, (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL), strict=True):
        signal.signal(number, handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


def spin_until(condition: Callable[[], object]) -> None:
    """Runs Python code, never blocking, until something is so; gives up after a long time."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline


def spin_through(limit: Limit) -> None:
    spin_until(lambda: limit.passed)


def in_thread(call: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()
    return answers[0]


def own_handler(number: int, frame: FrameType | None) -> None:
    """A handler as a program might have."""


class TestOnTheMainThread:
    def test_a_limit_interrupts_a_blocking_call(self) -> None:
        with pytest.raises(LimitPassed) as caught, time_limit(0.01) as limit:
            time.sleep(LONG)
        assert caught.value.limit is limit
        assert limit.passed

    def test_a_limit_that_does_not_pass_leaves_no_trace(self) -> None:
        with time_limit(LONG) as limit:
            pass
        assert not limit.passed
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL

    def test_after_the_inner_limit_the_outer_still_counts(self) -> None:
        with pytest.raises(LimitPassed) as caught, time_limit(0.03) as outer:
            with pytest.raises(LimitPassed) as inner_caught, time_limit(0.01) as inner:
                time.sleep(LONG)
            assert inner_caught.value.limit is inner
            time.sleep(LONG)
        assert caught.value.limit is outer

    def test_an_outer_limit_ends_the_inner_block(self) -> None:
        with pytest.raises(LimitPassed) as caught, time_limit(0.01) as outer, time_limit(LONG) as inner:
            time.sleep(LONG)
        assert caught.value.limit is outer
        assert not inner.passed

    def test_a_limit_that_passes_while_shielded_is_raised_after(self) -> None:
        reached = False
        with pytest.raises(LimitPassed), time_limit(0.005) as limit:
            with shielded:
                spin_through(limit)
                reached = True
            time.sleep(LONG)
        assert reached

    def test_of_two_that_passed_meanwhile_the_outer_is_raised(self) -> None:
        with pytest.raises(LimitPassed) as caught, time_limit(0.005) as outer, time_limit(0.006) as inner:
            with shielded:
                spin_through(inner)
            time.sleep(LONG)
        assert caught.value.limit is outer

    def test_a_limit_is_raised_once(self) -> None:
        cleaned = False
        with pytest.raises(LimitPassed), time_limit(0.005):
            try:
                time.sleep(LONG)
            finally:
                time.sleep(0.02)
                cleaned = True
        assert cleaned

    def test_a_handler_and_timer_of_the_programs_own_come_back(self) -> None:
        signal.signal(signal.SIGALRM, own_handler)
        signal.setitimer(signal.ITIMER_REAL, 60, 5)
        with pytest.raises(LimitPassed), time_limit(0.005), time_limit(LONG):
            time.sleep(LONG)
        assert signal.getsignal(signal.SIGALRM) is own_handler
        rest, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < rest <= 60
        assert interval == 5

    def test_a_timer_of_the_programs_own_is_not_put_off(self) -> None:
        signal.signal(signal.SIGALRM, own_handler)
        signal.setitimer(signal.ITIMER_REAL, 60)
        with time_limit(LONG):
            time.sleep(0.02)
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 60 - 0.02


class TestOnAnotherThread:
    def test_a_limit_interrupts_a_python_loop(self) -> None:
        def loop() -> bool:
            with pytest.raises(LimitPassed) as caught, time_limit(0.01) as limit:
                spin_until(lambda: False)
            return caught.value.limit is limit and limit.passed

        assert in_thread(loop)

    def test_a_call_that_blocks_ends_first_and_the_limit_says_that_it_passed(self) -> None:
        def block() -> bool:
            with pytest.raises(LimitPassed), time_limit(0.005) as limit:
                time.sleep(0.03)
            return limit.passed

        assert in_thread(block)

    def test_nothing_is_raised_after_the_block(self) -> None:
        def leave_at_the_last_moment() -> bool:
            for _ in range(50):
                try:
                    with time_limit(0.001) as limit:
                        spin_through(limit)
                except LimitPassed:
                    pass
                sum(range(1_000))
            return True

        assert in_thread(leave_at_the_last_moment)

    def test_a_limit_that_passes_while_shielded_is_raised_after(self) -> None:
        def shield() -> list[str]:
            done: list[str] = []
            with pytest.raises(LimitPassed), time_limit(0.005) as limit:
                with shielded:
                    spin_through(limit)
                    spin_until(lambda: time.monotonic() > limit.deadline + 0.01)
                    done.append("shielded")
                spin_until(lambda: False)
            return done

        assert in_thread(shield) == ["shielded"]

    def test_after_the_inner_limit_the_outer_still_counts(self) -> None:
        def nest() -> bool:
            with pytest.raises(LimitPassed) as caught, time_limit(0.05) as outer:
                with pytest.raises(LimitPassed), time_limit(0.005):
                    spin_until(lambda: False)
                spin_until(lambda: False)
            return caught.value.limit is outer

        assert in_thread(nest)

    def test_of_two_that_passed_during_one_call_the_outer_is_not_forgotten(self) -> None:
        def nest() -> bool:
            with pytest.raises(LimitPassed) as caught, time_limit(0.005) as outer:
                try:
                    with time_limit(0.010) as inner:
                        time.sleep(0.03)
                except LimitPassed as passing:
                    if passing.limit is not inner:
                        raise
                deadline = time.monotonic() + 0.5
                while time.monotonic() < deadline:
                    pass
            return caught.value.limit is outer

        assert in_thread(nest)


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "error"),
        [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminationSignal)],
        ids=["SIGINT", "SIGTERM"],
    )
    def test_a_signal_unwinds_the_block(self, number: signal.Signals, error: type[BaseException]) -> None:
        with pytest.raises(error), unwinding_signals():
            signal.raise_signal(number)
        assert unwinding_signals.terminated is (number == signal.SIGTERM)

    def test_termination_leaves_with_the_status_of_the_signal(self) -> None:
        assert TerminationSignal().code == 143

    def test_ctrl_c_in_a_shielded_block_is_held_back_to_its_end(self) -> None:
        reached: list[str] = []
        with pytest.raises(KeyboardInterrupt), unwinding_signals():
            with shielded:
                with shielded:
                    signal.raise_signal(signal.SIGINT)
                    reached.append("inner")
                reached.append("outer")
            reached.append("after")
        assert reached == ["inner", "outer"]

    def test_a_second_ctrl_c_is_not_held_back(self) -> None:
        reached: list[str] = []
        with pytest.raises(KeyboardInterrupt), unwinding_signals(), shielded:
            signal.raise_signal(signal.SIGINT)
            reached.append("first")
            signal.raise_signal(signal.SIGINT)
            reached.append("second")
        assert reached == ["first"]

    def test_a_shield_of_another_thread_holds_nothing_back(self) -> None:
        inside, leave = threading.Event(), threading.Event()

        def stand() -> None:
            with shielded:
                inside.set()
                leave.wait()

        thread = threading.Thread(target=stand)
        thread.start()
        inside.wait()
        with pytest.raises(KeyboardInterrupt), unwinding_signals():
            signal.raise_signal(signal.SIGINT)
        leave.set()
        thread.join()

    def test_the_handlers_are_put_back_by_the_outermost_block(self) -> None:
        with unwinding_signals():
            ours = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
            with unwinding_signals(), unwinding_signals():
                pass
            assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == ours
            assert signal.default_int_handler not in ours
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_handler_the_program_has_set_before_stays(self, number: signal.Signals) -> None:
        signal.signal(number, own_handler)
        with unwinding_signals():
            assert signal.getsignal(number) is own_handler
        assert signal.getsignal(number) is own_handler

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_handler_the_program_sets_meanwhile_stays(self, number: signal.Signals) -> None:
        with unwinding_signals():
            signal.signal(number, own_handler)
        assert signal.getsignal(number) is own_handler

    def test_on_another_thread_nothing_changes(self) -> None:
        def look() -> list[Any]:
            with unwinding_signals():
                return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

        assert in_thread(look) == [signal.default_int_handler, signal.SIG_DFL]

    def test_where_a_block_can_be_cancelled_termination_cancels_it(self) -> None:
        cancelled: list[str] = []
        with unwinding_signals(lambda: cancelled.append("outer")), unwinding_signals(lambda: cancelled.append("inner")):
            signal.raise_signal(signal.SIGTERM)
            assert unwinding_signals.terminated
        assert cancelled == ["outer", "inner"]

    def test_where_a_block_can_be_cancelled_ctrl_c_is_left_to_asyncio(self) -> None:
        with unwinding_signals(lambda: None):
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    @pytest.mark.parametrize("at", range(12))
    def test_ctrl_c_at_any_line_of_an_inner_shield_waits_for_the_end_of_the_outer(self, at: int) -> None:
        """A commit shields twice, one inside the other; the signal strikes before the at-th line that the inner one runs."""
        lines, code = count(), {type(shielded).__enter__.__code__, type(shielded).__exit__.__code__}

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            if frame.f_code not in code:
                return None
            if event == "line" and next(lines) == at:
                handler: Any = signal.getsignal(signal.SIGINT)
                handler(signal.SIGINT, frame)
            return trace

        reached = False
        before = sys.gettrace()
        with unwinding_signals():
            try:
                with shielded:
                    sys.settrace(trace)
                    with shielded:
                        pass
                    sys.settrace(before)
                    reached = True
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(before)
                shielded.depth.clear()
                shielded.held_back.clear()
        assert reached
