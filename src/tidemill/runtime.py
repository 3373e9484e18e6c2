"""What the running code may ask about its run: `from tidemill import runtime`, then `runtime.flow_run.name`.

Outside a run each attribute is None (or empty).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tidemill.engine.context import FlowRunContext, TaskRunContext, current_run, enclosing_flow_run, run_here


def _flow_run() -> FlowRunContext | None:
    if current_run() is not None:
        return enclosing_flow_run()
    context = run_here()
    return context if isinstance(context, FlowRunContext) else None


def _task_run() -> TaskRunContext | None:
    context = current_run()
    return context if isinstance(context, TaskRunContext) else None


class _FlowRunView:
    """The flow run that the code belongs to."""

    @property
    def id(self) -> str | None:
        context = _flow_run()
        return context.id if context else None

    @property
    def name(self) -> str | None:
        context = _flow_run()
        return context.name if context else None

    @property
    def flow_name(self) -> str | None:
        context = _flow_run()
        return context.flow_name if context else None

    @property
    def flow_version(self) -> str | None:
        context = _flow_run()
        return context.flow_version if context else None

    @property
    def parameters(self) -> dict[str, Any]:
        context = _flow_run()
        return dict(context.parameters) if context else {}

    @property
    def tags(self) -> list[str]:
        context = _flow_run()
        return list(context.tags) if context else []

    @property
    def run_count(self) -> int:
        context = _flow_run()
        return context.attempt if context else 0

    @property
    def scheduled_start_time(self) -> datetime | None:
        context = _flow_run()
        return context.describe().start_time if context else None

    @property
    def parent_flow_run_id(self) -> str | None:
        context = _flow_run()
        return context.parent.id if context and context.parent else None

    @property
    def root_flow_run_id(self) -> str | None:
        context = _flow_run()
        while context is not None and context.parent is not None:
            context = context.parent
        return context.id if context else None


class _TaskRunView:
    """The task run that the code belongs to."""

    @property
    def id(self) -> str | None:
        context = _task_run()
        return context.entry.id if context else None

    @property
    def name(self) -> str | None:
        context = _task_run()
        return context.entry.name if context else None

    @property
    def task_name(self) -> str | None:
        context = _task_run()
        return context.task.name if context else None

    @property
    def parameters(self) -> dict[str, Any]:
        context = _task_run()
        return dict(context.parameters) if context else {}

    @property
    def tags(self) -> list[str]:
        context = _task_run()
        return list(context.describe().tags) if context else []

    @property
    def run_count(self) -> int:
        context = _task_run()
        return context.entry.progress.run_count if context else 0


flow_run = _FlowRunView()
task_run = _TaskRunView()
