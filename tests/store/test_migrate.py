"""Schema upgrades: numbered scripts, each applied once, all or none."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tidemill import ids
from tidemill.exceptions import StoreError
from tidemill.store import Store, migrate, reading

SCHEMA = {"sqlite": "PRAGMA user_version", "postgres": "SELECT max(number) FROM migration"}
LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'old')"


@pytest.fixture
def migrations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder of migrations, to which a test can add."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._FOLDER, folder)
    monkeypatch.setattr(migrate, "_FOLDER", str(folder))
    migrate._files.cache_clear()
    yield folder
    monkeypatch.undo()
    migrate._files.cache_clear()


def add(migrations: Path, script: str) -> Path:
    """One more migration."""
    file = migrations / f"{migrate.latest() + 1:04}_more.sql"
    file.write_text(script, encoding="utf-8")
    migrate._files.cache_clear()
    return file


def schema_of(database: Any) -> int:
    return database.fetch(SCHEMA[database.kind])[0][0]


def fill(store: Store) -> None:
    with store.transaction() as execute:
        execute(LINE, ())
    store.database.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_migrations_are_numbered_from_one_without_a_gap(kind: str) -> None:
    assert [number for number, _ in migrate.scripts_after(0, kind)] == list(range(1, migrate.latest() + 1))


def test_a_new_file_has_the_newest_schema(open_same_store: Callable[[], Store]) -> None:
    database = open_same_store().database
    assert schema_of(database) == migrate.latest()
    assert database.check() == []


def test_the_newest_schema_lacks_nothing() -> None:
    assert migrate.scripts_after(migrate.latest()) == []


def test_an_older_file_is_upgraded_and_keeps_its_rows(open_same_store: Callable[[], Store], migrations: Path) -> None:
    fill(open_same_store())
    before = migrate.latest()
    add(migrations, "ALTER TABLE log ADD COLUMN colour TEXT DEFAULT 'red'; CREATE INDEX by_colour ON log (colour);")
    add(migrations, "UPDATE log SET colour = 'dark ' || colour;")
    database = open_same_store().database
    assert database.fetch("SELECT message, colour FROM log") == [("old", "dark red")]
    assert schema_of(database) == before + 2


def make_old_sqlite(path: str, version: int, rows: str) -> None:
    Path(path).parent.mkdir(parents=True)
    old = sqlite3.connect(path)
    scripts = [script for number, script in migrate.scripts_after(0) if number <= version]
    old.executescript(f"{''.join(scripts)} PRAGMA foreign_keys = ON; {rows} PRAGMA user_version = {version};")
    old.close()


def make_old_postgres(url: str, version: int, rows: str) -> None:
    scripts = [script for number, script in migrate.scripts_after(0, "postgres") if number <= version]
    as_postgres = re.sub(r"x'(\w+)'", r"'\\x\1'", rows.replace("zeroblob(16)", f"x'{'00' * 16}'"))
    with psycopg.connect(url, autocommit=True) as old:
        for sql in (*scripts, as_postgres, "CREATE TABLE migration (number BIGINT PRIMARY KEY, applied TIMESTAMPTZ)"):
            old.execute(sql.encode())
        old.execute("INSERT INTO migration (number) SELECT * FROM generate_series(1, %s)", (version,))


@pytest.mark.parametrize("version", [1, 2, 3])
def test_what_an_older_version_recorded_is_kept(open_same_store: Callable[[], Store], address: str, version: int) -> None:
    """One row of each table, as the schema of that version had them; a later one makes a table anew."""
    caching = """
        INSERT INTO cache (key, task_run_id, created, result_serializer, result) VALUES ('k', zeroblob(16), 1, 'json', x'31');
        INSERT INTO cache_claim (key, owner, lease_id, acquired) VALUES ('k', zeroblob(16), zeroblob(16), 1);
    """
    rows = f"""
        INSERT INTO flow (id, name, created, updated) VALUES (zeroblob(16), 'etl', 1, 1);
        INSERT INTO lease (id, pid, boot_id, hostname, acquired, deadline) VALUES (zeroblob(16), 1, 'boot', 'host', 1, 2);
        INSERT INTO flow_run (id, flow_id, name, lease_id, state_id, state_type, state_name, state_timestamp, parameters,
            idempotency_key, created, updated) VALUES (zeroblob(16), zeroblob(16), 'adept-capuchin', zeroblob(16),
            zeroblob(16), 'RUNNING', 'Running', 1, '{{"x":1}}', 'key', 1, 1);
        INSERT INTO flow_run_state (flow_run_id, seq, id, type, name, timestamp)
            VALUES (zeroblob(16), 0, zeroblob(16), 'RUNNING', 'Running', 1);
        INSERT INTO task_run (id, flow_run_id, attempt, name, task_key, dynamic_key, run_count, state_type, state_name,
            history, tags, task_inputs, created, total_run_time) VALUES
            (zeroblob(16), zeroblob(16), 1, 'step', 'step', '0', 0, 'PENDING', 'Pending', '[["PENDING",null,null,1]]', '[]',
            '{{}}', 1, 0),
            (x'{"01" * 16}', NULL, 1, 'alone', 'step', '0', 1, 'RUNNING', 'Running', '[["PENDING",null,null,1]]', '[]',
            '{{}}', 1, 0);
        INSERT INTO log (flow_run_id, level, timestamp, name, message) VALUES (zeroblob(16), 20, 1, 'tidemill', 'said');
        {caching if version > 2 else ""}
    """
    (make_old_sqlite if open_same_store().database.kind == "sqlite" else make_old_postgres)(address, version, rows)
    database = open_same_store().database
    assert database.check() == []
    assert schema_of(database) == migrate.latest()
    assert database.fetch("SELECT name, parameters, idempotency_key, call, lease_id FROM flow_run") == [
        ("adept-capuchin", '{"x":1}', "key", None, bytes(16))
    ]
    run = reading.flow_run(database.fetch, ids.from_bytes(bytes(16)))
    assert run is not None
    assert (run.flow_name, run.state_name) == ("etl", "Running")
    assert database.fetch("SELECT name, state_name, lease_id FROM task_run ORDER BY id") == [
        ("step", "Pending", None),
        ("alone", "Running", None),
    ]
    counts = [database.fetch(f"SELECT count(*) FROM {table}")[0][0] for table in ("flow_run_state", "log", "lease")]
    assert counts == [1, 1, 1]
    cached = [database.fetch(f"SELECT count(*) FROM {table}")[0][0] for table in ("cache", "cache_claim")]
    assert cached == [version > 2] * 2
    with database.transaction() as execute:
        execute("DELETE FROM flow_run", ())
    assert database.fetch("SELECT name FROM task_run") == [("alone",)]


def test_a_migration_is_not_applied_again(open_same_store: Callable[[], Store], migrations: Path) -> None:
    fill(open_same_store())
    add(migrations, "UPDATE log SET message = message || '!';")
    for _ in range(3):
        database = open_same_store().database
        assert database.fetch("SELECT message FROM log") == [("old!",)]
        database.close()


def test_a_migration_that_fails_changes_nothing(open_same_store: Callable[[], Store], migrations: Path) -> None:
    fill(open_same_store())
    before = migrate.latest()
    added = [
        add(migrations, "CREATE TABLE fresh (x INTEGER);"),
        add(migrations, "CREATE TABLE fresher (x INTEGER); CREATE TABLE fresh (x INTEGER);"),
    ]
    with pytest.raises(StoreError, match=r"fresh.* already exists"):
        open_same_store().database.fetch("SELECT 1")
    for file in added:
        file.unlink()
    migrate._files.cache_clear()
    database = open_same_store().database
    assert database.fetch("SELECT message FROM log") == [("old",)]
    assert schema_of(database) == before
    with pytest.raises(StoreError, match="fresher"):
        database.fetch("SELECT * FROM fresher")
