"""`tidemill db`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from tidemill.cli.finding import open_client
from tidemill.cli.options import BARE
from tidemill.cli.output import note
from tidemill.colour import run_blocking

app = App(name="db", help="Look after the database.", help_format="plaintext", default_parameter=BARE)


@app.command
def path() -> None:
    """Print where the database is."""
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
    """Copy the database, as it is at one moment, into a new file; flows may go on running.

    For example:
        tidemill db backup before-upgrade.db
    """
    client = open_client()
    run_blocking(client.backup(file))
    print(f"Copied {client.database.path} to {file}.")
