"""Waiting for what others commit, on both databases."""

import os
import threading
from typing import Any

import pytest

LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', 'y')"
PATIENCE = 60.0


def note(store: Any) -> None:
    with store.transaction() as execute:
        execute(LINE, ())
        execute("INSERT INTO change (time, first_log, last_log) VALUES (?, last_insert_rowid(), last_insert_rowid())", (1,))


def drain(database: Any) -> None:
    """Waits until nothing more is new."""
    while database.wait_for_change(0.0):
        pass


def test_nothing_new_is_waited_for_until_the_time_is_up(desk: Any) -> None:
    drain(desk.store.database)
    assert not desk.store.database.wait_for_change(0.05)


@pytest.mark.parametrize("whose", ["own", "another's"])
def test_a_commit_ends_the_wait(desk: Any, open_same_store: Any, whose: str) -> None:
    database = desk.store.database
    writer = desk.store if whose == "own" else open_same_store()
    drain(database)
    thread = threading.Thread(target=note, args=(writer,))
    thread.start()
    assert database.wait_for_change(PATIENCE)
    thread.join()


def test_what_came_before_the_wait_ends_it_too(desk: Any, open_same_store: Any) -> None:
    drain(desk.store.database)
    note(open_same_store())
    assert desk.store.database.wait_for_change(PATIENCE)


def test_many_commits_at_once_are_all_seen_in_the_end(desk: Any, open_same_store: Any) -> None:
    drain(desk.store.database)
    others = [open_same_store() for _ in range(3)]
    threads = [threading.Thread(target=lambda other=other: [note(other) for _ in range(20)]) for other in others]
    for thread in threads:
        thread.start()
    settled = "TRUE" if desk.store.database.kind == "sqlite" else "seq < settled()"
    while desk.fetch(f"SELECT count(*) FROM change WHERE {settled}")[0][0] < 60:
        assert desk.store.database.wait_for_change(PATIENCE)
    for thread in threads:
        thread.join()


def test_closing_ends_the_wait(desk: Any) -> None:
    database = desk.store.database
    drain(database)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(database.wait_for_change(PATIENCE)))
    thread.start()
    database.close()
    thread.join(PATIENCE)
    assert answers == [False]


def test_a_forked_child_leaves_its_parents_wait_alone(desk: Any) -> None:
    database = desk.store.database
    drain(database)
    child = os.fork()
    if child == 0:
        os._exit(database.wait_for_change(0.0) and not database.wait_for_change(0.01) and 7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    note(desk.store)
    assert database.wait_for_change(PATIENCE)
