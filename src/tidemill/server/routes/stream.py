"""What happens, as server-sent events: for the web page and for whoever follows runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

import msgspec
from litestar import get
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream

from tidemill import ids
from tidemill.server.errors import InvalidRequest
from tidemill.server.following import KINDS, Selection, sse_frame
from tidemill.server.live import Listener, Live
from tidemill.server.parameters import UUID_PATTERN
from tidemill.server.services import TheServices

_HEARTBEAT_SECONDS = 15.0
_HEARTBEAT = b": still here\n\n"
_RECONNECT_AFTER = b"retry: 1000\n\n"
# Says from where to go on, before anything has happened, or where nothing has that was asked for.
_POSITION = "position"
_HEADERS = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}

_RunIds = Annotated[
    list[Annotated[str, msgspec.Meta(pattern=UUID_PATTERN)]] | None,
    QueryParameter(description="Only these flow runs, with their task runs and logs; all, if none is named."),
]
_Subflows = Annotated[bool, QueryParameter(description="Of these flow runs also the subflow runs.")]
_Kinds = Annotated[list[str] | None, QueryParameter(description="Only these kinds of events: flow-run, task-run, log.")]
_After = Annotated[str | None, QueryParameter(description="As the header Last-Event-ID, which comes first.")]
_LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", description="Goes on after the event of this id; from now on, if there is none."),
]


@get("/events/stream", media_type="text/event-stream")
async def stream(
    services: TheServices,
    flow_run_id: _RunIds = None,
    include_subflows: _Subflows = False,
    kinds: _Kinds = None,
    last_event_id: _After = None,
    last_event: _LastEventId = None,
) -> Stream:
    """Server-sent events from now on: `flow-run` and `task-run` (a run as it is now, whenever it changed), `log` (a line),
    `deleted` (a flow run that is gone), and `reset`: the events since the last one are not known any more, so read everything
    anew. `position` says only from where to go on. The ids of events hold for every server of the same database, before and
    after it was started anew."""
    selection = Selection(
        None if flow_run_id is None else [ids.from_bytes(ids.to_bytes(run_id)) for run_id in flow_run_id],
        include_subflows=include_subflows,
        kinds=_kinds(kinds),
    )
    listener = await services.live.listen(selection, last_event or last_event_id or None)
    return Stream(_frames(services.live, listener), media_type="text/event-stream", headers=_HEADERS)


def _kinds(asked: list[str] | None) -> frozenset[str]:
    if asked is None:
        return KINDS
    kinds = frozenset(kind for part in asked for kind in part.split(",") if kind)
    if not kinds or not kinds <= KINDS:
        raise InvalidRequest(f"kinds can be {', '.join(sorted(KINDS))}, with commas between them.")
    return kinds


async def _frames(live: Live, listener: Listener) -> AsyncGenerator[bytes]:
    """The pieces of the answer, until the server stops or whoever listens has gone."""
    try:
        told = listener.position
        yield _RECONNECT_AFTER + _position(told)
        while not live.closed:
            events = await listener.next(_HEARTBEAT_SECONDS)
            if events:
                told = events[-1].id
                yield b"".join(event.frame for event in events)
            elif not live.closed:
                yield _HEARTBEAT if listener.position == told else _position(listener.position)
                told = listener.position
    finally:
        listener.close()


def _position(position: str) -> bytes:
    return sse_frame(_POSITION, position, b"{}") if position else b""


HANDLERS = [stream]
