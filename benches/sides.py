"""What is measured: Tidemill as it is in this checkout, and a peer in a virtual environment of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

BENCHES = Path(__file__).resolve().parent
WORKLOADS = BENCHES / "workloads"
SOURCE = BENCHES.parent / "src"

# Whatever the caller's shell sets for these would make the two sides, or two runs, differ.
_NOT_INHERITED = ("TIDEMILL_", "PREFECT_", "PYTHON")


@dataclass(frozen=True)
class Side:
    """An engine, the interpreter that has it, and how a process of it is started.

    Args:
        module: what the workloads import.
        database: the name of the SQLite file in its home; empty where no rows are counted.
        settings: environment variables.
        warm_up: the workload that brings its modules into the page cache.
        server_home: where a server that outlives the measurements keeps its database, if there is one.
    """

    name: str
    module: str
    python: str
    home_variable: str
    database: str
    settings: Mapping[str, str] = field(default_factory=dict)
    warm_up: str = "hello.py"
    server_home: Path | None = None

    def command(self, workload: str, *args: object) -> list[str]:
        return [self.python, str(WORKLOADS / workload), *map(str, args)]

    def environment(self, home: Path, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
        return {**inherited, **self.settings, self.home_variable: str(home), **(settings or {})}

    def keeper(self, home: Path) -> Path:
        """The folder that holds the database."""
        return self.server_home or home


def tidemill() -> Side:
    return Side("Tidemill", "tidemill", sys.executable, "TIDEMILL_HOME", "tidemill.db", {"PYTHONPATH": str(SOURCE)})
