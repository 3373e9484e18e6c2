"""PostgreSQL's errors as ours: what happened, to which database, and what to do. A password is never in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from tidemill.exceptions import StoreBusy, StoreCorrupt, StoreError, StoreFull, StoreReadOnly, StoreTooNew, StoreUnreachable


class ConnectionLost(StoreUnreachable):
    """The connection broke, or no new one could be made; nothing of the transaction was committed."""


class Disturbed(StoreBusy):
    """The database gave the transaction up for the sake of another."""


class Twice(StoreError):
    """A row is there already: perhaps another transaction has just made it."""


@contextmanager
def plain_errors(path: str) -> Generator[None]:
    """Raises our errors for PostgreSQL's."""
    try:
        yield
    except psycopg.Error as error:
        raise explained(error, path) from None


def explained(error: psycopg.Error, path: str) -> StoreError:
    """Our error for one of PostgreSQL's."""
    for kinds, explain in _EXPLANATIONS:
        if isinstance(error, kinds):
            return explain(path, _told(error))
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return _not_connected(path, _told(error))
    return StoreError(f"The database {path} answered: {_told(error)}")


def is_lost(error: psycopg.Error) -> bool:
    """Whether this error ended the connection."""
    return isinstance(error, _LOST) or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None)


def too_new(path: str, version: int, latest: int) -> StoreError:
    return StoreTooNew(
        f"The database {path} has schema {version}, written by a newer Tidemill; this one knows schemas up to "
        f"{latest}. Upgrade (pip install --upgrade tidemill), or set TIDEMILL_DATABASE_URL to another database."
    )


def _told(error: psycopg.Error) -> str:
    """What the database says, in one line."""
    text = error.diag.message_primary or str(error)
    if error.diag.message_detail:
        text += f" ({error.diag.message_detail})"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    attempts = [line for line in lines if line.startswith("- host:")]  # what follows the first line is general advice
    return "; ".join(attempts or lines[:1]).rstrip(".")


def _not_connected(path: str, told: str) -> StoreError:
    """The errors of libpq itself have no code, only words; those that the server gave while we connected are in them."""
    for pattern, explain in _WORDS:
        if re.search(pattern, told):
            return explain(path, told)
    return _lost(path, told)


def _lost(path: str, told: str) -> StoreError:
    return ConnectionLost(
        f"The database {path} cannot be reached: {told}. See that PostgreSQL runs there, and that host and port in "
        "TIDEMILL_DATABASE_URL are right."
    )


def _wrong_password(path: str, told: str) -> StoreError:
    return StoreUnreachable(
        f"The database {path} does not let this user in: {told}. Put the right user and password into TIDEMILL_DATABASE_URL, "
        "or the password into PGPASSWORD or ~/.pgpass."
    )


def _no_database(path: str, told: str) -> StoreError:
    return StoreUnreachable(
        f"There is no such database as {path}: {told}. Create it (createdb NAME), or name another in TIDEMILL_DATABASE_URL."
    )


def _too_many(path: str, told: str) -> StoreError:
    return ConnectionLost(
        f"The database {path} has no connection free: {told}. Let fewer processes run at once, lower "
        "TIDEMILL_DATABASE_CONNECTIONS, raise max_connections of PostgreSQL, or put a pooler before it."
    )


def _read_only(path: str, told: str) -> StoreError:
    return StoreReadOnly(
        f"The database {path} cannot be written: {told}. If it is a replica, name the primary in TIDEMILL_DATABASE_URL (or "
        "several hosts, and ?target_session_attrs=read-write)."
    )


def _not_allowed(path: str, told: str) -> StoreError:
    return StoreReadOnly(
        f"The database {path} does not allow this user to do it: {told}. Let the owner of the tables run Tidemill, or grant "
        "this user their use (to make them: GRANT CREATE ON SCHEMA public TO ...)."
    )


def _full(path: str, told: str) -> StoreError:
    return StoreFull(
        f"The database {path} cannot grow: {told}. Free some space on its server and run again; everything that was "
        "acknowledged before is kept."
    )


def _corrupt(path: str, told: str) -> StoreError:
    return StoreCorrupt(f"The database {path} is damaged: {told}. Restore a backup, and look at PostgreSQL's own log.")


def _disturbed(path: str, told: str) -> StoreError:
    return Disturbed(f"The database {path} is busy: {told}. Other runs change the same rows; try again.")


def _locked(path: str, told: str) -> StoreError:
    return StoreBusy(
        f"The database {path} is busy: {told}. Somebody else holds a lock for long (see pg_stat_activity); end that, or raise "
        "TIDEMILL_DATABASE_LOCK_TIMEOUT."
    )


def _too_slow(path: str, told: str) -> StoreError:
    return StoreBusy(
        f"The database {path} took too long: {told}. Try again when it has less to do, or raise "
        "TIDEMILL_DATABASE_STATEMENT_TIMEOUT."
    )


def _constraint(kind: str, error: type[StoreError] = StoreError) -> Callable[[str, str], StoreError]:
    return lambda path, told: error(f"The database {path} answered: {kind} constraint failed: {told}")


_LOST = (
    errors.AdminShutdown,
    errors.CrashShutdown,
    errors.CannotConnectNow,
    errors.IdleInTransactionSessionTimeout,
    errors.ConnectionException,
)
_EXPLANATIONS: tuple[tuple[tuple[type[psycopg.Error], ...], Callable[[str, str], StoreError]], ...] = (
    (_LOST, _lost),
    ((errors.InvalidPassword, errors.InvalidAuthorizationSpecification), _wrong_password),
    ((errors.InvalidCatalogName, errors.InvalidSchemaName), _no_database),
    ((errors.TooManyConnections,), _too_many),
    ((errors.ReadOnlySqlTransaction,), _read_only),
    ((errors.InsufficientPrivilege,), _not_allowed),
    ((errors.DiskFull, errors.OutOfMemory), _full),
    ((errors.DataCorrupted, errors.IndexCorrupted), _corrupt),
    ((errors.DeadlockDetected, errors.SerializationFailure), _disturbed),
    ((errors.LockNotAvailable,), _locked),
    ((errors.QueryCanceled,), _too_slow),
    ((errors.UniqueViolation,), _constraint("UNIQUE", Twice)),
    ((errors.CheckViolation,), _constraint("CHECK")),
    ((errors.ForeignKeyViolation,), _constraint("FOREIGN KEY", Twice)),
    ((errors.NotNullViolation,), _constraint("NOT NULL")),
)
# fmt: off
_WORDS: tuple[tuple[str, Callable[[str, str], StoreError]], ...] = (
    ("password authentication failed|no password supplied|authentication failed|no pg_hba.conf entry|role .* does not exist",
     _wrong_password),
    ("database .* does not exist", _no_database),
    ("too many (clients|connections)|remaining connection slots", _too_many),
    ("session is (not )?read-only|server is (not )?in hot standby", _read_only),
)
# fmt: on
