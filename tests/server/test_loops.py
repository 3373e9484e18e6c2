"""The background loops: kept going whatever happens in them, run by one server of several, and what each does."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import clock, ids, orchestration
from tidemill.records import Lease, NewFlowRun, RunPolicy
from tidemill.server.access import StoreAccess
from tidemill.server.loops.catalogue import all_loops
from tidemill.server.loops.leading import Loops
from tidemill.server.loops.loop import Loop, RunningLoop
from tidemill.server.metrics import Metrics
from tidemill.settings import DatabaseLimits, load
from tidemill.states import Completed, Pending, ResultReference, Running, Scheduled
from tidemill.store import changes, open_store, reading
from tidemill.store import loops as recorded
from tidemill.store.leadership import leadership_of

DAY = 24 * 3600 * 1_000_000


@pytest.fixture
def address(home: Path) -> str:
    return str(home / "tidemill.db")


@pytest.fixture
def access(address: str) -> Iterator[StoreAccess]:
    access = StoreAccess(lambda: open_store(address, durability="process"))
    yield access
    access.close()


class Ticking:
    """What a loop does: counts, and fails as long as it is told to."""

    def __init__(self) -> None:
        self.ticks = 0
        self.failing = False

    async def __call__(self) -> None:
        self.ticks += 1
        if self.failing:
            raise ValueError("no good")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


# One loop


def test_a_loop_notes_how_it_fares(caplog):
    ticking = Ticking()
    running = RunningLoop(Loop("counting", 5.0, ticking), "here:1")

    async def go() -> None:
        await running.tick()
        assert (running.health.ticks, running.health.failures, running.health.last_error) == (1, 0, None)
        ticking.failing = True
        for _ in range(3):
            await running.tick()

    asyncio.run(go())
    health = running.health
    assert (health.ticks, health.failures, health.last_error) == (4, 3, "ValueError: no good")
    assert health.last_tick is not None
    assert health.last_tick >= health.started
    failures = [record for record in caplog.records if record.levelname == "ERROR"]
    assert [record.getMessage() for record in failures] == [
        "Loop 'counting' fails, and will be tried again: ValueError: no good"
    ]


def test_a_loop_that_fails_is_tried_ever_more_rarely_until_it_works():
    ticking = Ticking()
    running = RunningLoop(Loop("counting", 5.0, ticking), "here:1")
    pauses = [running.pause]

    async def go() -> None:
        ticking.failing = True
        for _ in range(8):
            await running.tick()
            pauses.append(running.pause)
        ticking.failing = False
        await running.tick()
        pauses.append(running.pause)

    asyncio.run(go())
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300, 5]
    assert running.health.last_error is None


def test_a_rare_loop_that_fails_is_not_tried_more_often():
    running = RunningLoop(Loop("rare", 3600.0, Ticking()), "here:1")
    running._failures_in_row = 50
    assert running.pause == 3600


# Several


@pytest.fixture
def make_loops(access: StoreAccess, address: str) -> Callable[..., Loops]:
    """The loops of a server more."""

    def make(*ticking: Ticking) -> Loops:
        each = [Loop(f"loop-{n}", 0.01, tick) for n, tick in enumerate(ticking)]
        return Loops(each, access, leadership_of(address, DatabaseLimits()), ask_seconds=0.05)

    return make


def test_a_loop_that_fails_disturbs_no_other(make_loops, access):
    bad, good = Ticking(), Ticking()
    bad.failing = True
    loops = make_loops(bad, good)

    async def go() -> None:
        await loops.start()
        await until(lambda: good.ticks > 5 and bad.ticks > 1)
        failing, working = await loops.health()
        assert (failing.last_error, working.last_error) == ("ValueError: no good", None)
        await until(lambda: {loop.last_error for loop in recorded.all_loops(access.store.database.fetch)} != {None})
        await loops.stop()

    asyncio.run(go())


def test_one_of_several_servers_runs_them_and_another_takes_over(make_loops):
    first_ticks, second_ticks = Ticking(), Ticking()
    first, second = make_loops(first_ticks), make_loops(second_ticks)

    async def go() -> None:
        await first.start()
        await until(lambda: first_ticks.ticks > 3)
        await second.start()
        ticks = first_ticks.ticks
        await until(lambda: first_ticks.ticks > ticks + 10)
        assert (first.leads, second.leads, second_ticks.ticks) == (True, False, 0)
        (told,) = await second.health()
        assert told.name == "loop-0", "who does not lead tells what the leader has recorded"
        await first.stop()
        assert not first.leads
        await until(lambda: second_ticks.ticks > 3)
        await second.stop()

    asyncio.run(go())


def test_the_loops_of_a_server_are_seen_over_the_api(served, wait_until):
    assert served.get("admin/loops") == {"server": served.services.loops.server, "leads": False, "loops": []}
    names = {loop.name for loop in all_loops(served.services.access, served.settings, Metrics())}
    with served.store.transaction() as execute:
        recorded.record(execute, [RunningLoop(Loop("lost-runs", 5.0, Ticking()), "there:7").health])
    (told,) = served.get("admin/loops")["loops"]
    assert (told["name"], told["server"], told["interval_seconds"]) == ("lost-runs", "there:7", 5.0)
    assert names >= {"lost-runs", "late-runs", "concurrency-leases", "retention", "old-changes", "old-events"}


# What each does


@pytest.fixture
def tick(access: StoreAccess) -> Callable[..., Metrics]:
    """Lets a loop do once what it does."""

    def run(name: str, **settings: Any) -> Metrics:
        metrics = Metrics()
        (loop,) = (loop for loop in all_loops(access, load(settings), metrics) if loop.name == name)

        async def go() -> None:
            done: Awaitable[object] = loop.tick()
            await done

        asyncio.run(go())
        return metrics

    return run


def flow_run(access: StoreAccess, *states: Any, lease: Lease | None = None) -> str:
    run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl", policy=RunPolicy())
    orchestration.create_flow_run(access.store, run, states, lease)
    return run.id


def state_name(access: StoreAccess, run: str) -> str | None:
    found = reading.flow_run(access.store.database.fetch, run)
    return found and found.state_name


@pytest.mark.parametrize(("seconds", "name"), [(-1, "Crashed"), (60, "Running")])
def test_lost_runs_are_ended_and_counted(access, tick, seconds, name):
    now = clock.now()
    lease = Lease(
        id=ids.new_id(), pid=1, boot_id="x", hostname="far", acquired=now, deadline=now + seconds * 1_000_000, process_start=1
    )
    run = flow_run(access, Pending(), Running(), lease=lease)
    told = tick("lost-runs").exposed([], "")[0].decode()
    assert state_name(access, run) == name
    assert f"tidemill_lost_flow_runs_total {float(seconds < 0)}" in told


def test_late_runs_are_named(access, tick):
    run = flow_run(access, Scheduled(scheduled_time=clock.to_datetime(clock.now() - 20_000_000)))
    tick("late-runs")
    assert state_name(access, run) == "Late"


def test_old_changes_and_events_go(access, tick):
    with clock.travel(-8 * 24 * 3600):
        flow_run(access, Pending())
        flow_run(access, Pending())
    flow_run(access, Pending())
    with access.store.transaction() as execute:
        for age in (8, 1):
            row = (ids.to_bytes(ids.new_id()), clock.now() - age * DAY, clock.now(), "x", "y", "{}")
            execute("INSERT INTO event (id, occurred, received, name, resource_id, document) VALUES (?,?,?,?,?,?)", row)
    fetch = access.store.database.fetch
    assert changes.has_old(fetch, clock.now() - 7 * DAY)
    tick("old-changes")
    tick("old-events")
    assert not changes.has_old(fetch, clock.now() - 7 * DAY)
    assert fetch("SELECT count(*) FROM event") == [(1,)]


def test_runs_that_ended_long_ago_go_with_their_result_files(access, tick, home):
    results = home / "results"
    results.mkdir(parents=True)
    for name in ("old", "new", "elsewhere"):
        (results / name).write_text("x")
    outside = home / "outside"
    outside.write_text("x")

    def completed(key: str) -> str:
        state = Completed(data=ResultReference("pickle", None, key))
        return flow_run(access, Pending(), Running(), state)

    with clock.travel(-20 * 24 * 3600):
        old = [completed("old"), completed(f"{results}/elsewhere"), completed("../outside")]
        at_work = flow_run(access, Pending(), Running())
    new = completed("new")
    tick("retention", server_retention_days=0)
    assert state_name(access, old[0]) == "Completed"
    tick("retention", server_retention_days=10)
    assert [state_name(access, run) for run in (*old, at_work, new)] == [None, None, None, "Running", "Completed"]
    assert sorted(path.name for path in results.iterdir()) == ["elsewhere", "new"]
    assert outside.exists()


def test_every_loop_ticks_on_an_empty_store(access, tick):
    for loop in all_loops(access, load(), Metrics()):
        tick(loop.name)
