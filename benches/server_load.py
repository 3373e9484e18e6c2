"""The server under load, beside the peer's: start, rest, creations, states, filters, many processes, and ingest.

    python benches/server_load.py                                  # ours, on SQLite and on PostgreSQL
    python benches/server_load.py --peer DIR/bin/python            # and the peer's server, with fewer of everything
    python benches/server_load.py --only sqlite --scale 0.1

Ends with 1 if anybody saw an error.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import machine
import peer
from hammer import Connection, Request, Seen, hammer
from server_sides import Server, postgres, running
from sides import SOURCE, Side, tidemill

# What the peer does in the time that ours needs for all of it: its figures are rates, and stay the same.
_PEER_SHARE = 0.02
_REST_SECONDS = 20.0


@dataclass
class Load:
    """How much is asked for."""

    creations: int = 10_000
    runs: int = 100_000
    filters: int = 2_000
    processes: int = 20
    tasks: int = 50
    ingest: int = 100_000

    def scaled(self, share: float) -> Load:
        """The same with less of what can be less; how many processes start at once stays."""
        some = {name: max(1, round(getattr(self, name) * share)) for name in ("creations", "runs", "filters", "ingest")}
        return replace(self, **some)


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-load-", dir=options.folder)))
        sides = [tidemill()] + ([peer.prefect(options.peer)] if options.peer else [])
        print("\n".join(machine.describe(sides, folder)), flush=True)
        bench = Bench(folder, Load().scaled(options.scale))
        if options.only in ("", "sqlite"):
            bench.measure("Tidemill on SQLite", sides[0], {})
        if options.only in ("", "postgres"):
            database = stack.enter_context(postgres(folder / "postgres"))
            bench.measure("Tidemill on PostgreSQL", sides[0], {"TIDEMILL_DATABASE_URL": database.url})
        for other in sides[1:]:
            bench.measure(other.name, other, {})
    return 1 if bench.failed else 0


class Bench:
    """Measures one server after the other."""

    def __init__(self, folder: Path, load: Load) -> None:
        self.failed = False
        self._folder = folder
        self._load = load

    def measure(self, name: str, side: Side, settings: dict[str, str]) -> None:
        ours = side.module == "tidemill"
        load = self._load if ours else self._load.scaled(_PEER_SHARE)
        home = self._folder / name.replace(" ", "-")
        print(f"\n{name}", flush=True)
        with running(side, home, settings) as server:
            self._say("start, empty home", f"{server.seconds:.2f} s")
        with running(side, home, settings) as server:
            self._say("start, home in use", f"{server.seconds:.2f} s")
            self._rest(server)
            runs = self._creations(server, load.creations)
            self._states(server, runs)
            self._processes(server, load, home)
            if ours:
                self._ingest(server, load.ingest, home)
        if ours:
            _fill(side, home, settings, load.runs)
        with running(side, home, settings) as server:
            self._filters(server, load.filters)
            self._say("memory after all that", f"{server.megabytes:.0f} MiB")

    def _rest(self, server: Server) -> None:
        time.sleep(2)
        before = server.cpu_seconds
        time.sleep(_REST_SECONDS)
        share = (server.cpu_seconds - before) / _REST_SECONDS
        self._say("at rest", f"{server.megabytes:.0f} MiB, {share:.2%} of a core")

    def _creations(self, server: Server, count: int) -> list[str]:
        flow_id = hammer(server.url, [("POST", "/flows/", {"name": "load"})], 1, keep="id").answers[0]
        body = {"flow_id": flow_id, "state": {"type": "PENDING"}, "parameters": {"x": 1}, "tags": ["load"]}
        seen = hammer(server.url, [("POST", "/flow_runs/", body)] * count, 16, keep="id")
        self._judge(f"{count:,} creations, 16 clients", seen)
        return seen.answers

    def _states(self, server: Server, runs: list[str]) -> None:
        def request(run: str) -> Request:
            state = {"type": "RUNNING", "state_details": {"transition_id": str(uuid.uuid4())}}
            return "POST", f"/flow_runs/{run}/set_state", {"state": state, "force": False}

        seen = hammer(server.url, [request(run) for run in runs], 16, keep="status")
        self._judge(f"{len(runs):,} set_state, 16 clients", seen)
        if set(seen.answers) != {"ACCEPT"}:
            self._fail(f"set_state answered {set(seen.answers)}")

    def _filters(self, server: Server, count: int) -> None:
        total = json.loads(_one(server, "POST", "/flow_runs/count", {}))
        for title, body in _FILTERS.items():
            seen = hammer(server.url, [("POST", "/flow_runs/filter", body)] * (count // len(_FILTERS) + 8), 8)
            self._judge(f"filter {title}, {total:,} runs, 8 clients", seen)

    def _processes(self, server: Server, load: Load, home: Path) -> None:
        begin = time.monotonic()
        started = [_start_tasks(server, home / f"client-{n}", load.tasks) for n in range(load.processes)]
        codes = [process.wait() for process in started]
        failed = sum(map(bool, codes))
        took = time.monotonic() - begin
        self._say(f"{load.processes} processes of {load.tasks} tasks", f"{took:.1f} s, {failed} of them failed")
        if failed:
            self._fail(f"exit codes {codes}")

    def _ingest(self, server: Server, count: int, home: Path) -> None:
        begin = time.monotonic()
        code = _start_tasks(server, home / "ingest", count).wait()
        took = time.monotonic() - begin
        arrived = json.loads(_one(server, "POST", "/task_runs/count", {}))
        self._say(f"ingest of {count:,} task runs", f"{count / took:,.0f}/s from one process's loop; {arrived:,} on the server")
        if code or arrived < count:
            self._fail(f"the process ended with {code}, and {arrived:,} task runs arrived")

    def _judge(self, what: str, seen: Seen) -> None:
        self._say(what, seen.told())
        self.failed = self.failed or seen.errors.total() > 0

    def _fail(self, reason: str) -> None:
        self._say("FAILED", reason)
        self.failed = True

    def _say(self, what: str, told: str) -> None:
        print(f"  {what:<50} {told}", flush=True)


_FILTERS: dict[str, Any] = {
    "newest": {"sort": "START_TIME_DESC", "limit": 200},
    "by state": {
        "flow_runs": {"state": {"type": {"any_": ["FAILED", "CRASHED"]}}},
        "sort": "START_TIME_DESC",
        "limit": 200,
    },
    "by name": {"flow_runs": {"name": {"like_": "run-99"}}, "sort": "ID_DESC", "limit": 50},
}


def _one(server: Server, method: str, path: str, body: Any) -> bytes:
    connection = Connection(server.url)
    status, content = connection.ask(method, path, body)
    connection.close()
    if status >= 300:
        raise RuntimeError(f"{method} {path}: {status} {content!r}")
    return content


def _start_tasks(server: Server, home: Path, tasks: int) -> subprocess.Popen[bytes]:
    home.mkdir(parents=True)
    with open(home / "said", "wb") as said:
        return subprocess.Popen(
            server.side.command("task_loop.py", server.side.module, tasks),
            env=server.side.environment(home, {"TIDEMILL_REMOTE_ACKNOWLEDGE_SECONDS": "300"}),
            stdout=said,
            stderr=said,
        )


def _fill(side: Side, home: Path, settings: dict[str, str], runs: int) -> None:
    """Makes flow runs of the past directly in the store: through the API it would only take longer."""
    subprocess.run(
        [side.python, str(Path(__file__).with_name("fill_store.py")), str(runs)],
        env={**side.environment(home, settings), "PYTHONPATH": str(SOURCE)},
        check=True,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the interpreter of an environment with the peer (run.py --make-peer)")
    parser.add_argument("--only", choices=["", "sqlite", "postgres", "peer"], default="", help="one of the servers")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the load")
    parser.add_argument("--folder", type=Path, help="where the homes are made")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
