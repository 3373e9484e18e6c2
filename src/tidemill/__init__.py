"""Workflows that are recorded, retried and resumed, at a function call's price."""

from typing import TYPE_CHECKING, Any

from tidemill import runtime, states
from tidemill.engine.context import get_run_logger, tags
from tidemill.engine.dependencies import allow_failure, quote, unmapped
from tidemill.exceptions import TidemillError
from tidemill.flows import Flow, flow
from tidemill.futures import TaskRunFuture, TaskRunFutureList, as_completed, wait
from tidemill.runners.processes import ProcessPoolTaskRunner
from tidemill.runners.sequential import SequentialTaskRunner
from tidemill.runners.threads import ThreadPoolTaskRunner
from tidemill.states import State
from tidemill.tasks import Task, exponential_backoff, task
from tidemill.version import __version__ as __version__

if TYPE_CHECKING:
    from tidemill.client.operations import get_client as get_client
    from tidemill.runners.dask import DaskTaskRunner as DaskTaskRunner

__all__ = [
    "Flow",
    "ProcessPoolTaskRunner",
    "SequentialTaskRunner",
    "State",
    "Task",
    "TaskRunFuture",
    "TaskRunFutureList",
    "ThreadPoolTaskRunner",
    "TidemillError",
    "allow_failure",
    "as_completed",
    "exponential_backoff",
    "flow",
    "get_run_logger",
    "quote",
    "runtime",
    "states",
    "tags",
    "task",
    "unmapped",
    "wait",
]


def __getattr__(name: str) -> Any:
    """Finds what needs an extra, or is needed seldom, when it is asked for."""
    if name == "get_client":
        from tidemill.client.operations import get_client

        return get_client
    if name == "DaskTaskRunner":
        from tidemill.runners.dask import DaskTaskRunner

        return DaskTaskRunner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
