"""Promise 3 at work: a flow is killed with SIGKILL at a random moment and resumed, again and again, until it is done.

The flow has a sequence of tasks, a map over 500 items, two subflows (one maps too) and a task that fails at its first try in
every attempt. Each task writes a line with the id of its task run before it returns. What has to hold:

- a task run that was completed in the database at the moment of a kill writes no further line, in whatever attempt;
- the flow ends with the right value, as one flow run, with one task run for each call, all completed, and gives that value
  again when it is called once more;
- no process is left over after a kill, and the database is sound.

By turns the flow is resumed by being called again with its idempotency key, and by `tidemill flow-run resume`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sides import tidemill

# How each task runner is made, and where it comes from.
RUNNERS = {
    "sequential": ("tidemill", "SequentialTaskRunner()"),
    "threads": ("tidemill", "ThreadPoolTaskRunner(max_workers=4)"),
    "processes": ("tidemill", "ProcessPoolTaskRunner(max_workers=2)"),
    "dask": ("tidemill.runners.dask", "DaskTaskRunner(n_workers=2)"),
}

FLOW = """
import os
import sys
import time

from tidemill import flow, runtime, task
from {module} import {runner}


def note():
    # One write of one line: others append to the file at the same time.
    line = f"{{runtime.task_run.id}} {{runtime.task_run.name}}\\n".encode()
    lines = os.open(os.environ["CRASH_LINES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(lines, line)
    os.close(lines)


@task
def step(value):
    time.sleep(0.01)
    note()
    return value + 1


@task
def square(n):
    time.sleep(0.001)
    note()
    return n * n


@task
def same():
    note()
    return 1


@task(retries=1)
def flaky(value):
    if not os.path.exists(os.environ["CRASH_FAILED"]):
        open(os.environ["CRASH_FAILED"], "x").close()
        raise OSError("the first try of this attempt")
    note()
    return value


@flow
def steps(value):
    for _ in range(5):
        value = step(value)
    return value


@flow
def squares(count):
    return sum(square.map(range(count)).result())


@flow(task_runner={construction}, idempotency_key="story-{{story}}", flow_run_name="story-{{story}}")
def story(story):
    value = 0
    for _ in range(10):
        value = step(value)
    value += sum(square.map(range(500)).result())
    value += sum(future.result() for future in [same.submit() for _ in range(10)])
    value += steps(value)
    value += flaky(1)
    value += squares(50)
    last = step.submit(step.submit(value))
    return last.result()


if __name__ == "__main__":
    print(story(int(sys.argv[1])))
"""


def expected_value() -> int:
    """What the flow gives."""
    value = 10 + sum(n * n for n in range(500)) + 10
    value += value + 5
    value += 1
    value += sum(n * n for n in range(50))
    return value + 2


# How many task runs there are of each task in one story, the two that stand for the subflows included.
EXPECTED_CALLS = {"step": 10 + 5 + 2, "square": 550, "same": 10, "flaky": 1, "steps": 1, "squares": 1}

TASKS = {"step", "square", "same", "flaky"}

# The places in the story, and the task whose first run tells that it has come there.
BEGUN_BY = {
    "square": "in the map",
    "same": "among equal calls",
    "steps": "in the subflow of a sequence",
    "flaky": "in the task that is retried",
    "squares": "in the subflow that maps, or behind it",
}
AT_END = "after the run had completed"
PLACES = ["before the run was recorded", "in the sequence", *BEGUN_BY.values(), AT_END]


def task_of(name: str) -> str:
    """The task, or the subflow, that a task run is named after."""
    return name.partition("-")[0]


READ = """
import json
import sys

from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.filters import Filters, FlowRunFilter, IdFilter, NameFilter, Page

client = connect(BlockingIO())

def family(run):
    yield run
    children = Filters(flow_runs=FlowRunFilter(parent_flow_run_id=IdFilter(any_=[run.id])))
    for child in run_blocking(client.flow_runs(children, page=Page(None))):
        yield from family(child)

named = Filters(flow_runs=FlowRunFilter(name=NameFilter(any_=[sys.argv[1]])))
runs = [one for run in run_blocking(client.flow_runs(named, page=Page(None))) for one in family(run)]
task_runs = []
for run in runs:
    of_it = Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[run.id])))
    task_runs += run_blocking(client.task_runs(of_it, page=Page(None)))
print(json.dumps({
    "flow_runs": [[run.flow_name, run.id, run.state_type.value] for run in runs],
    "task_runs": [[run.name, run.id, run.state_type.value] for run in task_runs],
}))
"""
"""Prints the flow run of this name with its subflow runs, and all their task runs, in a process that resumes nothing."""


@dataclass
class Record:
    """What the database says of one story: name of flow or task, id and state type of each run."""

    flow_runs: list[list[str]]
    task_runs: list[list[str]]

    def completed(self) -> set[str]:
        return {run_id for _, run_id, state in self.task_runs if state == "COMPLETED"}

    def place(self) -> str:
        """Where the story has come to."""
        if not self.flow_runs:
            return PLACES[0]
        if any(name == "story" and state == "COMPLETED" for name, _, state in self.flow_runs):
            return AT_END
        begun = {task_of(name) for name, _, _ in self.task_runs}
        return next((place for task, place in reversed(BEGUN_BY.items()) if task in begun), PLACES[1])


@dataclass
class Found:
    """What became of all the kills."""

    places: dict[str, list[int]] = field(default_factory=dict)  # where a kill struck: completed task runs each time
    ways: Counter[str] = field(default_factory=Counter)
    stories: int = 0
    violations: list[str] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(map(len, self.places.values()))


class Story:
    """One run of the flow, from its first process to the one that ends it."""

    def __init__(self, harness: Harness, number: int) -> None:
        self.name = f"story-{number}"
        self._harness = harness
        self._number = number
        self._lines = harness.folder / f"{self.name}.lines"
        self._attempts = 0

    def start(self, way: str) -> subprocess.Popen[str]:
        """Begins the flow or goes on with it."""
        harness = self._harness
        self._attempts += 1
        settings = {"CRASH_LINES": str(self._lines), "CRASH_FAILED": str(harness.folder / f"{self.name}.{self._attempts}")}
        command = ["-m", "tidemill", "flow-run", "resume", self.name]
        if way == "key":
            command = [str(harness.script), str(self._number)]
        return harness.start(command, settings)

    def lines(self) -> Counter[str]:
        """How often each task run has come to its end, by its id."""
        if not self._lines.exists():
            return Counter()
        return Counter(line.split()[0] for line in self._lines.read_text().splitlines())

    def record(self) -> Record:
        return Record(**json.loads(self._harness.run([str(self._harness.reader), self.name])))


class Harness:
    """A home, and processes in it that are killed."""

    def __init__(self, folder: Path, runner: str) -> None:
        module, construction = RUNNERS[runner]
        self.folder = folder
        self.script = folder / "story.py"
        self.script.write_text(FLOW.format(module=module, runner=construction.partition("(")[0], construction=construction))
        self.reader = folder / "read.py"
        self.reader.write_text(READ)
        self._mark = f"CRASH_MARK={folder}"
        side = tidemill()
        self._python = side.python
        self._environment = side.environment(folder / "home", {"CRASH_MARK": str(folder), "TIDEMILL_LOGGING_LEVEL": "WARNING"})

    @property
    def errors(self) -> str:
        return (self.folder / "stderr").read_text()

    def start(self, command: list[str], settings: dict[str, str]) -> subprocess.Popen[str]:
        with open(self.folder / "stderr", "wb") as stderr:
            return subprocess.Popen(
                [self._python, *command],
                env={**self._environment, **settings},
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def run(self, command: list[str]) -> str:
        done = subprocess.run([self._python, *command], env=self._environment, check=False, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def unsound(self) -> list[str]:
        """What `tidemill db check` finds wrong."""
        process = self.start(["-m", "tidemill", "db", "check"], {})
        out, _ = process.communicate()
        return [] if process.returncode == 0 else [out + self.errors]

    def left_over(self) -> list[str]:
        """The processes that still work for this harness, half a minute after all should have ended."""
        deadline = time.monotonic() + 30
        while (found := self._descendants()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return found

    def _descendants(self) -> list[str]:
        found: list[str] = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(f"{entry.name} {(entry / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()[:120]}")
        return found


class Crashes:
    """Stories, killed at random moments, and what must hold of them."""

    def __init__(self, harness: Harness, ways: list[str], chance: random.Random, kills: int) -> None:
        self.found = Found()
        self._harness = harness
        self._ways = ways
        self._chance = chance
        self._kills = kills
        self._longest = self._measure()

    def _measure(self) -> float:
        """Seconds that a story takes which nobody kills."""
        story = Story(self._harness, 0)
        start = time.monotonic()
        out, _ = story.start("key").communicate()
        took = time.monotonic() - start
        self._check_value(story, out)
        self._check_again(story)
        self._say(story, [self._harness.errors] if self.found.violations else [])
        return took

    def tell(self) -> None:
        """Tells stories until there were kills enough, or something is wrong."""
        while self.found.kills < self._kills and not self.found.violations:
            self.found.stories += 1
            self._tell_one(Story(self._harness, self.found.stories))

    def _tell_one(self, story: Story) -> None:
        completed: set[str] = set()
        lines: Counter[str] = Counter()
        way, is_done = "key", False
        while not is_done and not self.found.violations:
            is_done = self._attempt(story, way)
            self._check_nothing_twice(story, completed, lines)
            if not is_done:
                record, lines = story.record(), story.lines()
                completed, place = record.completed(), record.place()
                self.found.places.setdefault(place, []).append(len(completed))
                # What was never recorded has no name, and what has completed gives its value to who calls it again.
                is_open = record.flow_runs and place != AT_END
                way = self._ways[self.found.kills % len(self._ways)] if is_open else "key"
        self._check_again(story)

    def _attempt(self, story: Story, way: str) -> bool:
        """Lets the story go on until a random moment; True if it came to its end before that."""
        self.found.ways[way] += 1
        process = story.start(way)
        # Half of the moments are early ones, since where much has been done already a late one is never reached.
        moment = self._chance.uniform(0, self._longest) * self._chance.choice((0.5, 1))
        try:
            out, _ = process.communicate(timeout=moment if self.found.kills < self._kills else None)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()  # it may have come to its end just before
        self._say(story, [f"{process} is left over" for process in self._harness.left_over()])
        if process.returncode == -signal.SIGKILL:
            return False
        if process.returncode != 0:
            self._say(story, [f"resuming by {way} ended with {process.returncode}:\n{self._harness.errors}"])
        elif way == "key":
            self._check_value(story, out)
        return True

    def _check_nothing_twice(self, story: Story, completed: set[str], before: Counter[str]) -> None:
        after = story.lines()
        twice = sorted(run_id for run_id in completed if after[run_id] > before[run_id])
        self._say(story, [f"task run {run_id} was executed again, though it was completed" for run_id in twice])

    def _check_value(self, story: Story, out: str) -> None:
        if out.strip() != str(expected_value()):
            self._say(story, [f"the value is {out.strip()!r}, not {expected_value()}"])

    def _check_again(self, story: Story) -> None:
        """Calls the flow once more, which is to give its value and do nothing, and looks at what is recorded."""
        if self.found.violations:
            return
        before = story.lines()
        process = story.start("key")
        self._check_value(story, process.communicate()[0])
        if story.lines() != before:
            self._say(story, ["the completed flow executed tasks again"])
        record = story.record()
        calls = Counter(task_of(name) for name, _, _ in record.task_runs)
        if calls != EXPECTED_CALLS:
            self._say(story, [f"there are task runs {dict(calls)}, not {EXPECTED_CALLS}"])
        if sorted(name for name, _, _ in record.flow_runs) != ["squares", "steps", "story"]:
            self._say(story, [f"there are flow runs {record.flow_runs}"])
        unfinished = [run for run in record.flow_runs + record.task_runs if run[2] != "COMPLETED"]
        self._say(story, [f"{name} {run_id} is {state}" for name, run_id, state in unfinished])
        silent = [run_id for name, run_id, _ in record.task_runs if task_of(name) in TASKS and not before[run_id]]
        self._say(story, [f"task run {run_id} is completed, but was never executed" for run_id in silent])

    def _say(self, story: Story, problems: list[str]) -> None:
        self.found.violations += [f"{story.name}, after {self.found.kills} kills: {problem}" for problem in problems]


def main() -> int:
    options = _options()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    ways = ["key", "command"] if options.by == "both" else [options.by]
    folder = Path(tempfile.mkdtemp(prefix="tidemill-crash-", dir=options.folder))
    harness = Harness(folder, options.runner)
    crashes = Crashes(harness, ways, random.Random(seed), options.kills)
    crashes.tell()
    crashes.found.violations += harness.unsound()
    _show(crashes.found, options.runner, seed)
    if crashes.found.violations:
        print(f"All of it is kept in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


def _show(found: Found, runner: str, seed: int) -> None:
    ways = ", ".join(f"{count} by {way}" for way, count in sorted(found.ways.items()))
    print(f"{runner}: {found.kills} kills in {found.stories} stories; begun and resumed {ways}; seed {seed}")
    print(f"{'killed':42}{'kills':>6}  completed task runs at that moment (median)")
    for place in PLACES:
        if kept := found.places.get(place):
            print(f"{place:42}{len(kept):6}{statistics.median(kept):8,.0f}")
    print("\n".join(found.violations) or "Nothing was done twice, nothing is left over, and the database is sound.")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runner", choices=list(RUNNERS), default="threads")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--by", choices=["key", "command", "both"], default="both", help="how the flow is resumed")
    parser.add_argument("--seed", type=int, help="of the random moments; they also depend on the machine")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where to make the home (default: with the temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
