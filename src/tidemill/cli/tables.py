"""Tables for a terminal. Apart from the other output, since loading rich takes longer than all else a command does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

# Some columns are of use only when they are whole, so a narrower terminal does without them.
_WIDE = 110


def print_table(
    titles: Sequence[str], only_if_wide: Sequence[bool], rows: Iterable[Sequence[tuple[str, str | None]]], colour: bool
) -> None:
    """Prints a table that fits the terminal.

    Args:
        only_if_wide: for each column, whether it is left out where space is short.
        rows: for each cell its text and colour.
        colour: whether colours and bold letters are wanted.
    """
    console = Console(highlight=False, color_system="auto" if colour else None)
    shown = [n for n in range(len(titles)) if console.width >= _WIDE or not only_if_wide[n]]
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for n in shown:
        table.add_column(titles[n], no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(row[n][0], style=row[n][1] or "") for n in shown))
    console.print(table)
