"""Live events: each is told once, in order, to everybody who asked, however slow and from however far back."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, orchestration
from tidemill.records import Batch, NewFlowRun, Progress, TaskRunEntry
from tidemill.server import live as live_module
from tidemill.server.access import StoreAccess
from tidemill.server.following import Position, Selection
from tidemill.server.live import Live
from tidemill.states import PENDING, Completed, Pending
from tidemill.store import changes, open_store, recording

PATIENCE = 60.0
"""Seconds after which something that should be told counts as never told."""


class House:
    """A store, and who tells live what happens in it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.store = self.open()
        self.access = StoreAccess(self.open)
        self.live = Live(self.access, asyncio.Event())

    def open(self) -> Any:
        return open_store(self.address, durability="process")

    def flow_run(self, **more: Any) -> str:
        run = NewFlowRun(id=ids.new_id(), name="adept-capuchin", flow_name="etl", **more)
        orchestration.create_flow_run(self.store, run, [Pending()], None)
        return run.id

    def log(self, flow_run_id: str | None, *messages: str) -> None:
        self.store.record(Batch([], [(flow_run_id, None, 20, 1, "x", message) for message in messages]))

    def task_run(self, flow_run_id: str | None, key: int = 0) -> str:
        progress = Progress(PENDING, "Pending", (("PENDING", None, None, 1),))
        entry = TaskRunEntry(ids.new_id(), flow_run_id, 0, f"step-{key}", "step", str(key), "[]", None, 1, progress)
        self.store.record(Batch([entry], []))
        return entry.id

    def write_beside(self, flow_run_id: str, lines: int) -> threading.Thread:
        """Logs by another connection, while the loop goes on."""

        def write() -> None:
            other = self.open()
            for n in range(lines):
                other.record(Batch([], [(flow_run_id, None, 20, 1, "x", str(n))]))
            other.database.close()

        thread = threading.Thread(target=write)
        thread.start()
        return thread


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return request.getfixturevalue("postgres_url") if request.param == "postgres" else str(tmp_path / "tidemill.db")


@pytest.fixture
def told(address: str) -> Callable[[Callable[[House], Awaitable[None]]], None]:
    """Runs a test in an event loop of its own."""

    @contextlib.asynccontextmanager
    async def a_house() -> AsyncIterator[House]:
        house = House(address)
        try:
            yield house
        finally:
            await house.live.close()
            house.access.close()
            house.store.database.close()

    def run(test: Callable[[House], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(PATIENCE), a_house() as house:
                await test(house)

        asyncio.run(main())

    return run


async def take(listener: Any, count: int) -> list[Any]:
    """The next events, so many at least."""
    events: list[Any] = []
    while len(events) < count:
        events += await listener.next()
    return events


def messages(events: list[Any]) -> list[str]:
    return [event.record.message for event in events if event.kind == "log"]


def test_runs_and_lines_are_told_as_they_are(told):
    async def test(house):
        listener = await house.live.listen()
        run = house.flow_run()
        task_run = house.task_run(run)
        house.log(run, "one", "two")
        flow_run_event, task_run_event, *lines = await take(listener, 4)
        assert (flow_run_event.kind, flow_run_event.record.id, flow_run_event.record.state.name) == ("flow-run", run, "Pending")
        assert (task_run_event.kind, task_run_event.record.id, task_run_event.flow_run_id) == ("task-run", task_run, run)
        assert messages(lines) == ["one", "two"]
        document = json.loads(flow_run_event.encoded)
        assert (document["id"], document["state"]["type"], document["flow_name"]) == (run, "PENDING", "etl")
        assert f"id: {lines[1].id}\n".encode() in lines[1].frame
        assert lines[1].frame.endswith(b"\n\n")

    told(test)


def test_a_listener_is_told_of_nothing_that_was_before(told):
    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen()
        house.log(run, "new")
        assert messages(await take(listener, 1)) == ["new"]

    told(test)


def test_it_waits_no_longer_than_it_is_asked_to(told):
    async def test(house):
        listener = await house.live.listen()
        assert await listener.next(0.0) == []
        assert await listener.next(0.05) == []

    told(test)


def test_every_event_can_be_gone_on_from(told):
    async def test(house):
        run = house.flow_run()
        for n in range(5):
            house.task_run(run, n)
            house.log(run, f"{n} a", f"{n} b", f"{n} c")
        first = await house.live.listen(after="0")
        events = await take(first, 21)
        for n, event in enumerate(events[:-1]):
            again = await house.live.listen(after=event.id)
            assert [other.id for other in await take(again, len(events) - n - 1)] == [other.id for other in events[n + 1 :]]
            again.close()
        assert len({event.id for event in events}) == len(events) == 21

    told(test)


def test_the_position_of_a_listener_can_be_gone_on_from(told):
    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen(Selection([run]))
        for n in range(3):
            house.log(house.flow_run(), f"of another {n}")
        house.log(run, "first")
        await take(listener, 1)
        position = listener.position
        listener.close()
        house.log(run, "meanwhile")
        again = await house.live.listen(Selection([run]), position)
        assert messages(await take(again, 1)) == ["meanwhile"]

    told(test)


def test_only_what_was_asked_for_is_told(told):
    async def test(house):
        run, other = house.flow_run(), house.flow_run()
        of_run = await house.live.listen(Selection([run]))
        logs = await house.live.listen(Selection(kinds=["log"]))
        task_runs = await house.live.listen(Selection([run], kinds=["task-run"]))
        from_store = await house.live.listen(Selection([run], kinds=["task-run"]), after="0")
        house.log(other, "other")
        house.log(run, "mine")
        house.task_run(other)
        mine = house.task_run(run)
        house.log(None, "nobody's")
        assert [event.kind for event in await take(of_run, 2)] == ["log", "task-run"]
        assert messages(await take(logs, 3)) == ["other", "mine", "nobody's"]
        assert [event.record.id for event in await take(task_runs, 1)] == [mine]
        assert [event.record.id for event in await take(from_store, 1)] == [mine]

    told(test)


def test_subflow_runs_are_told_if_asked_for(told):
    async def test(house):
        parent = house.flow_run()
        child = house.flow_run(parent_flow_run_id=parent)
        position = (await house.live.listen()).position
        selection = Selection([parent], include_subflows=True, kinds=["log"])
        listener = await house.live.listen(selection)
        grandchild = house.flow_run(parent_flow_run_id=child)
        stranger = house.flow_run()
        house.log(stranger, "stranger")
        for run in (parent, child, grandchild):
            house.log(run, run)
        assert messages(await take(listener, 3)) == [parent, child, grandchild]
        late = await house.live.listen(Selection([parent], include_subflows=True, kinds=["log"]), position)
        assert messages(await take(late, 3)) == [parent, child, grandchild]

    told(test)


def test_a_deleted_run_is_told_to_who_wants_flow_runs(told):
    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen(Selection([run], kinds=["flow-run"]))
        others = await house.live.listen(Selection([run], kinds=["log"]))
        orchestration.delete_flow_run(house.store, run)
        (event,) = await take(listener, 1)
        assert (event.kind, json.loads(event.encoded)) == ("deleted", {"flow_run_id": run})
        assert await others.next(0.0) == []

    told(test)


def test_a_run_that_changed_twice_is_told_twice_as_it_is_now(told):
    async def test(house):
        run = house.flow_run()
        orchestration.propose_flow_run_state(house.store, run, Completed())
        listener = await house.live.listen(after="0")
        assert [event.record.state.name for event in await take(listener, 2)] == ["Completed", "Completed"]

    told(test)


@pytest.mark.parametrize("after", ["", "x", "9" * 18, "5-", "-5", "7-0"])
def test_who_cannot_go_on_is_told_to_begin_anew(told, after):
    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen(after=after)
        (event,) = await take(listener, 1)
        assert (event.kind, event.encoded) == ("reset", b"{}")
        house.log(run, "after it")
        assert messages(await take(listener, 1)) == ["after it"]

    told(test)


def test_who_was_away_for_too_long_is_told_to_begin_anew(told):
    async def test(house):
        run = house.flow_run()
        for n in range(3):
            house.log(run, str(n))
        with house.store.transaction() as execute:
            changes.prune(execute, 2**62, 2)
        listener = await house.live.listen(after="1")
        assert [event.kind for event in await take(listener, 1)] == ["reset"]
        house.log(run, "after it")
        assert messages(await take(listener, 1)) == ["after it"]

    told(test)


def test_who_has_fallen_out_of_the_ring_reads_on_from_the_store(told, monkeypatch):
    monkeypatch.setattr(live_module, "_EVENTS_IN_RING", 10)

    async def test(house):
        run = house.flow_run()
        slow, quick = await house.live.listen(), await house.live.listen()
        writing = house.write_beside(run, 300)
        assert messages(await take(quick, 300)) == [str(n) for n in range(300)]
        assert messages(await take(slow, 300)) == [str(n) for n in range(300)]
        writing.join()
        house.log(run, "last")
        assert messages(await take(slow, 1)) == messages(await take(quick, 1)) == ["last"]

    told(test)


def test_large_events_do_not_stay_in_memory(told, monkeypatch):
    monkeypatch.setattr(live_module, "_BYTES_IN_RING", 10_000)

    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen()
        for n in range(5):
            house.log(run, str(n) * 20_000)
        assert messages(await take(listener, 5)) == [str(n) * 20_000 for n in range(5)]

    told(test)


def test_a_change_larger_than_a_page_is_told_whole(told):
    async def test(house):
        run = house.flow_run()
        live, lines = await house.live.listen(), [str(n) for n in range(1300)]
        house.log(run, *lines)
        assert messages(await take(live, 1300)) == lines
        late = await house.live.listen(after="0")
        events = await take(late, 1301)
        assert messages(events) == lines
        middle = await house.live.listen(after=events[650].id)
        assert messages(await take(middle, 650)) == lines[650:]

    told(test)


def test_many_listeners_are_told_the_same_while_others_write_and_some_come_back(told):
    async def test(house):
        run = house.flow_run()
        start = await house.live.listen()
        position = start.position

        async def follow(at_once: int) -> list[str]:
            """Listens for so many events, leaves, comes back, and so on."""
            seen: list[str] = []
            while len(seen) < 400:
                listener = await house.live.listen(after=seen[-1] if seen else position)
                wanted = min(at_once, 400 - len(seen))
                seen += [event.id for event in await take(listener, wanted)][:wanted]
                listener.close()
            return seen

        following = [asyncio.create_task(follow((400, 170, 61, 7)[n % 4])) for n in range(100)]
        writing = [house.write_beside(run, 200) for _ in range(2)]
        told_to = await asyncio.gather(*following)
        for thread in writing:
            thread.join()
        assert len(set(told_to[0])) == 400
        assert all(ids == told_to[0] for ids in told_to)

    told(test)


def test_one_thread_reads_for_all_and_none_when_nobody_listens(told):
    def readers() -> int:
        return sum(thread.name == "tidemill-live" for thread in threading.enumerate())

    async def test(house):
        assert readers() == 0
        listeners = [await house.live.listen() for _ in range(20)]
        assert (readers(), house.live.listeners) == (1, 20)
        for listener in listeners:
            listener.close()
        assert house.live.listeners == 0
        while readers():
            await asyncio.sleep(0)
        run = house.flow_run()
        again = await house.live.listen(after="0")
        assert [event.record.id for event in await take(again, 1)] == [run]

    told(test)


def test_parts_of_the_server_are_told_one_by_one(told):
    async def test(house):
        run = house.flow_run()
        seen = []
        async with contextlib.aclosing(house.live.subscribe(Selection(kinds=["log"]), after="0")) as events:
            house.log(run, "one", "two")
            async for event in events:
                seen.append(event.record.message)
                if len(seen) == 2:
                    break
        assert seen == ["one", "two"]
        assert house.live.listeners == 0

    told(test)


def test_everybody_ends_with_the_server(told):
    async def test(house):
        stopping = asyncio.Event()
        live = Live(house.access, stopping)

        async def follow() -> None:
            async for _ in live.subscribe():
                pass

        following = [asyncio.create_task(follow()) for _ in range(5)]
        while live.listeners < 5:
            await asyncio.sleep(0)
        stopping.set()
        await asyncio.gather(*following)
        await live.close()
        assert live.listeners == 0

    told(test)


def test_it_goes_on_when_the_store_can_be_read_again(told, caplog):
    async def test(house):
        run = house.flow_run()
        listener = await house.live.listen()
        with house.store.transaction() as execute:
            recording.record(execute, Batch([], [(run, None, 20, 1, "x", "told after all")]))
            execute("ALTER TABLE log RENAME TO elsewhere", ())
        while "tried again" not in caplog.text:
            await asyncio.sleep(0.01)
        with house.store.transaction() as execute:
            execute("ALTER TABLE elsewhere RENAME TO log", ())
        house.log(run, "and on")
        assert messages(await take(listener, 2)) == ["told after all", "and on"]

    told(test)


@pytest.mark.parametrize("text", ["0", "5", "5-0", "5-17"])
def test_a_position_is_read_as_it_is_written(text):
    assert str(Position.parse(text)) == text


def test_positions_sort_as_things_happened():
    texts = ["4-9", "4", "5-0", "5-1", "5-10", "5", "6-0"]
    assert [str(position) for position in sorted(Position.parse(text) for text in reversed(texts))] == texts
