"""What the figures depend on and the code does not: machine, file system, versions."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

from sides import Side

_VERSIONS = {
    "tidemill": "import apsw, tidemill; print(tidemill.__version__, 'on SQLite', apsw.sqlite_lib_version())",
    "dbos": "import sqlite3, importlib.metadata as m; print(m.version('dbos'), 'on SQLite', sqlite3.sqlite_version)",
    "prefect": "import prefect, sqlite3; print(prefect.__version__, 'on SQLite', sqlite3.sqlite_version)",
}


def describe(sides: list[Side], folder: Path) -> list[str]:
    """Lines to put above a table."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, load {load}; homes on {file_system(folder)}",
        *(f"{side.name} {_version(side, folder)}, Python {_python(side, folder)}" for side in sides),
    ]


def file_system(folder: Path) -> str:
    """The type of file system that holds the folder; a tmpfs makes every fsync free."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "a file system of unknown type"
    path = str(folder.resolve())
    holding = [(len(at), kind) for _, at, kind, *_ in mounts if path == at or path.startswith(at.rstrip("/") + "/")]
    return max(holding)[1] if holding else "a file system of unknown type"


def _version(side: Side, folder: Path) -> str:
    return _say(side, _VERSIONS[side.module], folder)


def _python(side: Side, folder: Path) -> str:
    return _say(side, "import platform; print(platform.python_version())", folder)


def _say(side: Side, source: str, folder: Path) -> str:
    environment = side.environment(folder / "asked")
    done = subprocess.run([side.python, "-c", source], env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{side.name} cannot be imported by {side.python}:\n{done.stderr}")
    return done.stdout.strip()
