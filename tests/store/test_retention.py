"""What is old goes, the oldest first and a little at a time; what somebody still needs stays."""

import pytest

from tidemill import clock, ids, orchestration
from tidemill.orchestration import retention
from tidemill.records import Lease
from tidemill.side_records import NewArtifact, NewFlowRunInput
from tidemill.states import COMPLETED, RUNNING, Completed, Pending, ResultReference, Running
from tidemill.store import artifacts, caching, flow_run_inputs, tokens
from tidemill.store.caching import CachedResult
from tidemill.store.space import reclaim_space
from tidemill.store.tokens import Token

DAY = 86_400
TABLES = ("flow_run", "flow_run_state", "task_run", "log", "artifact", "flow_run_input")


class Past:
    """Runs that were some days ago."""

    def __init__(self, desk):
        self.desk = desk
        self.store = desk.store

    def flow_run(self, days, *, task_runs=1, ended=True, file=None, **more):
        """A flow run of so many days ago, with task runs that each logged a line."""
        with clock.travel(-days * DAY):
            run = self.desk.flow_run([Pending(), Running()], **more)
            entries = [self.desk.entry(run, key) for key in range(task_runs)]
            for entry in entries:
                self.desk.advance(entry, RUNNING, COMPLETED)
            if entries and file is not None:
                entries[0].result = ResultReference("json", storage_key=file)
            lines = [self.desk.line(run, "line", entry.id) for entry in entries]
            assert self.desk.record(entries, lines) == {}
            if ended:
                self.desk.propose(run, Completed())
        return run

    def task_run(self, days, *, ended=True, file=None):
        """A task run outside a flow."""
        with clock.travel(-days * DAY):
            created = clock.now()
        entry = self.desk.entry(created=created, progress=self.desk.entry().progress)
        entry.progress = type(entry.progress)(entry.progress.type, "Pending", (("PENDING", None, None, created),))
        if ended:
            self.desk.advance(entry, RUNNING, COMPLETED)
            entry.result = ResultReference("json", storage_key=file) if file else None
        self.desk.record([entry], [self.desk.line(None, "alone", entry.id)])
        return entry.id

    def delete(self, *, days=90, limit=10_000):
        return retention.delete_old_runs(self.store, clock.now() - days * DAY * 1_000_000, limit)

    def flow_runs(self):
        return {ids.from_bytes(row[0]) for row in self.desk.rows("flow_run", "id")}


@pytest.fixture
def past(desk):
    return Past(desk)


def test_runs_that_ended_before_the_time_go_with_all_they_had(past, desk):
    old, new = past.flow_run(100), past.flow_run(10)
    for run in (old, new):
        task_run = desk.fetch("SELECT id FROM task_run WHERE flow_run_id = ?", (ids.to_bytes(run),))[0][0]
        with desk.store.transaction() as execute:
            flow_run_inputs.create(execute, run, NewFlowRunInput(key="k", value="v"), clock.now())
            artifacts.create(execute, NewArtifact(key="of-flow", flow_run_id=run), clock.now())
            artifacts.create(execute, NewArtifact(key="of-task", task_run_id=ids.from_bytes(task_run)), clock.now())
    before = {table: desk.count(table) for table in TABLES}
    deleted = past.delete()
    assert (deleted.flow_runs, deleted.task_runs, deleted.logs, deleted.more) == (1, 1, 1, False)
    assert past.flow_runs() == {new}
    assert {table: desk.count(table) for table in TABLES} == {table: count // 2 for table, count in before.items()}
    assert past.delete() == (0, 0, 0, [], False)


def test_runs_that_go_on_stay(past):
    running = past.flow_run(100, ended=False)
    past.task_run(100, ended=False)
    past.flow_run(1)
    assert past.delete() == (0, 0, 0, [], False)
    assert running in past.flow_runs()


def test_who_was_called_goes_with_its_caller_and_not_before(past, desk):
    caller = past.flow_run(100, ended=False)
    called = past.flow_run(99, parent_flow_run_id=caller)
    assert past.delete().flow_runs == 0, "the caller goes on"
    with clock.travel(-91 * DAY):
        desk.propose(caller, Completed())
    assert past.delete().flow_runs == 2
    assert not {caller, called} & past.flow_runs()


def test_who_called_stays_while_one_of_its_subflows_goes_on(past, desk):
    caller = past.flow_run(100)
    middle = past.flow_run(100, parent_flow_run_id=caller)
    called = past.flow_run(100, parent_flow_run_id=middle, ended=False)
    other = past.flow_run(95)
    assert past.delete().flow_runs == 1
    assert past.flow_runs() == {caller, middle, called}
    desk.propose(called, Completed())
    assert past.delete().flow_runs == 0, "it has ended just now"
    assert past.delete(days=-1).flow_runs == 3
    assert other not in past.flow_runs()


def test_a_run_whose_caller_is_gone_goes_too(past):
    past.flow_run(100, parent_flow_run_id=ids.new_id())
    assert past.delete().flow_runs == 1


def test_the_oldest_go_first_a_few_rows_at_a_time(past, desk):
    newer, oldest, newest = (past.flow_run(days, task_runs=4) for days in (100, 110, 95))
    calls = []
    while not calls or calls[-1].more:
        calls.append(past.delete(limit=3))
        assert calls[-1].flow_runs + calls[-1].task_runs + calls[-1].logs <= 3
        if newer not in past.flow_runs():
            assert oldest not in past.flow_runs()
        if newest not in past.flow_runs():
            assert newer not in past.flow_runs()
    assert past.flow_runs() == set()
    assert [sum(column) for column in list(zip(*calls, strict=True))[:3]] == [3, 12, 12]
    assert [desk.count(table) for table in TABLES] == [0] * len(TABLES)


def test_many_families_that_stay_do_not_hide_one_that_goes(past):
    for days in range(100, 160):
        past.flow_run(1, ended=False, task_runs=0, parent_flow_run_id=past.flow_run(days, task_runs=0))
    last = past.flow_run(95)
    assert past.delete(limit=5).flow_runs == 1
    assert last not in past.flow_runs()


def test_task_runs_outside_flows_go_with_their_logs(past, desk):
    old, new = past.task_run(100), past.task_run(10)
    deleted = past.delete()
    assert (deleted.flow_runs, deleted.task_runs, deleted.logs) == (0, 1, 1)
    assert [ids.from_bytes(row[0]) for row in desk.rows("task_run", "id")] == [new]
    assert [ids.from_bytes(row[0]) for row in desk.rows("log", "task_run_id")] == [new]
    assert desk.rows("change", "task_runs", "seq DESC")[0][0] == ids.to_bytes(old)


def test_the_newest_line_stays_until_there_is_another(past, desk):
    past.task_run(100)
    assert past.delete().task_runs == 0, "the number of its line would be given again"
    past.task_run(1)
    assert past.delete().task_runs == 1


def test_files_that_belong_to_nothing_any_more_are_named(past, desk):
    past.flow_run(100, file="mine")
    past.flow_run(99, file="shared")
    past.flow_run(1, file="shared")
    past.flow_run(98, file="cached")
    past.task_run(100, file="alone")
    past.task_run(1)
    with desk.store.transaction() as execute:
        result = CachedResult(ids.new_id(), clock.now(), None, ResultReference("json", storage_key="cached"))
        caching.fill(execute, "key", result, None)
    deleted = past.delete()
    assert deleted.flow_runs == 3
    assert sorted(deleted.unused_keys) == ["alone", "mine"]


def test_the_file_of_a_flow_run_is_named_once_all_its_runs_are_gone(past, desk):
    for days in (100, 99):
        with clock.travel(-days * DAY):
            run = desk.flow_run()
            state = Completed()
            state.data = ResultReference("json", storage_key="report#0123456789abcdef")
            desk.propose(run, state)
    assert past.delete(limit=1).unused_keys == []
    assert past.delete(limit=1).unused_keys == ["report#0123456789abcdef"]


def test_a_run_that_was_begun_again_stays(past, desk):
    run = past.flow_run(100)
    with desk.store.transaction() as execute:
        execute("UPDATE flow_run SET end_time = NULL, state_type = 'RUNNING' WHERE id = ?", (ids.to_bytes(run),))
    assert past.delete() == (0, 0, 0, [], False)


def test_expired_results_go_and_their_files_are_named(past, desk):
    now = clock.now()
    past.flow_run(1, file="used")
    with desk.store.transaction() as execute:
        for name, expires, file in (("a", now, "free"), ("b", now - 1, "used"), ("c", now + 1, "kept"), ("d", None, "ever")):
            reference = ResultReference("json", storage_key=file)
            caching.fill(execute, name, CachedResult(ids.new_id(), 0, expires, reference), None)
    first = retention.delete_expired_results(desk.store, now, 1)
    assert (first.unused_keys, first.more) == ([], True)
    second = retention.delete_expired_results(desk.store, now, 10)
    assert (second.unused_keys, second.more) == (["free"], False)
    assert [row[0] for row in desk.rows("cache", "key", "key")] == ["c", "d"]


def test_tokens_that_gave_no_access_for_long_go_but_the_newest_stays(desk):
    now = clock.now()

    def add(name, *, revoked=None, expires=None):
        token = Token(
            id=ids.new_id(),
            name=name,
            role="viewer",
            created=clock.to_datetime(now),
            expires=expires and clock.to_datetime(expires),
        )
        with desk.store.transaction() as execute:
            tokens.insert(execute, token, ids.to_bytes(ids.new_id()) * 2)
            if revoked:
                tokens.revoke(execute, name, revoked)

    add("expired", expires=now - 2)
    add("revoked", revoked=now - 2)
    add("in use", expires=now + 1)
    add("revoked lately", revoked=now - 1)
    add("newest", revoked=now - 2)
    assert retention.delete_old_tokens(desk.store, now - 1) == 2
    assert retention.delete_old_tokens(desk.store, now + 2) == 2
    assert [row[0] for row in desk.rows("token", "name")] == ["newest"], "else the server would ask nobody for a token"


def test_a_file_gets_shorter_while_others_write(past, desk, open_same_store):
    if desk.store.database.kind != "sqlite":
        assert reclaim_space(desk.store.database, 1000) == 0, "PostgreSQL sees to it itself"
        return
    past.flow_run(100, task_runs=8000)
    kept = past.flow_run(1, task_runs=100)
    pages = desk.fetch("PRAGMA page_count")[0][0]
    assert reclaim_space(desk.store.database, 1000) == 0, "nothing is free"
    while past.delete().more:
        pass
    given = reclaim_space(desk.store.database, 100)
    assert given == 100
    other = open_same_store()
    while more := reclaim_space(desk.store.database, 1000):
        given += more
        lease = Lease(id=ids.new_id(), pid=1, boot_id="b", hostname="h", acquired=1, deadline=2)
        orchestration.take_lease(other, lease)
    with other.database.group():
        assert reclaim_space(other.database, 1000) == 0
    assert desk.fetch("PRAGMA page_count")[0][0] <= pages - given + 10
    assert 900 <= desk.fetch("PRAGMA freelist_count")[0][0] <= 1100, "some are kept for what comes"
    assert past.flow_runs() == {kept}
    assert desk.store.database.check() == []
