"""The change feed: every change of runs and every log is noted once, in the order of the commits."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import clock, ids, orchestration
from tidemill.exceptions import ObjectNotFound
from tidemill.records import Batch
from tidemill.states import COMPLETED, RUNNING, Completed, Pending
from tidemill.store import changes, open_store
from tidemill.store.changes import Change

DAY = changes.KEPT_MICROSECONDS


class Follower:
    """Who reads the changes of a desk's store, from the moment it is made."""

    def __init__(self, store: Any) -> None:
        self.fetch = store.database.fetch
        self.kind = store.database.kind
        self.place = changes.latest_place(self.fetch, kind=self.kind)

    def read(self, limit: int = 1000) -> list[Change]:
        found = changes.after(self.fetch, self.place, limit, kind=self.kind)
        self.place = found[-1].place if found else self.place
        return found


@pytest.fixture
def follower(desk: Any) -> Follower:
    return Follower(desk.store)


def all_logs(fetch: Any, change: Change) -> list[str]:
    sql = "SELECT message FROM log WHERE seq BETWEEN ? AND ? ORDER BY seq"
    return [row[0] for row in fetch(sql, (change.first_log, change.last_log))] if change.logs else []


def test_a_flow_run_is_noted_when_it_is_created_and_in_every_state(desk, follower):
    run = desk.flow_run([Pending()])
    assert {change.flow_runs for change in follower.read()} == {(run,)}
    desk.propose(run, Completed())
    assert [(change.flow_runs, change.task_runs, change.logs) for change in follower.read()] == [((run,), (), 0)]


def test_a_state_that_is_refused_is_no_change(desk, follower):
    run = desk.flow_run()
    follower.read()
    assert desk.propose(run, Completed(), attempt=7).status == "ABORT"
    assert follower.read() == []


def test_a_batch_is_one_change_with_its_task_runs_and_logs(desk, follower):
    run = desk.flow_run()
    desk.record(logs=[desk.line(run, "before")])
    follower.read()
    entries = [desk.entry(run, n) for n in range(3)]
    desk.record(entries, [desk.line(run, "one"), desk.line(run, "two")])
    (change,) = follower.read()
    assert change.task_runs == tuple(entry.id for entry in entries)
    assert change.flow_runs == ()
    assert all_logs(desk.fetch, change) == ["one", "two"]


def test_a_batch_of_task_runs_alone_and_one_of_logs_alone(desk, follower):
    run = desk.flow_run()
    follower.read()
    entry = desk.entry(run)
    desk.record([entry])
    desk.record(logs=[desk.line(run, "said")])
    first, second = follower.read()
    assert (first.task_runs, first.logs) == ((entry.id,), 0)
    assert second.task_runs == ()
    assert all_logs(desk.fetch, second) == ["said"]


def test_what_was_refused_is_not_noted(desk, follower):
    run = desk.flow_run()
    follower.read()
    stale, current = desk.entry(run, 0, attempt=7), desk.entry(run, 1)
    desk.record([stale, current], [desk.line(ids.new_id(), "of a run that is gone")])
    (change,) = follower.read()
    assert change.task_runs == (current.id,)
    assert change.logs == 0
    desk.record([stale])
    assert follower.read() == []


def test_a_transaction_that_fails_notes_nothing(desk, follower):
    with pytest.raises(RuntimeError), desk.store.transaction() as execute:
        changes.note(execute, flow_runs=[ids.new_id()])
        raise RuntimeError
    assert follower.read() == []


def test_what_others_change_of_a_run_is_noted_by_hand(desk, follower):
    flow_run, task_run = ids.new_id(), ids.new_id()
    with desk.store.transaction() as execute:
        changes.note(execute, flow_runs=[flow_run], task_runs=[task_run])
        changes.note(execute)
    (change,) = follower.read()
    assert (change.flow_runs, change.task_runs) == ((flow_run,), (task_run,))
    assert change.time <= clock.now()


def test_lost_runs_are_noted(desk, follower):
    run = desk.flow_run()
    entry = desk.advance(desk.entry(run), RUNNING)
    desk.record([entry])
    follower.read()
    orchestration.release_lease(desk.store, desk.lease)
    found = follower.read()
    assert {id for change in found for id in change.flow_runs} == {run}
    assert {id for change in found for id in change.task_runs} == {entry.id}


def test_corrections_are_noted(desk, follower):
    run = desk.flow_run()
    entry = desk.advance(desk.entry(run), RUNNING, COMPLETED)
    desk.record([entry])
    desk.propose(run, Completed())
    follower.read()
    orchestration.rerun_from(desk.store, run, entry.id)
    found = follower.read()
    assert {id for change in found for id in change.flow_runs} == {run}
    assert {id for change in found for id in change.task_runs} == {entry.id}


def test_a_deleted_run_is_noted_and_one_that_never_was_is_not(desk, follower):
    run = desk.flow_run()
    follower.read()
    with pytest.raises(ObjectNotFound):
        orchestration.delete_flow_run(desk.store, ids.new_id())
    orchestration.delete_flow_run(desk.store, run)
    assert [change.flow_runs for change in follower.read()] == [(run,)]


def test_lines_that_get_the_numbers_of_deleted_ones_are_seen_once(desk, follower):
    kept, deleted = desk.flow_run(), desk.flow_run()
    desk.record(logs=[desk.line(kept, "kept 1"), desk.line(deleted, "deleted 1"), desk.line(kept, "kept 2")])
    desk.record(logs=[desk.line(kept, "kept 3"), desk.line(deleted, "deleted 2")])
    desk.record(logs=[desk.line(deleted, "deleted 3")])
    orchestration.delete_flow_run(desk.store, deleted)
    desk.record(logs=[desk.line(kept, "kept 4"), desk.line(kept, "kept 5")])
    seen = [line for change in follower.read() for line in all_logs(desk.fetch, change)]
    assert seen == [f"kept {n}" for n in range(1, 6)]


def test_deleting_the_only_run_leaves_no_change_with_logs(desk, follower):
    run = desk.flow_run()
    desk.record(logs=[desk.line(run, "said")])
    orchestration.delete_flow_run(desk.store, run)
    assert [change.logs for change in follower.read() if change.logs] == []


def test_a_reader_goes_on_from_any_place_in_steps_of_any_size(desk, follower):
    run = desk.flow_run()
    for n in range(10):
        desk.record([desk.entry(run, n)])
    whole = follower.read()
    for step in (1, 3, 100):
        place, found = "0", []
        while part := changes.after(desk.fetch, place, step, kind=follower.kind):
            found += part
            place = part[-1].place
        assert found == whole
    assert follower.place == changes.latest_place(desk.fetch, kind=follower.kind) == whole[-1].place
    assert changes.count_after(desk.fetch, whole[3].place, 100, kind=follower.kind) == len(whole) - 4
    assert changes.count_after(desk.fetch, "0", 5, kind=follower.kind) == 5
    assert changes.at(desk.fetch, whole[3].place) == whole[3]


def test_the_beginning_is_a_place_too(desk, follower):
    start = follower.place
    assert changes.is_known(desk.fetch, start)
    desk.flow_run()
    assert changes.is_known(desk.fetch, start)
    assert follower.read()


@pytest.mark.parametrize("place", ["", "x", "-1", "1.5", "1-2", "٣", "9" * 30, "9" * 18])
def test_a_place_of_another_database_is_not_known(desk, place):
    desk.flow_run([Pending()])
    assert not changes.is_known(desk.fetch, place)


def test_what_is_no_place_cannot_be_read_from(desk):
    with pytest.raises(ValueError, match="'x' is no place"):
        changes.after(desk.fetch, "x", 1)


def prune(desk: Any, before: int, limit: int = 1000) -> int:
    with desk.store.transaction() as execute:
        return changes.prune(execute, before, limit)


def noted(desk: Any, *times: int) -> list[str]:
    """Makes a change at each of these times; gives their places."""
    for time in times:
        desk.execute("INSERT INTO change (time, flow_runs) VALUES (?, ?)", time, ids.to_bytes(ids.new_id()))
    return [str(row[0]) for row in desk.rows("change", "seq")]


def times(desk: Any) -> list[int]:
    """Of the changes that are there still."""
    return [time for _, time in desk.fetch("SELECT seq, time FROM change WHERE flow_runs IS NOT NULL ORDER BY seq")]


def test_old_changes_are_removed_in_steps_but_the_newest_stays(desk):
    places = noted(desk, 1, 2, 3, 4)
    assert prune(desk, 100, 2) == 2
    assert prune(desk, 100, 2) == 1
    assert prune(desk, 100, 2) == 0
    assert changes.latest_place(desk.fetch) == places[-1]
    assert [changes.is_known(desk.fetch, place) for place in ("0", *places)] == [False, False, False, True, True]
    assert [changes.at(desk.fetch, place) is not None for place in places] == [False, False, False, True]
    (*_, kept, new) = noted(desk, 5)
    assert kept == places[-1]
    assert int(new) > int(kept)


def test_a_change_by_an_older_clock_stays_with_those_before_it(desk):
    noted(desk, 1, 50, 2, 60)
    assert prune(desk, 10) == 1
    assert times(desk) == [50, 2, 60]


def test_what_a_server_has_not_got_yet_is_kept(desk):
    places = noted(desk, 1, 2, 3, 4, 5)
    for server, place in (("one", places[3]), ("two", places[1])):
        desk.execute("INSERT INTO shipment (server, shipped, updated) VALUES (?, ?, 1)", server, int(place))
    assert prune(desk, 100) == 2
    assert times(desk) == [3, 4, 5]


def test_who_runs_flows_removes_old_changes(desk):
    now = clock.now()
    assert orchestration.forget_old_changes(desk.store, now) == 0
    noted(desk, now - DAY - 2, now - DAY - 1, now - DAY + 60_000_000, now)
    assert orchestration.forget_old_changes(desk.store, now) == 2
    assert orchestration.forget_old_changes(desk.store, now) == 0
    assert times(desk) == [now - DAY + 60_000_000, now]


def test_nothing_is_missed_or_seen_twice_while_others_write(desk, open_same_store):
    """Each writer has a connection of its own, and the reader reads while they commit."""
    run = desk.flow_run()
    desk.record([desk.entry(run, "first")])
    follower = Follower(open_same_store())
    stores = [open_same_store() for _ in range(4)]
    written: list[list[str]] = [[] for _ in stores]

    def write(number: int) -> None:
        for n in range(60):
            entries = [desk.entry(run, f"{number}-{n}-{m}") for m in range(n % 3)]
            lines = [desk.line(run, f"{number}-{n}-{m}") for m in range(n % 4)]
            stores[number].record(Batch(entries, lines, (desk.lease.id,)))
            written[number] += [entry.id for entry in entries] + [line[-1] for line in lines]

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    found: list[Change] = []
    while any(thread.is_alive() for thread in threads):
        found += follower.read(7)
    while more := follower.read(7):
        found += more
    for thread in threads:
        thread.join()
    seen = [id for change in found for id in (*change.task_runs, *all_logs(desk.fetch, change))]
    assert sorted(seen) == sorted(id for part in written for id in part)
    assert len(seen) == len(set(seen))
    for part in written:  # of each writer in the order of its commits
        mine = set(part)
        assert [id for id in seen if id in mine] == part


WRITER = """
import sys
from tidemill import flow, task

@task
def step(n):
    return n

@flow
def steps():
    for n in range(100):
        step(n)

steps()
"""


def test_runs_of_other_processes_are_followed_while_they_go_on(start_script, home: Path, wait_until: Callable[..., None]):
    store = open_store(str(home / "tidemill.db"), durability="process")
    try:
        follower = Follower(store)
        processes = [start_script(WRITER) for _ in range(3)]
        found: list[Change] = []

        def have_ended() -> bool:
            found.extend(follower.read(10))
            return all(process.poll() is not None for process in processes)

        wait_until(have_ended)
        while more := follower.read(10):
            found += more
        assert [process.returncode for process in processes] == [0, 0, 0], [process.told for process in processes]
        rows = store.database.fetch("SELECT id FROM task_run")
        assert {id for change in found for id in change.task_runs} == {ids.from_bytes(row[0]) for row in rows}
        assert len(rows) == 300
        lines = [line for change in found for line in range(change.first_log or 0, (change.last_log or -1) + 1)]
        assert lines == [row[0] for row in store.database.fetch("SELECT seq FROM log ORDER BY seq")]
    finally:
        store.database.close()
