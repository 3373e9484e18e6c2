"""What is looked at within a browser's tab, in the same way for every page: nothing here knows how a page is made."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

_PATIENCE_MS = 120_000
_QUIET_MS = 1_000
_PAN_STEPS = 120

# Something was drawn on a canvas after the data for it had come; {data} is a part of the address of the data.
DRAWN = (
    "() => {{ const data = performance.getEntriesByType('resource').find((entry) => entry.name.includes('{data}'));"
    " return !!data && data.responseEnd > 0 && window.probe.drawn > data.responseEnd; }}"
)

# Runs before any script of the page: notes when a canvas is drawn on, what keeps the page busy, and frames.
_PROBE = """
const probe = (window.probe = { drawn: 0, busyUntil: 0, seen: null });
const kinds = [CanvasRenderingContext2D, window.WebGLRenderingContext, window.WebGL2RenderingContext];
const verbs = ['fill', 'fillRect', 'stroke', 'drawImage', 'drawElements', 'drawArrays', 'drawElementsInstanced'];
for (const kind of kinds) {
  for (const verb of verbs) {
    const original = kind?.prototype[verb];
    if (!original) continue;
    kind.prototype[verb] = function (...given) {
      probe.drawn = performance.now();
      return original.apply(this, given);
    };
  }
}
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) probe.busyUntil = Math.max(probe.busyUntil, entry.startTime + entry.duration);
}).observe({ type: 'longtask', buffered: true });
// After a frame that shows what is there now.
probe.painted = () => new Promise((done) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = () => done(performance.now());
  channel.port2.postMessage(0);
}));
probe.until = async (isThere) => {
  while (!isThere()) await new Promise((done) => requestAnimationFrame(done));
  return probe.painted();
};
probe.watch = (text, inside) => {
  const isSeen = () => document.querySelector(inside)?.textContent.includes(text);
  probe.seen = new Promise((done) => {
    const look = async () => {
      if (!isSeen()) return;
      observer.disconnect();
      await probe.painted();
      done(Date.now());
    };
    const observer = new MutationObserver(() => void look());
    observer.observe(document.body, { childList: true, subtree: true, characterData: true });
    void look();
  });
};
probe.frames = () => {
  const times = [];
  let goesOn = true;
  const note = (time) => {
    times.push(time);
    if (goesOn) requestAnimationFrame(note);
  };
  requestAnimationFrame(note);
  return () => { goesOn = false; return times; };
};
"""


@dataclass
class Panned:
    """How frames came while something was drawn again and again."""

    milliseconds: list[float]
    busy_each: float

    def told(self) -> str:
        ordered = sorted(self.milliseconds)
        worst = ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)]
        return (
            f"{statistics.median(ordered):.1f} ms a frame, 95 % within {worst:.1f} ms, "
            f"{self.busy_each:.1f} ms of the page's thread each, {len(ordered)} frames"
        )


class Tab:
    """A tab in a window of its own."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.page.add_init_script(_PROBE)
        self._devtools = context.new_cdp_session(self.page)
        self._devtools.send("Performance.enable")

    def go(self, url: str, path: str, ready: str | None) -> dict[str, float]:
        """Opens an address. Gives milliseconds since it was asked for, the heap in megabytes, and kilobytes transferred."""
        self.page.goto(url + path, wait_until="commit")
        there = float(self.page.evaluate(f"() => window.probe.until({ready})")) if ready else 0.0
        self.settle()
        paint = self.page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0")
        busy = float(self.page.evaluate("() => window.probe.busyUntil"))
        kilobytes = self.page.evaluate(
            "() => performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize ?? 0), 0) / 1000"
        )
        return {
            "paint": float(paint),
            "ready": there,
            "quiet": max(there, busy),
            "kilobytes": float(kilobytes),
            "heap": self.heap_megabytes(),
        }

    def settle(self) -> None:
        """Waits until nothing has kept the page busy for a second."""
        self.page.wait_for_function(f"() => performance.now() - window.probe.busyUntil > {_QUIET_MS}", polling=100)
        self.page.wait_for_timeout(_QUIET_MS)

    def wait_for(self, condition: str) -> None:
        self.page.wait_for_function(condition)

    def heap_megabytes(self) -> float:
        self._devtools.send("HeapProfiler.collectGarbage")
        return self._metric("JSHeapUsedSize") / 1e6

    def pan(self) -> Panned | None:
        """Drags what the largest canvas shows to and fro, zoomed in before; None if there is no canvas."""
        box = self.page.evaluate(
            "() => [...document.querySelectorAll('canvas')].map((canvas) => canvas.getBoundingClientRect().toJSON())"
            ".sort((one, other) => other.width * other.height - one.width * one.height)[0] ?? null"
        )
        if box is None or not box["width"]:
            return None
        x, y = box["x"] + box["width"] / 2, box["y"] + min(box["height"] / 2, 150)
        mouse = self.page.mouse
        mouse.move(x, y)
        self.page.keyboard.down("Control")
        for _ in range(4):
            mouse.wheel(0, -200)
        self.page.keyboard.up("Control")
        self.settle()
        stop = self.page.evaluate_handle("() => window.probe.frames()")
        busy = self._metric("TaskDuration")
        mouse.down()
        for step in range(_PAN_STEPS):
            mouse.move(x + (step % 40 - 20) * 8, y + step % 7)
        mouse.up()
        busy = self._metric("TaskDuration") - busy
        times: list[float] = self.page.evaluate("(stop) => stop()", stop)
        between = [later - earlier for earlier, later in pairwise(times)]
        return Panned(between, busy * 1000 / max(1, len(between)))

    def watch_for(self, text: str, inside: str) -> None:
        """Begins to look for a text; `seen_at` says when it was on the screen, in milliseconds since 1970."""
        self.page.evaluate("([text, inside]) => window.probe.watch(text, inside)", [text, inside])

    def seen_at(self) -> float:
        return float(self.page.evaluate("() => window.probe.seen"))

    def at_rest(self, seconds: float) -> str:
        """What the tab costs that nobody touches, as a share of a core."""
        before = self._costs()
        self.page.wait_for_timeout(seconds * 1000)
        after = self._costs()
        thread, script = ((later - earlier) / seconds for earlier, later in zip(before, after, strict=True))
        return f"{thread:.2%} of a core in the page's thread, {script:.2%} of it in scripts"

    def _costs(self) -> tuple[float, float]:
        return self._metric("TaskDuration"), self._metric("ScriptDuration")

    def _metric(self, name: str) -> float:
        metrics: list[dict[str, Any]] = self._devtools.send("Performance.getMetrics")["metrics"]
        return next(float(metric["value"]) for metric in metrics if metric["name"] == name)


@contextmanager
def opened(browser: Browser) -> Iterator[Tab]:
    """A tab in a window that has nothing in its cache."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    try:
        yield Tab(context)
    finally:
        context.close()
