"""What is written is what is read, filtered, sorted and paged."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidemill import clock, ids
from tidemill.filters import (
    ALL,
    FIRST_PAGE,
    ExistsFilter,
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    FlowSort,
    IdFilter,
    LevelFilter,
    LogFilter,
    LogSort,
    NameFilter,
    Operator,
    Page,
    StateFilter,
    StateTypeFilter,
    TagsFilter,
    TaskRunFilter,
    TaskRunSort,
    TextSearchFilter,
    TimeFilter,
)
from tidemill.records import Batch, FlowRunPolicy, LogEntry, NewFlowRun, Progress, RunPolicy, TaskRunEntry
from tidemill.states import (
    COMPLETED,
    FAILED,
    PENDING,
    RUNNING,
    Completed,
    ErrorSummary,
    Failed,
    Pending,
    ResultReference,
    Running,
    Scheduled,
    State,
    StateDetails,
    Unkept,
)
from tidemill.store import open_store, reading, writing

BASE = datetime(2024, 5, 1, 12, tzinfo=UTC)
KEPT = ResultReference("pickle", inline=b"42")


class Book:
    """A database with a short way to write runs into it."""

    def __init__(self, path: Path) -> None:
        self.store = open_store(str(path), durability="process")
        self.fetch = self.store.database.fetch

    def flow_run(self, name: str, states: Sequence[State[Any]] = (), *, flow: str = "etl", **more: Any) -> str:
        run = NewFlowRun(id=more.pop("id", ids.new_id()), name=name, flow_name=flow, **more)
        first, *others = states or [Pending(), Running(), Completed(data=KEPT)]
        with self.store.transaction() as execute:
            writing.insert_flow_run(execute, run, first, clock.now())
            for state in others:
                facts = writing.flow_run_facts(execute, run.id)
                assert facts is not None
                writing.write_flow_run_state(execute, run.id, state, facts, None)
        return run.id

    def task_run(self, name: str, flow_run_id: str | None = None, states: Sequence[tuple[Any, ...]] = (), **more: Any) -> str:
        at = clock.from_datetime(BASE)
        progress = Progress(PENDING, "Pending", (("PENDING", None, None, at),))
        for n, step in enumerate(states or [(RUNNING, None, None), (COMPLETED, None, None)]):
            progress = progress.then(*step, at + n * 1_000_000)
        key, _, counter = name.rpartition("-")
        entry = TaskRunEntry(
            id=ids.new_id(),
            flow_run_id=flow_run_id,
            attempt=1,
            name=name,
            task_key=key,
            dynamic_key=counter,
            progress=progress,
            **{"tags": "[]", "policy": None, "created": at, **more},
        )
        self.record(task_runs=[entry])
        return entry.id

    def log(self, message: str, flow_run_id: str | None, **more: Any) -> None:
        task_run_id, level = more.get("task_run_id"), more.get("level", 20)
        at = clock.from_datetime(BASE) + more.get("seconds", 0) * 1_000_000
        self.record(logs=[(flow_run_id, task_run_id, level, at, more.get("name", "tidemill.flow_runs"), message)])

    def record(self, task_runs: Sequence[TaskRunEntry] = (), logs: Sequence[LogEntry] = ()) -> None:
        assert self.store.record(Batch(list(task_runs), list(logs))) == {}


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path / "book.db")
    yield book
    book.store.database.close()


def names(records: Sequence[Any]) -> list[str]:
    return [record.name for record in records]


def test_a_flow_run_is_read_as_it_was_written(book: Book) -> None:
    parent, parent_task = ids.new_id(), ids.new_id()
    run_id = book.flow_run(
        "adept-capuchin",
        [Pending(), Running(), Completed(data=KEPT, message="done")],
        flow_version="3",
        entrypoint="etl.py:etl",
        parameters=b'{"n": 1, "where": ["a"]}',
        tags=["x", "y"],
        policy=RunPolicy(retries=2, retry_delay=[1.0, 2.0]),
        parent_flow_run_id=parent,
        parent_task_run_id=parent_task,
        idempotency_key="once",
    )
    run = reading.flow_run(book.fetch, run_id)
    assert run is not None
    assert (run.id, run.name, run.flow_name) == (run_id, "adept-capuchin", "etl")
    assert (run.flow_version, run.entrypoint, run.idempotency_key) == ("3", "etl.py:etl", "once")
    assert run.parameters == {"n": 1, "where": ["a"]}
    assert run.tags == ["x", "y"]
    assert run.empirical_policy == FlowRunPolicy(retries=2, retry_delay=[1.0, 2.0])
    assert (run.parent_flow_run_id, run.parent_task_run_id) == (parent, parent_task)
    assert run.run_count == 1
    assert run.state is not None
    assert (run.state_id, run.state_type, run.state_name) == (run.state.id, COMPLETED, "Completed")
    assert (run.state.message, run.state.data) == ("done", KEPT)
    assert run.state.state_details.flow_run_id == run_id
    assert run.start_time is not None
    assert run.end_time == run.state.timestamp >= run.start_time
    assert run.total_run_time == pytest.approx((run.end_time - run.start_time).total_seconds())


def test_a_flow_runs_states_are_read_in_order(book: Book) -> None:
    summary = ErrorSummary("ValueError", "no", "Traceback ...")
    failed = Failed(message="broken")
    failed.state_details.error = summary
    run_id = book.flow_run("r", [Pending(), Running(), failed])
    states = reading.flow_run_states(book.fetch, run_id)
    assert [state.name for state in states] == ["Pending", "Running", "Failed"]
    assert states[2].state_details.error == summary
    assert isinstance(states[2].data, Unkept)
    assert states[1].data is None
    assert [state.timestamp for state in states] == sorted(state.timestamp for state in states)
    assert len({state.id for state in states}) == 3


def test_what_was_not_kept_says_so(book: Book) -> None:
    run = reading.flow_run(book.fetch, book.flow_run("r", [Pending(), Running(), Completed()]))
    assert run is not None
    assert run.state is not None
    assert isinstance(run.state.data, Unkept)
    assert "TIDEMILL_RESULTS_SIZE_LIMIT" in run.state.data.reason


def test_a_task_run_is_read_as_it_was_written(book: Book) -> None:
    flow_run_id = book.flow_run("r", [Pending(), Running()])
    run_id = book.task_run(
        "add_one-3c3112ef-0",
        flow_run_id,
        [(RUNNING, None, None), (FAILED, "TimedOut", "too slow")],
        tags='["a"]',
        policy='{"retries":1}',
        task_version="7",
        task_inputs='{"x":[{"input_type":"task_run","id":"1"}]}',
        cache_key="k",
        result=ResultReference("pickle", storage_key="ab/cd"),
        details=StateDetails(retriable=False),
    )
    run = reading.task_run(book.fetch, run_id)
    assert run is not None
    assert (run.id, run.name, run.flow_run_id) == (run_id, "add_one-3c3112ef-0", flow_run_id)
    assert (run.task_key, run.dynamic_key, run.task_version) == ("add_one-3c3112ef", "0", "7")
    assert (run.tags, run.cache_key, run.run_count, run.flow_run_run_count) == (["a"], "k", 1, 1)
    assert run.empirical_policy.retries == 1
    assert run.task_inputs == {"x": [{"input_type": "task_run", "id": "1"}]}
    assert (run.created, run.start_time) == (BASE, BASE)
    assert (run.end_time, run.total_run_time) == (BASE + timedelta(seconds=1), 1.0)
    assert run.state is not None
    assert (run.state.type, run.state.name, run.state.message) == (FAILED, "TimedOut", "too slow")
    assert run.state.data == ResultReference("pickle", storage_key="ab/cd")
    details = run.state.state_details
    assert (details.retriable, details.task_run_id, details.flow_run_id) == (False, run_id, flow_run_id)
    states = reading.task_run_states(book.fetch, run_id)
    assert [state.name for state in states] == ["Pending", "Running", "TimedOut"]
    assert [state.id for state in states] == [ids.nth_id(run_id, 0), ids.nth_id(run_id, 1), run.state_id]
    assert states[1].data is None


def test_what_is_not_there(book: Book) -> None:
    nobody = ids.new_id()
    assert reading.flow(book.fetch, nobody) is None
    assert reading.flow_by_name(book.fetch, "none") is None
    assert reading.flow_run(book.fetch, nobody) is None
    assert reading.task_run(book.fetch, nobody) is None
    assert reading.flow_run_states(book.fetch, nobody) == reading.task_run_states(book.fetch, nobody) == []
    assert reading.flows(book.fetch) == reading.flow_runs(book.fetch) == reading.task_runs(book.fetch) == []
    assert reading.logs(book.fetch) == reading.logs_after(book.fetch, 0, nobody) == []
    assert reading.find_flow_runs(book.fetch, "none") == reading.find_task_runs(book.fetch, "none") == []


def test_flows_are_known_by_name(book: Book) -> None:
    book.flow_run("a", flow="one")
    book.flow_run("b", flow="two")
    book.flow_run("c", flow="two")
    assert names(reading.flows(book.fetch)) == ["one", "two"]
    assert names(reading.flows(book.fetch, sort=FlowSort.NAME_DESC, page=Page(1, 1))) == ["one"]
    assert names(reading.flows(book.fetch, sort=FlowSort.CREATED_DESC)) == ["two", "one"]
    two = reading.flow_by_name(book.fetch, "two")
    assert two is not None
    assert reading.flow(book.fetch, two.id) == two
    assert two.tags == []
    assert reading.count_flows(book.fetch) == 2
    assert names(reading.flows(book.fetch, Filters(flow_runs=FlowRunFilter(name=NameFilter(any_=["a"]))))) == ["one"]
    assert reading.count_flows(book.fetch, Filters(flow_runs=FlowRunFilter(name=NameFilter(any_=[])))) == 0


@pytest.fixture
def mixed(book: Book) -> dict[str, str]:
    """Three flow runs of two flows, with task runs."""
    done = book.flow_run("done-run", tags=["a", "b"], flow="one", flow_version="1")
    failed = book.flow_run("failed_run", [Pending(), Running(), Failed(name="TimedOut")], tags=["b"], flow="two")
    child = book.flow_run("child", [Scheduled(scheduled_time=BASE)], flow="two", parent_flow_run_id=failed)
    parent = book.flow_run("parent", [Pending(), Running()], flow="one")
    task = book.task_run("load-1234-0", parent, tags='["io"]')
    book.task_run("load-1234-1", parent, [(RUNNING, None, None), (FAILED, None, None)])
    book.task_run("alone-5678-0")
    of_parent = {"parent_task_run_id": task, "parent_flow_run_id": parent}
    sub = book.flow_run("sub", [Pending(), Running()], flow="sub", **of_parent)
    return {"done": done, "failed": failed, "child": child, "parent": parent, "task": task, "sub": sub}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["sub", "parent", "child", "failed_run", "done-run"]),
        ({"flow_runs": {}}, ["sub", "parent", "child", "failed_run", "done-run"]),
        ({"flow_runs": {"name": {"any_": ["child", "sub"]}}}, ["sub", "child"]),
        ({"flow_runs": {"name": {"not_any_": ["child", "sub"]}}}, ["parent", "failed_run", "done-run"]),
        ({"flow_runs": {"name": {"like_": "RUN"}}}, ["failed_run", "done-run"]),
        ({"flow_runs": {"name": {"like_": "d_r"}}}, ["failed_run"]),
        ({"flow_runs": {"any_name": {"like_": "ON"}}}, ["parent", "done-run"]),
        ({"flow_runs": {"name": {"startswith_": ["DONE", "sub"]}}}, ["sub", "done-run"]),
        ({"flow_runs": {"name": {"startswith_": []}}}, []),
        ({"flow_runs": {"id": {"any_": []}}}, []),
        ({"flow_runs": {"id": {"not_any_": []}}}, ["sub", "parent", "child", "failed_run", "done-run"]),
        ({"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}, ["sub", "parent"]),
        ({"flow_runs": {"state": {"type": {"not_any_": ["RUNNING"]}}}}, ["child", "failed_run", "done-run"]),
        ({"flow_runs": {"state": {"name": {"any_": ["TimedOut"]}}}}, ["failed_run"]),
        (
            {"flow_runs": {"state": {"operator": "or_", "type": {"any_": ["SCHEDULED"]}, "name": {"any_": ["TimedOut"]}}}},
            ["child", "failed_run"],
        ),
        ({"flow_runs": {"tags": {"all_": ["a", "b"]}}}, ["done-run"]),
        ({"flow_runs": {"tags": {"any_": ["a", "b"]}}}, ["failed_run", "done-run"]),
        ({"flow_runs": {"tags": {"is_null_": True}}}, ["sub", "parent", "child"]),
        ({"flow_runs": {"tags": {"is_null_": False}}}, ["failed_run", "done-run"]),
        ({"flow_runs": {"flow_version": {"any_": ["1"]}}}, ["done-run"]),
        ({"flow_runs": {"end_time": {"is_null_": True}}}, ["sub", "parent", "child"]),
        ({"flow_runs": {"expected_start_time": {"before_": "2024-05-01T12:00:00Z"}}}, ["child"]),
        (
            {"flow_runs": {"start_time": {"after_": "2024-05-01T12:00:00Z"}}},
            ["sub", "parent", "failed_run", "done-run"],
        ),
        ({"flow_runs": {"began": {"before_": "2024-05-01T12:00:00Z"}}}, ["child"]),
        ({"flow_runs": {"parent_task_run_id": {"is_null_": False}}}, ["sub"]),
        (
            {"flow_runs": {"operator": "or_", "name": {"any_": ["sub"]}, "tags": {"all_": ["a"]}}},
            ["sub", "done-run"],
        ),
        (
            {
                "flow_runs": {
                    "operator": "or_",
                    "name": {"like_": "run", "startswith_": ["done"]},
                    "tags": {"all_": ["z"]},
                }
            },
            ["done-run"],
        ),
        ({"flows": {"name": {"any_": ["two"]}}}, ["child", "failed_run"]),
        ({"flows": {"tags": {"is_null_": False}}}, []),
        ({"task_runs": {"name": {"like_": "load"}}}, ["parent"]),
        ({"task_runs": {"state": {"type": {"any_": ["CRASHED"]}}}}, []),
        ({"flows": {"name": {"any_": ["one"]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}, ["parent"]),
    ],
)
def test_flow_runs_are_filtered(book: Book, mixed: dict[str, str], body: dict[str, Any], expected: list[str]) -> None:
    filters = msgspec.convert(body, Filters)
    assert names(reading.flow_runs(book.fetch, filters)) == expected
    assert reading.count_flow_runs(book.fetch, filters) == len(expected)


def test_flow_runs_are_found_by_what_they_belong_to(book: Book, mixed: dict[str, str]) -> None:
    def found(**filter: Any) -> list[str]:
        return names(reading.flow_runs(book.fetch, Filters(flow_runs=FlowRunFilter(**filter))))

    assert found(parent_flow_run_id=IdFilter(any_=[mixed["failed"]])) == ["child"]
    assert found(parent_task_run_id=IdFilter(any_=[mixed["task"]])) == ["sub"]
    assert found(id=IdFilter(any_=[mixed["sub"].replace("-", ""), mixed["done"]])) == ["sub", "done-run"]
    both = IdFilter(operator=Operator.or_, any_=[mixed["task"]], is_null_=True)
    assert found(parent_task_run_id=both) == ["sub", "parent", "child", "failed_run", "done-run"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, ["alone-5678-0", "load-1234-1", "load-1234-0"]),
        ({"task_runs": {"flow_run_id": {"is_null_": True}}}, ["alone-5678-0"]),
        ({"task_runs": {"tags": {"all_": ["io"]}}}, ["load-1234-0"]),
        ({"task_runs": {"state": {"type": {"any_": ["FAILED"]}}}}, ["load-1234-1"]),
        ({"task_runs": {"subflow_runs": {"exists_": True}}}, ["load-1234-0"]),
        ({"task_runs": {"subflow_runs": {"exists_": False}}}, ["alone-5678-0", "load-1234-1"]),
        ({"task_runs": {"subflow_runs": {}}}, ["alone-5678-0", "load-1234-1", "load-1234-0"]),
        ({"flow_runs": {"name": {"any_": ["parent"]}}}, ["load-1234-1", "load-1234-0"]),
        ({"flows": {"name": {"any_": ["one"]}}, "task_runs": {"name": {"any_": ["load-1234-1"]}}}, ["load-1234-1"]),
        ({"flows": {"name": {"any_": ["two"]}}}, []),
    ],
)
def test_task_runs_are_filtered(book: Book, mixed: dict[str, str], body: dict[str, Any], expected: list[str]) -> None:
    filters = msgspec.convert(body, Filters)
    assert names(reading.task_runs(book.fetch, filters)) == expected
    assert reading.count_task_runs(book.fetch, filters) == len(expected)


def test_every_sort_is_understood_and_pages_cover_the_list(book: Book, mixed: dict[str, str]) -> None:
    for flow_sort in FlowSort:
        assert len(reading.flows(book.fetch, sort=flow_sort)) == 3
    for sort in FlowRunSort:
        whole = names(reading.flow_runs(book.fetch, sort=sort))
        paged = [names(reading.flow_runs(book.fetch, sort=sort, page=Page(2, offset))) for offset in (0, 2, 4)]
        assert [*paged[0], *paged[1], *paged[2]] == whole
        assert len(whole) == 5
    for task_sort in TaskRunSort:
        assert len(reading.task_runs(book.fetch, sort=task_sort)) == 3
    assert names(reading.flow_runs(book.fetch, sort=FlowRunSort.START_TIME_ASC))[0] == "child"
    assert names(reading.flow_runs(book.fetch, sort=FlowRunSort.END_TIME_DESC))[:2] == ["failed_run", "done-run"]
    assert names(reading.flow_runs(book.fetch, sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC))[0] == "child"
    assert len(reading.flow_runs(book.fetch, page=ALL)) == 5


def test_runs_are_found_by_id_prefix_and_name(book: Book) -> None:
    one = book.flow_run("same", id="01920000-aaaa-7000-8000-000000000001")
    two = book.flow_run("same", id="01920000-bbbb-7000-8000-000000000002")
    hex_named = book.flow_run("cafe", id="01930000-bbbb-7000-8000-000000000003")

    def found(text: str) -> list[str]:
        return [run.id for run in reading.find_flow_runs(book.fetch, text)]

    assert found(one) == [one]
    assert found(one.replace("-", "").upper()) == [one]
    assert found("same") == [two, one]
    assert found("0192") == [two, one]
    assert found("01920000-a") == found("01920000a") == found("01920000-aaaa-7000") == [one]
    assert found("01920000-") == [two, one]
    assert found("0193") == found("cafe") == [hex_named]
    assert found("019") == found("0192-0000") == found("0192000g") == found("") == found("----") == []
    assert found(one + "0") == []
    assert [run.id for run in reading.find_flow_runs(book.fetch, "same", Page(1))] == [two]


def test_task_runs_are_found_within_a_flow_run(book: Book) -> None:
    first, second = (book.flow_run(name, [Pending(), Running()]) for name in ("first", "second"))
    task_one, task_two = (book.task_run("add-1234-0", run) for run in (first, second))
    assert [run.id for run in reading.find_task_runs(book.fetch, "add-1234-0")] == [task_two, task_one]
    assert [run.id for run in reading.find_task_runs(book.fetch, "add-1234-0", first)] == [task_one]
    assert [run.id for run in reading.find_task_runs(book.fetch, task_two)] == [task_two]
    assert reading.find_task_runs(book.fetch, task_two, first) == []


def test_quotes_and_wildcards_are_plain_text(book: Book) -> None:
    for name in ("100%", "1000", "a'b", "back\\slash", 'say "hi"'):
        book.flow_run(name)

    def like(text: str) -> list[str]:
        return names(reading.flow_runs(book.fetch, Filters(flow_runs=FlowRunFilter(name=NameFilter(like_=text)))))

    assert like("100%") == ["100%"]
    assert like("'") == ["a'b"]
    assert like("\\") == ["back\\slash"]
    assert names(reading.find_flow_runs(book.fetch, "a'b")) == ["a'b"]


def test_logs_are_filtered_and_sorted(book: Book) -> None:
    run, other = book.flow_run("r"), book.flow_run("o")
    task = ids.new_id()
    book.log("Starting up", run, seconds=1)
    book.log("Debug detail", run, seconds=2, level=10, task_run_id=task, name="tidemill.task_runs")
    book.log("Connection error: timeout", run, seconds=3, level=40)
    book.log("elsewhere", other, seconds=0)
    book.log("alone", None, task_run_id=task)

    def found(sort: LogSort = LogSort.TIMESTAMP_ASC, page: Page = FIRST_PAGE, **filter: Any) -> list[str]:
        return [log.message for log in reading.logs(book.fetch, LogFilter(**filter), sort, page)]

    mine = IdFilter(any_=[run])
    assert found(flow_run_id=mine) == ["Starting up", "Debug detail", "Connection error: timeout"]
    assert found(LogSort.TIMESTAMP_DESC, Page(1), flow_run_id=mine) == ["Connection error: timeout"]
    assert found(level=LevelFilter(ge_=20, le_=30), flow_run_id=mine) == ["Starting up"]
    assert found(task_run_id=IdFilter(any_=[task])) == ["alone", "Debug detail"]
    assert found(timestamp=TimeFilter(after_=BASE + timedelta(seconds=2))) == [
        "Debug detail",
        "Connection error: timeout",
    ]
    assert found(text=TextSearchFilter(query="error")) == ["Connection error: timeout"]
    assert found(text=TextSearchFilter(query="starting ERROR")) == ["Starting up", "Connection error: timeout"]
    assert found(text=TextSearchFilter(query='"starting error"')) == []
    assert found(text=TextSearchFilter(query="+timeout +connection")) == ["Connection error: timeout"]
    assert found(text=TextSearchFilter(query="-e"), flow_run_id=mine) == []
    assert found(text=TextSearchFilter(query="task_runs")) == ["Debug detail"]
    assert found(text=TextSearchFilter(query="")) == found()


def test_logs_can_be_followed(book: Book) -> None:
    run, other = book.flow_run("r"), book.flow_run("o")
    for n in range(5):
        book.log(f"line {n}", run, seconds=-n)
        book.log("noise", other)
    first = reading.logs_after(book.fetch, 0, run, limit=3)
    assert [log.message for log in first] == ["line 0", "line 1", "line 2"]
    rest = reading.logs_after(book.fetch, first[-1].seq, run)
    assert [log.message for log in rest] == ["line 3", "line 4"]
    assert reading.logs_after(book.fetch, rest[-1].seq, run) == []
    lines = first + rest
    assert [log.id for log in lines] == sorted(log.id for log in lines)
    assert all(ids.is_id(log.id) for log in lines)


def test_filters_that_name_a_state_use_every_part(book: Book, mixed: dict[str, str]) -> None:
    state = StateFilter(type=StateTypeFilter(any_=[FAILED]), name=NameFilter(any_=["Failed"]))
    assert reading.flow_runs(book.fetch, Filters(flow_runs=FlowRunFilter(state=state))) == []
    tagged = Filters(
        flows=FlowFilter(name=NameFilter(any_=["one"])),
        flow_runs=FlowRunFilter(tags=TagsFilter(is_null_=True)),
        task_runs=TaskRunFilter(subflow_runs=ExistsFilter(exists_=True)),
    )
    assert names(reading.flow_runs(book.fetch, tagged)) == ["parent"]
    assert names(reading.flows(book.fetch, tagged)) == ["one"]
    assert names(reading.task_runs(book.fetch, tagged)) == ["load-1234-0"]
