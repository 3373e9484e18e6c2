"""A store to test against, one for each kind of database, and short ways to fill it."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, orchestration
from tidemill.orchestration import Verdict
from tidemill.records import Batch, Lease, LogEntry, NewFlowRun, Progress, RunPolicy, TaskRunEntry
from tidemill.states import PENDING, Pending, Running, State, StateType
from tidemill.store import Store, open_store
from tidemill.store.sqlite import SqliteDatabase

LONG_AGO = 1_714_564_800_000_000


def make_lease() -> Lease:
    return Lease(id=ids.new_id(), pid=1, boot_id="boot", hostname="host", acquired=LONG_AGO, deadline=LONG_AGO + 30_000_000)


def make_entry(flow_run_id: str | None = None, key: object = 0, *, attempt: int = 1, **more: Any) -> TaskRunEntry:
    """A task run in Pending."""
    fields: dict[str, Any] = {
        "id": ids.new_id(),
        "flow_run_id": flow_run_id,
        "attempt": attempt,
        "name": f"step-{key}",
        "task_key": "module.step",
        "dynamic_key": str(key),
        "tags": "[]",
        "policy": None,
        "created": LONG_AGO,
        "progress": Progress(PENDING, "Pending", (("PENDING", None, None, LONG_AGO),)),
    }
    return TaskRunEntry(**{**fields, **more})


def advance(entry: TaskRunEntry, *types: StateType) -> TaskRunEntry:
    """Takes a task run through more states, a second each."""
    for type in types:
        entry.progress = entry.progress.then(type, None, None, entry.progress.history[-1][3] + 1_000_000)
    return entry


def line(flow_run_id: str | None, message: str, task_run_id: str | None = None) -> LogEntry:
    return (flow_run_id, task_run_id, 20, LONG_AGO, "tidemill.flow_runs", message)


class Desk:
    """A store, and a process that works on flow runs under a lease."""

    def __init__(self, store: Store, address: str) -> None:
        self.store = store
        self.address = address
        self.fetch = store.database.fetch
        self.lease = make_lease()
        self.entry = make_entry
        self.advance = advance
        self.line = line
        self.another_lease = make_lease

    def flow_run(self, states: Sequence[State[Any]] = (), *, lease: Lease | None = None, **more: Any) -> str:
        """A flow run, running in its first attempt unless other states are given."""
        retries = more.pop("retries", 0)
        run = NewFlowRun(
            **{"id": ids.new_id(), "name": "adept-capuchin", "flow_name": "etl", "policy": RunPolicy(retries=retries), **more}
        )
        orchestration.create_flow_run(self.store, run, states or [Pending(), Running()], lease or self.lease)
        return run.id

    def propose(self, flow_run_id: str, state: State[Any], **more: Any) -> Verdict:
        return orchestration.propose_flow_run_state(self.store, flow_run_id, state, **more)

    def record(
        self, task_runs: Sequence[TaskRunEntry] = (), logs: Sequence[LogEntry] = (), leases: Sequence[Lease] | None = None
    ) -> dict[str, str]:
        held = [self.lease] if leases is None else leases
        return self.store.record(Batch(list(task_runs), list(logs), tuple(lease.id for lease in held)))

    def rows(self, table: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
        return self.fetch(f"SELECT {columns} FROM {table} ORDER BY {order}")

    def count(self, table: str) -> int:
        return self.fetch(f"SELECT count(*) FROM {table}")[0][0]

    def plan(self, sql: str, *bindings: Any) -> str:
        """How the database would find the rows if there were many."""
        if self.store.database.kind == "sqlite":
            return str(self.fetch(f"EXPLAIN QUERY PLAN {sql}", bindings))
        with self.store.transaction() as execute:
            execute("SET LOCAL enable_seqscan = off", ())
            return str(execute(f"EXPLAIN {sql}", bindings).fetchall())

    def execute(self, sql: str, *bindings: Any) -> None:
        with self.store.transaction() as execute:
            execute(sql, bindings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the test's SQLite file is, in a folder that is not there yet."""
    return tmp_path / "folder" / "tidemill.db"


@pytest.fixture
def database(path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(str(path))
    yield database
    database.close()


OpenStore = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the test's database is: a file that is not there yet, or a URL of tables that are not."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return str(tmp_path / "store" / "sqlite.db")


@pytest.fixture
def open_same_store(address: str) -> Iterator[OpenStore]:
    """Opens the test's database, each time by a connection of its own, as another process would."""
    opened: list[Store] = []

    def open_it() -> Store:
        opened.append(open_store(address, durability="process"))
        return opened[-1]

    yield open_it
    for store in opened:
        store.database.close()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def lasting_desk(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, own_schema: Any) -> Iterator[Desk]:
    """A desk for all tests of a file that leave in its store what was there."""
    with contextlib.ExitStack() as stack:
        if request.param == "postgres":
            address = stack.enter_context(own_schema(request.getfixturevalue("postgres")))
        else:
            address = str(tmp_path_factory.mktemp("store") / "sqlite.db")
        store = open_store(address, durability="process")
        stack.callback(store.database.close)
        yield Desk(store, address)


@pytest.fixture
def desk(open_same_store: OpenStore, address: str) -> Desk:
    return Desk(open_same_store(), address)
