"""SQLite's errors as ours: what happened, to which file, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager

import apsw

from tidemill.exceptions import StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreTooNew, StoreUnreachable


@contextmanager
def plain_errors(path: str) -> Generator[None]:
    """Raises our errors for SQLite's."""
    try:
        yield
    except apsw.Error as error:
        raise explained(error, path) from None


def explained(error: apsw.Error, path: str) -> StoreError:
    """Our error for one of SQLite's."""
    for kinds, explain in _EXPLANATIONS:
        if isinstance(error, kinds):
            return explain(path, error)
    return StoreError(f"The database {path} answered: {error}")


def _full(path: str, error: Exception) -> StoreError:
    return StoreFull(
        f"The database {path} cannot grow: {error}. Free some space (or set TIDEMILL_HOME to a disk that has it) and run "
        "again; everything that was acknowledged before is kept."
    )


def _corrupt(path: str, error: Exception) -> StoreError:
    return StoreCorrupt(
        f"{path} is damaged or is not a Tidemill database: {error}. Nothing in it was changed. Move it away to start with an "
        "empty one, or put a copy that `tidemill db backup` made in its place."
    )


def _read_only(path: str, error: Exception) -> StoreError:
    return StoreReadOnly(
        f"The database {path} cannot be written: {error}. Give this user write permission for the file and its folder, or "
        "set TIDEMILL_HOME to a folder that can be written."
    )


def too_new(path: str, version: int, latest: int) -> StoreError:
    return StoreTooNew(
        f"The database {path} has schema {version}, written by a newer Tidemill; this one knows schemas up to "
        f"{latest}. Upgrade (pip install --upgrade tidemill), or set TIDEMILL_HOME to another folder."
    )


def _unreachable(path: str, error: Exception) -> StoreError:
    return StoreUnreachable(f"The database {path} cannot be opened: {error}. Check the path and its permissions.")


_EXPLANATIONS: tuple[tuple[tuple[type[apsw.Error], ...], Callable[[str, Exception], StoreError]], ...] = (
    ((apsw.FullError, apsw.IOError), _full),
    ((apsw.CorruptError, apsw.NotADBError), _corrupt),
    ((apsw.ReadOnlyError, apsw.PermissionsError), _read_only),
    ((apsw.CantOpenError,), _unreachable),
)


def folder_error(folder: str, error: OSError) -> StoreError:
    advice = "Set TIDEMILL_HOME to a folder that can be written."
    return StoreReadOnly(f"The folder {folder} for the database cannot be used: {error.strerror}. {advice}")
