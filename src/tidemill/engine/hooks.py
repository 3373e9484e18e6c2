"""Functions of the user's that are called when a run reaches a state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.colour import IO
from tidemill.engine.failures import traceback_text
from tidemill.logs import RunLog
from tidemill.states import CANCELLED, COMPLETED, CRASHED, FAILED, RUNNING, State, StateType

Hook = Callable[..., Any]

OPTION_OF_TYPE: dict[StateType, str] = {
    RUNNING: "on_running",
    COMPLETED: "on_completion",
    FAILED: "on_failure",
    CRASHED: "on_crashed",
    CANCELLED: "on_cancellation",
}


async def call_hooks(io: IO, hooks: Sequence[Hook], owner: Any, run: Any, state: State[Any], log: RunLog) -> None:
    """Calls hooks one after the other. One that fails is logged, and changes nothing for the run."""
    for hook in hooks:
        name = getattr(hook, "__name__", repr(hook))
        log.info(f"Running hook {name!r} in response to entering state {state.name!r}")
        try:
            await io.call(hook, (owner, run, state), {})
        except Exception as error:
            log.error(f"An error was encountered while running hook {name!r}:\n{traceback_text(error)}")
        else:
            log.info(f"Hook {name!r} finished running successfully")
