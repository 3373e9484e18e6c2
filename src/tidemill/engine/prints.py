"""`print` inside runs with `log_prints`: the line goes to the run's log."""

from __future__ import annotations

import builtins
import sys
from typing import Any

from tidemill.engine.context import run_here
from tidemill.logs import RunLogger

_original = builtins.print


def capture_prints() -> None:
    """Puts our `print` in the place of Python's; it behaves like Python's outside runs with `log_prints`."""
    if builtins.print is _original:
        builtins.print = _print


def _print(*values: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
    context = run_here() if file is None or file is sys.stdout else None
    if context is None or not context.log_prints:
        _original(*values, sep=sep, end=end, file=file, flush=flush)
        return
    RunLogger(context.log).info("%s", (" " if sep is None else sep).join(map(str, values)))
