"""`tidemill server`."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from tidemill import clock, settings
from tidemill.cli.options import AS_TEXT, BARE, Format, UsageError
from tidemill.cli.output import note, show_details, show_json, when
from tidemill.cli.server_token import app as token
from tidemill.exceptions import TidemillError
from tidemill.server import pid_file
from tidemill.server.pid_file import ServerInfo
from tidemill.store import loops, open_store

app = App(name="server", help="Run a server for the runs of many.", help_format="plaintext", default_parameter=BARE)
app.command(token)

_STOP_SECONDS = 30.0
_START_SECONDS = 60.0
_ANSWER_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_LARGEST_LOG = 10 * 1024 * 1024

Host = Annotated[str | None, Parameter(help="Address to listen on; by default TIDEMILL_SERVER_API_HOST (127.0.0.1).")]
Port = Annotated[int | None, Parameter(help="Port to listen on; by default TIDEMILL_SERVER_API_PORT (4200).")]
OnPort = Annotated[int | None, Parameter(help="The one on this port, when several run.")]


@app.command
def start(
    *,
    host: Host = None,
    port: Port = None,
    background: Annotated[bool, Parameter(help="Return once it answers, and leave it running.")] = False,
    workers: Annotated[int, Parameter(help="How many processes answer.", show_default=True)] = 1,
) -> None:
    """Start a server over the database of these settings.

    For example:
        tidemill server start --background
    """
    if workers < 1:
        raise UsageError(f"--workers must be 1 or more, not {workers}.")
    chosen = {"server_api_host": host, "server_api_port": port}
    given = {name: value for name, value in chosen.items() if value is not None}
    current = settings.reload(**given)
    # For the processes that it starts.
    os.environ.update({settings.variable_of(name): str(getattr(current, name)) for name in (*given, "profile")})
    if background:
        _start_in_background(current, workers)
        return
    from tidemill.server.program import run

    run(current, workers=workers, announce=_announce)


@app.command
def stop(*, port: OnPort = None) -> None:
    """Stop a server that was started from this home, and wait for its end."""
    server = _one(port)
    if not server.is_here:
        place = server.process.hostname
        raise TidemillError(f"The server at {server.url} runs on another machine or container ({place}); stop it there.")
    os.kill(server.process.pid, signal.SIGTERM)
    if not _comes_true(lambda: not server.is_running, _STOP_SECONDS):
        raise TidemillError(
            f"The server (process {server.process.pid}) was asked to stop, and has not within {_STOP_SECONDS:.0f} seconds. To "
            f"end it whatever it does: kill -9 {server.process.pid}"
        )
    print(f"Stopped the server at {server.url} (process {server.process.pid}).")


@app.command
def status(*, port: OnPort = None, format: Format = AS_TEXT) -> int:
    """Show the servers of this home that run; the exit code is 1 if none does."""
    servers = [server for server in _running() if port in (None, server.port)]
    if format.json:
        show_json([_as_json(server) for server in servers])
    for server in () if format.json else servers:
        show_details(_details(server))
    if not servers:
        note("No server of this home is running. To start one: tidemill server start")
    return 0 if servers else 1


def _announce(url: str, page: str | None) -> None:
    shown = f"page: {page}" if page else "no page, as it was not built"
    print(f"The server answers at {url} ({shown}, API: {url}/api, documentation: {url}/docs). Ctrl-C stops it.", flush=True)


def _start_in_background(current: settings.Settings, workers: int) -> None:
    os.makedirs(current.home, exist_ok=True)
    log_path = pid_file.log_path_of(current.home, current.server_api_port)
    if os.path.exists(log_path) and os.path.getsize(log_path) > _LARGEST_LOG:
        os.replace(log_path, f"{log_path}.1")
    with open(log_path, "ab") as log:
        written = log.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill", "server", "start", "--workers", str(workers)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = _wait_for(process, current.home)
    if server is None:
        process.kill()
        with open(log_path, encoding="utf-8", errors="replace") as log:
            log.seek(written)
            said = log.read().strip().removeprefix("Error: ")
        raise TidemillError(said or f"The server did not start within {_START_SECONDS:.0f} seconds; it said nothing.")
    print(f"The server answers at {server.url} (process {process.pid}, log: {log_path}). To stop it: tidemill server stop")


def _wait_for(process: subprocess.Popen[bytes], home: str) -> ServerInfo | None:
    """The server of this process once it answers; None if it has ended instead."""
    found: list[ServerInfo] = []

    def answers_or_ended() -> bool:
        found.extend(server for server in pid_file.all_running(home) if server.process.pid == process.pid)
        return bool(found) or process.poll() is not None

    _comes_true(answers_or_ended, _START_SECONDS)
    return found[0] if found else None


def _comes_true(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def _running() -> Sequence[ServerInfo]:
    return pid_file.all_running(settings.place().home.value)


def _one(port: int | None) -> ServerInfo:
    servers = [server for server in _running() if port in (None, server.port)]
    if not servers:
        where = "" if port is None else f" on port {port}"
        raise TidemillError(f"No server of this home is running{where}.")
    if len(servers) > 1:
        ports = ", ".join(str(server.port) for server in servers)
        raise UsageError(f"Several servers of this home run, on the ports {ports}; choose one with --port.")
    return servers[0]


def _details(server: ServerInfo) -> list[tuple[str, str | None]]:
    return [
        ("Address", server.url),
        ("Answers", "yes" if _answers(server) else "no"),
        ("Process", f"{server.process.pid} on {server.process.hostname}"),
        ("Version", server.version),
        ("Started", when(clock.to_datetime(server.started))),
        ("Database", str(settings.concealed("database_url", settings.current().database_address))),
        ("Loops", _loops()),
    ]


def _as_json(server: ServerInfo) -> dict[str, object]:
    return {
        "url": server.url,
        "answers": _answers(server),
        "pid": server.process.pid,
        "hostname": server.process.hostname,
        "version": server.version,
        "started": clock.to_datetime(server.started),
        "database": settings.concealed("database_url", settings.current().database_address),
        "loops": _recorded_loops(),
    }


def _answers(server: ServerInfo) -> bool:
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/api/health")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _loops() -> str:
    found = _recorded_loops()
    failing = [f"{loop.name} fails: {loop.last_error}" for loop in found if loop.last_error]
    if failing:
        return "; ".join(failing)
    if not found:
        return "none has been recorded yet"
    ticks = [loop.last_tick for loop in found if loop.last_tick]
    last = f"; the last tick recorded was {when(max(ticks))}" if ticks else ""
    return f"{len(found)}, run by {found[0].server}{last}"


def _recorded_loops() -> list[loops.LoopHealth]:
    current = settings.current()
    store = open_store(current.database_address, durability=current.durability, limits=current.database_limits)
    try:
        return loops.all_loops(store.database.fetch)
    finally:
        store.database.close()
