"""Schema upgrades: numbered scripts, each applied once, all or none."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tidemill.exceptions import StoreError
from tidemill.store import Store, migrate

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


def fill(store: Store) -> None:
    with store.transaction() as execute:
        execute(LINE, ())
    store.database.close()


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    assert [number for number, _ in migrate.scripts_after(0)] == list(range(1, migrate.latest() + 1))


def test_a_new_file_has_the_newest_schema(open_same_store: Callable[[], Store]) -> None:
    database = open_same_store().database
    assert database.fetch("PRAGMA user_version") == [(migrate.latest(),)]
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
    assert database.fetch("PRAGMA user_version") == [(before + 2,)]


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
    added = [add(migrations, "CREATE TABLE fresh (x);"), add(migrations, "CREATE TABLE fresher (x); CREATE TABLE fresh (x);")]
    with pytest.raises(StoreError, match="fresh already exists"):
        open_same_store().database.fetch("SELECT 1")
    for file in added:
        file.unlink()
    migrate._files.cache_clear()
    database = open_same_store().database
    assert database.fetch("SELECT message FROM log") == [("old",)]
    assert database.fetch("PRAGMA user_version") == [(before,)]
    assert database.fetch("SELECT name FROM sqlite_schema WHERE name LIKE 'fresh%'") == []
