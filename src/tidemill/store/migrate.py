"""Brings a database to the newest schema: numbered SQL files, each applied once, in one transaction."""

from __future__ import annotations

import os
from functools import cache

_FOLDER = os.path.join(os.path.dirname(__file__), "migrations")


@cache
def _files() -> dict[int, str]:
    names = sorted(name for name in os.listdir(_FOLDER) if name.endswith(".sql"))
    return {int(name.split("_", 1)[0]): name for name in names}


def latest() -> int:
    """The number of the newest migration."""
    return max(_files())


def scripts_after(version: int) -> list[tuple[int, str]]:
    """The migrations that a database of this version lacks, as (number, SQL), oldest first."""
    scripts: list[tuple[int, str]] = []
    for number, name in _files().items():
        if number > version:
            with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
                scripts.append((number, file.read()))
    return scripts
