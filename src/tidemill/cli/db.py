"""`tidemill db`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

from cyclopts import App, Parameter

from tidemill import settings
from tidemill.cli.finding import open_client
from tidemill.cli.options import BARE, UsageError
from tidemill.cli.output import note
from tidemill.colour import run_blocking
from tidemill.store import Database, copying, migrate, open_store

app = App(name="db", help="Look after the database.", help_format="plaintext", default_parameter=BARE)


@app.command
def path() -> None:
    """Print where the database is; of a URL, without password and parameters."""
    print(open_client().database.path)


@app.command
def check() -> int:
    """Look for damage in the database; the exit code is 1 if there is any."""
    client = open_client()
    problems = run_blocking(client.check())
    for problem in problems:
        print(problem)
    if problems:
        note(f"{client.database.path} is damaged. Restore a backup, or copy what can be read: tidemill db backup FILE")
        return 1
    print(f"{client.database.path} is sound.")
    return 0


@app.command
def backup(file: Annotated[str, Parameter(help="The new file; there must be none of that name.")], /) -> None:
    """Copy the database, as it is at one moment, into a new SQLite file; flows may go on running.

    For example:
        tidemill db backup before-upgrade.db
    """
    client = open_client()
    run_blocking(client.backup(file))
    print(f"Copied {client.database.path} to {file}.")


@app.command(name="migrate")
def migrate_(
    *,
    only_check: Annotated[
        bool, Parameter(name="--check", negative=(), help="Only tell whether it is due; the exit code is then 1.")
    ] = False,
) -> int:
    """Bring the database to the newest schema. Whatever opens it does the same; this does it at a time of your choice.

    For example:
        tidemill db migrate --check
    """
    with _database(settings.current().database_address) as database:
        before, newest = database.schema(), migrate.latest()
        if before < newest and only_check:
            print(f"{database.path} has schema {before}; the newest is {newest}. To bring it there: tidemill db migrate")
            return 1
        database.fetch("SELECT 1")  # who opens a database migrates it, or says that it is too new
        if before < newest:
            print(f"Brought {database.path} from schema {before} to {newest}.")
        else:
            print(f"{database.path} has schema {newest}, the newest.")
    return 0


@app.command
def copy(
    source: Annotated[str, Parameter(help="What to copy: a SQLite file, or a database's URL.")],
    target: Annotated[str, Parameter(help="Where to: the same. There must be no runs in it.")],
    /,
) -> None:
    """Copy everything recorded from one database into another, of the same kind or of the other.

    The source stays as it is, and flows may go on running on it; what they record meanwhile is not in the copy. Results that
    are files stay where they are.

    For example:
        tidemill db copy ~/.tidemill/tidemill.db postgresql://tidemill@localhost/tidemill
    """
    with _database(_address(source)) as from_, _database(_address(target)) as to:
        if from_.schema() == 0:
            raise UsageError(f"There is no database {from_.path}, or it holds nothing of Tidemill.")
        counts = copying.copy(from_, to, lambda table, rows: print(f"{rows:>10,} {table}") if rows else None)
        print(f"Copied {sum(counts.values()):,} rows from {from_.path} to {to.path}.")


@contextmanager
def _database(address: str) -> Generator[Database]:
    current = settings.current()
    store = open_store(address, durability=current.durability, limits=current.database_limits)
    try:
        yield store.database
    finally:
        store.database.close()


def _address(text: str) -> str:
    """A file or URL as it was typed, as the store takes it."""
    url = text if "://" in text else f"sqlite:///{text}"
    return settings.load({"database_url": url}).database_address
