"""Workflows that are recorded, retried and resumed, at a function call's price."""

from tidemill import runtime, states
from tidemill.engine.context import get_run_logger, tags
from tidemill.exceptions import TidemillError
from tidemill.flows import Flow, flow
from tidemill.states import State
from tidemill.tasks import Task, exponential_backoff, task

__version__ = "0.1.0"

__all__ = [
    "Flow",
    "State",
    "Task",
    "TidemillError",
    "exponential_backoff",
    "flow",
    "get_run_logger",
    "runtime",
    "states",
    "tags",
    "task",
]
