"""The connection to a server: requests and answers, and what its errors mean."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import httpx2
import msgspec

from tidemill import exceptions
from tidemill.exceptions import ServerRefused, StoreUnreachable, TidemillError
from tidemill.protocol import MEDIA_TYPE, PROTOCOL, Greeting, Problem, pack, unpack
from tidemill.settings import Settings
from tidemill.version import __version__

T = TypeVar("T")

_CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 30.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_NOT_NOW = frozenset({408, 425, 429})
_TOO_LARGE = 413


class TooLarge(ServerRefused):
    """The server takes less at once (TIDEMILL_SERVER_MAX_BODY)."""


class ServerConnection:
    """Speaks to the server that the settings name; from any thread."""

    def __init__(self, settings: Settings) -> None:
        assert settings.api_url is not None
        self.url = address_of(settings.api_url)
        self._key = settings.api_key
        self._name_and_password = settings.api_auth_string
        self._client: httpx2.Client | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()

    def greet(self) -> Greeting:
        """Asks the server who it is.

        Raises:
            StoreUnreachable: it does not answer.
            ServerRefused: it is none of ours, too old or too new, or does not know this user.
        """
        response = self._send("GET", "engine/version")
        try:
            greeting = msgspec.json.decode(response.content, type=Greeting) if response.is_success else None
        except msgspec.DecodeError:
            greeting = None
        if greeting is None:
            if not response.is_success:
                self._raise_for(response)
            raise ServerRefused(self._not_ours())
        if greeting.protocol != PROTOCOL:
            older, newer = ("server", "client") if greeting.protocol < PROTOCOL else ("client", "server")
            raise ServerRefused(
                f"The server at {self.url} is Tidemill {greeting.tidemill} and this is {__version__}: they do not understand "
                f"each other. Upgrade the {older}, which is older than the {newer}."
            )
        return greeting

    def ask(
        self, question: str, answer: type[T] | Any, *arguments: Any, patience: float = 0.0, seconds: float | None = None
    ) -> T:
        """The answer to a question of our own protocol.

        Args:
            question: the end of its path below `/api/engine`.
            answer: its type.
            patience: seconds for which it is asked again while the server cannot be reached; only for what may be done twice.
            seconds: how long to wait for the answer; by default 30.

        Raises:
            StoreUnreachable: the server does not answer, or cannot do its work now.
            ServerRefused: it does not take the request.
            TidemillError: what it says in answer.
        """
        body = pack(arguments)
        until = time.monotonic() + patience
        pause = _FIRST_PAUSE
        while True:
            try:
                response = self._send("POST", f"engine/{question}", body, seconds)
                self._raise_for(response)
                return unpack(response.content, answer)
            except StoreUnreachable:
                if time.monotonic() + pause >= until:
                    raise
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            except msgspec.DecodeError:
                raise ServerRefused(self._not_ours()) from None

    def request(self, method: str, path: str, body: Any = None, params: dict[str, Any] | None = None) -> bytes:
        """The body of the answer to a request of the REST API, whose paths begin below `/api`.

        Raises:
            StoreUnreachable, ServerRefused, ObjectNotFound, TidemillError: as `ask`.
        """
        content = None if body is None else msgspec.json.encode(body)
        response = self._send(method, path.lstrip("/"), content, None, "application/json", params)
        self._raise_for(response)
        return response.content

    def close(self) -> None:
        """Closes its connections; the next request makes a new one."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and self._pid == os.getpid():
            client.close()

    def after_fork(self) -> None:
        """In a forked child: leaves the parent's connections alone."""
        self._lock = threading.Lock()
        self._client = None
        self._pid = os.getpid()

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        seconds: float | None = None,
        kind: str = MEDIA_TYPE,
        params: dict[str, Any] | None = None,
    ) -> httpx2.Response:
        timeout = httpx2.Timeout(seconds or _ANSWER_SECONDS, connect=min(_CONNECT_SECONDS, seconds or _CONNECT_SECONDS))
        headers = {"Content-Type": kind} if body is not None else None
        try:
            return self._http().request(
                method, f"{self.url}/{path}", content=body, headers=headers, timeout=timeout, params=params
            )
        except httpx2.InvalidURL as error:
            raise ServerRefused(f"TIDEMILL_API_URL is no address that can be asked: {error}.") from None
        except (httpx2.TransportError, httpx2.TooManyRedirects) as error:
            raise StoreUnreachable(f"The server at {self.url} cannot be reached ({_reason(error)}).") from None

    def _http(self) -> httpx2.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx2.Client(
                    headers=self._headers(),
                    auth=self._basic(),
                    verify=self.url.startswith("https://"),  # reading certificates takes 20 ms
                    limits=httpx2.Limits(max_connections=32, max_keepalive_connections=4),
                )
            return self._client

    def _headers(self) -> dict[str, str]:
        named = {"User-Agent": f"tidemill/{__version__}"}
        return {**named, "Authorization": f"Bearer {self._key}"} if self._key else named

    def _basic(self) -> tuple[str, str] | None:
        if self._key or not self._name_and_password:
            return None
        name, _, password = self._name_and_password.partition(":")
        return name, password

    def _raise_for(self, response: httpx2.Response) -> None:
        """Raises what an answer that is no success says."""
        if response.is_success:
            return
        status = response.status_code
        error, detail = _told(response)
        if status in (401, 403):
            raise ServerRefused(self._who(status, detail))
        if status == _TOO_LARGE:
            raise TooLarge(f"The server at {self.url} does not take so much at once: {detail}")
        if status >= 500 or status in _NOT_NOW:
            raise StoreUnreachable(f"The server at {self.url} cannot do its work now (HTTP {status}): {detail}")
        if error is not None:
            raise error(detail)
        if status == 404 and not detail:
            raise ServerRefused(self._not_ours())
        kind = exceptions.ObjectNotFound if status == 404 else ServerRefused
        raise kind(f"The server at {self.url} says (HTTP {status}): {detail or response.reason_phrase}")

    def _who(self, status: int, detail: str) -> str:
        if not (self._key or self._name_and_password):
            advice = "It wants to know who you are: set TIDEMILL_API_KEY to a token of that server."
        else:
            variable = "TIDEMILL_API_KEY" if self._key else "TIDEMILL_API_AUTH_STRING"
            advice = f"What it was told is in {variable}." if status == 403 else f"Check {variable}."
        return f"The server at {self.url} refuses this user (HTTP {status}). {detail} {advice}".replace("  ", " ")

    def _not_ours(self) -> str:
        return (
            f"What answers at {self.url} is no Tidemill server, or one that is too old. TIDEMILL_API_URL is the address of "
            "its API, such as http://127.0.0.1:4200/api"
        )


def address_of(api_url: str) -> str:
    """The address of an API: that of a server without a path means the API of that server."""
    return f"{api_url}/api" if not urlsplit(api_url).path.strip("/") else api_url


def _told(response: httpx2.Response) -> tuple[type[TidemillError] | None, str]:
    """Which error an answer tells, if it is one of ours, and in which words."""
    if response.headers.get("Content-Type", "").startswith(MEDIA_TYPE):
        try:
            problem: Problem = unpack(response.content, Problem)
        except msgspec.DecodeError:
            return None, ""
        kind = getattr(exceptions, problem.error, ServerRefused)
        return kind if isinstance(kind, type) and issubclass(kind, TidemillError) else ServerRefused, problem.detail
    try:
        told = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        return None, ""
    if not isinstance(told, dict):
        return None, ""
    told = cast("dict[str, Any]", told)
    detail = told.get("detail") or told.get("exception_message")
    return None, detail if isinstance(detail, str) and detail != "Not Found" else ""


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
