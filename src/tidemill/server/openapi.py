"""The description of the API, generated from its code: a document for programs and a page for people.

Both are made when they are first asked for. The page needs nothing from elsewhere, and runs no code.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any, cast

import msgspec
from litestar import Litestar, MediaType, Request, Response, get
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin

from tidemill.version import __version__

_METHODS = ("get", "post", "put", "patch", "delete")
_NOT_FOUND = {
    "description": "There is no such record.",
    "content": {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}},
}
_INVALID = {
    "description": "The request makes no sense; it is said where.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "exception_message": {"type": "string"},
                    "exception_detail": {"type": "array", "items": {"type": "object"}},
                    "request_body": {},
                },
            }
        }
    },
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2733;background:#fff}"
    "h2{margin:2.5rem 0 .5rem}details{border:1px solid #d8dfe6;border-radius:6px;margin:.3rem 0}summary{cursor:pointer;"
    "padding:.4rem .7rem}summary b{display:inline-block;width:4.2rem}code,pre{font:13px/1.45 ui-monospace,monospace}"
    "details>div{padding:0 1rem .6rem}pre{background:#f4f6f8;padding:.6rem;border-radius:6px;overflow:auto}"
    "@media(prefers-color-scheme:dark){body{background:#14191f;color:#dbe3ea}details{border-color:#34404c}pre{background:#1d242c}}"
)


class _Page(OpenAPIRenderPlugin):
    """The page at `/docs`."""

    def __init__(self, base: str) -> None:
        super().__init__(path="/")
        self._base = base

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return page(document(request.app), self._base).encode()


def config(base: str) -> OpenAPIConfig:
    """How the framework describes the handlers, for browsers that find the server below this path."""
    return OpenAPIConfig(
        "Tidemill",
        __version__,
        path="/docs",
        render_plugins=[_Page(base)],
        use_handler_docstrings=True,
        operation_id_creator=_operation_id,
    )


@get("/openapi.json", include_in_schema=False)
async def openapi_json(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The description of the API, for programs."""
    return Response(msgspec.json.encode(document(request.app)), media_type=MediaType.JSON)


def document(app: Litestar) -> dict[str, Any]:
    """The description of an application's API, in the form of OpenAPI 3.1."""
    made = app.state.get("openapi_document")
    if made is None:
        text = msgspec.json.encode(app.openapi_schema.to_schema()).decode()
        # Names of kinds that have a parameter: Paginated_tidemill.records.FlowRun_ is a PaginatedFlowRun.
        made = msgspec.json.decode(re.sub(r"(\w+?)_(?:\w+\.)+(\w+?)_(?=\W)", _plain_name, text))
        for path, operations in made["paths"].items():
            for method in _METHODS:
                if method in operations:
                    _tidy(path, operations[method])
        app.state.openapi_document = made
    return made


def _plain_name(found: re.Match[str]) -> str:
    return found[1] if found[2] == "Any" else found[1] + found[2]


def _tidy(path: str, operation: dict[str, Any]) -> None:
    description: str = operation.get("description") or ""
    operation["summary"] = re.split(r"[.:;]\s|\.$", " ".join(description.split()), maxsplit=1)[0]
    operation.pop("deprecated", None)
    responses = operation["responses"]
    if responses.pop("400", None) is not None:
        responses["422"] = _INVALID
    if "{" in path:
        responses["404"] = _NOT_FOUND
    body = operation.get("requestBody")
    if body is not None and {"type": "null"} in body["content"].get("application/json", {}).get("schema", {}).get("oneOf", []):
        body["required"] = False


def _operation_id(handler: HTTPRouteHandler, method: object, path: list[Any]) -> str:
    name = handler.fn.__name__
    # A handler at several addresses.
    return name if len(handler.paths) < 2 else "_".join([name, *(str(part) for part in path if isinstance(part, str))])


def page(described: dict[str, Any], base: str) -> str:
    """The same as HTML."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in described["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                tag = operation.get("tags", ["Other"])[0]
                by_tag.setdefault(tag, []).append(_operation(path, method, operation))
    parts = [f"<h2>{escape(tag)}</h2>{''.join(operations)}" for tag, operations in by_tag.items()]
    schemas = described["components"]["schemas"]
    kinds = "".join(_details(f"<code>{escape(name)}</code>", _json(schema), name) for name, schema in sorted(schemas.items()))
    address = f"{base.rstrip('/')}/openapi.json"
    title = f"Tidemill {escape(described['info']['version'])}: the API"
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><h1>{title}</h1>'
        f'<p>The same for programs: <a href="{address}">/openapi.json</a></p>'
        f"{''.join(parts)}<h2>What bodies and answers hold</h2>{kinds}</body></html>"
    )


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    parts = [f"<p>{escape(operation.get('description') or '')}</p>"]
    parameters = cast("list[dict[str, Any]]", operation.get("parameters", []))
    if parameters:
        parts.append("<h4>Parameters</h4>" + _json([{"name": each["name"], "in": each["in"]} for each in parameters]))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<h4>Body ({escape(kind)})</h4>{_json(content.get('schema', {}))}")
    for status, response in operation["responses"].items():
        schema = [content.get("schema", {}) for content in response.get("content", {}).values()]
        parts.append(f"<h4>{escape(status)}</h4>" + "".join(map(_json, schema)))
    summary = f"<b>{method.upper()}</b><code>{escape(path)}</code> {escape(operation['summary'])}"
    return _details(summary, "".join(parts), operation["operationId"])


def _details(summary: str, content: str, name: str) -> str:
    return f'<details id="{escape(name)}"><summary>{summary}</summary><div>{content}</div></details>'


def _json(value: Any) -> str:
    """A schema, in which names of others lead to them."""
    text = escape(msgspec.json.format(msgspec.json.encode(value)).decode(), quote=False)
    return "<pre>" + re.sub(r"#/components/schemas/([\w.]+)", r'<a href="#\1">\1</a>', text) + "</pre>"
