"""A server over a database of the test, in this process and over real HTTP."""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tidemill import orchestration
from tidemill.ids import new_id
from tidemill.records import NewFlowRun
from tidemill.server.access import StoreAccess
from tidemill.server.app import Application, create_routes
from tidemill.server.page import Page
from tidemill.server.services import Services
from tidemill.settings import Settings, load
from tidemill.states import Pending
from tidemill.store import Store, open_store

Serve = Callable[..., "Served"]


_idle: dict[tuple[object, ...], list[Application]] = {}


def _look(settings: Settings) -> tuple[object, ...]:
    """What routes are made by."""
    return settings.ui_serve_base, repr(settings.server_cors_origins)


def _application(settings: Settings) -> Application:
    """One that nobody uses now: to make its routes takes as long as many a test."""
    idle = _idle.get(_look(settings))
    return idle.pop() if idle else create_routes(settings)


class Prompt(uvicorn.Server):
    """uvicorn's server, which stops when it is told to, and not only when it next looks."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._runs = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop, self._told = asyncio.get_running_loop(), asyncio.Event()
        self._runs.set()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # which sets the date that answers have
        await self._told.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)  # for those who have gone already
        if self.server_state.connections or self.server_state.tasks:
            await super().shutdown(sockets)  # which gives them a tenth of a second
        else:
            await self.lifespan.shutdown()

    def stop(self) -> None:
        self._runs.wait()
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._told.set)


class Served:
    """A server that listens, and a client that speaks to it."""

    def __init__(self, settings: Settings, page: Path | None) -> None:
        self.settings = settings
        self.services = Services(settings, StoreAccess(self._open))
        self.store = self._open()
        self._listening = socket.create_server(("127.0.0.1", 0))
        # As the event loop sets it on sockets that it makes itself: else each answer waits 40 ms for an acknowledgement.
        self._listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._app = _application(settings)
        self._app.serve(self.services, Page(page, settings.ui_serve_base))
        config = uvicorn.Config(self._app, log_level="warning", access_log=False, lifespan="on")
        self._server = Prompt(config)
        # Not `server.run`, which takes the signals of the process for itself.
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([self._listening])))
        self._thread.start()
        # Reading certificates takes longer than most tests.
        self.api = httpx2.Client(base_url=f"{self.url}/api", timeout=30, verify=False)

    def _open(self) -> Store:
        return open_store(self.settings.database_address, durability=self.settings.durability)

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

    def stop(self) -> None:
        """Stops the server as a signal would."""
        if self._thread.is_alive():
            self._server.stop()
            self._thread.join()
        self._listening.close()

    def close(self) -> None:
        self.api.close()
        self.stop()
        self.store.database.close()
        _idle.setdefault(_look(self.settings), []).append(self._app)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server with these settings, in the test's home; `page` is the folder of its web page, if it is to have one."""
    with contextlib.ExitStack() as running:

        def start(page: Path | None = None, **settings: Any) -> Served:
            served = Served(load({"home": str(tmp_path / "home"), **settings}), page)
            running.callback(served.close)
            return served

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    """A server with the settings that it has by default."""
    return serve()


@pytest.fixture
def flow_run(served: Served) -> str:
    """A flow run in that server's database, which is Pending."""
    run = NewFlowRun(id=new_id(), name="brisk-otter", flow_name="my-flow", tags=["blue"])
    orchestration.create_flow_run(served.store, run, [Pending()], None)
    return run.id


@pytest.fixture
def speaking() -> Callable[..., contextlib.AbstractContextManager[ClientConnection]]:
    """A websocket of a client of the field that has said who it is: to `path` of a server."""

    @contextlib.contextmanager
    def connected(served: Served, path: str, token: str | None = None) -> Iterator[ClientConnection]:
        with connect(f"{served.url.replace('http', 'ws')}/api/{path}", subprotocols=[Subprotocol("prefect")]) as client:
            client.send(json.dumps({"type": "auth", "token": token}))
            assert json.loads(client.recv(timeout=30)) == {"type": "auth_success"}
            assert client.subprotocol == "prefect"
            yield client

    return connected


_TYPES = {
    "Pending": "PENDING",
    "NotReady": "PENDING",
    "AwaitingRetry": "SCHEDULED",
    "Running": "RUNNING",
    "Retrying": "RUNNING",
}


@pytest.fixture
def story() -> Callable[..., list[dict[str, Any]]]:
    """Event frames of a task run that goes through these states, a second each, as a client of the field sends them."""
    return _story


def _story(
    *states: str,
    flow_run_id: str | None = None,
    name: str = "add-1",
    tags: Sequence[str] = (),
    inputs: dict[str, Any] | None = None,
    retries: int = 0,
    retry_delay: Any = 0,
    skew: dict[str, int] | None = None,
) -> list[dict[str, Any]]:
    run_id, dynamic_key, flow_run = new_id(), new_id(), flow_run_id or new_id()
    began = datetime(2026, 11, 22, 12, tzinfo=UTC)
    frames: list[dict[str, Any]] = []
    run_count, ran_for, start = 0, 0, None
    for n, state in enumerate(states):
        time = (began + timedelta(seconds=n + (skew or {}).get(state, 0))).isoformat()
        if n and states[n - 1] in ("Running", "Retrying"):
            ran_for += 1
        type = _TYPES.get(state, "COMPLETED" if state != "Failed" else "FAILED")
        run_count += type == "RUNNING"
        start = start or (time if type == "RUNNING" else None)
        resource = {
            "prefect.resource.id": f"prefect.task-run.{run_id}",
            "prefect.resource.name": name,
            "prefect.run-count": str(run_count),
            "prefect.state-message": "",
            "prefect.state-name": state,
            "prefect.state-timestamp": time,
            "prefect.state-type": type,
            "prefect.orchestration": "client",
        }
        task_run = {
            "name": name,
            "task_key": "add-e09864e0",
            "dynamic_key": dynamic_key,
            "empirical_policy": {"max_retries": 0, "retries": retries, "retry_delay": retry_delay},
            "tags": list(tags),
            "labels": {},
            "task_inputs": inputs or {},
            "run_count": run_count,
            "flow_run_run_count": min(run_count, 1),
            "expected_start_time": began.isoformat(),
            "total_run_time": float(ran_for),
            **({"start_time": start} if start else {}),
            **({"end_time": time} if type in ("COMPLETED", "FAILED") else {}),
        }
        frames.append(
            {
                "id": new_id(),
                "occurred": time,
                "event": f"prefect.task-run.{state}",
                "follows": frames[-1]["id"] if frames else None,
                "resource": resource,
                "related": [{"prefect.resource.id": f"prefect.flow-run.{flow_run}", "prefect.resource.role": "flow-run"}],
                "payload": {
                    "intended": {"from": None, "to": type},
                    "initial_state": None,
                    "validated_state": {"type": type, "name": state, "message": "", "state_details": {}, "data": None},
                    "task_run": task_run,
                },
            }
        )
    return frames
