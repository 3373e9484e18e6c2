"""The SQLite database within one process: its queue, its transactions, its schema, its errors."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from tidemill.exceptions import StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreTooNew, StoreUnreachable
from tidemill.store import file_systems, migrate
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite import SqliteDatabase

LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', ?)"
FOREIGN = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'foreign')"

Open = Callable[..., SqliteDatabase]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "tidemill.db"


@pytest.fixture
def open_database(path: Path) -> Iterator[Open]:
    opened: list[SqliteDatabase] = []

    def open_it(where: Path = path, **options: Any) -> SqliteDatabase:
        opened.append(SqliteDatabase(str(where), **options))
        return opened[-1]

    yield open_it
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: Open) -> SqliteDatabase:
    return open_database()


def write(database: SqliteDatabase, *messages: str) -> None:
    with database.transaction() as execute:
        for message in messages:
            execute(LINE, (message,))


def messages(database: SqliteDatabase) -> list[str]:
    return [row[0] for row in database.fetch("SELECT message FROM log ORDER BY seq")]


def is_free(path: Path) -> bool:
    """Whether nobody stands at the head of the queue."""
    lock = FileLock(f"{path}.lock")
    try:
        return lock.acquire(wait=False)
    finally:
        lock.forget()


def in_thread(call: Callable[[], Any]) -> Any:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(call()))
    thread.start()
    thread.join(60)
    return answers[0]


class TestQueue:
    def test_nothing_is_made_before_it_is_used(self, database: SqliteDatabase, path: Path) -> None:
        assert not path.parent.exists()
        write(database)
        assert path.exists()

    def test_one_can_enter_as_often_as_one_leaves(self, database: SqliteDatabase, path: Path) -> None:
        assert database.enter()
        assert database.enter(wait=False)
        database.leave()
        assert not is_free(path)
        database.leave()
        assert is_free(path)

    def test_another_thread_does_not_get_in(self, database: SqliteDatabase) -> None:
        database.enter()
        assert in_thread(lambda: database.enter(wait=False)) is False
        database.leave()

    def test_another_process_does_not_get_in(self, database: SqliteDatabase, open_database: Open) -> None:
        other = open_database()  # a file of its own behind the lock, as in another process
        database.enter()
        assert other.enter(wait=False) is False
        database.leave()
        assert other.enter(wait=False) is True
        other.leave()

    def test_whoever_did_not_get_in_has_locked_nothing(self, database: SqliteDatabase, open_database: Open, path: Path) -> None:
        other = open_database()
        other.enter()
        assert database.enter(wait=False) is False
        assert in_thread(lambda: database.enter(wait=False)) is False
        other.leave()
        assert is_free(path)
        assert in_thread(lambda: (database.enter(wait=False), database.leave())[0])

    def test_whoever_waits_gets_in_when_the_other_leaves(self, database: SqliteDatabase, open_database: Open) -> None:
        other = open_database()
        other.enter()
        thread = threading.Thread(target=lambda: write(database, "waited"))
        thread.start()
        other.leave()
        thread.join(60)
        assert messages(database) == ["waited"]

    def test_reading_needs_no_place_in_it(self, database: SqliteDatabase, open_database: Open) -> None:
        write(database, "seen")
        other = open_database()
        other.enter()
        assert messages(database) == ["seen"]
        other.leave()

    def test_the_lock_is_free_after_a_transaction_that_failed(self, database: SqliteDatabase, path: Path) -> None:
        with pytest.raises(StoreError, match="no such table"):
            with database.transaction() as execute:
                execute("DELETE FROM nowhere", ())
        assert is_free(path)


class TestTransaction:
    def test_it_is_committed_at_its_end(self, database: SqliteDatabase, open_database: Open) -> None:
        reader = open_database()
        assert messages(reader) == []
        with database.transaction() as execute:
            execute(LINE, ("said",))
            assert messages(reader) == []
        assert messages(reader) == ["said"]

    def test_one_inside_another_is_refused_and_the_outer_goes_on(self, database: SqliteDatabase) -> None:
        with database.transaction() as execute:
            with pytest.raises(StoreError, match="signal handler or a finalizer"):
                write(database, "inner")
            execute(LINE, ("outer",))
        assert messages(database) == ["outer"]

    def test_a_foreign_program_that_writes_is_waited_for(self, database: SqliteDatabase, path: Path) -> None:
        write(database)
        foreign = apsw.Connection(str(path))
        foreign.execute("BEGIN IMMEDIATE")
        thread = threading.Thread(target=lambda: write(database, "ours"))
        thread.start()
        foreign.execute(FOREIGN)
        foreign.execute("COMMIT")
        foreign.close()
        thread.join(60)
        assert messages(database) == ["foreign", "ours"]

    def test_a_commit_of_another_connection_can_be_noticed(self, database: SqliteDatabase, open_database: Open) -> None:
        write(database, "ours")
        before = database.data_version()
        write(database, "ours again")
        assert database.data_version() == before
        write(open_database(), "another's")
        assert database.data_version() != before

    def test_when_there_is_no_room_nothing_is_written_and_later_there_may_be(
        self, database: SqliteDatabase, path: Path
    ) -> None:
        write(database, "before")
        ((pages,),) = database.fetch("PRAGMA page_count")
        database.fetch(f"PRAGMA max_page_count={pages}")
        with pytest.raises(StoreFull, match=f"{path} cannot grow.*Free some space"):
            write(database, "small", "x" * 1_000_000)
        assert messages(database) == ["before"]
        database.fetch("PRAGMA max_page_count=1000000")
        write(database, "after")
        assert messages(database) == ["before", "after"]

    def test_a_closed_database_opens_again_when_it_is_used(self, database: SqliteDatabase) -> None:
        write(database, "one")
        database.close()
        database.close()
        write(database, "two")
        assert messages(database) == ["one", "two"]

    def test_after_the_last_close_the_file_is_whole_by_itself(self, database: SqliteDatabase, path: Path) -> None:
        write(database, "one")
        database.close()
        assert sorted(os.listdir(path.parent)) == ["tidemill.db", "tidemill.db.lock"]

    def test_a_file_that_was_removed_is_made_anew(self, database: SqliteDatabase, open_database: Open, path: Path) -> None:
        write(database, "lost with its file")
        for name in os.listdir(path.parent):
            if not name.endswith(".lock"):
                (path.parent / name).unlink()
        write(database, "kept")
        assert messages(open_database()) == ["kept"]


class TestSchema:
    def test_readers_and_writers_do_not_meet(self, database: SqliteDatabase) -> None:
        assert database.fetch("PRAGMA journal_mode") == [("wal",)]

    @pytest.mark.parametrize(("every_commit", "synchronous"), [(False, 1), (True, 2)])
    def test_power_loss_is_provided_for_when_asked(self, open_database: Open, every_commit: bool, synchronous: int) -> None:
        assert open_database(sync_every_commit=every_commit).fetch("PRAGMA synchronous") == [(synchronous,)]

    @pytest.mark.parametrize("use", [write, messages], ids=["writing", "reading"])
    def test_a_newer_schema_is_refused_and_left_alone(self, open_database: Open, path: Path, use: Callable[..., Any]) -> None:
        first = open_database()
        write(first, "from the future")
        first.fetch(f"PRAGMA user_version={migrate.latest() + 1}")
        first.close()
        before = path.read_bytes()
        with pytest.raises(
            StoreTooNew, match=f"{path} has schema {migrate.latest() + 1}.*knows schemas up to {migrate.latest()}"
        ):
            use(open_database())
        assert path.read_bytes() == before


class TestPlace:
    def test_a_file_that_is_no_database_is_refused_and_left_alone(self, open_database: Open, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("my diary " * 1_000)
        with pytest.raises(StoreCorrupt, match=f"{path} is damaged or is not a Tidemill database"):
            messages(open_database())
        assert path.read_text() == "my diary " * 1_000

    def test_a_folder_that_cannot_be_made_is_told(self, open_database: Open, path: Path) -> None:
        path.parent.write_text("in the way")
        with pytest.raises(StoreReadOnly, match=f"folder {path.parent} .*TIDEMILL_HOME"):
            messages(open_database())

    def test_a_folder_in_the_place_of_the_file_is_told(self, open_database: Open, path: Path) -> None:
        path.mkdir(parents=True)
        with pytest.raises(StoreError, match=str(path)):
            write(open_database())

    def test_a_network_file_system_is_refused(self, open_database: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        here = file_systems.file_system_of(str(path.parent.parent))
        monkeypatch.setattr(file_systems, "_NETWORK_FILE_SYSTEMS", frozenset({here}))
        with pytest.raises(StoreUnreachable, match=rf"{path.parent} is on a network file system \({here}\).*local disk"):
            messages(open_database())
        assert not path.exists()

    @pytest.mark.parametrize(("folder", "kind"), [("/proc", "proc"), ("/proc/self", "proc"), ("/sys", "sysfs")])
    def test_the_file_system_of_a_folder_is_found_in_the_table_of_mounts(self, folder: str, kind: str) -> None:
        assert file_systems.file_system_of(folder) == kind

    def test_the_file_system_of_a_folder_is_what_the_system_says(self, tmp_path: Path) -> None:
        said = subprocess.run(["stat", "-f", "-c", "%T", str(tmp_path)], capture_output=True, text=True, check=True).stdout
        ours = file_systems.file_system_of(str(tmp_path)) or ""
        assert ours.removesuffix("fs")[:3] == said.strip()[:3]
