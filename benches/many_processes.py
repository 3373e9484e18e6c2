"""Promise 7 at work: many processes start together on one empty home, and each runs a flow of many tasks.

Prints the wall time, and fails unless every task run is recorded and nobody heard of a lock.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import describe
from sides import Side, tidemill

_TROUBLE = re.compile(r"lock|busy|Traceback|Error", re.IGNORECASE)


def main() -> int:
    options = _options()
    side = tidemill()
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=options.folder) as name:
        folder = Path(name)
        print("\n".join(describe([side], folder)))
        seconds = _start_together(side, folder, options.processes, options.tasks)
        problems = [*_said(folder, options.processes), *_missing(side, folder, options.processes, options.tasks)]
    tasks = options.processes * options.tasks
    print(f"{options.processes} processes x {options.tasks:,} tasks: {seconds:.2f} s, {tasks / seconds:,.0f} tasks/s")
    print("\n".join(problems) or f"{tasks:,} completed task runs, {options.processes} completed flow runs, no lock message")
    return 1 if problems else 0


def _start_together(side: Side, folder: Path, processes: int, tasks: int) -> float:
    """Starts the processes, lets them go at the same moment, and gives the time until the last has ended."""
    started = [_start(side, folder, number, tasks) for number in range(processes)]
    time.sleep(1)  # all of them have read their modules and wait for a line
    begin = time.monotonic()
    for process in started:
        process.stdin.write(b"go\n")
        process.stdin.close()
    codes = [process.wait() for process in started]
    seconds = time.monotonic() - begin
    if any(codes):
        print(f"Exit codes: {codes}", file=sys.stderr)
    return seconds


def _start(side: Side, folder: Path, number: int, tasks: int) -> subprocess.Popen[bytes]:
    with open(folder / f"{number}.out", "wb") as stdout, open(_errors(folder, number), "wb") as stderr:
        return subprocess.Popen(
            side.command("task_loop.py", side.module, tasks, "wait"),
            env=side.environment(folder / "home"),
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
        )


def _errors(folder: Path, number: int) -> Path:
    return folder / f"{number}.err"


def _said(folder: Path, processes: int) -> list[str]:
    """Every line of the processes' logs that sounds like trouble."""
    lines = (line for number in range(processes) for line in _errors(folder, number).read_text().splitlines())
    return [line for line in lines if _TROUBLE.search(line)]


def _missing(side: Side, folder: Path, processes: int, tasks: int) -> list[str]:
    """What the command line, in a process of its own, does not find."""
    wanted = {"flow-run": processes, "task-run": processes * tasks}
    problems: list[str] = []
    for noun, count in wanted.items():
        runs = _listed(side, folder, noun, count + 1)
        found = len({run["id"] for run in runs})
        if found != count:
            problems.append(f"{found:,} of {count:,} {noun}s are completed.")
    return problems


def _listed(side: Side, folder: Path, noun: str, limit: int) -> list[dict[str, object]]:
    command = [side.python, "-m", "tidemill", noun, "ls", "--json", "--state-type", "COMPLETED", "--limit", str(limit)]
    done = subprocess.run(command, env=side.environment(folder / "home"), check=True, capture_output=True)
    return json.loads(done.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of each process: up to 999, or whole thousands")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to make the home (default: with the temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
