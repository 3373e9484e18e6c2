"""`/logs/out`: tells a client of the lines that runs log, from now on."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
from litestar import websocket
from litestar.exceptions import WebSocketDisconnect

from tidemill import ids
from tidemill.filters import IdFilter, LevelFilter, LogFilter, Operator, TextSearchFilter, TimeFilter
from tidemill.records import Log
from tidemill.server.following import LOG, Selection
from tidemill.server.live import Listener
from tidemill.server.services import TheServices
from tidemill.server.sockets.greeting import Socket, admitted, asked
from tidemill.server.sockets.telling import tell_until_gone

_TERM = re.compile(r'([+-]?)(?:"([^"]*)"|(\S+))')


class Asked(msgspec.Struct, tag_field="type", tag="filter"):
    filter: LogFilter


@websocket("/logs/out")
async def logs_out(socket: Socket, services: TheServices) -> None:
    try:
        if not await admitted(socket, services):
            return
        wanted: Asked | None = await asked(socket, Asked)
    except WebSocketDisconnect:
        return
    if wanted is None:
        return
    runs = wanted.filter.flow_run_id.any_ if wanted.filter.flow_run_id and wanted.filter.operator is Operator.and_ else None
    listener = await services.live.listen(Selection(runs, kinds=[LOG]))
    try:
        await tell_until_gone(socket, _tell(socket, listener, wanted.filter))
    finally:
        listener.close()


async def _tell(socket: Socket, listener: Listener, filter: LogFilter) -> None:
    while found := await listener.next():
        for event in found:
            if isinstance(event.record, Log) and is_wanted(filter, event.record):
                await socket.send_text(b'{"type":"log","log":%b}' % event.encoded)


def is_wanted(filter: LogFilter, log: Log) -> bool:
    """Whether the filter asks for a line, as `store.filtering.log_condition` does in the database."""
    answers = [
        *_of_level(filter.level, log.level),
        *_of_time(filter.timestamp, log.timestamp),
        *_of_id(filter.flow_run_id, log.flow_run_id),
        *_of_id(filter.task_run_id, log.task_run_id),
        *_of_text(filter.text, log),
    ]
    return all(answers) if filter.operator is Operator.and_ or not answers else any(answers)


def _of_level(filter: LevelFilter | None, level: int) -> list[bool]:
    if filter is None or filter == LevelFilter():
        return []
    return [(filter.ge_ is None or level >= filter.ge_) and (filter.le_ is None or level <= filter.le_)]


def _of_time(filter: TimeFilter | None, time: datetime) -> list[bool]:
    if filter is None or filter == TimeFilter():
        return []
    after = filter.after_ is None or time >= _aware(filter.after_)
    before = filter.before_ is None or time <= _aware(filter.before_)
    return [after and before and filter.is_null_ is not True]


def _of_id(filter: IdFilter | None, identifier: str | None) -> list[bool]:
    if filter is None or filter == IdFilter():
        return []
    parts: list[bool] = []
    if filter.any_ is not None:
        parts.append(identifier in [_plain(wanted) for wanted in filter.any_])
    if filter.not_any_ is not None:
        parts.append(identifier not in [_plain(unwanted) for unwanted in filter.not_any_])
    if filter.is_null_ is not None:
        parts.append((identifier is None) is filter.is_null_)
    return [all(parts) if filter.operator is Operator.and_ else any(parts)]


def _of_text(filter: TextSearchFilter | None, log: Log) -> list[bool]:
    if filter is None:
        return []
    said = f"{log.message}\n{log.name}".lower()
    words: dict[str, list[str]] = {"": [], "+": [], "-": []}
    for sign, quoted, bare in _TERM.findall(filter.query.lower()):
        words[sign].append(quoted or bare)
    any_of = not words[""] or any(word in said for word in words[""])
    return [any_of and all(word in said for word in words["+"]) and not any(word in said for word in words["-"])]


def _aware(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def _plain(identifier: str) -> str:
    return ids.from_bytes(ids.to_bytes(identifier))


HANDLERS = [logs_out]
