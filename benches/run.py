"""Measures Tidemill against the budgets of its design and, with `--peer`, against Prefect. See README.md beside it."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import machine
import peer
import table
from measuring import MeasurementFailed, Probe, Reading, take
from rows import PROBES, ROWS, Row
from sides import Side, tidemill


def main() -> int:
    options = _options()
    if options.make_peer:
        print(peer.make(options.make_peer))
        return 0
    chosen = [row for row in ROWS if options.only.lower() in row.title.lower()]
    if not chosen:
        sys.exit(f"No row has {options.only!r} in its title.")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-bench-", dir=options.folder)))
        sides = [tidemill()]
        if options.peer:
            other = peer.prefect(options.peer)
            sides.append(stack.enter_context(peer.with_server(other, folder / "server")) if options.peer_server else other)
        if options.dbos:
            sides.append(peer.dbos(options.dbos))
        about = machine.describe(sides, folder)
        print("\n".join(about), file=sys.stderr)
        bench = Bench(sides, folder, chosen)
        bench.run(options.repeats)
    print("\n".join([*about, f"Alternations: {options.repeats}; medians of them.", ""]))
    print(table.show(sides, bench.repeats, bench.probes, chosen))
    print("".join(f"\nFAILED {failure}" for failure in bench.failures))
    if options.json:
        rows = table.as_json(sides, bench.repeats, bench.probes, chosen)
        result = {"about": about, "rows": rows, "readings": bench.repeats, "failures": bench.failures}
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 1 if bench.failures else 0


class Bench:
    """The measurements: ours, then the peer's, then ours again, for all probes that the chosen rows read."""

    def __init__(self, sides: list[Side], folder: Path, chosen: list[Row]) -> None:
        wanted = {name for row in chosen for name in row.probes}
        self.probes: dict[str, Probe] = {probe.name: probe for probe in PROBES if probe.name in wanted}
        self.repeats: dict[str, list[dict[str, Reading]]] = {side.module: [] for side in sides}
        self.failures: list[str] = []
        self._sides = sides
        self._folder = folder

    def run(self, repeats: int) -> None:
        self._warm_up()
        for number in range(1, repeats + 1):
            for side in self._sides:
                self.repeats[side.module].append({})
            for probe in self.probes.values():
                for side in self._sides:
                    if probe.asks(side):
                        self._measure(probe, side, f"{number}/{repeats}")

    def _warm_up(self) -> None:
        """Compiles the modules of every side and brings them into the page cache."""
        for side in self._sides:
            take(Probe("warm-up", side.warm_up, 1, 1, 1), side, self._folder)

    def _measure(self, probe: Probe, side: Side, which: str) -> None:
        start = time.monotonic()
        try:
            self.repeats[side.module][-1][probe.name] = take(probe, side, self._folder)
            outcome = ""
        except MeasurementFailed as failure:
            self.failures.append(f"{side.name}, repeat {which}: {failure}")
            outcome = " FAILED"
        print(f"{which} {probe.name}, {side.name}: {time.monotonic() - start:.1f} s{outcome}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="alternations, of which the medians are shown (default: 5)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the rows with TEXT in their title")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every value to FILE as well")
    parser.add_argument("--peer", metavar="PYTHON", help="measure the peer too, by the interpreter of its environment")
    parser.add_argument("--dbos", metavar="PYTHON", help="measure DBOS too, where it has a row; the same")
    parser.add_argument("--peer-server", action="store_true", help="give the peer one server for all, not one a process")
    parser.add_argument("--make-peer", type=Path, metavar="DIR", help="only make an environment with the peer in DIR")
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to make the homes (default: with the temporary files)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
