"""Tables for a terminal. Apart from the other output, since loading rich takes longer than all else a command does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tidemill.cli.output import Column, printable

T = TypeVar("T")

# Ids are of use only when they are whole, so a narrower terminal does without them.
_WIDE = 110


def print_table(records: Iterable[T], columns: Sequence[Column[T]]) -> None:
    """Prints a table that fits the terminal."""
    console = Console(highlight=False)
    shown = [column for column in columns if console.width >= _WIDE or not column.only_if_wide]
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in shown:
        table.add_column(column.title, no_wrap=True, overflow="ellipsis")
    for record in records:
        table.add_row(*(_cell(column, record) for column in shown))
    console.print(table)


def _cell(column: Column[T], record: T) -> Text:
    colour = column.colour(record) if column.colour else None
    return Text(printable(column.text(record)), style=colour or "")
