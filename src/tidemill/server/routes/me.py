"""Who makes a request: what the page asks first."""

from __future__ import annotations

from typing import Any, Literal, cast

import msgspec
from litestar import Request, get

from tidemill.server.security import User
from tidemill.server.services import TheServices


class Me(msgspec.Struct, kw_only=True):
    """The user, and whether this server asks for credentials at all; where it does not, everybody is `anybody`, an admin."""

    name: str
    role: Literal["viewer", "operator", "admin"]
    asks_credentials: bool


@get("/me")
async def me(request: Request[Any, Any, Any], services: TheServices) -> Me:
    """Who the server takes you for, and what you may do; 401 if it wants to know."""
    user: User = request.scope["user"]
    role = cast("Literal['viewer', 'operator', 'admin']", user.role.name.lower())
    return Me(name=user.name, role=role, asks_credentials=await services.security.needs_credentials())


HANDLERS = [me]
