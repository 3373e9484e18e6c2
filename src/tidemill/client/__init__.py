"""The door between what runs flows and what remembers them."""

from __future__ import annotations

from tidemill import settings as settings_module
from tidemill.client.caching import CachedResult
from tidemill.client.local import LocalClient, Started
from tidemill.client.session import close_sessions, session_for
from tidemill.colour import IO
from tidemill.exceptions import StoreUnreachable

Client = LocalClient


# The last client of each colour: every task's call asks for one, nearly always for the same.
_last: dict[type[IO], tuple[settings_module.Settings, Client]] = {}


def connect(io: IO) -> Client:
    """The client for the current settings, in the colour of `io`."""
    current = settings_module.current()
    settings, client = _last.get(type(io), (None, None))
    if client is not None and settings is current and client.io is io and client.is_open:
        return client
    if current.api_url is not None:
        raise StoreUnreachable(
            f"TIDEMILL_API_URL is {current.api_url}, but this version records into a database file only. Unset it "
            "(tidemill config unset api_url)."
        )
    client = LocalClient(io, session_for(current))
    _last[type(io)] = (current, client)
    return client


__all__ = ["CachedResult", "Client", "Started", "close_sessions", "connect"]
