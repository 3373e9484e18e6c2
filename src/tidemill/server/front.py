"""What every request passes before the application sees it, and every answer on its way out.

In this order: is the request for us, may the page that sends it do so, who sends it, may that user, is its body of a size to
read. It is then counted and written to the access log, whatever became of it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from litestar.config.cors import CORSConfig
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send, WebSocketScope

from tidemill.exceptions import StoreError
from tidemill.server.access_log import WRITERS, Answered
from tidemill.server.addresses import Addresses, is_of_page
from tidemill.server.bodies import BodyCutOff, checked
from tidemill.server.errors import status_of
from tidemill.server.metrics import Metrics
from tidemill.server.page import Page
from tidemill.server.security import NotAuthenticated, Refused, User, address_of, role_needed
from tidemill.server.services import Services
from tidemill.settings import Settings

Header = tuple[bytes, bytes]
Headers = dict[str, str]

_READ = frozenset(
    {b"host", b"origin", b"authorization", b"sec-fetch-site", b"content-length", b"content-type", b"transfer-encoding"}
)
_ON_EVERY_ANSWER: list[Header] = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
# What the API answers is no page: a browser that shows it loads nothing because of it.
_NOTHING_IS_LOADED: Header = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_NOT_STORED: Header = (b"cache-control", b"no-store")
_ASK_FOR_PASSWORD: Header = (b"www-authenticate", b'Basic realm="Tidemill", charset="UTF-8"')
_ASK_FOR_TOKEN: Header = (b"www-authenticate", b"Bearer")
_STREAM = b"text/event-stream"
_WEBSOCKET_POLICY_VIOLATION = 1008
_WEBSOCKET_TRY_AGAIN_LATER = 1013

_log = logging.getLogger("tidemill.server")


class WrongHost(Refused):
    """The server is not known by this name. If it should be, put the name into TIDEMILL_SERVER_ALLOWED_HOSTS."""

    status = 400


class WrongOrigin(Refused):
    """A page from elsewhere may change nothing here. If it should, put its origin into TIDEMILL_SERVER_CORS_ORIGINS."""


class RoleMissing(Refused):
    """Your role does not allow this."""


def cors_of(settings: Settings) -> CORSConfig | None:
    """Which web pages from elsewhere may read what we answer; none, unless the settings name them."""
    return CORSConfig(list(settings.server_cors_origins)) if settings.server_cors_origins else None


class Front:
    """The application and the web page, with all of that before them."""

    def __init__(self, app: ASGIApp, page: Page, services: Services) -> None:
        self._app = app
        self._page = page
        self._services = services
        self._security = services.security
        self._addresses = Addresses(services.settings)
        self._largest_body = services.settings.server_max_body
        self._write_line = WRITERS[services.settings.server_access_log]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        else:
            await self._connect(cast("WebSocketScope", scope), receive, send)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        path = scope["path"] = self._addresses.below_base(scope["path"])
        of_page = is_of_page(scope["method"], path)
        outgoing = _Outgoing(send, path.startswith("/api") and not of_page, self._services.metrics)
        state = cast("dict[str, Any]", scope)
        try:
            headers = _read(scope["headers"])
            try:
                state["user"] = await self._admitted(scope, headers)
                if "content-length" in headers or "transfer-encoding" in headers:
                    length, kind = headers.get("content-length"), headers.get("content-type", "")
                    receive = await checked(receive, length, kind, self._largest_body)
            except Refused as refusal:
                await self._refuse(refusal, headers, outgoing, asks=not _is_of_script(scope["headers"]))
                return
            except BodyCutOff:
                return
            except StoreError as error:  # it is not known who the user is
                _log.error("%s %s: %s", scope["method"], path, error)
                await outgoing.answer(status_of(error), {"detail": str(error), "exception_message": str(error)}, [])
                return
            if of_page:
                await self._page(scope, receive, outgoing.send)
            else:
                await self._app(scope, receive, outgoing.send)
        finally:
            outgoing.end()
            user: User | None = state.get("user")
            self._note(
                Answered(
                    scope["method"],
                    path,
                    scope["query_string"],
                    state.get("path_template"),
                    outgoing.status,
                    (outgoing.began or time.perf_counter()) - began,
                    user.name if user else None,
                    address_of(scope),
                )
            )

    async def _connect(self, scope: WebSocketScope, receive: Receive, send: Send) -> None:
        scope["path"] = self._addresses.below_base(scope["path"])
        headers = _read(scope["headers"])
        try:
            self._check_addresses("CONNECT", headers)
            if "authorization" in headers:  # else the first frame says it
                user = await self._security.user_of_header(headers["authorization"], address_of(scope))
                cast("dict[str, Any]", scope)["user"] = user
        except Refused as refusal:
            await receive()
            await send({"type": "websocket.close", "code": _WEBSOCKET_POLICY_VIOLATION, "reason": str(refusal)[:120]})
            return
        except StoreError as error:
            _log.error("CONNECT %s: %s", scope["path"], error)
            await receive()
            await send({"type": "websocket.close", "code": _WEBSOCKET_TRY_AGAIN_LATER, "reason": "The database is away."})
            return
        with self._services.metrics.listening("websocket"):
            await self._app(scope, receive, send)

    async def _admitted(self, scope: HTTPScope, headers: Headers) -> User | None:
        """The user of a request; None where nobody asks who it is."""
        self._check_addresses(scope["method"], headers)
        role = role_needed(scope["method"], scope["path"])
        if role is None:
            return None
        user = await self._security.user_of_header(headers.get("authorization"), address_of(scope))
        if not user.may_act_as(role):
            raise RoleMissing(f"You have the role {user.role.name.lower()}; this needs the role {role.name.lower()}.")
        return user

    def _check_addresses(self, method: str, headers: Headers) -> None:
        host = headers.get("host")
        if not self._addresses.is_own(host):
            raise WrongHost
        if not self._addresses.may_change(method, host, headers.get("origin"), headers.get("sec-fetch-site")):
            raise WrongOrigin

    async def _refuse(self, refusal: Refused, headers: Headers, outgoing: _Outgoing, *, asks: bool) -> None:
        """Says that a request is refused; `asks` says whether a browser may ask its user for name and password."""
        more: list[Header] = []
        if isinstance(refusal, NotAuthenticated):
            more += [_ASK_FOR_PASSWORD, _ASK_FOR_TOKEN] if asks else [_ASK_FOR_TOKEN]
        origin = headers.get("origin")
        if origin is not None and self._addresses.is_allowed_origin(origin):
            more += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        await outgoing.answer(refusal.status, {"detail": str(refusal), "exception_message": str(refusal)}, more)

    def _note(self, answered: Answered) -> None:
        self._services.metrics.observe_request(answered.route, answered.method, answered.status, answered.seconds)
        self._write_line(answered)


class _Outgoing:
    """One answer on its way out: notes its status, and adds the headers that every answer has."""

    __slots__ = ("_is_of_api", "_listening", "_metrics", "_send", "began", "status")

    def __init__(self, send: Send, is_of_api: bool, metrics: Metrics) -> None:
        self._send = send
        self._is_of_api = is_of_api
        self._metrics = metrics
        # Of one who has gone before there was an answer, as nginx writes it.
        self.status = 499
        # When an answer began that goes on for as long as somebody listens: that is no latency.
        self.began: float | None = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers: list[Header] = [*message.get("headers", ()), *_ON_EVERY_ANSWER]
            if self._is_of_api:
                headers.append(_NOTHING_IS_LOADED)
                if not any(name.lower() == _NOT_STORED[0] for name, _ in headers):
                    headers.append(_NOT_STORED)
            if any(value.startswith(_STREAM) for _, value in headers):
                self.began = time.perf_counter()
                self._listening = self._metrics.listening("stream")
                self._listening.__enter__()
            message = {**message, "headers": headers}
        await self._send(message)

    def end(self) -> None:
        """To be called when nothing more will be sent."""
        if self.began is not None:
            self._listening.__exit__(None, None, None)

    async def answer(self, status: int, content: dict[str, str], headers: list[Header]) -> None:
        body = msgspec.json.encode(content)
        about = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *headers]
        await self.send({"type": "http.response.start", "status": status, "headers": about})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _read(headers: Iterable[Header]) -> Headers:
    return {name.decode(): value.decode("latin-1") for name, value in headers if name in _READ}


def _is_of_script(headers: Iterable[Header]) -> bool:
    """Whether a script in a browser makes a request, such as our page's, which asks for credentials itself. Over plain HTTP
    browsers tell so only to their own machine; elsewhere it is theirs if it wants no page."""
    told = dict(headers)
    mode = told.get(b"sec-fetch-mode")
    if mode is not None:
        return mode != b"navigate"
    return told.get(b"user-agent", b"").startswith(b"Mozilla/") and b"text/html" not in told.get(b"accept", b"")
