"""What is measured and what it is held against: the probes, and the rows of the table that are read from them.

To measure something new, write a workload, add a probe, and add a row that reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from measuring import LOG_LINES, SUBFLOW_RUNS, TASK_RUNS, Probe, Reading

Readings = Mapping[str, Reading]
"""What one repeat gave, by the probe's name."""


class Budget(NamedTuple):
    """A limit of the design, section 8."""

    limit: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


class Floor(NamedTuple):
    """What floors.md measured for the part alone that this row cannot do without."""

    value: str
    what: str


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Args:
        value: the figure, from what one repeat gave.
        probes: the names of the probes it reads.
        higher_is_better: for rates.
        comparable: whether a ratio to the peer, which runs fewer tasks, means anything.
        peer: the module of the side in the peer's column.
        details: readings of the last probe to show below the table, by the words that name them.
    """

    title: str
    unit: str
    value: Callable[[Readings], float]
    probes: tuple[str, ...]
    budget: Budget | None = None
    floor: Floor | None = None
    higher_is_better: bool = False
    comparable: bool = True
    peer: str = "prefect"
    details: tuple[tuple[str, str], ...] = ()


# A loop is called flat when the long one costs at most this much more a call than the short one: less than that is noise.
FLAT = Budget(1.2)

_LOOP_BUDGETS = {"process": Budget(150), "power": None, "relaxed": Budget(50)}
_LOOP_FLOORS = {
    "process": Floor("126", "one commit per record, apsw, synchronous=NORMAL: 7,949 rec/s (section 1)"),
    "power": Floor("371", "one commit per record, sqlite3, synchronous=FULL: 2,695 rec/s (section 1)"),
    "relaxed": Floor("15.9", "engine skeleton, grouped commits, until durable, NORMAL (section 1)"),
}
_LOOP_DETAILS = (
    ("call p50, µs", "us_call_p50"),
    ("call p99, µs", "us_call_p99"),
    ("with start and end of the flow, µs a task", "us_each_with_flow"),
    ("recorded", "recorded"),
)


def _loop_probe(durability: str, count: int) -> Probe:
    peer_count = {1_000: 100, 10_000: 1_000, 100_000: 1_000}[count] if durability == "process" else None
    settings = {"TIDEMILL_DURABILITY": durability}
    name = f"loop {durability} {count}"
    return Probe(name, "task_loop.py", count, peer_count, settings=settings, recorded=TASK_RUNS)


_FAN_OUTS = ("submit", "map")
_FAN_OUT_PEER_COUNTS = {1_000: 100, 10_000: 1_000, 100_000: 1_000}
_POOLS = {"processes": "concurrent.futures", "dask": "distributed"}
_WORK = {0: 1_000, 10: 500}  # how much a task computes, about its milliseconds, and how many tasks
_WARM_UP_TASKS = 5


def _fan_out_probe(way: str, count: int) -> Probe:
    return Probe(f"{way} {count}", "fan_out.py", count, _FAN_OUT_PEER_COUNTS[count], words=(way,), recorded=TASK_RUNS)


def _pool_probes(kind: str, amount: int) -> tuple[Probe, Probe]:
    count, words = _WORK[amount], (kind, amount)
    peer_count = 20 if kind == "processes" and not amount else None
    return (
        Probe(f"{kind} {amount}", "pool.py", count, peer_count, words=words, recorded=TASK_RUNS, also_recorded=_WARM_UP_TASKS),
        Probe(f"bare {kind} {amount}", "pool.py", count, module="bare", words=words),
    )


PROBES = (
    Probe("bare", "import_only.py", module="nothing", times=7, peer_times=3),
    Probe("import", "import_only.py", times=7, peer_times=3),
    Probe("hello empty", "hello.py", times=3),
    Probe("hello used", "hello.py", used_home=True, times=3),
    *(_loop_probe(durability, count) for durability in _LOOP_BUDGETS for count in (1_000, 100_000)),
    _loop_probe("process", 10_000),
    Probe("subflows", "subflow_loop.py", 1_000, 10, recorded=SUBFLOW_RUNS),
    Probe("async loop", "async_tasks.py", 10_000, 1_000, words=("loop",), recorded=TASK_RUNS),
    Probe("async gather", "async_tasks.py", 10_000, 1_000, words=("gather",), recorded=TASK_RUNS),
    Probe("log lines", "log_lines.py", 10_000, 10_000, recorded=LOG_LINES),
    *(_fan_out_probe(way, count) for way in _FAN_OUTS for count in _FAN_OUT_PEER_COUNTS),
    Probe("sleeps", "sleeps.py", 500, 500, recorded=TASK_RUNS),
    *(probe for kind in _POOLS for amount in _WORK for probe in _pool_probes(kind, amount)),
    Probe("resume", "resume.py", 10_000, 1_000, 10_000, recorded=TASK_RUNS, also_recorded=1),
    Probe("cache hits", "cache_hits.py", 1_000, 1_000, recorded=TASK_RUNS, also_recorded=1),
)
"""In the order in which they run. A probe that has no count takes none, and every side is asked."""


def _read(probe: str, key: str) -> Callable[[Readings], float]:
    return lambda readings: readings[probe][key]


def _difference(longer: str, shorter: str, key: str, divisor: float = 1) -> Callable[[Readings], float]:
    return lambda readings: (readings[longer][key] - readings[shorter][key]) / divisor


def _loop_rows(durability: str) -> tuple[Row, ...]:
    short, long = f"loop {durability} 1000", f"loop {durability} 100000"
    # The last records of a relaxed loop, half of a short one's, are written when the flow ends.
    whole = "us_each_with_flow" if durability == "relaxed" else "us_each"
    held_against = {"budget": _LOOP_BUDGETS[durability], "floor": _LOOP_FLOORS[durability], "details": _LOOP_DETAILS}
    return (
        Row(f"no-op task, {durability}, loop of 1,000", "µs", _read(short, "us_each"), (short,), **held_against),
        Row(f"no-op task, {durability}, loop of 100,000", "µs", _read(long, "us_each"), (long,), **held_against),
        Row(
            f"the long loop against the short, {durability}",
            "x",
            lambda readings: readings[long][whole] / readings[short][whole],
            (short, long),
            FLAT,
            comparable=False,
        ),
    )


def _bytes_per_task(readings: Readings) -> float:
    loop, empty = readings["loop process 100000"], readings["hello empty"]
    return (loop["disk_bytes"] - empty["disk_bytes"]) / loop["count"]


def _fan_out_rows(way: str) -> Iterator[Row]:
    for count in _FAN_OUT_PEER_COUNTS:
        yield Row(
            f"no-op tasks on threads, {way} of {count:,}",
            "tasks/s",
            _read(f"{way} {count}", "per_second"),
            (f"{way} {count}",),
            Budget(12_000, at_least=True) if count == 10_000 else None,
            Floor("41,000", "engine skeleton on threads, grouped commits, until durable (section 1)"),
            higher_is_better=True,
            details=(("with start and end of the flow, tasks/s", "per_second_with_flow"), ("recorded", "recorded")),
        )
    short, long = f"{way} 1000", f"{way} 100000"
    yield Row(
        f"peak memory, {way} of 100,000 over 1,000",
        "MiB",
        _difference(long, short, "peak_mib"),
        (short, long),
        Budget(100),
        comparable=False,
        details=(("peak in all, MiB", "peak_mib"),),
    )


def _pool_rows(kind: str) -> Iterator[Row]:
    def rate(readings: Readings) -> float:
        return readings[f"{kind} 10"]["us_each"] / readings[f"bare {kind} 10"]["us_each"]

    title = "tasks on 2 processes" if kind == "processes" else "tasks on Dask, 2 processes"
    details = (("first result, workers' start included, ms", "first_ms"), ("recorded", "recorded"))
    yield Row(f"no-op {title}", "µs", _read(f"{kind} 0", "us_each"), (f"{kind} 0",), details=details)
    bare = (("first result, workers' start included, ms", "first_ms"),)
    yield Row(
        f"the same by {_POOLS[kind]} alone",
        "µs",
        _read(f"bare {kind} 0", "us_each"),
        (f"bare {kind} 0",),
        comparable=False,
        details=bare,
    )
    yield Row(
        f"{title} that compute for 10 ms, against {_POOLS[kind]} alone",
        "x",
        rate,
        (f"bare {kind} 10", f"{kind} 10"),
        comparable=False,
    )


def _resume_row(peer: str, name: str) -> Row:
    return Row(
        f"10,000 tasks finished, killed, continued: to the next task (beside {name})",
        "ms",
        _read("resume", "first_new_ms"),
        ("resume",),
        Budget(2_000),
        comparable=peer == "dbos",
        peer=peer,
        details=(("from the start of the process, ms", "process_to_first_new_ms"), ("executed again", "executed")),
    )


ROWS = (
    Row(
        "from ... import flow, task; over the bare interpreter",
        "ms",
        _difference("import", "bare", "wall_ms"),
        ("bare", "import"),
        Budget(80),
        Floor("13", 'the stdlib set of "Against the goals"; msgspec alone is 43 (section 5)'),
        details=(("modules", "modules"), ("heavy ones", "heavy_modules")),
    ),
    Row(
        "first flow with one task, empty home, whole process",
        "ms",
        _read("hello empty", "wall_ms"),
        ("hello empty",),
        Budget(300),
        Floor("43", "engine skeleton, fresh database, NORMAL, 21 of it the interpreter (section 1)"),
    ),
    Row(
        "the same in an existing home",
        "ms",
        _read("hello used", "wall_ms"),
        ("hello used",),
        None,
        Floor("45", "engine skeleton, existing database (section 1)"),
    ),
    *(row for durability in _LOOP_BUDGETS for row in _loop_rows(durability)),
    Row("no-op subflow, loop of 1,000", "µs", _read("subflows", "us_each"), ("subflows",), details=(("recorded", "recorded"),)),
    Row(
        "async no-op task, loop of 10,000",
        "µs",
        _read("async loop", "us_each"),
        ("async loop",),
        None,
        _LOOP_FLOORS["process"],
        details=(("recorded", "recorded"),),
    ),
    Row(
        "async no-op tasks, gather of 10,000",
        "tasks/s",
        _read("async gather", "per_second"),
        ("async gather",),
        Budget(8_000, at_least=True),
        Floor("82,000", "bare asyncio.gather, 12.2 µs a coroutine (section 6); 41,000 durable on threads (section 1)"),
        higher_is_better=True,
        details=(("with start and end of the flow, tasks/s", "per_second_with_flow"), ("recorded", "recorded")),
    ),
    Row(
        "10,000 log lines from a task",
        "µs",
        _read("log lines", "us_each"),
        ("log lines",),
        None,
        Floor("8.8", "logger.info to a handler of our own that appends to a list (section 6)"),
        details=(("with start and end of the flow, µs a line", "us_each_with_flow"), ("recorded", "recorded")),
    ),
    Row(
        "on disk per task run, of 100,000",
        "bytes",
        _bytes_per_task,
        ("hello empty", "loop process 100000"),
        None,
        Floor("387", "history in the task's row, 1 index, no log lines (section 1)"),
        details=(("recorded", "recorded"),),
    ),
    *(row for way in _FAN_OUTS for row in _fan_out_rows(way)),
    Row(
        "500 sleeps of 0.1 s on 50 threads, against the ideal",
        "x",
        _read("sleeps", "over_ideal"),
        ("sleeps",),
        details=(("seconds", "seconds"), ("recorded", "recorded")),
    ),
    *(row for kind in _POOLS for row in _pool_rows(kind)),
    *(_resume_row(peer, name) for peer, name in {"prefect": "Prefect's cache", "dbos": "DBOS"}.items()),
    Row(
        "a call whose result is in the cache",
        "µs",
        _read("cache hits", "us_each"),
        ("cache hits",),
        details=(("one that misses, µs", "us_miss"), ("recorded", "recorded")),
    ),
    Row(
        "peak memory, 100,000 tasks over 1,000",
        "MiB",
        _difference("loop process 100000", "loop process 1000", "peak_mib"),
        ("loop process 1000", "loop process 100000"),
        Budget(100),
        comparable=False,
        details=(("peak in all, MiB", "peak_mib"),),
    ),
    Row(
        "from the end of the script to the end of the process, 10,000 tasks",
        "ms",
        _read("loop process 10000", "exit_ms"),
        ("loop process 10000",),
    ),
)
