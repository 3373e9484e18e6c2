"""Errors as the API tells them: a status and one sentence, in the shapes that the field's clients read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

from litestar import MediaType, Request, Response
from litestar.exceptions import ClientException, HTTPException, ValidationException

from tidemill.exceptions import (
    ObjectExists,
    ObjectNotFound,
    OrchestrationError,
    StoreError,
    TidemillError,
)

_log = logging.getLogger("tidemill.server")


class InvalidRequest(TidemillError):
    """The request asks for something that makes no sense (422)."""


class Conflict(TidemillError):
    """Something of that name is there already, or the state of things forbids it (409)."""


_STATUSES: dict[type[TidemillError], int] = {
    ObjectNotFound: 404,
    Conflict: 409,
    ObjectExists: 409,
    OrchestrationError: 409,
    InvalidRequest: 422,
    StoreError: 503,
}


def status_of(error: TidemillError) -> int:
    """The status of an answer that tells this error."""
    return next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), 500)


def _told(request: Request[Any, Any, Any], error: TidemillError) -> Response[Any]:
    status = status_of(error)
    if status >= 500:
        _log.error("%s %s: %s", request.method, request.url.path, error)
    if status == 422:
        return _invalid([{"msg": str(error), "type": "value_error", "loc": []}])
    return _response(status, {"detail": str(error)})


def _refused(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if isinstance(error, ValidationException):
        return _invalid(_details(error))
    if type(error) is ClientException and error.status_code == 400:  # a body that cannot be read
        return _invalid([{"msg": error.detail, "type": "json_invalid", "loc": ["body"]}])
    return _response(error.status_code, {"detail": error.detail}, dict(error.headers or {}))


def _out_of_range(request: Request[Any, Any, Any], error: OverflowError) -> Response[Any]:
    return _invalid([{"msg": f"A number is too large: {error}", "type": "value_error", "loc": ["body"]}])


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    _log.error("%s %s failed.", request.method, request.url.path, exc_info=error)
    return _response(500, {"exception_message": "Internal Server Error"})


def _details(error: ValidationException) -> list[dict[str, Any]]:
    extra: list[dict[str, Any]] = cast("list[dict[str, Any]]", error.extra) if isinstance(error.extra, list) else [{}]
    return [
        {
            "msg": each.get("message", error.detail),
            "type": "value_error",
            "loc": [each.get("source", "body"), *filter(None, [each.get("key")])],
        }
        for each in extra
    ]


def _invalid(details: list[dict[str, Any]]) -> Response[Any]:
    return _response(422, {"exception_message": "Invalid request received.", "exception_detail": details, "request_body": None})


def _response(status: int, content: dict[str, Any], headers: dict[str, str] | None = None) -> Response[Any]:
    return Response(content, status_code=status, media_type=MediaType.JSON, headers=headers)


EXCEPTION_HANDLERS: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    TidemillError: _told,
    HTTPException: _refused,
    OverflowError: _out_of_range,
    Exception: _unexpected,
}
