"""How the commands write: tables for people, columns for pipes, JSON for programs, and times as people say them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar, cast

import msgspec

from tidemill import clock
from tidemill.cli.options import Listing
from tidemill.records import FlowRun, TaskRun
from tidemill.states import ResultReference, State, Unkept

T = TypeVar("T")

_STATE_COLOURS = {
    "SCHEDULED": "yellow",
    "PENDING": "cyan",
    "RUNNING": "blue",
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "magenta",
    "CANCELLED": "bright_black",
    "CANCELLING": "bright_black",
    "PAUSED": "yellow",
}
_ANSI = {"yellow": 33, "cyan": 36, "blue": 34, "green": 32, "red": 31, "magenta": 35, "bright_black": 90, "bold": 1}
_STEPS = ((60, "second"), (60, "minute"), (24, "hour"), (7, "day"), (52, "week"))


@dataclass(frozen=True)
class Column(Generic[T]):
    """A column of a table: what stands in it, in which colour, and whether it goes first when space is short."""

    title: str
    text: Callable[[T], str]
    colour: Callable[[T], str | None] | None = None
    only_if_wide: bool = False

    def cell(self, record: T) -> tuple[str, str | None]:
        """Text and colour for one record."""
        return printable(self.text(record)), self.colour(record) if self.colour else None


def show_list(
    records: Sequence[T], columns: Sequence[Column[T]], listing: Listing, what: str, count: Callable[[], int]
) -> None:
    """Prints records as the listing asks. `count` says how many there are in all; it is asked only when that matters."""
    if listing.json:
        show_json(records)
        return
    if not records:
        note(f"There are no {what} to show.")
        return
    if sys.stdout.isatty():
        from tidemill.cli.tables import print_table

        rows = [[column.cell(record) for column in columns] for record in records]
        titles, only_if_wide = zip(*((column.title, column.only_if_wide) for column in columns), strict=True)
        print_table(titles, only_if_wide, rows, _colour_wanted())
        if listing.offset or len(records) == listing.limit:
            _note_page(len(records), listing.offset, what, count())
    else:
        print_columns(records, columns)


def print_columns(records: Iterable[T], columns: Sequence[Column[T]]) -> None:
    """Prints aligned columns, whole and without colour, for pipes."""
    rows = [[column.title.upper() for column in columns]]
    rows += [[column.cell(record)[0] for column in columns] for record in records]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def show_json(records: object) -> None:
    """Prints records with the field names of the REST API."""
    value = [_for_json(record) for record in cast("Sequence[Any]", records)] if isinstance(records, list) else records
    print(msgspec.json.format(msgspec.json.encode(_for_json(value)), indent=2).decode())


def json_line(record: object) -> str:
    """A record as one line of JSON."""
    return msgspec.json.encode(_for_json(record)).decode()


def show_details(rows: Iterable[tuple[str, str | None]]) -> None:
    """Prints label and value, one pair a line; what has no value is left out."""
    shown = [(label, value) for label, value in rows if value]
    width = max(len(label) for label, _ in shown) + 2
    for label, value in shown:
        print(paint(label.ljust(width), "bold") + value)


def show_run(
    details: Iterable[tuple[str, str | None]],
    states: Iterable[State[Any]],
    run: FlowRun | TaskRun,
    children: Sequence[FlowRun] = (),
) -> None:
    """Prints all about one run: its details, every state it went through, its subflow runs, and its error if it failed."""
    show_details(details)
    print("\nStates")
    for state in states:
        print(f"  {exact(state.timestamp)}  {painted_state(state)}")
    if children:
        print("\nSubflow runs")
        for child in children:
            print(f"  {printable(child.name)}  {child.state_name}  {child.id}")
    error = run.state.state_details.error if run.state else None
    if error is not None:
        print(f"\n{error.traceback.rstrip()}")


def note(text: str) -> None:
    """Says something that is not the answer itself, so that a pipe does not get it."""
    print(text, file=sys.stderr)


def confirmed(question: str, yes: bool) -> bool:
    """Whether to go on: asks where someone can answer."""
    if yes or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def paint(text: str, colour: str | None) -> str:
    """The text in a colour, where colour is wanted."""
    return f"\x1b[{_ANSI[colour]}m{text}\x1b[0m" if colour and _colour_wanted() else text


def state_colour(run: FlowRun | TaskRun) -> str | None:
    return None if run.state_type is None else _STATE_COLOURS[run.state_type.value]


def painted_state(state: State[Any]) -> str:
    return paint(str(state), _STATE_COLOURS[state.type.value])


def when(moment: datetime | None) -> str:
    """A time as people say it: `3 minutes ago`, `in 2 hours`; nothing for no time."""
    if moment is None:
        return ""
    seconds = (clock.to_datetime(clock.now()) - moment).total_seconds()
    amount, unit = abs(seconds), "second"
    for size, name in _STEPS:
        unit = name
        if amount < size:
            break
        amount /= size
    else:
        unit = "year"
    if unit == "second" and amount < 1:
        return "now"
    text = f"{int(amount)} {unit}{'' if int(amount) == 1 else 's'}"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def exact(moment: datetime | None) -> str | None:
    """A time to the millisecond, in this place's time zone."""
    if moment is None:
        return None
    return moment.astimezone().replace(tzinfo=None).isoformat(sep=" ", timespec="milliseconds")


def took(run: FlowRun | TaskRun) -> str:
    """How long a run has been running."""
    seconds = run.total_run_time
    state = run.state
    if state is not None and state.is_running():
        seconds += (clock.to_datetime(clock.now()) - state.timestamp) / timedelta(seconds=1)
    if run.start_time is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.{0 if seconds > 0.01 else 1}f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def printable(text: str) -> str:
    """The text on one line, with control characters made visible."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shortened(text: str, length: int = 500) -> str:
    """The text, or its beginning and how much there is of it."""
    return text if len(text) <= length else f"{text[:length]}... ({len(text)} characters)"


def _for_json(record: Any) -> Any:
    """The record with its result as the REST API has it: where the value is, never its bytes."""
    if isinstance(record, FlowRun | TaskRun) and record.state is not None:
        return msgspec.structs.replace(record, state=_for_json(record.state))
    if isinstance(record, State):
        state = cast("State[Any]", record)
        return msgspec.structs.replace(state, data=_for_json(state.data))
    if isinstance(record, ResultReference):
        size = None if record.inline is None else len(record.inline)
        return {
            "type": "reference",
            "serializer": {"type": record.serializer},
            "storage_key": record.storage_key,
            "size": size,
        }
    if isinstance(record, Unkept):
        return {"type": "unpersisted", "reason": record.reason}
    return record


def _colour_wanted() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _note_page(shown: int, offset: int, what: str, total: int) -> None:
    if shown < total:
        note(f"{offset + 1} to {offset + shown} of {total} {what}; --limit and --offset show others.")
