"""The page in a real browser: how soon it is there, how it moves, how soon it shows a change, what it costs at rest.

    python benches/page.py                                   # ours
    python benches/page.py --peer DIR/bin/python             # and the peer's page: the list, and a run of 1,000 tasks
    python benches/page.py --scale 0.01 --loads 3            # a look whether it works

It needs the chromium of this machine and Playwright for Python (`pip install -e '.[test]'`). Figures are medians over several
loads, each in a browser window that has nothing in its cache, unless it says otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import machine
import peer
from page_probes import DRAWN, Tab, opened
from playwright.sync_api import Browser, sync_playwright
from server_sides import Server, running
from sides import SOURCE, Side, tidemill

_SIZES = (1_000, 10_000, 100_000)
_RUNS = 100_000
_PEER_RUNS = 1_000
# Its page asks port 4200, wherever it comes from, unless it is told otherwise.
_PEER_SETTINGS = {"PREFECT_UI_API_URL": "/api"}
# The newer of its two pages, which it opens by itself.
_PEER_PAGE = "/v2/runs"
_PEER_ROW = 'main a[href*="/flow-run/"]'
# Nobody else is asked, whatever a page wants.
_BROWSER_OPTIONS = ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
_AT_REST_SECONDS = 20.0
_CHANGES = 15
_SETTINGS = {"TIDEMILL_LOGGING_LEVEL": "ERROR", "TIDEMILL_DURABILITY": "relaxed"}


def main() -> int:
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidemill-page-", dir=options.folder)))
        sides = [tidemill()] + ([peer.prefect(options.peer)] if options.peer else [])
        print("\n".join(machine.describe(sides, folder)), flush=True)
        browser = stack.enter_context(_browser())
        print(f"Chromium {browser.version}, drawn by the processor, {options.loads} loads of each", flush=True)
        bench = Bench(browser, folder, options.loads, options.scale)
        if options.only != "peer":
            bench.ours(sides[0])
        for other in sides[1:]:
            bench.peers(other)
    return 0


class Bench:
    """Measures the pages, one after the other."""

    def __init__(self, browser: Browser, folder: Path, loads: int, scale: float) -> None:
        self._browser = browser
        self._folder = folder
        self._loads = loads
        self._scale = scale

    def ours(self, side: Side) -> None:
        print("\nTidemill", flush=True)
        runs = {}
        home = self._folder / "tidemill"
        for size in _SIZES:
            runs[size] = self._scaled(size)
            _work(side, home, runs[size], _SETTINGS)
        with running(side, home, {}) as server:
            ids = {size: _run_of(server, tasks) for size, tasks in runs.items()}
            for size, tasks in runs.items():
                self._run(f"run of {tasks:,} tasks", server, f"/runs/{ids[size]}", "/timeline")
            self._latency(server)
        full = self._folder / "full"
        _fill(side, full, self._scaled(_RUNS))
        with running(side, full, {}) as server:
            self._list(f"list of {self._scaled(_RUNS):,} runs", server, "/runs", "a.run")
            self._list(f"dashboard over {self._scaled(_RUNS):,} runs", server, "/", "main section, main a")
            self._rest(server, side, full, "/runs")

    def peers(self, side: Side) -> None:
        print(f"\n{side.name}", flush=True)
        home = self._folder / side.name
        with running(side, home, _PEER_SETTINGS) as server:
            _work(server.side, home, self._scaled(_SIZES[0]), {})
            _make_runs(server, self._scaled(_PEER_RUNS))
            run = _run_of(server, self._scaled(_SIZES[0]))
            self._list(f"list of {self._scaled(_PEER_RUNS):,} runs", server, _PEER_PAGE, _PEER_ROW)
            self._run(f"run of {self._scaled(_SIZES[0]):,} tasks", server, f"{_PEER_PAGE}/flow-run/{run}", "graph-v2")
            self._rest(server, side, home, _PEER_PAGE)

    def _scaled(self, count: int) -> int:
        # The workload's loop takes whole thousands, or fewer.
        scaled = max(10, round(count * self._scale))
        return scaled if scaled < 1_000 else scaled // 1_000 * 1_000

    def _list(self, what: str, server: Server, path: str, row: str) -> None:
        loads = [self._load(server, path, _listed(row)) for _ in range(self._loads)]
        self._say(what, _told(loads))
        with opened(self._browser) as tab:
            tab.go(_page(server), path, _listed(row))
            again = [tab.go(_page(server), path, _listed(row)) for _ in range(self._loads)]
            self._say("  again, from the browser's cache", _told(again))

    def _run(self, what: str, server: Server, path: str, data: str) -> None:
        loads = [self._load(server, path, DRAWN.format(data=data)) for _ in range(self._loads)]
        self._say(what, _told(loads))
        with opened(self._browser) as tab:
            tab.go(_page(server), path, DRAWN.format(data=data))
            panned = tab.pan()
        if panned is not None:
            self._say("  while panning", panned.told())

    def _load(self, server: Server, path: str, ready: str) -> dict[str, float]:
        with opened(self._browser) as tab:
            return tab.go(_page(server), path, ready)

    def _latency(self, server: Server) -> None:
        """From before a state is sent until it is on the screen: on the run's page, and in the list."""
        flow = _post(server, "flows/", {"name": "changes"})["id"]
        run = _post(server, "flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]
        for where, path, inside in (("run page", f"/runs/{run}", "main header"), ("runs list", "/runs", "main table")):
            with opened(self._browser) as tab:
                tab.go(_page(server), path, f"() => !!document.querySelector('{inside}')")
                tab.settle()
                seconds = [self._change(server, tab, run, inside, number) for number in range(_CHANGES)]
            self._say(f"a change of state is seen, {where}", f"{_middle(seconds):.0f} ms, at most {max(seconds):.0f} ms")

    def _change(self, server: Server, tab: Tab, run: str, inside: str, number: int) -> float:
        name = f"{inside.rsplit(maxsplit=1)[-1].capitalize()} {number}"
        tab.watch_for(name, inside)
        sent = time.time()
        _post(server, f"flow_runs/{run}/set_state", {"state": {"type": "RUNNING", "name": name}, "force": True})
        return tab.seen_at() - sent * 1000

    def _rest(self, server: Server, side: Side, home: Path, path: str) -> None:
        ours = side.module == "tidemill"
        with opened(self._browser) as tab:
            tab.go(_page(server), path, None)
            tab.settle()
            self._say("a list at rest", tab.at_rest(_AT_REST_SECONDS))
            if ours:
                goes_on = subprocess.Popen(
                    server.side.command("ticking.py", side.module, round(_AT_REST_SECONDS + 15)),
                    env=server.side.environment(home / "client"),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                tab.wait_for("() => [...document.querySelectorAll('tr')].some((row) => row.textContent.includes('Running'))")
                self._say("  while a run goes on, ten tasks a second", tab.at_rest(_AT_REST_SECONDS))
                goes_on.kill()
                goes_on.wait()

    @staticmethod
    def _say(what: str, told: str) -> None:
        print(f"  {what:<48} {told}", flush=True)


def _listed(row: str) -> str:
    return f"() => !!document.querySelector({json.dumps(row)})"


def _told(loads: list[dict[str, float]]) -> str:
    paint, ready, quiet, heap, kilobytes = (
        _middle([load[name] for load in loads]) for name in ("paint", "ready", "quiet", "heap", "kilobytes")
    )
    return (
        f"painted {paint:.0f} ms, there {ready:.0f} ms, interactive {quiet:.0f} ms, "
        f"heap {heap:.1f} MB, {kilobytes:,.0f} kB transferred"
    )


def _middle(values: list[float]) -> float:
    return statistics.median(values)


def _page(server: Server) -> str:
    return server.url.removesuffix("/api")


def _work(side: Side, home: Path, tasks: int, settings: dict[str, str]) -> None:
    """A real run of so many tasks."""
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        side.command("task_loop.py", side.module, tasks),
        env=side.environment(home, settings),
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _fill(side: Side, home: Path, runs: int) -> None:
    home.mkdir(parents=True)
    subprocess.run(
        [side.python, str(Path(__file__).with_name("fill_store.py")), str(runs)],
        env={**side.environment(home), "PYTHONPATH": str(SOURCE)},
        check=True,
    )


def _make_runs(server: Server, count: int) -> None:
    flow = _post(server, "flows/", {"name": "load"})["id"]
    for _ in range(count):
        _post(server, "flow_runs/", {"flow_id": flow, "state": {"type": "COMPLETED"}, "parameters": {"x": 1}, "tags": ["load"]})


def _run_of(server: Server, tasks: int) -> str:
    """The run with so many task runs, once the server has all of them."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for run in _post(server, "flow_runs/filter", {"flows": {"name": {"any_": ["loop"]}}}):
            if _post(server, "task_runs/count", {"flow_runs": {"id": {"any_": [run["id"]]}}}) == tasks:
                return run["id"]
        time.sleep(0.5)
    raise SystemExit(f"No run with {tasks:,} task runs has arrived at the server.")


def _post(server: Server, path: str, body: Any) -> Any:
    deadline = time.monotonic() + 120
    answer = httpx2.post(f"{server.url}/{path}", json=body, timeout=120)
    # A server on SQLite may be busy with what it was told before.
    while answer.status_code == 503 and time.monotonic() < deadline:
        time.sleep(0.5)
        answer = httpx2.post(f"{server.url}/{path}", json=body, timeout=120)
    if not answer.is_success:
        raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
    return answer.json()


@contextmanager
def _browser() -> Iterator[Browser]:
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        raise SystemExit("There is no chromium. On Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=_BROWSER_OPTIONS)
        yield browser
        browser.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the interpreter of an environment with the peer (run.py --make-peer)")
    parser.add_argument("--only", choices=["", "peer"], default="", help="one of the pages")
    parser.add_argument("--loads", type=int, default=7, help="how often each page is opened")
    parser.add_argument("--scale", type=float, default=1.0, help="how much of the runs and task runs")
    parser.add_argument("--folder", type=Path, help="where the homes are made")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
