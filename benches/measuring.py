"""One measurement: a workload in a fresh process with a home of its own, and everything that can be read from it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sides import Side

Reading = dict[str, Any]

# A guard against a process that hangs, never a measurement.
_PATIENCE = 1800

TASK_RUNS = "SELECT count(*) FROM task_run WHERE state_type = 'COMPLETED'"
SUBFLOW_RUNS = "SELECT count(*) - 1 FROM flow_run WHERE state_type = 'COMPLETED'"
LOG_LINES = "SELECT count(*) FROM log WHERE message LIKE 'line %'"


class MeasurementFailed(Exception):
    """A process ended badly, or did not record what it had to."""


@dataclass(frozen=True)
class Probe:
    """A process to start and read from.

    Args:
        count: how many of whatever the workload repeats, for us.
        peer_count: the same for the peer; None if it is not asked.
        dbos_count: the same for DBOS.
        module: what the workload imports, where it is not the side's own: `bare` and `nothing` measure what lies under us.
        settings: environment variables of ours.
        words: what else the workload is told on its command line, after the count.
        used_home: whether another process has run a flow in the home before.
        recorded: the query that counts what has to be in the database, `count` of it and `also_recorded` more.
        times: how often in each repeat; the median counts.
    """

    name: str
    workload: str
    count: int | None = None
    peer_count: int | None = None
    dbos_count: int | None = None
    module: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    words: tuple[object, ...] = ()
    used_home: bool = False
    recorded: str | None = None
    also_recorded: int = 0
    times: int = 1
    peer_times: int = 1

    def count_for(self, side: Side) -> int | None:
        return {"tidemill": self.count, "dbos": self.dbos_count}.get(side.module, self.peer_count)

    def asks(self, side: Side) -> bool:
        """Whether a side takes part."""
        if side.module == "dbos":
            return self.dbos_count is not None
        return self.count is None or self.count_for(side) is not None

    def times_for(self, side: Side) -> int:
        return self.times if side.module == "tidemill" else self.peer_times


def take(probe: Probe, side: Side, folder: Path) -> Reading:
    """Measures: the medians of what `probe.times` processes gave."""
    readings = [_one(probe, side, folder) for _ in range(probe.times_for(side))]
    return {key: _middle([reading[key] for reading in readings]) for key in readings[0]} | {"count": probe.count_for(side)}


def _middle(values: list[Any]) -> Any:
    return statistics.median(values) if isinstance(values[0], int | float) else values[0]


def _one(probe: Probe, side: Side, folder: Path) -> Reading:
    room = Path(tempfile.mkdtemp(dir=folder))
    try:
        home = room / "home"
        home.mkdir()
        if probe.used_home:
            run(side.command("hello.py", side.module), side.environment(home), room)
        before = _kept(probe, side, home)
        os.sync()  # what others have written must not be paid for here
        command = side.command(probe.workload, *_arguments(probe, side))
        reading = run(command, side.environment(home, probe.settings), room)
        after = _kept(probe, side, home)
        reading |= {key: after[key] - before[key] for key in after}
        _check(probe, side, reading)
        return reading
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _arguments(probe: Probe, side: Side) -> list[object]:
    module = probe.module or side.module
    count = probe.count_for(side)
    return [module] if count is None else [module, count, *probe.words]


def run(command: list[str], environment: Mapping[str, str], room: Path) -> Reading:
    """Runs a process with its output in files, as a user's would be, and gives what it printed, its wall time and how
    long it took to be gone after its work had ended."""
    with open(room / "stdout", "wb") as stdout, open(room / "stderr", "wb") as stderr:
        start = time.monotonic()
        process = subprocess.Popen(
            command, env=environment, stdout=stdout, stderr=stderr, stdin=subprocess.DEVNULL, start_new_session=True
        )
        guard = threading.Timer(_PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
        guard.start()
        try:
            code = process.wait()  # without a timeout: with one, Python looks only now and then
            end = time.monotonic()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            guard.cancel()
    if code != 0:
        raise MeasurementFailed(f"{' '.join(command[1:])} ended with {code}: {_last_lines(room / 'stderr')}")
    reading = json.loads((room / "stdout").read_text().splitlines()[-1])
    ended_at = reading.pop("ended_at", None)
    if ended_at is not None:
        reading["exit_ms"] = (end - ended_at) * 1000
    return {**reading, "wall_ms": (end - start) * 1000}


def _last_lines(file: Path) -> str:
    return " / ".join(file.read_text(errors="replace").strip().splitlines()[-3:])


def _kept(probe: Probe, side: Side, home: Path) -> dict[str, int]:
    """What the home holds: its bytes, and the rows that the probe counts."""
    keeper = side.keeper(home)
    kept = {"disk_bytes": sum(map(_size, keeper.rglob("*")))}
    if probe.recorded is not None and side.database:
        kept["recorded"] = _rows(keeper / side.database, probe.recorded)
    return kept


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:  # a server is at work in the folder
        return 0


def _rows(database: Path, query: str) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchone()[0]


def _check(probe: Probe, side: Side, reading: Reading) -> None:
    """Speed without the record would be no feat: ours has to be complete. The peer's is only counted."""
    if probe.recorded is None or side.module != "tidemill":
        return
    expected = (probe.count or 0) + probe.also_recorded
    if reading["recorded"] != expected:
        raise MeasurementFailed(f"{probe.name}: {reading['recorded']} of {expected} are recorded.")
