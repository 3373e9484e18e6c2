"""The profile file `<home>/profiles.toml`: named sets of settings, one of them active.

```toml
active = "work"

[profiles.work]
TIDEMILL_LOGGING_LEVEL = "DEBUG"
```
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import Any, cast

from tidemill.exceptions import SettingsError

DEFAULT_PROFILE = "default"
Value = str | int | float | bool

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\b": "\\b", "\f": "\\f"}


@dataclass
class Profiles:
    """What a profile file says. `active` is None when it names none."""

    path: str
    active: str | None = None
    tables: dict[str, dict[str, Value]] = field(default_factory=dict[str, dict[str, Value]])

    def names(self) -> list[str]:
        """All profiles, the default one included, since that exists without being written down."""
        return sorted({DEFAULT_PROFILE, *self.tables})

    def table(self, name: str) -> dict[str, Value]:
        """What a profile sets.

        Raises:
            SettingsError: there is no such profile.
        """
        if name in self.tables:
            return self.tables[name]
        if name == DEFAULT_PROFILE:
            return {}
        raise SettingsError(
            f"There is no profile {name!r} in {self.path}; there is {', '.join(self.names())}. "
            f"Create it with `tidemill profile create {name}`, or choose one with TIDEMILL_PROFILE."
        )


def read(home: str) -> Profiles:
    """The profiles of a home; none when it has no such file.

    Raises:
        SettingsError: the file cannot be read or understood.
    """
    path = os.path.join(home, "profiles.toml")
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return Profiles(path)
    except OSError as error:
        raise SettingsError(f"The profile file {path} cannot be read: {error.strerror}.") from error
    import tomllib

    try:
        parsed = tomllib.loads(content.decode())
    except ValueError as error:
        raise SettingsError(f"The profile file {path} is not valid TOML: {error}. Correct or remove it.") from error
    return _checked(path, parsed)


def write(profiles: Profiles) -> None:
    """Replaces the file in one step, so that a reader sees the old one or the new one, whole.

    Raises:
        SettingsError: the folder or the file cannot be written.
    """
    temporary = f"{profiles.path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(profiles.path), exist_ok=True)
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(_to_toml(profiles))
        os.replace(temporary, profiles.path)
    except OSError as error:
        raise SettingsError(f"The profile file {profiles.path} cannot be written: {error.strerror}.") from error


def _checked(path: str, parsed: dict[str, Any]) -> Profiles:
    active, tables = parsed.get("active"), parsed.get("profiles", {})
    if not isinstance(active, str | None):
        raise SettingsError(f"'active' in {path} must be the name of a profile, not {active!r}.")
    if not isinstance(tables, dict):
        raise SettingsError(f"'profiles' in {path} must be a table of profiles: `[profiles.NAME]`.")
    for name, table in cast("dict[str, Any]", tables).items():
        if not isinstance(table, dict):
            raise SettingsError(f"Profile {name!r} in {path} must be a table: `[profiles.{name}]`.")
        for key, value in cast("dict[str, Any]", table).items():
            if not isinstance(value, str | int | float | bool):
                raise SettingsError(f"{key} in profile {name!r} of {path} must be a text, number or true/false.")
    return Profiles(path, active, cast("dict[str, dict[str, Value]]", tables))


def _to_toml(profiles: Profiles) -> str:
    lines: list[str] = []
    if profiles.active is not None:
        lines += [f"active = {_toml_value(profiles.active)}", ""]
    for name, table in profiles.tables.items():
        lines.append(f"[profiles.{_toml_key(name)}]")
        lines += [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in table.items()]
        lines.append("")
    return "\n".join(lines)


def _toml_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{"".join(map(_toml_character, value))}"'
    return repr(value)


def _toml_character(character: str) -> str:
    if character < " " or character == "\x7f":
        return _ESCAPES.get(character) or f"\\u{ord(character):04x}"
    return _ESCAPES.get(character, character)
