"""`tidemill version`."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import datetime
from typing import NamedTuple

import tidemill
from tidemill import settings
from tidemill.cli.finding import open_client

# The version of the REST API whose shapes records have on the wire.
API_VERSION = "0.8.4"
_PACKAGE = os.path.dirname(tidemill.__file__)
# Written when a distribution is built: {"commit": "<hex>", "built": <seconds since the epoch>}.
_BUILD_FILE = os.path.join(_PACKAGE, "_build.json")
_UNKNOWN = "unknown"


class Build(NamedTuple):
    """Where this code comes from."""

    commit: str = _UNKNOWN
    built: str = _UNKNOWN


_NAMES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}


def version() -> None:
    """Show the version of Tidemill and of what it runs on."""
    build = _recorded_build() or _checkout() or Build()
    current = settings.current()
    _line("Version", tidemill.__version__)
    _line("API version", API_VERSION)
    _line("Python version", platform.python_version())
    _line("Git commit", build.commit)
    _line("Built", build.built)
    _line("OS/Arch", f"{sys.platform}/{platform.machine()}")
    _line("Profile", current.profile)
    _line("Server type", "hosted" if current.api_url else "ephemeral")
    if current.api_url is None:
        database = open_client().database
        print("Server:")
        _line("Database", database.kind, indent=2)
        _line(f"{_NAMES[database.kind]} version", database.version, indent=2)


def _line(label: str, value: str, indent: int = 0) -> None:
    """Label and colon fill 20 columns, then comes a space; so all values begin in the same column."""
    print(f"{' ' * indent}{label}:".ljust(20), value)


def _recorded_build() -> Build | None:
    try:
        with open(_BUILD_FILE, encoding="utf-8") as file:
            recorded = json.load(file)
        return _build(recorded["commit"], recorded["built"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checkout() -> Build | None:
    """What git says of the source tree that this package stands in; None if it stands in none of its own."""
    root = os.path.dirname(os.path.dirname(_PACKAGE))
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    command = ["git", "-C", root, "log", "-1", "--format=%H %ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=5)
        commit, when = done.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return _build(commit, int(when))


def _build(commit: str, built: int) -> Build:
    # As the C locale writes it, whatever the locale is.
    when = datetime.fromtimestamp(built).astimezone()
    day, month = when.ctime().split()[:2]
    return Build(
        commit[:8],
        f"{day}, {month} {when.day:02}, {when.year} {when.hour % 12 or 12:02}:{when.minute:02} " + "AP"[when.hour >= 12] + "M",
    )
