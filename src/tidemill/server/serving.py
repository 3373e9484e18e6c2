"""Serves the API in this process until it is asked to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from tidemill.server.access import StoreAccess
from tidemill.server.app import create_app
from tidemill.server.services import Services
from tidemill.settings import Settings
from tidemill.store import Store, open_store

# Requests that are under way when the server is asked to stop have this long to end.
GRACE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 75
_BACKLOG = 2048
_SECONDS_BETWEEN_LOOKS = 0.05


class Server(uvicorn.Server):
    """uvicorn's server, which also ends what never ends by itself, and sleeps while nothing happens.

    Args:
        when_ready: called once it answers.
    """

    def __init__(self, config: uvicorn.Config, services: Services, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._services = services
        self._when_ready = when_ready
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        await self._services.loops.start()
        # What has been loaded by now stays: the collector need not look at it again and again.
        gc.collect()
        gc.freeze()
        if not self.should_exit:
            self._when_ready()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # which renews the date that answers have
            try:
                await asyncio.wait_for(self._services.stopping.wait(), 1.0)
            except TimeoutError:
                pass

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, which tells those who are connected. Who was just being accepted would not hear of it, and could
        go on asking until everything is cut off."""
        latecomers = asyncio.create_task(self._tell_latecomers(set(self.server_state.connections)))
        try:
            await super().shutdown(sockets)
        finally:
            latecomers.cancel()

    async def _tell_latecomers(self, told: set[object]) -> None:
        while True:
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
            for connection in self.server_state.connections - told:
                connection.shutdown()
                told.add(connection)

    def stop(self) -> None:
        """Asks it to stop; to be called in its event loop."""
        self.should_exit = True
        self._services.stopping.set()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._services.stopping.set)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """As uvicorn does it, but a signal to stop is not raised again afterwards: who has stopped as asked has succeeded."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def open_services(settings: Settings) -> Services:
    """The services of a server with these settings.

    Raises:
        StoreError: the database cannot be opened.
    """

    def open_one() -> Store:
        return open_store(settings.database_address, durability=settings.durability, limits=settings.database_limits)

    return Services(settings, StoreAccess(open_one))


def serve(listening: socket.socket, services: Services, *, when_ready: Callable[[], None], parent: int | None = None) -> None:
    """Answers what comes in, until SIGTERM or SIGINT.

    Args:
        parent: a pipe that ends with the process for which this one works: then this one stops too.
    """
    config = uvicorn.Config(
        create_app(services),
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=services.settings.server_max_body,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = Server(config, services, when_ready)

    async def run() -> None:
        if parent is not None:
            asyncio.get_running_loop().add_reader(parent, server.stop)
        await server.serve([listening])

    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(run())


def set_up_logging(settings: Settings) -> None:
    """Writes what the server logs to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)-7s | %(name)s - %(message)s"))
    own = logging.getLogger("tidemill")
    for logger in (logging.getLogger(), own):  # ours hands nothing on
        logger.handlers = [handler]
    own.propagate = False
    level = settings.server_logging_level
    own.setLevel(int(level) if level.isdigit() else level)
    for chatty in ("uvicorn", "litestar", "httpx2"):
        logging.getLogger(chatty).setLevel("WARNING")


def bind(host: str, port: int) -> socket.socket:
    """Binds and listens, so that a second server finds the port taken.

    Raises:
        OSError: it is taken, or not ours to take.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not _is_number(host):
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        host = str(address[0])
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except BaseException:
        listening.close()
        raise
    return listening


def _is_number(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
