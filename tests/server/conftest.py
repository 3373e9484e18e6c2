"""A server over a database of the test, in this process and over real HTTP."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn

from tidemill.server.access import StoreAccess
from tidemill.server.app import create_app
from tidemill.server.services import Services
from tidemill.settings import Settings, load
from tidemill.store import Store, open_store

Serve = Callable[..., "Served"]


class Served:
    """A server that listens, and a client that speaks to it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.services = Services(settings, StoreAccess(self._open))
        self.store = self._open()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        config = uvicorn.Config(create_app(self.services), log_level="warning", access_log=False, lifespan="on")
        self._server = uvicorn.Server(config)
        # Not `server.run`, which takes the signals of the process for itself.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._listening])))
        self._thread.start()
        self.api = httpx2.Client(base_url=f"{self.url}/api", timeout=30)

    def _open(self) -> Store:
        return open_store(self.settings.database_path, durability=self.settings.durability)

    def post(self, path: str, body: Any = None, *, code: int | None = None) -> Any:
        """The answer to a POST; with `code`, that is what its status must be, else any success."""
        return self.answer("POST", path, code, json={} if body is None else body)

    def get(self, path: str, *, code: int | None = None, **params: Any) -> Any:
        return self.answer("GET", path, code, params=params)

    def answer(self, method: str, path: str, code: int | None = None, **more: Any) -> Any:
        response = self.api.request(method, path, **more)
        expected = response.is_success if code is None else response.status_code == code
        assert expected, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def close(self) -> None:
        self.api.close()
        self._server.should_exit = True
        self._thread.join()
        self._listening.close()
        self.store.database.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server with these settings, in the test's home."""
    with contextlib.ExitStack() as running:

        def start(**settings: Any) -> Served:
            served = Served(load({"home": str(tmp_path / "home"), **settings}))
            running.callback(served.close)
            return served

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """A server with the settings that it has by default."""
    return serve()
