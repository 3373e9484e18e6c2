"""The door between what runs flows and what remembers them."""

from __future__ import annotations

from tidemill import settings as settings_module
from tidemill.client.caching import CachedResult
from tidemill.client.local import LocalClient, Started
from tidemill.client.session import close_sessions, session_for, session_of_kind
from tidemill.colour import IO

Client = LocalClient


# The last client of each colour: every task's call asks for one, nearly always for the same.
_last: dict[type[IO], tuple[settings_module.Settings, Client]] = {}


def connect(io: IO) -> Client:
    """The client for the current settings, in the colour of `io`.

    Raises:
        StoreError: a server is to record the runs that has never been reached, or that refuses this process.
    """
    current = settings_module.current()
    settings, client = _last.get(type(io), (None, None))
    if client is not None and settings is current and client.io is io and client.is_open:
        return client
    client = LocalClient(io, session_for(current)) if current.api_url is None else _connect_to_server(io, current)
    _last[type(io)] = (current, client)
    return client


def _connect_to_server(io: IO, current: settings_module.Settings) -> Client:
    from tidemill.client.journal import JournalSession
    from tidemill.client.remote import RemoteClient

    session = session_of_kind(JournalSession, current)
    session.introduce()
    return RemoteClient(io, session)


__all__ = ["CachedResult", "Client", "Started", "close_sessions", "connect"]
