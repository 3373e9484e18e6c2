"""The files of a SQLite database: how they grow, how they are copied, and what is told of damage."""

import os
import re
import threading
from pathlib import Path

import apsw
import pytest

from tidemill.exceptions import StoreCorrupt, StoreError
from tidemill.store.filelock import FileLock
from tidemill.store.sqlite import SqliteDatabase

MEBIBYTE = 1 << 20
LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', ?)"


def write(database: SqliteDatabase, messages: list[str]) -> None:
    with database.transaction() as execute:
        for message in messages:
            execute(LINE, (message,))


class TestGrowth:
    def test_the_log_of_changes_stays_bounded(self, database: SqliteDatabase, path: Path) -> None:
        largest = 0
        for n in range(200):
            write(database, [f"{n} {m} " + "x" * 200 for m in range(250)])
            largest = max(largest, os.path.getsize(f"{path}-wal"))
        assert database.fetch("SELECT count(*) FROM log") == [(50_000,)]
        assert largest < 16 * MEBIBYTE

    def test_it_is_brought_into_the_file_by_one_that_keeps_the_others_out(self, path: Path) -> None:
        free_during_checkpoint: list[bool] = []

        class Watched(SqliteDatabase):
            def checkpoint_if_due(self) -> None:
                before = os.path.getsize(path)
                lock = FileLock(f"{path}.lock")
                free = lock.acquire(wait=False)
                super().checkpoint_if_due()
                lock.forget()
                if os.path.getsize(path) > before:
                    free_during_checkpoint.append(free)

        database = Watched(str(path))
        for _ in range(50):
            write(database, ["x" * 200_000])
        database.close()
        assert free_during_checkpoint
        assert not any(free_during_checkpoint)

    def test_the_last_to_close_waits_for_its_turn_too(self, database: SqliteDatabase, path: Path) -> None:
        write(database, ["said"])
        lock = FileLock(f"{path}.lock")
        lock.acquire()
        closing = threading.Thread(target=database.close)
        closing.start()
        assert os.path.exists(f"{path}-wal")
        lock.release()
        closing.join(60)
        assert not os.path.exists(f"{path}-wal")
        lock.forget()


class TestBackup:
    def test_a_backup_taken_while_others_write_is_one_moment(self, database: SqliteDatabase, tmp_path: Path) -> None:
        write(database, ["a", "b"])
        done = threading.Event()

        def keep_writing() -> None:
            other = SqliteDatabase(database.path)
            while not done.is_set():
                write(other, ["a" * 1_000, "b" * 1_000])
            other.close()

        thread = threading.Thread(target=keep_writing)
        thread.start()
        targets = [tmp_path / f"backup {n}.db" for n in range(5)]
        for target in targets:
            database.backup(str(target))
        done.set()
        thread.join()
        for target in targets:
            copy = SqliteDatabase(str(target))
            assert copy.check() == []
            ((count,),) = copy.fetch("SELECT count(*) FROM log")
            assert count >= 2
            assert count % 2 == 0
            copy.close()

    def test_it_is_one_file_and_can_be_used(self, database: SqliteDatabase, tmp_path: Path) -> None:
        write(database, ["one"])
        (tmp_path / "backups").mkdir()
        database.backup(str(tmp_path / "backups" / "copy.db"))
        assert os.listdir(tmp_path / "backups") == ["copy.db"]
        copy = SqliteDatabase(str(tmp_path / "backups" / "copy.db"))
        write(copy, ["two"])
        assert copy.fetch("SELECT message FROM log ORDER BY seq") == [("one",), ("two",)]
        copy.close()
        assert database.fetch("SELECT message FROM log") == [("one",)]

    def test_it_never_replaces_a_file(self, database: SqliteDatabase, tmp_path: Path) -> None:
        target = tmp_path / "precious.txt"
        target.write_text("precious")
        with pytest.raises(StoreError, match=f"{target} exists already"):
            database.backup(str(target))
        assert target.read_text() == "precious"

    def test_a_folder_that_does_not_exist_is_told(self, database: SqliteDatabase, tmp_path: Path) -> None:
        target = tmp_path / "nowhere" / "copy.db"
        with pytest.raises(StoreError, match=str(target)):
            database.backup(str(target))


class TestDamage:
    def test_a_sound_file_has_no_problems(self, database: SqliteDatabase) -> None:
        write(database, ["said"] * 1_000)
        assert database.check() == []

    def test_a_damaged_file_is_told(self, database: SqliteDatabase, path: Path) -> None:
        write(database, [f"line {n} " + "x" * 100 for n in range(2_000)])
        database.close()
        raw = bytearray(path.read_bytes())
        for start in range(len(raw) // 2, len(raw), 4096):
            raw[start : start + 64] = b"\xaa" * 64
        path.write_bytes(raw)
        try:
            problems = database.check()
        except StoreCorrupt as error:
            problems = [str(error)]
        assert problems
        assert re.search("(?i)page|tree|cell|damaged", problems[0])

    def test_a_row_that_points_nowhere_is_told(self, database: SqliteDatabase, path: Path) -> None:
        write(database, ["said"])
        with apsw.Connection(str(path)) as careless:
            careless.execute("INSERT INTO log (flow_run_id, level, timestamp, name, message) VALUES (x'00', 20, 0, 'x', 'x')")
        careless.close()
        assert database.check() == ["Row 2 of log points to a missing flow_run."]
