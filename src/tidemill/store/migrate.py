"""Brings a database to the newest schema: numbered SQL files, each applied once, in one transaction.

Where PostgreSQL spells it differently, `0001_name.postgres.sql` stands beside `0001_name.sql`, under the same number.
"""

from __future__ import annotations

import os
from functools import cache

_FOLDER = os.path.join(os.path.dirname(__file__), "migrations")
_FOR_POSTGRES = ".postgres.sql"


@cache
def _files(kind: str = "sqlite") -> dict[int, str]:
    names = sorted(name for name in os.listdir(_FOLDER) if name.endswith(".sql"))
    found = {int(name.split("_", 1)[0]): name for name in names if not name.endswith(_FOR_POSTGRES)}
    if kind == "postgres":
        found.update((int(name.split("_", 1)[0]), name) for name in names if name.endswith(_FOR_POSTGRES))
    return found


def latest() -> int:
    """The number of the newest migration."""
    return max(_files())


def scripts_after(version: int, kind: str = "sqlite") -> list[tuple[int, str]]:
    """The migrations that a database of this version and kind lacks, as (number, SQL), oldest first."""
    scripts: list[tuple[int, str]] = []
    for number, name in _files(kind).items():
        if number > version:
            with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
                scripts.append((number, file.read()))
    return scripts
