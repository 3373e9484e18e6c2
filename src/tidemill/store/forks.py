"""Databases while the process forks: nobody may be inside one, since the child would inherit its locks taken."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Lock(Protocol):
    def acquire(self) -> bool: ...

    def release(self) -> None: ...


class Forkable(Protocol):
    """What is held still while the process forks."""

    @property
    def thread_lock(self) -> Lock: ...

    def prepare_for_fork(self) -> None:
        """In the process that forks, just before: lets go of what a child must not inherit."""
        ...

    def forget_after_fork(self) -> None:
        """In the forked child: drops what belongs to the parent, without touching it."""
        ...


_open: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []


def watch(database: Forkable) -> None:
    """From now on nobody is inside this database while the process forks."""
    _open.add(database)


def _hold_all_before_fork() -> None:
    for database in list(_open):
        database.thread_lock.acquire()
        _held.append(database)
    # Only now that all stand still: in one library they share what they must not be inside of.
    for database in _held:
        database.prepare_for_fork()


def _let_go_after_fork() -> None:
    while _held:
        _held.pop().thread_lock.release()


def _forget_all_after_fork() -> None:
    _held.clear()
    for database in list(_open):
        database.forget_after_fork()


os.register_at_fork(before=_hold_all_before_fork, after_in_parent=_let_go_after_fork, after_in_child=_forget_all_after_fork)
