"""The server as a program: what must be so before it starts, and how many processes it has."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable

from tidemill import clock
from tidemill.exceptions import TidemillError
from tidemill.orchestration.grace import grant_grace
from tidemill.server import page, pid_file
from tidemill.server.security import is_loopback
from tidemill.server.serving import bind, open_services, serve, set_up_logging
from tidemill.server.workers import Workers
from tidemill.settings import Settings
from tidemill.store import Store, tokens
from tidemill.version import __version__

_log = logging.getLogger("tidemill.server")


class ServerNotStarted(TidemillError):
    """The server cannot be started like this."""


def run(settings: Settings, *, workers: int, announce: Callable[[str, str | None], None]) -> None:
    """Serves the API and the page until it is asked to stop.

    Args:
        workers: how many processes answer, on one address.
        announce: told the address, and that of the web page (None if that was not built), once the server answers.

    Raises:
        ServerNotStarted: it may not listen there, or cannot.
        StoreError: the database cannot be opened.
    """
    set_up_logging(settings)
    services = open_services(settings)
    store = services.access.store
    store.database.fetch("SELECT 1", ())
    _refuse_strangers(settings, store)
    listening = _bound(settings)
    host, port = settings.server_api_host, listening.getsockname()[1]
    grant_grace(store, clock.now(), settings.lease_seconds)
    files: list[str] = []

    def ready() -> None:
        try:
            files.append(pid_file.write(settings.home, host, port, __version__))
        except OSError as error:  # a full disk, say: those who come are served all the same
            path = pid_file.path_of(settings.home, port)
            _log.warning("%s: %s. `tidemill server status` and `stop` do not find this server.", path, error.strerror)
        url = pid_file.url_of(host, port)
        announce(url, f"{url}{settings.ui_serve_base.rstrip('/')}/" if page.find() else None)

    try:
        if workers > 1:
            services.access.close()
            Workers(workers, listening).run(ready)
        else:
            serve(listening, services, when_ready=ready)
    finally:
        for path in files:
            pid_file.remove(path)


def _refuse_strangers(settings: Settings, store: Store) -> None:
    """Raises ServerNotStarted if anybody could come in who can reach the address."""
    host = settings.server_api_host
    if is_loopback(host) or settings.server_api_auth_string or tokens.any_recorded(store.database.fetch):
        return
    raise ServerNotStarted(
        f"Whoever can reach {host} could see and change every run here, so say first who may: create a token (tidemill server "
        "token create NAME --role admin), or set TIDEMILL_SERVER_API_AUTH_STRING=NAME:PASSWORD. To serve this machine alone, "
        "listen on 127.0.0.1."
    )


def _bound(settings: Settings) -> socket.socket:
    host, port = settings.server_api_host, settings.server_api_port
    try:
        return bind(host, port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise ServerNotStarted(f"The server cannot listen on {host}, port {port}: {error.strerror or error}.") from None
    other = pid_file.running(settings.home, port)
    if other is not None:
        raise ServerNotStarted(
            f"A server of this home answers at {other.url} already (process {other.process.pid}). To end it: tidemill server "
            f"stop --port {port}. To start another beside it, choose another port: --port {port + 1}"
        )
    raise ServerNotStarted(f"Another program has port {port} of {host}. Choose another port: --port {port + 1}")
