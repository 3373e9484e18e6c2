"""Time limits stop code, on the main thread and on others, and not in the middle of what is shielded."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from tidemill.interrupts import Limit, LimitPassed, call_within, shielded

LONG = 30


@pytest.fixture(autouse=True)
def own_alarm() -> Iterator[None]:
    """The alarm is nobody's at the beginning, and after the test what it was before."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def spin_until(condition: Callable[[], object]) -> None:
    """Runs Python code, never blocking, until something is so; gives up after a long time."""
    deadline = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < deadline


def spin() -> None:
    spin_until(lambda: False)


def sleep() -> None:
    time.sleep(LONG)


def within(limit: Limit, body: Callable[[], Any]) -> Any:
    return call_within(limit, body, (), {})


def raised_by(limit: Limit, body: Callable[[], Any]) -> Limit:
    """The limit that is raised when a body runs within a limit."""
    with pytest.raises(LimitPassed) as caught:
        within(limit, body)
    return caught.value.limit


def in_thread(call: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(LONG)
    assert not thread.is_alive()
    if errors:
        raise errors[0]
    return answers[0]


def here(call: Callable[[], Any]) -> Any:
    return call()


def own_handler(number: int, frame: FrameType | None) -> None:
    """A handler as a program might have."""


@pytest.mark.parametrize("where", [here, in_thread], ids=["main thread", "another thread"])
class TestLimit:
    def test_a_python_loop_is_interrupted(self, where: Callable[..., Any]) -> None:
        def loop() -> bool:
            limit = Limit(0.01)
            return raised_by(limit, spin) is limit and limit.passed

        assert where(loop)

    def test_a_call_that_ends_in_time_gives_its_value(self, where: Callable[..., Any]) -> None:
        def call() -> Any:
            limit = Limit(LONG)
            return call_within(limit, divmod, (7, 2), {}), limit.passed

        assert where(call) == ((3, 1), False)

    def test_an_error_of_the_call_comes_through(self, where: Callable[..., Any]) -> None:
        def fail() -> None:
            with pytest.raises(KeyError, match="mine"):
                call_within(Limit(LONG), {}.__getitem__, ("mine",), {})

        where(fail)

    def test_after_the_inner_limit_the_outer_still_counts(self, where: Callable[..., Any]) -> None:
        def nest() -> bool:
            def body() -> None:
                raised_by(Limit(0.005), spin)
                spin()

            outer = Limit(0.05)
            return raised_by(outer, body) is outer

        assert where(nest)

    def test_an_outer_limit_ends_the_inner_block(self, where: Callable[..., Any]) -> None:
        def nest() -> bool:
            outer = Limit(0.01)
            return raised_by(outer, lambda: within(Limit(LONG), spin)) is outer

        assert where(nest)

    def test_a_limit_that_passes_while_shielded_is_raised_after(self, where: Callable[..., Any]) -> None:
        def shield() -> list[str]:
            done: list[str] = []

            def body() -> None:
                with shielded:
                    spin_until(lambda: time.monotonic() > limit.deadline + 0.01)
                    done.append("shielded")
                spin()

            limit = Limit(0.005)
            raised_by(limit, body)
            return done

        assert where(shield) == ["shielded"]

    def test_of_two_that_passed_meanwhile_the_outer_is_not_forgotten(self, where: Callable[..., Any]) -> None:
        def nest() -> bool:
            def inner() -> None:
                with shielded:
                    spin_until(lambda: time.monotonic() > outer.deadline + 0.02)
                deadline = time.monotonic() + 0.5
                spin_until(lambda: time.monotonic() > deadline)

            def body() -> None:
                limit = Limit(0.01)
                try:
                    within(limit, inner)
                except LimitPassed as passing:
                    if passing.limit is not limit:
                        raise
                deadline = time.monotonic() + 0.5
                spin_until(lambda: time.monotonic() > deadline)

            outer = Limit(0.005)
            return raised_by(outer, body) is outer

        assert where(nest)

    def test_a_limit_is_raised_once(self, where: Callable[..., Any]) -> None:
        def clean_up() -> bool:
            cleaned: list[bool] = []

            def body() -> None:
                try:
                    spin()
                finally:
                    time.sleep(0.02)
                    cleaned.append(True)

            raised_by(Limit(0.005), body)
            return cleaned == [True]

        assert where(clean_up)

    def test_nothing_is_raised_after_the_call(self, where: Callable[..., Any]) -> None:
        def leave_at_the_last_moment() -> bool:
            for _ in range(50):
                limit = Limit(0.001)
                try:
                    within(limit, lambda limit=limit: spin_until(lambda: limit.passed))
                except LimitPassed:
                    pass
                sum(range(1_000))
            return True

        assert where(leave_at_the_last_moment)


class TestMainThread:
    @pytest.mark.parametrize("block", [sleep, threading.Event().wait, lambda: os.read(os.pipe()[0], 1)])
    def test_a_call_that_blocks_is_interrupted(self, block: Callable[[], Any]) -> None:
        limit = Limit(0.01)
        assert raised_by(limit, block) is limit

    def test_a_limit_that_is_over_leaves_no_trace(self) -> None:
        within(Limit(LONG), lambda: None)
        assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
        assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL

    def test_a_handler_and_timer_of_the_programs_own_come_back(self) -> None:
        signal.signal(signal.SIGALRM, own_handler)
        signal.setitimer(signal.ITIMER_REAL, 60, 5)
        raised_by(Limit(0.005), lambda: within(Limit(LONG), sleep))
        assert signal.getsignal(signal.SIGALRM) is own_handler
        rest, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < rest <= 60
        assert interval == 5

    def test_a_timer_of_the_programs_own_is_not_put_off(self) -> None:
        signal.signal(signal.SIGALRM, own_handler)
        signal.setitimer(signal.ITIMER_REAL, 60)
        call_within(Limit(LONG), time.sleep, (0.02,), {})
        assert signal.getitimer(signal.ITIMER_REAL)[0] <= 60 - 0.02


class TestAnotherThread:
    def test_a_call_that_blocks_ends_first_and_the_limit_says_that_it_passed(self) -> None:
        def block() -> bool:
            limit = Limit(0.005)
            return raised_by(limit, lambda: time.sleep(0.03)) is limit and limit.passed

        assert in_thread(block)

    def test_of_two_that_passed_during_one_call_the_outer_is_not_forgotten(self) -> None:
        def nest() -> bool:
            def body() -> None:
                inner = Limit(0.010)
                try:
                    call_within(inner, time.sleep, (0.03,), {})
                except LimitPassed as passing:
                    if passing.limit is not inner:
                        raise
                deadline = time.monotonic() + 0.5
                spin_until(lambda: time.monotonic() > deadline)

            outer = Limit(0.005)
            return raised_by(outer, body) is outer

        assert in_thread(nest)
