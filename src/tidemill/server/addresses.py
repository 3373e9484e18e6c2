"""Under which names a server may be asked for, from which web pages, and below which path.

A browser lets any page send requests to servers on its own machine. It may also be led to believe that the page's own name
is that machine (DNS rebinding), so a request for a name that is not ours is refused, and so is what a foreign page wants to
change.
"""

from __future__ import annotations

import ipaddress

from tidemill.settings import Settings

_OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# With what the paths begin that are not those of the web page.
_NOT_OF_PAGE = frozenset({"api", "docs", "openapi.json", "metrics"})


class Addresses:
    """What is taken as a request for this server."""

    def __init__(self, settings: Settings) -> None:
        bound = settings.server_api_host.lower()
        named = {name.lower() for name in settings.server_allowed_hosts or ()}
        self._names = _OWN_NAMES | named | {f"[{bound}]" if ":" in bound else bound}
        self._endings = tuple(name.removeprefix("*") for name in named if name.startswith("*."))
        self._any_name = "*" in named
        # Where every address of the machine is served, any of them may be asked for: a number cannot be rebound.
        self._any_number = bound in ("0.0.0.0", "::")
        self._origins = {origin.lower().rstrip("/") for origin in settings.server_cors_origins or ()}
        self._base = settings.ui_serve_base.rstrip("/")

    def is_own(self, host: str | None) -> bool:
        """Whether a request for this host, with or without a port, is for us. Without one it comes from no browser."""
        if host is None or self._any_name:
            return True
        name = _without_port(host.lower())
        return name in self._names or name.endswith(self._endings) or (self._any_number and _is_number(name))

    def below_base(self, path: str) -> str:
        """The path of a request as it is without the base of the page, which a proxy may have left in its place or not."""
        rest = path.removeprefix(self._base)
        return (rest or "/") if rest[:1] in ("", "/") else path

    def is_allowed_origin(self, origin: str) -> bool:
        """Whether web pages from there may read what we answer."""
        return "*" in self._origins or origin.lower() in self._origins

    def may_change(self, method: str, host: str | None, origin: str | None, fetch_site: str | None) -> bool:
        """Whether a request may change something, as far as the page that sends it goes.

        Args:
            origin: of the page, as the browser tells; None from other programs.
            fetch_site: the browser's `Sec-Fetch-Site`, which says how that page and we are related.
        """
        if method in _SAFE_METHODS:
            return True
        if origin is None:
            return fetch_site in (None, "same-origin", "none")
        own = host is not None and origin.lower().partition("://")[2] == host.lower()
        return own or self.is_allowed_origin(origin)


def is_of_page(method: str, path: str) -> bool:
    """Whether a request is for the web page or one of its files, which everybody may have."""
    return method in ("GET", "HEAD") and path[1:].partition("/")[0] not in _NOT_OF_PAGE


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
