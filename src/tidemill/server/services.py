"""What the parts of one server process share."""

from __future__ import annotations

from dataclasses import dataclass, field

from litestar.di import NamedDependency

from tidemill import clock
from tidemill.server.access import StoreAccess
from tidemill.server.intake import Intake
from tidemill.settings import Settings


@dataclass
class Services:
    """Made when the server starts, and closed when it stops."""

    settings: Settings
    access: StoreAccess
    started: int = field(default_factory=clock.now)
    intake: Intake = field(init=False)

    def __post_init__(self) -> None:
        self.intake = Intake(self.access)

    async def close(self) -> None:
        await self.intake.close()
        self.access.close()


# What a handler asks for to get them.
TheServices = NamedDependency[Services]
TheStore = NamedDependency[StoreAccess]
