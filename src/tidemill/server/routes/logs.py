"""What runs logged."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import AsyncIterator, Iterable, Sequence

from litestar import get, post
from litestar.params import JSONBody
from litestar.response import Stream

from tidemill.filters import IdFilter, LogFilter, LogSort, Page
from tidemill.records import Batch, Log, LogEntry
from tidemill.server.access import StoreAccess
from tidemill.server.answers import existing
from tidemill.server.listing import LogListing, page_of
from tidemill.server.parameters import PathId
from tidemill.server.requests import LogCreate, microseconds
from tidemill.server.routes.flow_runs import NO_FLOW_RUN
from tidemill.server.services import TheServices, TheStore
from tidemill.store import Store, reading
from tidemill.texts import storable

_LINES_AT_ONCE = 2000
_COLUMNS = ("timestamp", "level", "flow_run_id", "task_run_id", "message")


@post("/logs")
async def create_logs(store: TheStore, data: JSONBody[list[LogCreate] | LogCreate]) -> None:
    """Keeps log lines; those of flow runs that are not there (any more) are dropped."""
    lines = [_to_entry(line) for line in (data if isinstance(data, list) else [data])]
    if lines:
        await store.write(_record, lines)


@post("/logs/filter", status_code=200)
async def read_logs(store: TheStore, services: TheServices, data: JSONBody[LogListing | None] = None) -> list[Log]:
    """A page of the log lines that a filter asks for."""
    asked = data or LogListing()
    return await store.read(reading.logs, asked.logs, asked.order, page_of(services, asked.limit, asked.offset))


@get("/flow_runs/{flow_run_id:str}/logs/download", media_type="text/csv")
async def download_logs(store: TheStore, flow_run_id: PathId) -> Stream:
    """Every log line of a flow run and its task runs, as CSV."""
    run = existing(await store.read(reading.flow_run, flow_run_id), NO_FLOW_RUN)
    name = re.sub(r"[^\w.-]", "_", run.name, flags=re.ASCII)[:100]
    headers = {"Content-Disposition": f'attachment; filename="{name}-logs.csv"'}
    return Stream(lambda: _as_csv(store, flow_run_id), headers=headers)


async def _as_csv(store: StoreAccess, flow_run_id: str) -> AsyncIterator[str]:
    filter = LogFilter(flow_run_id=IdFilter(any_=[flow_run_id]))
    yield _csv_lines([_COLUMNS])
    read = 0
    while True:
        lines = await store.read(reading.logs, filter, LogSort.TIMESTAMP_ASC, Page(_LINES_AT_ONCE, read))
        if lines:
            yield _csv_lines(
                (line.timestamp.isoformat(), logging.getLevelName(line.level), line.flow_run_id, line.task_run_id, line.message)
                for line in lines
            )
        read += len(lines)
        if len(lines) < _LINES_AT_ONCE:
            return


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _record(store: Store, lines: list[LogEntry]) -> None:
    store.record(Batch(task_runs=[], logs=lines))


def _to_entry(line: LogCreate) -> LogEntry:
    time = microseconds(line.timestamp)
    return line.flow_run_id, line.task_run_id, line.level, time, storable(line.name), storable(line.message)


HANDLERS = [create_logs, read_logs, download_logs]
