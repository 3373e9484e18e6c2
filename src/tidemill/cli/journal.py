"""`tidemill journal`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from tidemill import clock, settings
from tidemill.cli.finding import open_client
from tidemill.cli.options import AS_TEXT, BARE, Format, UsageError
from tidemill.cli.output import exact, note, show_details, show_json
from tidemill.client.http import address_of
from tidemill.client.shipping import Journal, journals
from tidemill.colour import run_blocking

app = App(name="journal", help="Show and send what waits here for a server.", help_format="plaintext", default_parameter=BARE)


@app.command
def status(*, format: Format = AS_TEXT) -> None:
    """Show, for each server that this home has recorded runs for, how much it has not got yet, and why.

    For example:
        tidemill journal status
    """
    found = journals(settings.current())
    if format.json:
        show_json([_as_json(journal) for journal in found])
        return
    if not found:
        note("There is no journal in this home: no runs were recorded here for a server (TIDEMILL_API_URL).")
    for n, journal in enumerate(found):
        if n:
            print()
        show_details(
            [
                ("Server", journal.server),
                ("Journal", journal.path),
                ("Waiting", f"{journal.waiting:,} changes" if journal.waiting else "nothing"),
                ("Waiting since", _time(journal.oldest)),
                ("Error", journal.last_error if journal.waiting else None),
            ]
        )


@app.command
def ship(
    *,
    timeout: Annotated[float, Parameter(help="Seconds to wait for the server.", show_default=True)] = 60.0,
) -> int:
    """Send the server what waits here. The exit code is 1 if something is left.

    For example:
        tidemill journal ship
    """
    current = settings.current()
    if current.api_url is None:
        raise UsageError("TIDEMILL_API_URL is not set, so there is no server to send anything to. See: tidemill journal status")
    client = open_client()
    done = run_blocking(client.catch_up(timeout))
    mine = next((each for each in journals(current) if each.server == address_of(current.api_url or "")), None)
    if done or mine is None or not mine.waiting:
        print("The server has everything.")
        return 0
    note(f"{mine.waiting:,} changes wait in {mine.path}. {mine.last_error or 'The server does not take them in time.'}")
    return 1


def _time(moment: int | None) -> str | None:
    return None if moment is None else exact(clock.to_datetime(moment))


def _as_json(journal: Journal) -> dict[str, object]:
    oldest = None if journal.oldest is None else clock.to_datetime(journal.oldest)
    return {
        "server": journal.server,
        "path": journal.path,
        "waiting": journal.waiting,
        "waiting_since": oldest,
        "last_error": journal.last_error,
    }
