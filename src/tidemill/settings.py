"""Every setting, and where its value comes from: default < profile file < `TIDEMILL_*` environment < argument.

`current()` answers from memory and costs next to nothing; the sources are read once, or again by `reload()`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple, TypeVar

from tidemill import profiles
from tidemill.exceptions import SettingsError
from tidemill.setting_kinds import (
    API_URL,
    BASE_PATH,
    COUNT,
    DATABASE_URL,
    FLAG,
    INTERVAL,
    LEVEL,
    LEVELS,
    LIST,
    NAME_AND_PASSWORD,
    PATH,
    PORT,
    SECONDS,
    SECRET,
    SIZE,
    TEXT,
    Kind,
    as_path,
    choice,
)

T = TypeVar("T")

PREFIX = "TIDEMILL_"


class DatabaseLimits(NamedTuple):
    """How long PostgreSQL is waited for, in seconds, and how many connections a process has at most."""

    connect_timeout: float = 10.0
    statement_timeout: float = 60.0
    lock_timeout: float = 30.0
    reconnect_timeout: float = 60.0
    connections: int = 16


DEFAULT_LIMITS = DatabaseLimits()


class Origin(NamedTuple):
    """A setting's value and where it comes from: `default`, `environment`, `argument` or `profile 'x' in <file>`."""

    value: Any
    source: str


def _setting(default: T, kind: Kind, summary: str, variable: str | None = None) -> T:
    metadata = {"kind": kind, "summary": summary, "variable": variable}
    # What holds a password does not come into a traceback either.
    return field(default=default, repr=kind.shown is None, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """All settings of this process, checked.

    The variable of a setting is its name in capitals after `TIDEMILL_`, unless the table gives another (`variable_of`).
    """

    home: str = _setting("~/.tidemill", PATH, "Folder that holds the database, results and profiles.")
    profile: str = _setting("default", TEXT, "Profile whose settings apply.")
    database_url: str | None = _setting(
        None, DATABASE_URL, "Database that keeps the runs; without one, the file tidemill.db in the home."
    )
    database_connect_timeout: float = _setting(
        DEFAULT_LIMITS.connect_timeout, INTERVAL, "Seconds to wait for a connection to PostgreSQL."
    )
    database_statement_timeout: float = _setting(
        DEFAULT_LIMITS.statement_timeout, SECONDS, "Seconds that a statement may take in PostgreSQL; 0 for any."
    )
    database_lock_timeout: float = _setting(
        DEFAULT_LIMITS.lock_timeout, SECONDS, "Seconds to wait for what others change in PostgreSQL; 0 for any."
    )
    database_reconnect_timeout: float = _setting(
        DEFAULT_LIMITS.reconnect_timeout, SECONDS, "Seconds for which work waits for a PostgreSQL that has gone to come back."
    )
    database_connections: int = _setting(
        DEFAULT_LIMITS.connections, COUNT, "Most connections of one process to PostgreSQL; it makes them when needed."
    )
    durability: Literal["process", "power", "relaxed"] = _setting(
        "process",
        choice("process", "power", "relaxed"),
        "What a committed run survives: the process's death, also a power cut, or (relaxed) neither for 50 ms.",
    )
    api_url: str | None = _setting(None, API_URL, "API of a server to record runs on, instead of a database here.")
    api_key: str | None = _setting(None, SECRET, "Token by which that server knows this user.")
    api_auth_string: str | None = _setting(
        None, NAME_AND_PASSWORD, "Name and password for that server, where it asks for them (name:password)."
    )
    remote_acknowledge_seconds: float = _setting(
        30.0, SECONDS, "Longest wait, at the end of a flow, for the server to have all of it; the rest is sent later."
    )
    logging_level: str = _setting("INFO", LEVEL, "Least severe level that runs log, by name or number.")
    logging_format: Literal["standard", "quiet", "json"] = _setting(
        "standard",
        choice("standard", "quiet", "json"),
        "Console lines: as people read them; without the engine's own below WARNING; or one JSON object each.",
    )
    logging_colors: bool = _setting(True, FLAG, "Colour console lines when they go to a terminal.")
    logging_max_message: int = _setting(
        1_000_000, COUNT, "Characters of a logged message that are recorded; the rest is cut, with a mark."
    )
    progress: bool = _setting(True, FLAG, "Show the progress of a long map as the last line of a terminal.")
    log_prints: bool = _setting(
        False, FLAG, "Log what flows and tasks print, where they do not say.", "TIDEMILL_LOGGING_LOG_PRINTS"
    )
    flow_default_retries: int = _setting(0, COUNT, "Retries of a flow that does not say how many.")
    flow_default_retry_delay_seconds: float = _setting(0.0, SECONDS, "Wait before a retry of a flow that does not say.")
    task_default_retries: int = _setting(0, COUNT, "Retries of a task that does not say how many.")
    task_default_retry_delay_seconds: float = _setting(0.0, SECONDS, "Wait before a retry of a task that does not say.")
    task_refresh_cache: bool = _setting(
        False, FLAG, "Execute cached tasks also where there is a result, where they do not say."
    )
    results_inline_limit: int = _setting(
        16 * 1024, SIZE, "Largest result, in bytes, that is kept in the database; larger ones become files."
    )
    results_size_limit: int = _setting(
        256 * 1024 * 1024,
        SIZE,
        "Largest result, in bytes, that is kept; a task with a larger one runs again on resume.",
    )
    results_storage_path: str = _setting("", PATH, "Folder of the results that are files; by default, `results` in the home.")
    lease_seconds: float = _setting(30.0, INTERVAL, "After this long without a sign of life a process counts as dead.")
    flush_interval: float = _setting(0.05, INTERVAL, "Longest time, in seconds, for which a transition or log waits in memory.")
    server_api_host: str = _setting("127.0.0.1", TEXT, "Address that a server listens on.")
    server_api_port: int = _setting(4200, PORT, "Port that a server listens on.")
    server_api_default_limit: int = _setting(
        200, COUNT, "Most records that a server gives in one answer, and as many as it gives unasked."
    )
    server_api_auth_string: str | None = _setting(
        None, NAME_AND_PASSWORD, "Name and password that a server asks for, beside tokens (name:password)."
    )
    server_allowed_hosts: tuple[str, ...] | None = _setting(
        None, LIST, "Names under which a server may be asked for, beside its address and localhost; `*` for any."
    )
    server_cors_origins: tuple[str, ...] | None = _setting(
        None, LIST, "Origins of web pages that may use a server from browsers (https://example.com); `*` for any."
    )
    server_max_body: int = _setting(16 * 1024 * 1024, SIZE, "Largest body of a request, in bytes, that a server accepts.")
    server_max_event: int = _setting(1024 * 1024, SIZE, "Largest payload of an event, in bytes, that a server keeps.")
    server_retention_days: int = _setting(
        365, COUNT, "Days after its end when a server removes a run, with its logs and results; 0: never."
    )
    server_logging_level: str = _setting("INFO", LEVEL, "Least severe level that a server logs, by name or number.")
    server_access_log: Literal["off", "text", "json"] = _setting(
        "off", choice("off", "text", "json"), "How a server logs each request: not, as text, or as one JSON object."
    )
    ui_serve_base: str = _setting(
        "/", BASE_PATH, "Path below which browsers find a server's page, where a proxy has it below one (/tidemill)."
    )

    @property
    def database_path(self) -> str:
        """The file of the SQLite database."""
        if self.database_url is None:
            return os.path.join(self.home, "tidemill.db")
        return as_path(self.database_url.partition(":///")[2])

    @property
    def database_address(self) -> str:
        """The file of the SQLite database, or the URL of another."""
        url = self.database_url
        return url if url is not None and url.startswith("postgresql://") else self.database_path

    @property
    def database_limits(self) -> DatabaseLimits:
        """The limits of a database that is no file."""
        return DatabaseLimits(
            self.database_connect_timeout,
            self.database_statement_timeout,
            self.database_lock_timeout,
            self.database_reconnect_timeout,
            self.database_connections,
        )

    @property
    def logging_level_number(self) -> int:
        """The logging level as `logging` counts."""
        level = LEVELS.get(self.logging_level)
        return int(self.logging_level) if level is None else level


NAMES = tuple(f.name for f in fields(Settings))
# They decide which profile file is read, so a profile cannot set them.
OUTSIDE_PROFILES = ("home", "profile")
_METADATA: dict[str, Mapping[str, Any]] = {f.name: f.metadata for f in fields(Settings)}
_DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(Settings)}
_BY_VARIABLE = {_METADATA[name]["variable"] or PREFIX + name.upper(): name for name in NAMES}
_VARIABLES = {name: variable for variable, name in _BY_VARIABLE.items()}

_arguments: dict[str, Any] = {}
_current: Settings | None = None


def current() -> Settings:
    """The settings of this process.

    Raises:
        SettingsError: a value is not one that its setting can have.
    """
    return _current or reload()


def reload(**arguments: Any) -> Settings:
    """Reads all sources again. `arguments` win over every other source, now and at later reloads.

    Raises:
        SettingsError: a value is not one that its setting can have, or an argument is not a setting.
    """
    global _arguments, _current
    merged = {**_arguments, **arguments}
    settings = load(merged)
    _arguments, _current = merged, settings
    return settings


def adopt(settings: Settings) -> None:
    """Takes over the settings of another process, for which this one executes something."""
    global _arguments, _current
    if settings != _current:
        _current = settings
        _arguments = {name: getattr(settings, name) for name in NAMES}


@contextmanager
def using(**overrides: Any) -> Generator[Settings]:
    """Replaces settings of this process, in all its threads, for the length of a `with` block.

    Raises:
        SettingsError: a value is not one that its setting can have, or a name is not a setting.
    """
    global _arguments, _current
    before = _arguments, _current
    try:
        yield reload(**overrides)
    finally:
        _arguments, _current = before


def load(arguments: Mapping[str, Any] | None = None) -> Settings:
    """The settings that the sources give, without making them those of this process."""
    return Settings(**{name: origin.value for name, origin in origins(arguments).items()})


def origins(arguments: Mapping[str, Any] | None = None) -> dict[str, Origin]:
    """Each setting with its value and where that comes from."""
    given = _arguments if arguments is None else arguments
    for name in given:
        if name not in _METADATA:
            raise SettingsError(f"There is no setting {name!r}; there is {', '.join(NAMES)}.")
    chosen = place(given)
    profile = chosen.profile.value
    in_profile = {setting_of(key) or key: value for key, value in chosen.profiles.table(profile).items()}
    source = f"profile {profile!r} in {chosen.profiles.path}"
    found = {name: _origin(name, given, in_profile, source) for name in NAMES if name not in OUTSIDE_PROFILES}
    if not found["results_storage_path"].value:
        found["results_storage_path"] = Origin(os.path.join(chosen.home.value, "results"), "default")
    return {"home": chosen.home, "profile": chosen.profile, **found}


class Place(NamedTuple):
    """Where settings are kept: the home, its profile file, and which profile of that applies."""

    home: Origin
    profiles: profiles.Profiles
    profile: Origin


def place(arguments: Mapping[str, Any] | None = None) -> Place:
    """Where settings are kept. Works also when some setting, or the choice of the profile, is wrong."""
    given = _arguments if arguments is None else arguments
    home = _origin("home", given, {}, "")
    file = profiles.read(home.value)
    active = {"profile": file.active} if file.active else {}
    return Place(home, file, _origin("profile", given, active, f"'active' in {file.path}"))


def _origin(name: str, arguments: Mapping[str, Any], in_profile: Mapping[str, Any], profile_source: str) -> Origin:
    if name in arguments:
        value = arguments[name]
        return Origin(value if value is None else check(name, value, "argument"), "argument")
    variable = _VARIABLES[name]
    if text := os.environ.get(variable):
        return Origin(check(name, text, "environment"), "environment")
    if name in in_profile:
        return Origin(check(name, in_profile[name], profile_source), profile_source)
    default = _DEFAULTS[name]
    return Origin(as_path(default) if name == "home" else default, "default")


def check(name: str, value: Any, source: str) -> Any:
    """The value as its setting has it.

    Raises:
        SettingsError: the setting does not accept it.
    """
    kind: Kind = _METADATA[name]["kind"]
    try:
        return kind.read(value)
    except (ValueError, TypeError, OverflowError):
        given = concealed(name, value)
        raise SettingsError(f"{_VARIABLES[name]} cannot be {given!r} (from {source}); it accepts {kind.accepts}.") from None


def variable_of(name: str) -> str:
    """The environment variable of a setting, which is also its key in a profile."""
    return _VARIABLES[name]


def setting_of(key: str) -> str | None:
    """The setting that a variable or a setting's own name means; None if there is none."""
    return _BY_VARIABLE.get(key.upper()) or (key.lower() if key.lower() in _METADATA else None)


def summary_of(name: str) -> str:
    """What a setting is for, in one line."""
    return _METADATA[name]["summary"]


def concealed(key: str, value: Any) -> Any:
    """What people may see of a setting's value, which is without passwords; `key` is its variable or name."""
    name = setting_of(key)
    kind: Kind | None = _METADATA[name]["kind"] if name else None
    return value if value is None or kind is None or kind.shown is None else kind.shown(value)


def accepted_by(name: str) -> str:
    """What values a setting takes, in words."""
    kind: Kind = _METADATA[name]["kind"]
    return kind.accepts


def default_of(name: str) -> Any:
    """A setting's default, as the table has it."""
    return _DEFAULTS[name]
