"""Promise 2 at work: a script that runs tasks is killed with SIGKILL at a random moment, again and again, on one home.

The script prints the number and the result of each task that has ended. Whatever it printed has to be a completed task
run with that result, read by a process that knows nothing of the one that was killed; and still be one after the last
round.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sides import Side, tidemill


@dataclass
class Round:
    """What a killed script printed: its flow run's id, and lines `number result`. And whether it was killed in time."""

    flow_run_id: str
    printed: list[list[int]]
    killed: bool


class Harness:
    """A home, and scripts that are killed while they use it."""

    def __init__(self, folder: Path, tasks: int, durability: str) -> None:
        self._side: Side = tidemill()
        self._folder = folder
        self._tasks = tasks
        self._environment = self._side.environment(folder / "home", {"TIDEMILL_DURABILITY": durability})

    def duration(self) -> float:
        """Seconds from the first line of a script that nobody kills to its end."""
        process = self._start()
        process.stdout.readline()
        start = time.monotonic()
        process.stdout.read()
        if process.wait() != 0:
            sys.exit(self._errors.read_text())
        return time.monotonic() - start

    def kill_after(self, seconds: float) -> Round:
        """Starts a script and kills it so long after its first line. All that it prints fits into the pipe meanwhile."""
        process = self._start()
        first = process.stdout.readline().decode().strip()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read().decode()
        killed = process.wait() != 0
        whole_lines = rest[: rest.rfind("\n") + 1].splitlines()
        return Round(first, [[int(word) for word in line.split()] for line in whole_lines], killed)

    def lost(self, rounds: Iterable[Round], *of: str) -> list[str]:
        """What was printed in the rounds and is not committed; `of` narrows the reading to flow runs."""
        kept = json.loads(self._run(self._side.command("read_back.py", *of)))
        problems: list[str] = []
        for found in rounds:
            committed = {tuple(result) for result in kept.get(found.flow_run_id, [])}
            missing = [number for number, result in found.printed if (number, result) not in committed]
            if missing:
                problems.append(f"Flow run {found.flow_run_id}: {len(missing)} of {len(found.printed)} are lost: {missing[:5]}")
        return problems

    def unsound(self) -> list[str]:
        """What `tidemill db check` finds wrong."""
        command = [self._side.python, "-m", "tidemill", "db", "check"]
        done = subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)
        return [] if done.returncode == 0 else [done.stdout + done.stderr]

    @property
    def _errors(self) -> Path:
        return self._folder / "stderr"

    def _start(self) -> subprocess.Popen[bytes]:
        with open(self._errors, "wb") as stderr:  # a pipe that nobody reads would fill up and stop the script
            return subprocess.Popen(
                self._side.command("squares.py", self._tasks), env=self._environment, stdout=subprocess.PIPE, stderr=stderr
            )

    def _run(self, command: list[str]) -> str:
        return subprocess.run(command, env=self._environment, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> int:
    options = _options()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    moments = random.Random(seed)
    rounds: list[Round] = []
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=options.folder) as name:
        harness = Harness(Path(name), options.tasks, options.durability)
        duration = harness.duration()
        print(f"{options.rounds} rounds of {options.tasks:,} tasks, {duration:.2f} s a round, seed {seed}", flush=True)
        for _ in range(options.rounds):
            rounds.append(harness.kill_after(moments.uniform(0, duration)))
            problems += harness.lost(rounds[-1:], rounds[-1].flow_run_id)
        problems += harness.lost(rounds)
        problems += harness.unsound()
    _tell(rounds, problems)
    return 1 if problems else 0


def _tell(rounds: list[Round], problems: list[str]) -> None:
    lengths = sorted(len(each.printed) for each in rounds)
    middle = lengths[len(lengths) // 2]
    killed = sum(each.killed for each in rounds)
    print(f"{killed} killed before their end, after {lengths[0]:,} to {lengths[-1]:,} tasks (median {middle:,})")
    print(f"{sum(lengths):,} numbers were printed")
    print("\n".join(problems) or "None of them is lost, and the database is sound.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--tasks", type=int, default=2000, help="tasks of each script; what it prints has to fit into a pipe")
    parser.add_argument("--durability", choices=["process", "power"], default="process")
    parser.add_argument("--seed", type=int, help="of the random moments; they also depend on the machine")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to make the home (default: with the temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
