"""Everything recorded moves from one database into another."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import clock
from tidemill.exceptions import StoreError
from tidemill.records import Batch
from tidemill.states import COMPLETED, RUNNING, ResultReference
from tidemill.store import Store, caching, changes, copying, migrate, open_store

LISTS = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
    "postgres": "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND tablename <> 'migration'",
}


@pytest.fixture(params=["sqlite", "postgres"])
def target(request: pytest.FixtureRequest, tmp_path: Path, postgres: str, own_schema: Any) -> Iterator[Store]:
    """An empty database to copy into."""
    if request.param == "sqlite":
        store = open_store(str(tmp_path / "target.db"), durability="process")
        yield store
        store.database.close()
        return
    with own_schema(postgres) as url:
        store = open_store(url, durability="process")
        yield store
        store.database.close()


def fill(desk: Any) -> str:
    run = desk.flow_run(parameters=b'{"x":1}', tags=("a", "b"))
    entries = [desk.entry(run, n, result=ResultReference("pickle", bytes([n % 256]))) for n in range(1_500)]
    desk.record(
        [desk.advance(entry, RUNNING, COMPLETED) for entry in entries], [desk.line(run, f"line {n}") for n in range(20)]
    )
    with desk.store.transaction() as execute:
        found = caching.CachedResult(entries[0].id, 1, None, ResultReference("json", b"1"))
        caching.fill(execute, "key", found, run)
        execute("INSERT INTO loop (name, server, interval_seconds, started) VALUES (?, ?, ?, ?)", ("retention", "here", 1.5, 1))
    return run


def contents(store: Store) -> dict[str, set[tuple[Any, ...]]]:
    found: dict[str, set[tuple[Any, ...]]] = {}
    with store.database.snapshot() as fetch:
        for table in copying.TABLES:
            columns = sorted(copying._columns(fetch, store.database.kind, table))
            found[table] = set(fetch(f"SELECT {', '.join(columns)} FROM {table}", ()))
    return found


def test_every_table_is_copied(desk: Any) -> None:
    assert {row[0] for row in desk.fetch(LISTS[desk.store.database.kind])} == set(copying.TABLES)


def test_a_copy_has_every_row_as_it_was(desk: Any, target: Store) -> None:
    fill(desk)
    before = contents(desk.store)
    counts = copying.copy(desk.store.database, target.database)
    assert contents(target) == before == contents(desk.store)
    assert counts == {table: len(rows) for table, rows in before.items()}
    assert (counts["task_run"], counts["log"]) == (1_500, 20)
    assert target.database.check() == []


def test_what_is_recorded_afterwards_comes_after_what_was_copied(desk: Any, target: Store) -> None:
    run = fill(desk)
    copying.copy(desk.store.database, target.database)
    place = changes.latest_place(target.database.fetch)
    last = target.database.fetch("SELECT max(seq) FROM log")[0][0]
    target.record(Batch([], [desk.line(run, "new")], (desk.lease.id,)))
    (change,) = changes.after(target.database.fetch, place, 10)
    assert target.database.fetch("SELECT message FROM log WHERE seq > ?", (last,)) == [("new",)]
    assert change.time <= clock.now()


def test_what_is_written_meanwhile_is_not_in_the_copy(desk: Any, target: Store, open_same_store: Callable[[], Store]) -> None:
    run = fill(desk)
    other = open_same_store()

    def tell(table: str, rows: int) -> None:
        if table == "flow":
            other.record(Batch([], [desk.line(run, "meanwhile")], (desk.lease.id,)))

    assert copying.copy(desk.store.database, target.database, tell)["log"] == 20
    assert desk.count("log") == 21


def test_a_target_that_is_not_empty_is_left_alone(desk: Any, target: Store) -> None:
    fill(desk)
    with target.transaction() as execute:
        execute("INSERT INTO flow (id, name, created, updated) VALUES (?, 'mine', 1, 1)", (bytes(16),))
    with pytest.raises(StoreError, match=r"is not empty: there are rows in flow\. Nothing was copied"):
        copying.copy(desk.store.database, target.database)
    assert target.database.fetch("SELECT name FROM flow") == [("mine",)]


def test_an_older_source_is_not_touched(desk: Any, target: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(desk)
    newest = migrate.latest()
    monkeypatch.setattr(migrate, "latest", lambda: newest + 1)
    with pytest.raises(StoreError, match=f"has schema {newest}, and what is copied has to have {newest + 1}"):
        copying.copy(desk.store.database, target.database)


def test_a_backup_is_a_file_that_holds_everything(desk: Any, tmp_path: Path) -> None:
    fill(desk)
    desk.store.database.backup(str(tmp_path / "backup.db"))
    assert [path.name for path in tmp_path.glob("backup.db*")] == ["backup.db"]
    copy = open_store(str(tmp_path / "backup.db"), durability="process")
    assert contents(copy) == contents(desk.store)
    copy.database.close()
    with pytest.raises(StoreError, match="exists already"):
        desk.store.database.backup(str(tmp_path / "backup.db"))
