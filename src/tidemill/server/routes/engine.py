"""What our own engine says to a server, for which the field's API has no room: shipments of journals, and whole records.

Requests and answers are msgpack (`tidemill.protocol`). A request that only reads ends in `/read`. An error is a `Problem`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath

from tidemill import orchestration
from tidemill.exceptions import ObjectNotFound, TidemillError
from tidemill.filters import Filters, FlowRunSort, FlowSort, LogFilter, LogSort, Page, TaskRunSort
from tidemill.orchestration import cached_results, handed_over, shipped
from tidemill.protocol import MEDIA_TYPE, PROTOCOL, Greeting, Problem, Shipment, SignOfLife, pack, unpack
from tidemill.records import Lease, NewFlowRun
from tidemill.server.errors import InvalidRequest, status_of
from tidemill.server.services import TheStore
from tidemill.states import State
from tidemill.store import caching, entries, reading
from tidemill.store.caching import CachedResult
from tidemill.version import __version__


class Question(NamedTuple):
    """A request: how to read it, and the function that answers, which is given the store or a fetch, and then the parts of
    the request."""

    arguments: Any
    answer: Callable[..., Any]


_READS: dict[str, Question] = {
    "flow": Question(tuple[str], reading.flow),
    "flow_by_name": Question(tuple[str], reading.flow_by_name),
    "flows": Question(tuple[Filters, FlowSort, Page], reading.flows),
    "count_flows": Question(tuple[Filters], reading.count_flows),
    "flow_run": Question(tuple[str], reading.flow_run),
    "flow_runs": Question(tuple[Filters, FlowRunSort, Page], reading.flow_runs),
    "count_flow_runs": Question(tuple[Filters], reading.count_flow_runs),
    "flow_run_states": Question(tuple[str], reading.flow_run_states),
    "flow_run_call": Question(tuple[str], reading.flow_run_call),
    "find_flow_runs": Question(tuple[str], reading.find_flow_runs),
    "task_run": Question(tuple[str], reading.task_run),
    "task_runs": Question(tuple[Filters, TaskRunSort, Page], reading.task_runs),
    "count_task_runs": Question(tuple[Filters], reading.count_task_runs),
    "task_run_states": Question(tuple[str], reading.task_run_states),
    "task_run_entries": Question(tuple[str], entries.task_run_entries),
    "task_run_entry": Question(tuple[str], entries.task_run_entry),
    "find_task_runs": Question(tuple[str, str | None], reading.find_task_runs),
    "logs": Question(tuple[LogFilter | None, LogSort, Page], reading.logs),
    "logs_after": Question(tuple[int, str, int], reading.logs_after),
    "find_cached": Question(tuple[str, int], caching.find),
    "keyed_run": Question(tuple[str], caching.keyed_run),
    "earlier_keyed_runs": Question(tuple[str, int], caching.earlier_keyed_runs),
}
_WRITES: dict[str, Question] = {
    "shipments": Question(tuple[Shipment], shipped.record_shipment),
    "signs_of_life": Question(tuple[SignOfLife], shipped.news_for),
    "create_flow_run": Question(tuple[NewFlowRun, list[State[Any]], Lease, float], handed_over.create),
    "begin_next_attempt": Question(tuple[str, State[Any], bool, Lease, float], handed_over.begin),
    "cancel_flow_run": Question(tuple[str, str | None], orchestration.cancel_flow_run),
    "propose_flow_run_state": Question(tuple[str, State[Any]], orchestration.propose_flow_run_state),
    "delete_flow_run": Question(tuple[str], handed_over.delete),
    "rerun_from": Question(tuple[str, str], orchestration.rerun_from),
    "set_task_run_state": Question(tuple[str, State[Any]], orchestration.set_task_run_state),
    "claim_cache_key": Question(tuple[str, str, Lease], cached_results.claim),
    "fill_cache": Question(tuple[str, CachedResult, str | None], cached_results.fill),
    "forget_cached": Question(tuple[str, str], cached_results.forget),
    "release_cache_key": Question(tuple[str, str], cached_results.release),
}


@get("/version")
async def version() -> Greeting:
    """Who this server is, and which of our own protocols it speaks."""
    return Greeting(__version__, PROTOCOL)


@post("/{question:str}/read", status_code=200, include_in_schema=False)
async def read(store: TheStore, question: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answers one of `_READS`."""
    asked, arguments = await _asked(_READS, question, request)
    return _response(200, await store.read(asked.answer, *arguments))


@post("/{question:str}", status_code=200, include_in_schema=False)
async def write(store: TheStore, question: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Does one of `_WRITES`."""
    asked, arguments = await _asked(_WRITES, question, request)
    return _response(200, await store.write(asked.answer, *arguments))


async def _asked(questions: dict[str, Question], name: str, request: Request[Any, Any, Any]) -> tuple[Question, Any]:
    question = questions.get(name)
    if question is None:
        raise ObjectNotFound(f"This server ({__version__}) knows no {name!r}; it is older than its client, or newer.")
    try:
        return question, unpack(await request.body(), question.arguments)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidRequest(f"The request is not understood: {error}") from None


def _response(status: int, answer: Any) -> Response[bytes]:
    return Response(pack(answer), status_code=status, media_type=MEDIA_TYPE)


def _problem(request: Request[Any, Any, Any], error: TidemillError) -> Response[bytes]:
    return _response(status_of(error), Problem(type(error).__name__, str(error)))


def _not_valid(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return _problem(request, InvalidRequest(f"The request is not understood: {error}"))


HANDLERS = [
    Router(
        "/engine",
        route_handlers=[version, read, write],
        exception_handlers={TidemillError: _problem, ValueError: _not_valid},
        request_max_body_size=None,  # who stands before the application sees to that
    )
]
