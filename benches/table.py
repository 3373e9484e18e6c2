"""The table: a line for each row, with the medians, the budget, the peer and the floor; below it what did not fit."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from measuring import Probe
from rows import Budget, Readings, Row
from sides import Side

_HEADINGS = ("what", "unit", "{ours}", "(range)", "budget", "", "{peer}", "of", "ratio", "floor")
_LEFT = {0, 1, 5}


@dataclass(frozen=True)
class Cell:
    """What one side gave for one row, over the repeats."""

    values: list[float]
    count: int | None
    details: list[tuple[str, str]]

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


def cell(row: Row, side: Side, repeats: Sequence[Readings], probes: dict[str, Probe]) -> Cell:
    usable = [readings for readings in repeats if all(name in readings for name in row.probes)]
    last = row.probes[-1]
    details = [(label, _detail([readings[last].get(key) for readings in usable])) for label, key in row.details]
    values = [row.value(readings) for readings in usable]
    return Cell(values, probes[last].count_for(side), [(label, text) for label, text in details if text])


def _detail(values: list[Any]) -> str:
    if not values or values[0] is None:
        return ""
    if isinstance(values[0], str):
        return values[0] or "none"
    middle = statistics.median(values)
    return figure(int(middle) if middle == int(middle) else middle)


def figure(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def show(sides: Sequence[Side], repeats: dict[str, list[Readings]], probes: dict[str, Probe], chosen: Sequence[Row]) -> str:
    """The whole table as text."""
    ours, *others = sides
    cells = {side.module: [cell(row, side, repeats[side.module], probes) for row in chosen] for side in sides}
    names = {"ours": ours.name, "peer": " or ".join(side.name for side in others) or "peer"}
    lines = [tuple(heading.format(**names) for heading in _HEADINGS)]
    for n, row in enumerate(chosen):
        beside = cells.get(row.peer)
        lines.append(_line(row, cells[ours.module][n], beside[n] if beside else None))
    text = list(_aligned(lines))
    text += ["", "Floors, from floors.md:", *_floors(chosen)]
    for side in sides:
        text += ["", f"{side.name}, more of the same (medians):", *_details(chosen, cells[side.module])]
    return "\n".join(text)


def _line(row: Row, ours: Cell, peer: Cell | None) -> tuple[str, ...]:
    median, budget = ours.median, row.budget
    verdict = "" if budget is None or median is None else "kept" if budget.holds(median) else "MISSED"
    spread = f"{figure(min(ours.values))}-{figure(max(ours.values))}" if ours.values else ""
    theirs = peer.median if peer else None
    their_count = f"{peer.count:,}" if peer and peer.values and peer.count and peer.count != ours.count else ""
    floor = row.floor.value if row.floor else ""
    ratio = _ratio(row, median, theirs)
    limit = _limit(budget)
    return row.title, row.unit, figure(median), spread, limit, verdict, figure(theirs), their_count, ratio, floor


def _limit(budget: Budget | None) -> str:
    return "" if budget is None else f"{'>=' if budget.at_least else '<='} {budget.limit:,g}"


def _ratio(row: Row, ours: float | None, peer: float | None) -> str:
    """How many times better ours is."""
    if ours is None or peer is None or not row.comparable or ours <= 0 or peer <= 0:
        return ""
    return f"x{figure(ours / peer if row.higher_is_better else peer / ours)}"


def _aligned(lines: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(line[n]) for line in lines) for n in range(len(_HEADINGS))]
    for number, line in enumerate(lines):
        columns = enumerate(zip(line, widths, strict=True))
        texts = [text.ljust(width) if n in _LEFT else text.rjust(width) for n, (text, width) in columns]
        yield "  ".join(texts).rstrip()
        if number == 0:
            yield "  ".join("-" * width for width in widths)


def _floors(chosen: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(f"  {row.floor.value:>6}  {row.floor.what}" for row in chosen if row.floor))


def _details(chosen: Sequence[Row], cells: Sequence[Cell]) -> Iterator[str]:
    for row, found in zip(chosen, cells, strict=True):
        if found.values and found.details:
            of = f" [{found.count:,}]" if found.count else ""
            yield f"  {row.title}{of}: " + "; ".join(f"{label} {text}" for label, text in found.details)


def as_json(
    sides: Sequence[Side], repeats: dict[str, list[Readings]], probes: dict[str, Probe], chosen: Sequence[Row]
) -> list[dict[str, Any]]:
    """The rows with every value, for programs."""
    return [_row_json(row, {side.module: cell(row, side, repeats[side.module], probes) for side in sides}) for row in chosen]


def _row_json(row: Row, cells: dict[str, Cell]) -> dict[str, Any]:
    sides = {
        module: {"median": found.median, "values": found.values, "count": found.count, "details": dict(found.details)}
        for module, found in cells.items()
    }
    budget = None if row.budget is None else row.budget._asdict()
    floor = None if row.floor is None else row.floor._asdict()
    return {"title": row.title, "unit": row.unit, "budget": budget, "floor": floor, "sides": sides}
