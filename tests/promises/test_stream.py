"""Promise: who follows the live stream misses nothing and is told nothing twice, even while the server is killed and started
anew, and whoever writes meanwhile."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from tidemill.server import following
from tidemill.server.following import Position, Selection
from tidemill.store import open_store

LISTENERS = 200
PATIENCE = 120.0

WRITER = """
import sys
from tidemill import flow, get_run_logger, task

@task
def step(n):
    get_run_logger().info("step %s", n)
    return n

@flow
def steps():
    for n in range(8):
        step(n)

for line in sys.stdin:
    steps()
    print("done", flush=True)
"""

SERVER = """
import runpy
import sys

sys.argv = ["tidemill", "server", "start", "--port", sys.argv[1]]
runpy.run_module("tidemill", run_name="__main__")
"""


class Listener:
    """One who follows the stream and comes back whenever it breaks."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.last: str | None = None
        self.seen: list[str] = []
        self.connected = 0

    async def follow(self) -> None:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                await self.listen()
            await asyncio.sleep(0.05)  # as the stream's `retry` asks for, only shorter

    async def listen(self) -> None:
        """Until the server ends the stream.

        Raises:
            httpx2.TransportError: the connection broke.
        """
        headers = {"Last-Event-ID": self.last} if self.last is not None else {}
        async with self.client.stream("GET", "/api/events/stream", headers=headers) as response:
            assert response.status_code == 200, response.status_code
            rest = b""
            async for piece in response.aiter_bytes():
                *frames, rest = (rest + piece).split(b"\n\n")
                for frame in frames:
                    self.take(frame)

    def take(self, frame: bytes) -> None:
        fields = dict(line.split(b": ", 1) for line in frame.split(b"\n"))
        if b"data" not in fields:
            return
        kind, self.last = fields[b"event"], fields[b"id"].decode()
        assert kind != b"reset"
        if kind == b"position":
            self.connected += 1
        else:
            self.seen.append(self.last)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


def all_events(database: Path, start: str) -> list[str]:
    """The ids of everything that has happened since."""
    store = open_store(str(database), durability="process")
    events: list[str] = []
    position = Position.parse(start)
    while position is not None:
        page = following.next_page(store.database.fetch, "sqlite", position, 1000, Selection())
        events += [event.id for event in page.events]
        position = page.position if page.position != position else None
    store.database.close()
    return events


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def start_server(start_script: Any, port: int) -> Any:
    """A server at this port, which is waited for by whoever speaks to it."""
    return start_script(SERVER, str(port))


def test_no_listener_misses_an_event_or_gets_one_twice_while_the_server_is_killed(start_script: Any, home: Path):
    port = free_port()
    writers = [start_script(WRITER) for _ in range(3)]

    def write() -> None:
        for writer in writers:
            writer.stdin.write("\n")
            writer.stdin.flush()

    def written() -> bool:
        return all(writer.stdout.readline() == "done\n" for writer in writers)

    async def follow() -> None:
        server = start_server(start_script, port)
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits) as client:
            listeners = [Listener(client) for _ in range(LISTENERS)]
            following = [asyncio.create_task(listener.follow()) for listener in listeners]
            await until(lambda: all(listener.connected for listener in listeners))
            start = listeners[0].last
            assert {listener.last for listener in listeners} == {start}

            write()
            await until(lambda: any(len(listener.seen) > 20 for listener in listeners))
            server.kill()
            server.wait()
            assert await asyncio.to_thread(written)
            write()  # while there is no server
            assert await asyncio.to_thread(written)
            start_server(start_script, port)
            write()  # while they all come back
            assert await asyncio.to_thread(written)
            for writer in writers:
                await asyncio.to_thread(writer.end)

            expected = all_events(home / "tidemill.db", start)
            assert len(expected) > 9 * 8 * 2
            await until(lambda: all(listener.seen and listener.seen[-1] == expected[-1] for listener in listeners))
            assert all(listener.connected > 1 for listener in listeners)
            assert all(listener.seen == expected for listener in listeners)
            for task in following:
                task.cancel()
            await asyncio.gather(*following, return_exceptions=True)

    asyncio.run(follow())


def test_a_server_that_is_asked_to_stop_does_so_with_listeners_connected(start_script: Any, wait_until: Callable[..., None]):
    port = free_port()
    server = start_server(start_script, port)
    assert server.stdout.readline()  # it answers

    async def follow() -> None:
        async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            listeners = [Listener(client) for _ in range(5)]
            listening = [asyncio.create_task(listener.listen()) for listener in listeners]
            await until(lambda: all(listener.connected for listener in listeners))
            server.terminate()
            await asyncio.gather(*listening)  # to their end, with no connection broken

    asyncio.run(follow())
    wait_until(lambda: server.poll() is not None)
    assert server.returncode == 0, server.told
