"""What the parts of one server process share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from litestar.di import NamedDependency

from tidemill import clock
from tidemill.server.access import StoreAccess
from tidemill.server.event_stream import EventStream
from tidemill.server.intake import Intake
from tidemill.server.live import Live
from tidemill.server.security import Security
from tidemill.settings import Settings


@dataclass
class Services:
    """Made when the server starts, and closed when it stops."""

    settings: Settings
    access: StoreAccess
    started: int = field(default_factory=clock.now)
    security: Security = field(init=False)
    intake: Intake = field(init=False)
    live: Live = field(init=False)
    event_stream: EventStream = field(init=False)
    # Set when the server is asked to stop: what never ends by itself, such as a live stream, ends then.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.security = Security(self.settings, self.access)
        self.live = Live(self.access, self.stopping)
        self.event_stream = EventStream(self.access, self.live)
        self.intake = Intake(self.access, self.settings.server_max_event, self.event_stream.arrived)

    async def close(self) -> None:
        await self.live.close()
        await self.intake.close()
        self.access.close()


# What a handler asks for to get them.
TheServices = NamedDependency[Services]
TheStore = NamedDependency[StoreAccess]
