"""`tidemill db migrate` and `tidemill db copy`."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import settings
from tidemill.setting_kinds import database_place
from tidemill.store import migrate

Command = Callable[..., Any]

pytestmark = pytest.mark.usefixtures("runs")


def test_the_database_is_brought_up_and_copied(tidemill: Command, home: Path, tmp_path: Path, postgres_url: str) -> None:
    newest = migrate.latest()
    assert tidemill("db", "migrate", "--check").out == f"{home}/tidemill.db has schema {newest}, the newest.\n"
    place = database_place(postgres_url)
    copied = tidemill("db", "copy", f"{home}/tidemill.db", postgres_url)
    assert copied.code == 0, copied.err
    assert f"from {home}/tidemill.db to {place}." in copied.out
    assert " flow_run\n" in copied.out
    again = tidemill("db", "copy", f"{home}/tidemill.db", postgres_url)
    assert (again.code, "is not empty" in again.err) == (1, True)
    assert tidemill("db", "copy", postgres_url, f"sqlite:///{tmp_path}/back.db").code == 0
    with settings.using(database_url=postgres_url):
        assert tidemill("db", "path").out == f"{place}\n"
        assert tidemill("db", "check").out == f"{place} is sound.\n"
        assert tidemill("flow", "ls").first_words == ["twin", "broken", "step", "etl"]
    missing = tidemill("db", "copy", str(tmp_path / "nowhere.db"), str(tmp_path / "target.db"))
    assert "There is no database" in missing.err
    assert not (tmp_path / "target.db").exists()


def test_an_older_database_is_told_and_brought_up(tidemill: Command, tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db")
    for number, script in migrate.scripts_after(0)[:2]:
        old.executescript(f"{script}; PRAGMA user_version = {number};")
    old.close()
    with settings.using(database_url=f"sqlite:///{tmp_path}/old.db"):
        told = tidemill("db", "migrate", "--check")
        assert (told.code, f"has schema 2; the newest is {migrate.latest()}." in told.out) == (1, True)
        copied = tidemill("db", "copy", str(tmp_path / "old.db"), str(tmp_path / "target.db"))
        assert "Bring it up first (tidemill db migrate)" in copied.err
        assert f"from schema 2 to {migrate.latest()}." in tidemill("db", "migrate").out
        assert tidemill("db", "migrate", "--check").code == 0
