"""The door between what runs flows and what remembers them."""

from __future__ import annotations

from tidemill import settings as settings_module
from tidemill.client.local import LocalClient, close_sessions, session_for
from tidemill.colour import IO
from tidemill.exceptions import StoreUnreachable

Client = LocalClient


_connected: dict[IO, tuple[settings_module.Settings, Client]] = {}


def connect(io: IO) -> Client:
    """The client for the current settings, in the colour of `io`."""
    current = settings_module.current()
    known = _connected.get(io)
    if known is not None and known[0] is current and known[1].is_open:
        return known[1]
    if current.api_url is not None:
        raise StoreUnreachable(
            f"TIDEMILL_API_URL is {current.api_url}, but this version records into a database file only. Unset it "
            "(tidemill config unset api_url)."
        )
    client = LocalClient(io, session_for(current))
    _connected[io] = (current, client)
    return client


__all__ = ["Client", "close_sessions", "connect"]
