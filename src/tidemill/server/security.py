"""Who may use the server, and for what: tokens, the name and password of the settings, and roles.

A credential is what a client sends to say who it is: a token, or `name:password`. In a header it comes as `Bearer TOKEN` or
as `Basic` with the name and password in base64; there a token may be the password, for programs that know nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from tidemill import clock
from tidemill.exceptions import TidemillError
from tidemill.server.access import StoreAccess
from tidemill.server.addresses import is_of_page
from tidemill.server.attempts import Attempts
from tidemill.server.tokens import PREFIX, hash_of
from tidemill.settings import Settings
from tidemill.store import tokens
from tidemill.store.tokens import Token

_log = logging.getLogger("tidemill.server")

# For so long the database is not asked again about a token, so this is also how long a revoked one lives on.
_BELIEVED_SECONDS = 2.0
_USE_NOTED_EVERY = 60 * 1_000_000
_MOST_REMEMBERED = 1024
# After this many failures within a minute an address fills no more lines of the log.
_MOST_LINES = 5


class Role(IntEnum):
    """What a user may do; each may also do what those before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


class User(NamedTuple):
    """Who makes a request."""

    name: str
    role: Role

    def may_act_as(self, role: Role) -> bool:
        return self.role >= role


# Where nobody has asked for credentials, everybody may do everything.
ANYBODY = User("anybody", Role.ADMIN)


class Refused(TidemillError):
    """The request is refused before anybody looks at what it asks for."""

    status = 403


class NotAuthenticated(Refused):
    """This server wants to know who you are: send a token (Authorization: Bearer TOKEN), or its name and password."""

    status = 401


class TooManyAttempts(Refused):
    """Too many attempts to get in have failed from your address. Wait a minute."""

    status = 429


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from its own machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Security:
    """Knows the users of a server."""

    def __init__(self, settings: Settings, access: StoreAccess) -> None:
        self._access = access
        self._password_hash = hash_of(settings.server_api_auth_string) if settings.server_api_auth_string else None
        self._always_asks = self._password_hash is not None or not is_loopback(settings.server_api_host)
        self._asks = True
        self._asked_until = 0.0
        self._attempts = Attempts()
        self._known: dict[bytes, tuple[Token, float]] = {}
        self._under_way: set[asyncio.Task[None]] = set()

    async def needs_credentials(self) -> bool:
        """Whether requests must say who makes them: from the first token on, with a password set, or where not only this
        machine can reach the server."""
        if self._always_asks:
            return True
        now = time.monotonic()
        if now >= self._asked_until:
            self._asks = await self._access.read(tokens.any_recorded)
            self._asked_until = now + _BELIEVED_SECONDS
        return self._asks

    def tokens_changed(self) -> None:
        """A token was made or revoked here: it is not for the next request to find that out late."""
        self._asked_until = 0.0
        self._known.clear()

    async def user_of_header(self, authorization: str | None, address: str) -> User:
        """Who sends a request with this `Authorization` header from this address.

        Raises:
            NotAuthenticated: it must say who makes it, and does not, or not rightly.
            TooManyAttempts: too many from that address have failed.
        """
        return await self._user(None if authorization is None else _credential_in(authorization), address)

    async def admits_socket(self, scope: Mapping[str, Any], credential: str | None) -> bool:
        """Whether a websocket may be used. Its client says who it is in the header of its request, or else in its first
        frame, `{"type": "auth", "token": credential}`."""
        try:
            user: User = scope.get("user") or await self._user(credential or None, address_of(scope))
        except Refused:
            return False
        return user.may_act_as(role_needed_of_socket(scope["path"]))

    async def _user(self, credential: str | None, address: str) -> User:
        if not await self.needs_credentials():
            return ANYBODY
        if credential is None:
            raise NotAuthenticated
        user = await self._of_token(credential) or self._of_password(credential, address)
        if user is None:
            raise await self._failed(address)
        return user

    async def _of_token(self, credential: str) -> User | None:
        secret = credential if credential.startswith(PREFIX) else credential.partition(":")[2]
        if not secret.startswith(PREFIX):
            return None
        hash = hash_of(secret)
        token, looked_up = self._known.get(hash, (None, 0.0))
        if time.monotonic() - looked_up > _BELIEVED_SECONDS:
            found = await self._access.read(tokens.of_hash, hash)
            token = found[0] if found and hmac.compare_digest(found[1], hash) else None
            self._remember(hash, token)
        if token is None or not token.is_valid(clock.now()):
            return None
        self._note_use(token, hash)
        return User(token.name, Role[token.role.upper()])

    def _of_password(self, credential: str, address: str) -> User | None:
        if self._password_hash is None or credential.startswith(PREFIX):
            return None
        if self._attempts.are_too_many(address):
            raise TooManyAttempts
        if not hmac.compare_digest(hash_of(credential), self._password_hash):
            return None
        return User(credential.partition(":")[0], Role.ADMIN)

    def _remember(self, hash: bytes, token: Token | None) -> None:
        self._known.pop(hash, None)
        if token is not None:
            self._known[hash] = token, time.monotonic()
        while len(self._known) > _MOST_REMEMBERED:
            del self._known[next(iter(self._known))]

    def _note_use(self, token: Token, hash: bytes) -> None:
        now = clock.now()
        if token.last_used is not None and now - clock.from_datetime(token.last_used) < _USE_NOTED_EVERY:
            return
        self._known[hash] = msgspec.structs.replace(token, last_used=clock.to_datetime(now)), self._known[hash][1]
        noting = asyncio.ensure_future(self._write_use(token.id, now))
        self._under_way.add(noting)
        noting.add_done_callback(self._under_way.discard)

    async def _write_use(self, token_id: str, now: int) -> None:
        try:
            await self._access.transact(tokens.note_used, token_id, now)
        except TidemillError as error:
            _log.warning("When a token was last used cannot be recorded: %s", error)

    async def _failed(self, address: str) -> NotAuthenticated:
        count = await self._attempts.failed(address)
        if count <= _MOST_LINES:
            _log.warning("A request from %s was refused: its token or password is not right.", address)
        return NotAuthenticated("Your token or password is not right: it may have expired or been revoked.")


def address_of(scope: Mapping[str, Any]) -> str:
    """From where a request comes, as far as the connection tells."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def _credential_in(authorization: str) -> str:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() != "basic":
        return value.strip()
    try:
        return base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


# What needs which role

# A POST whose path ends like this only reads.
_READING = frozenset(
    {
        "activity",
        "count",
        "count-deployments",
        "count-task-runs",
        "counts",
        "concurrency_status",
        "filter",
        "history",
        "lateness",
        "next-runs",
        "paginate",
        "read",
        "task_run_counts",
        "validate",
    }
)
_FOR_ANYBODY = frozenset({"/api/health", "/api/ready", "/api/hello"})
# Of what is for admins, what everybody may read.
_NOT_ONLY_ADMINS = frozenset({"/api/admin/version", "/api/admin/loops", "/api/admin/storage"})


def role_needed(method: str, path: str) -> Role | None:
    """Which role a request needs; None for what anybody may ask without saying who it is."""
    path = path.rstrip("/")
    if method == "OPTIONS" or path in _FOR_ANYBODY or is_of_page(method, path):
        return None
    reads = method in ("GET", "HEAD")
    if path.startswith("/api/admin/") and not (reads and path in _NOT_ONLY_ADMINS):
        return Role.ADMIN
    if reads:
        return Role.VIEWER
    *_, before, last = ("", *path.split("/"))
    if method == "POST" and (last in _READING or before == "count-by"):
        return Role.VIEWER
    return Role.OPERATOR


def role_needed_of_socket(path: str) -> Role:
    """Which role a websocket needs: who sends events writes, who listens only reads."""
    return Role.OPERATOR if path.rstrip("/").endswith("/in") else Role.VIEWER
