"""Recorded log lines, written as a run's console showed them, with the date."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from tidemill.cli.output import exact, json_line, paint
from tidemill.client import Client
from tidemill.colour import run_blocking
from tidemill.filters import Filters, IdFilter, Page, TaskRunFilter
from tidemill.records import FlowRun, Log


class LogPrinter:
    """Prints lines of one flow run, and knows by then which task runs they are of."""

    def __init__(self, client: Client, run: FlowRun, as_json: bool) -> None:
        self._client = client
        self._flow_run = f"Flow run {run.name!r}"
        self._as_json = as_json
        self._task_runs: dict[str, str] = {}

    def print(self, lines: Sequence[Log]) -> None:
        self._learn_names(lines)
        for line in lines:
            print(json_line(line) if self._as_json else self._formatted(line))
        sys.stdout.flush()

    def _formatted(self, line: Log) -> str:
        source = self._task_runs.get(line.task_run_id, "Task run") if line.task_run_id else self._flow_run
        level = paint(f"{logging.getLevelName(line.level):<7}", _colour(line.level))
        return f"{exact(line.timestamp)} | {level} | {source} - {line.message}"

    def _learn_names(self, lines: Sequence[Log]) -> None:
        unknown = list({line.task_run_id for line in lines if line.task_run_id} - self._task_runs.keys())
        if unknown and not self._as_json:
            filters = Filters(task_runs=TaskRunFilter(id=IdFilter(any_=unknown)))
            for run in run_blocking(self._client.task_runs(filters, page=Page(limit=None))):
                self._task_runs[run.id] = f"Task run {run.name!r}"


def _colour(level: int) -> str | None:
    if level >= logging.ERROR:
        return "red"
    return "yellow" if level >= logging.WARNING else None
