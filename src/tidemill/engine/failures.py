"""Exceptions as states, and as text people want to read: without our own frames."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager

from tidemill.exceptions import TerminationSignal
from tidemill.interrupts import LimitPassed, Stopped, unwinding_signals
from tidemill.states import ErrorSummary
from tidemill.texts import storable

_OUR_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LONGEST_SUMMARY = 32 * 1024
_FRAMES_TO_RECOVER = 300


def traceback_text(error: BaseException) -> str:
    """The exception with its traceback, notes, causes and members, as Python prints them, from the user's frame on."""
    summary = traceback.TracebackException(type(error), error, error.__traceback__, compact=True)
    _hide_our_frames(summary)
    return "".join(summary.format()).rstrip("\n")


def error_summary(error: BaseException, text: str) -> ErrorSummary:
    """What is kept of an exception for those who cannot load it; long texts are cut."""
    return ErrorSummary(
        type=f"{type(error).__module__}.{type(error).__qualname__}",
        message=_cut(message_of(error)),
        traceback=_cut(text),
    )


def message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a broken __str__ must not hide that the run failed
        return "(the exception has no readable message)"


def crash_message(error: BaseException) -> str:
    """Why a run ended that neither returned nor failed."""
    if isinstance(error, TerminationSignal) or (is_cancellation(error) and unwinding_signals.terminated):
        return "Execution was aborted by a termination signal."
    if isinstance(error, KeyboardInterrupt) or (is_cancellation(error) and unwinding_signals.interrupted):
        return "Execution was aborted by an interrupt signal."
    if isinstance(error, Stopped):
        return str(error) or "The run was cancelled."
    if isinstance(error, SystemExit):
        return "Execution was aborted by Python system exit call."
    if isinstance(error, LimitPassed):
        return "Execution was interrupted by the time limit of the run around it."
    if is_cancellation(error) or isinstance(error, GeneratorExit):
        return "Execution was cancelled by the runtime environment."
    return "Execution was interrupted by an unexpected exception."


@contextmanager
def room_to_recover(error: BaseException) -> Generator[None]:
    """Lends some stack to the block that records a RecursionError, which otherwise would run into it again."""
    if not isinstance(error, RecursionError):
        yield
        return
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _FRAMES_TO_RECOVER)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def is_cancellation(error: BaseException) -> bool:
    """Whether it is what an asyncio task gets that is cancelled."""
    # asyncio is not imported for this: a plain program does not load it.
    return any(kind.__name__ == "CancelledError" and kind.__module__ == "asyncio.exceptions" for kind in type(error).__mro__)


def _hide_our_frames(summary: traceback.TracebackException) -> None:
    seen: set[int] = set()
    pending: list[traceback.TracebackException | None] = [summary]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        users = [frame for frame in one.stack if not frame.filename.startswith(_OUR_FOLDER)]
        one.stack = traceback.StackSummary.from_list(users)
        pending += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]


def _cut(text: str) -> str:
    text = storable(text)
    if len(text) <= _LONGEST_SUMMARY:
        return text
    half = _LONGEST_SUMMARY // 2
    return f"{text[:half]}\n... [{len(text) - 2 * half:,} characters cut]\n{text[-half:]}"
