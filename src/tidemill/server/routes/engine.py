"""What our own engine says to a server, for which the field's API has no room: shipments of journals, and whole records.

Requests and answers are msgpack (`tidemill.protocol`). A request that only reads ends in `/read`. An error is a `Problem`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.params import FromPath

from tidemill.exceptions import ObjectNotFound, TidemillError
from tidemill.orchestration.questions import READS, WRITES, Question
from tidemill.protocol import MEDIA_TYPE, PROTOCOL, Greeting, Problem, pack, unpack
from tidemill.server.errors import InvalidRequest, status_of
from tidemill.server.services import TheStore
from tidemill.version import __version__


@get("/version")
async def version() -> Greeting:
    """Who this server is, and which of our own protocols it speaks."""
    return Greeting(__version__, PROTOCOL)


@post("/{question:str}/read", status_code=200, include_in_schema=False)
async def read(store: TheStore, question: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Answers one of `questions.READS`."""
    asked, arguments = await _asked(READS, question, request)
    return _response(200, await store.read(asked.answer, *arguments))


@post("/{question:str}", status_code=200, include_in_schema=False)
async def write(store: TheStore, question: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Does one of `questions.WRITES`."""
    asked, arguments = await _asked(WRITES, question, request)
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
