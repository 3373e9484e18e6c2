"""What values settings take: how each kind is read, what it accepts in words, and what of it people may see."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

LEVELS = {"NOTSET": 0, "DEBUG": 10, "INFO": 20, "WARN": 30, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}
_TRUE = {"1", "true", "yes", "on", "t", "y"}
_FALSE = {"0", "false", "no", "off", "f", "n"}
_UNITS = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}


class Kind(NamedTuple):
    """What values a setting takes: how to read one (ValueError if it is none), the rule in words, and what of a value may be
    shown to people."""

    read: Callable[[Any], Any]
    accepts: str
    shown: Callable[[Any], Any] | None = None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def as_path(value: Any) -> str:
    """A path, absolute."""
    return os.path.abspath(os.path.expanduser(_text(os.fspath(value))))


def _flag(value: Any) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError


def _count(value: Any) -> int:
    number = int(value)
    if isinstance(value, float) or number < 0:
        raise ValueError
    return number


def _size(value: Any) -> int:
    text = str(value).strip()
    digits = text.rstrip("BbGgIiKkMm ")
    unit = text[len(digits) :].strip().lower()
    if unit not in _UNITS:
        raise ValueError
    return _count(digits.replace("_", "")) * _UNITS[unit]


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


def _interval(value: Any) -> float:
    number = _seconds(value)
    if number == 0:
        raise ValueError
    return number


def _level(value: Any) -> str:
    name = str(value).strip().upper()
    if name not in LEVELS:
        _count(name)
    return name


def _api_url(value: Any) -> str:
    url = _text(value)
    if not url.startswith(("http://", "https://")):
        raise ValueError
    return url.rstrip("/")


def _port(value: Any) -> int:
    number = _count(value)
    if number > 65535:
        raise ValueError
    return number


def _list(value: Any) -> tuple[str, ...]:
    items: Sequence[Any] = value.split(",") if isinstance(value, str) else value
    return tuple(_text(item.strip()) for item in items)


def _name_and_password(value: Any) -> str:
    name, _, password = _text(value).partition(":")
    if not name or not password:
        raise ValueError
    return value


def _base_path(value: Any) -> str:
    path = _text(value).rstrip("/")
    if not re.fullmatch(r"(?!/(?:api|docs|metrics|assets)(?:/|$))(?:/[\w.~-]+)*", path, re.ASCII):
        raise ValueError
    return path or "/"


def _hidden(value: Any) -> str:
    return "********"


def _database_url(value: Any) -> str:
    url = _text(value).strip()
    scheme, separator, rest = url.partition("://")
    dialect, _, driver = scheme.partition("+")  # the driver that others name is not the one used here
    if separator and dialect in ("postgres", "postgresql") and driver in ("", "asyncpg", "psycopg", "psycopg2"):
        return f"postgresql://{rest}"
    path = rest.removeprefix("/")
    if scheme not in ("sqlite", "sqlite+aiosqlite") or path == rest or not path or path == ":memory:":
        raise ValueError
    return f"sqlite:///{path}"


def shown_url(value: Any) -> Any:
    """A URL without the passwords in it, for people to see."""
    if not isinstance(value, str):
        return value
    hidden = re.sub(r"(://[^:/?#@]*):.*@", r"\1:***@", value)
    return re.sub(r"((?:^|[?&\s])(?:ssl)?password=)[^&\s]*", r"\1***", hidden)


def database_place(url: str) -> str:
    """Where a PostgreSQL database is, in short: without password and parameters."""
    return str(shown_url(url)).partition("?")[0].replace(":***@", "@")


def choice(*names: str) -> Kind:
    """One of a few names."""

    def read(value: Any) -> str:
        text = str(value).strip().lower()
        if text not in names:
            raise ValueError
        return text

    return Kind(read, "one of " + ", ".join(names))


TEXT = Kind(_text, "a text that is not empty")
PATH = Kind(as_path, "a path")
FLAG = Kind(_flag, "true or false (or 1/0, yes/no, on/off)")
COUNT = Kind(_count, "a whole number, 0 or more")
SIZE = Kind(_size, "a number of bytes, 0 or more, with a unit if you like (64KiB, 256MiB, 1GB)")
SECONDS = Kind(_seconds, "a number of seconds, 0 or more")
INTERVAL = Kind(_interval, "a number of seconds, more than 0")
LEVEL = Kind(_level, "a level's name (DEBUG, INFO, WARNING, ERROR, CRITICAL) or number")
API_URL = Kind(_api_url, "a URL that begins with http:// or https://", shown_url)
SECRET = Kind(_text, "a text that is not empty", _hidden)
PORT = Kind(_port, "a port, 0 to 65535 (0: any that is free)")
BASE_PATH = Kind(
    _base_path, "a path that begins with /, as in /tidemill; not /api, /docs, /metrics or /assets, which are taken"
)
LIST = Kind(_list, "one or several, with commas between them")
NAME_AND_PASSWORD = Kind(_name_and_password, "a name and a password, as in name:password", _hidden)
DATABASE_URL = Kind(
    _database_url, "sqlite:///PATH (four slashes before an absolute path) or postgresql://USER@HOST/DATABASE", shown_url
)
