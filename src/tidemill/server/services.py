"""What the parts of one server process share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from litestar.di import NamedDependency

from tidemill import clock
from tidemill.server.access import StoreAccess
from tidemill.server.event_stream import EventStream
from tidemill.server.flow_run_pages import FlowRunPages
from tidemill.server.intake import Intake
from tidemill.server.live import Live
from tidemill.server.loops.catalogue import all_loops
from tidemill.server.loops.leading import Loops
from tidemill.server.metrics import Metrics
from tidemill.server.observing import Observed
from tidemill.server.security import Security
from tidemill.settings import Settings
from tidemill.store.leadership import leadership_of


@dataclass
class Services:
    """Made when the server starts, and closed when it stops."""

    settings: Settings
    access: StoreAccess
    started: int = field(default_factory=clock.now)
    metrics: Metrics = field(default_factory=Metrics)
    flow_run_pages: FlowRunPages = field(default_factory=FlowRunPages)
    security: Security = field(init=False)
    intake: Intake = field(init=False)
    live: Live = field(init=False)
    event_stream: EventStream = field(init=False)
    observed: Observed = field(init=False)
    loops: Loops = field(init=False)
    # Set when the server is asked to stop: what never ends by itself, such as a live stream, ends then.
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.access.observe = self.metrics.observe_store
        self.security = Security(self.settings, self.access)
        self.observed = Observed(self.access)
        leadership = leadership_of(self.settings.database_address, self.settings.database_limits)
        self.loops = Loops(all_loops(self.access, self.settings, self.metrics), self.access, leadership)
        self.live = Live(self.access, self.stopping)
        self.event_stream = EventStream(self.access, self.live)
        self.intake = Intake(self.access, self.settings.server_max_event, self.event_stream.arrived)

    async def close(self) -> None:
        await self.loops.stop()
        await self.live.close()
        await self.intake.close()
        self.access.close()


# What a handler asks for to get them.
TheServices = NamedDependency[Services]
TheStore = NamedDependency[StoreAccess]
