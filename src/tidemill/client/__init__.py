"""The door between what runs flows and what remembers them."""

from __future__ import annotations

from tidemill import settings as settings_module
from tidemill.client.local import LocalClient, close_sessions, session_for
from tidemill.colour import IO

Client = LocalClient


def connect(io: IO) -> Client:
    """The client for the current settings, in the colour of `io`."""
    return LocalClient(io, session_for(settings_module.current()))


__all__ = ["Client", "close_sessions", "connect"]
