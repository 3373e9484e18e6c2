"""SIGTERM and Ctrl-C unwind code, not in the middle of what is shielded, and do afterwards what they did before."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from itertools import count
from types import FrameType
from typing import Any

import pytest

from tidemill.exceptions import TerminationSignal
from tidemill.interrupts import shielded, unwinding_signals

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def python_signals() -> Iterator[None]:
    """Signals do what they do in a fresh interpreter, whoever started the tests; afterwards what they did before."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    yield
    for number, handler in zip(BOTH, before, strict=True):
        signal.signal(number, handler)


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in BOTH]


def own_handler(number: int, frame: FrameType | None) -> None:
    """A handler as a program might have."""


def interrupted(body: Callable[[], Any]) -> None:
    """Runs a body that ends by Ctrl-C."""
    with pytest.raises(KeyboardInterrupt), unwinding_signals():
        body()


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminationSignal)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_unwinds_the_block(number: signal.Signals, error: type[BaseException]) -> None:
    with pytest.raises(error), unwinding_signals():
        signal.raise_signal(number)
    assert unwinding_signals.terminated is (number == signal.SIGTERM)


def test_termination_leaves_with_the_status_of_the_signal() -> None:
    assert TerminationSignal().code == 143


def test_the_next_block_has_not_been_terminated() -> None:
    with pytest.raises(TerminationSignal), unwinding_signals():
        signal.raise_signal(signal.SIGTERM)
    with unwinding_signals():
        assert not unwinding_signals.terminated


class TestShield:
    def test_ctrl_c_is_held_back_to_the_end_of_the_outermost_block(self) -> None:
        reached: list[str] = []

        def body() -> None:
            with shielded:
                with shielded:
                    signal.raise_signal(signal.SIGINT)
                    reached.append("inner")
                reached.append("outer")
            reached.append("after")

        interrupted(body)
        assert reached == ["inner", "outer"]

    def test_a_second_ctrl_c_is_not_held_back(self) -> None:
        reached: list[str] = []

        def body() -> None:
            with shielded:
                signal.raise_signal(signal.SIGINT)
                reached.append("first")
                signal.raise_signal(signal.SIGINT)
                reached.append("second")

        interrupted(body)
        assert reached == ["first"]

    def test_a_held_back_ctrl_c_is_raised_once(self) -> None:
        def body() -> None:
            with shielded:
                signal.raise_signal(signal.SIGINT)

        interrupted(body)
        with unwinding_signals(), shielded:
            pass

    def test_where_the_shield_is_lifted_it_is_raised_at_once(self) -> None:
        reached: list[str] = []

        def body() -> None:
            with shielded:
                signal.raise_signal(signal.SIGINT)
                reached.append("shielded")
                with shielded.lifted():
                    reached.append("lifted")

        interrupted(body)
        assert reached == ["shielded"]

    def test_after_it_was_lifted_it_shields_again(self) -> None:
        reached: list[str] = []

        def body() -> None:
            with shielded, shielded:
                with shielded.lifted():
                    reached.append("lifted")
                signal.raise_signal(signal.SIGINT)
                reached.append("shielded")

        interrupted(body)
        assert reached == ["lifted", "shielded"]

    def test_the_shield_of_another_thread_holds_nothing_back(self) -> None:
        inside, leave = threading.Event(), threading.Event()

        def stand() -> None:
            with shielded:
                inside.set()
                leave.wait()

        thread = threading.Thread(target=stand)
        thread.start()
        inside.wait()
        interrupted(lambda: signal.raise_signal(signal.SIGINT))
        leave.set()
        thread.join()

    def test_the_shield_of_a_block_that_raises_ends_with_it(self) -> None:
        with pytest.raises(KeyError), shielded:
            raise KeyError
        interrupted(lambda: signal.raise_signal(signal.SIGINT))

    @pytest.mark.parametrize("at", range(10))
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

        reached: list[str] = []
        before = sys.gettrace()
        try:
            with unwinding_signals(), shielded:
                sys.settrace(trace)
                with shielded:
                    pass
                sys.settrace(before)
                reached.append("end of the outer")
        except (KeyboardInterrupt, KeyError):
            pass
        finally:
            sys.settrace(before)
            shielded.depth.clear()
        assert reached


class TestHandlers:
    def test_they_are_put_back_by_the_outermost_block(self) -> None:
        with unwinding_signals():
            ours = handlers()
            with unwinding_signals(), unwinding_signals():
                pass
            assert handlers() == ours
            assert signal.default_int_handler not in ours
        assert handlers() == [signal.default_int_handler, signal.SIG_DFL]

    @pytest.mark.parametrize("number", BOTH)
    def test_one_the_program_has_set_before_stays(self, number: signal.Signals) -> None:
        signal.signal(number, own_handler)
        with unwinding_signals():
            assert signal.getsignal(number) is own_handler
        assert signal.getsignal(number) is own_handler

    @pytest.mark.parametrize("number", BOTH)
    def test_one_the_program_sets_meanwhile_stays(self, number: signal.Signals) -> None:
        with unwinding_signals():
            signal.signal(number, own_handler)
        assert signal.getsignal(number) is own_handler

    def test_on_another_thread_nothing_changes(self) -> None:
        seen: list[Any] = []

        def look() -> None:
            with unwinding_signals():
                seen.extend(handlers())

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert seen == [signal.default_int_handler, signal.SIG_DFL]


class TestCancelling:
    def test_where_blocks_can_be_cancelled_termination_cancels_them(self) -> None:
        cancelled: list[str] = []
        with unwinding_signals(lambda: cancelled.append("outer")), unwinding_signals(lambda: cancelled.append("inner")):
            signal.raise_signal(signal.SIGTERM)
            assert unwinding_signals.terminated
        assert cancelled == ["outer", "inner"]

    def test_ctrl_c_is_left_to_the_event_loop_and_noted(self) -> None:
        heard: list[int] = []
        signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
        with unwinding_signals(lambda: None):
            signal.raise_signal(signal.SIGINT)
            assert unwinding_signals.interrupted
        assert heard == [signal.SIGINT]

    def test_without_an_event_loop_that_listens_ctrl_c_is_left_alone(self) -> None:
        with unwinding_signals(lambda: None):
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
