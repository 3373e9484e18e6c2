"""The page in a real browser, before real servers with real runs."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from signal import SIGTERM
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tidemill.server import page

if TYPE_CHECKING:
    from tests.conftest import Process

ROOT = Path(__file__).resolve().parents[2]
UI = ROOT / "ui"

# A guard, never a measurement: the machine may be busy with other things.
PATIENCE_MS = 30_000
_PATIENCE_SECONDS = 120.0
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_BROWSER_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What chromium itself says of an answer that is no success, which some tests ask for.
_OF_AN_ANSWER = re.compile(r"Failed to load resource: the server responded with a status of (401|403|404|409)")

expect.set_options(timeout=PATIENCE_MS)


class Server:
    """A server that answers, in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], url: str, home: Path) -> None:
        self.process = process
        self.url = url
        self.home = home
        self.stopped = False
        self.api = httpx2.Client(base_url=f"{url}/api", timeout=60)

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def get(self, path: str, **params: Any) -> Any:
        return self._told(self.api.get(path, params=params))

    def post(self, path: str, body: Any = None) -> Any:
        return self._told(self.api.post(path, json={} if body is None else body))

    def runs(self, **flow_runs: Any) -> list[Any]:
        """The flow runs that a filter asks for, the newest first."""
        return self.post("flow_runs/filter", {"flow_runs": flow_runs or None, "sort": "START_TIME_DESC", "limit": 200})

    def stop(self, signal: int = SIGTERM) -> None:
        self.stopped = True
        self.api.close()
        self.process.send_signal(signal)
        self.process.communicate(timeout=_PATIENCE_SECONDS)

    def run(self, name: str) -> Any:
        """The flow run of this name, or None."""
        return next(iter(self.runs(name={"any_": [name]})), None)

    def _told(self, response: httpx2.Response) -> Any:
        assert response.is_success, f"{response.request.url}: {response.status_code} {response.text}"
        return response.json() if response.content else None


StartServer = Callable[..., Server]


class Open(Protocol):
    """Opens a page of a server in a browser window of its own. Whatever the page complains of fails the test.

    Args:
        ready: what is on the page once it is there; by default its heading.
        clock: the page's time can be moved on, by `page.clock`.
    """

    def __call__(
        self,
        server: Server | str,
        path: str = "/",
        *,
        width: int = 1400,
        height: int = 900,
        theme: str = "light",
        ready: str | None = "main h1",
        clock: bool = False,
        **context: Any,
    ) -> Page: ...


@pytest.fixture(scope="session")
def built() -> Path:
    """The page as it is now."""
    return Path(runpy.run_path(str(ROOT / "hatch_build.py"))["build_page"](UI))


@pytest.fixture(scope="session")
def start_server(built: Path, environment_for: Callable[..., dict[str, str]]) -> Iterator[StartServer]:
    """Starts a server on a free port: `start_server(home, TIDEMILL_UI_SERVE_BASE="/mill")`."""
    assert page.find() == built, "the server that is tested does not serve the page that was built"
    started: list[Server] = []

    def start(home: Path, port: int = 0, **settings: str) -> Server:
        home.mkdir(parents=True, exist_ok=True)
        with open(home / "server.log", "a", encoding="utf-8") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "tidemill", "server", "start", "--port", str(port)],
                env=environment_for(home, {**settings, "PYTHONUNBUFFERED": "1"}),
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://[^\s)/]+", line)
        assert found, f"{line}{(home / 'server.log').read_text()}"
        started.append(Server(process, found[0], home))
        return started[-1]

    yield start
    for server in started:
        if not server.stopped:
            server.stop()


@pytest.fixture(scope="session")
def scene_home(tmp_path_factory: pytest.TempPathFactory, environment_for: Callable[..., dict[str, str]]) -> Path:
    """A home in which flows of every kind have run."""
    home = tmp_path_factory.mktemp("scene") / "home"
    subprocess.run(
        [sys.executable, str(UI / "scripts" / "scene.py"), str(home)],
        env=environment_for(home),
        check=True,
        capture_output=True,
        timeout=_PATIENCE_SECONDS,
    )
    return home


@pytest.fixture(scope="session")
def scene(scene_home: Path, start_server: StartServer) -> Server:
    """A server over that home, for tests that only look."""
    return start_server(scene_home)


@pytest.fixture
def own_scene(scene_home: Path, tmp_path: Path, start_server: StartServer) -> Iterator[Server]:
    """A server over a copy of it, for a test that changes something."""
    home = tmp_path / "scene"
    shutil.copytree(scene_home, home, ignore=shutil.ignore_patterns("server*"))
    server = start_server(home)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert found, "There is no chromium. On Debian: apt-get install chromium"
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=_BROWSER_OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory, start_server: StartServer) -> Server:
    """A server for tests that run flows of their own beside those of others."""
    return start_server(tmp_path_factory.mktemp("place") / "home")


@pytest.fixture
def work(place: Server, start_script: Callable[..., Process]) -> Callable[..., Process]:
    """Starts a script whose flows are recorded where that server looks."""
    return lambda source, *args: start_script(source, *args, env={"TIDEMILL_HOME": str(place.home)})


@pytest.fixture
def execute(place: Server, environment_for: Callable[..., dict[str, str]]) -> Callable[[str], None]:
    """Runs a command line that the page has shown."""

    def run(line: str) -> None:
        program, *arguments = shlex.split(line)
        assert program == "tidemill"
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", *arguments],
            env=environment_for(place.home),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_SECONDS,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def excused() -> list[str]:
    """Patterns of what the browser may say in this test, because the test makes it happen."""
    return []


@pytest.fixture
def open_page(browser: Browser, excused: list[str]) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(page: Page, url: str) -> None:
        def hear(kind: str, text: str) -> None:
            if kind in ("error", "warning") and not _OF_AN_ANSWER.search(text):
                complaints.append(f"{page.url}: {text}")

        def look(asked: str) -> None:
            if urlsplit(asked).scheme in ("http", "https", "ws", "wss") and urlsplit(asked).netloc != urlsplit(url).netloc:
                complaints.append(f"{page.url} asks somebody else: {asked}")

        page.on("console", lambda message: hear(message.type, message.text))
        page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))
        page.on("request", lambda request: look(request.url))

    def start(
        server: Server | str,
        path: str = "/",
        *,
        width: int = 1400,
        height: int = 900,
        theme: str = "light",
        ready: str | None = "main h1",
        clock: bool = False,
        **context: Any,
    ) -> Page:
        options: Mapping[str, Any] = {"color_scheme": theme, "timezone_id": "Europe/Oslo", **context}
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **options))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        contexts[-1].grant_permissions(["clipboard-read", "clipboard-write"])
        if clock:
            contexts[-1].clock.install()
        page = contexts[-1].new_page()
        url = server if isinstance(server, str) else server.url
        listen(page, url)
        page.goto(url + path)
        if ready is not None:
            page.locator(ready).first.wait_for()
        return page

    yield start
    for context in contexts:
        context.close()
    unexcused = [said for said in complaints if not any(re.search(pattern, said) for pattern in excused)]
    assert not unexcused, "\n".join(unexcused)


@pytest.fixture(scope="session")
def axe() -> Callable[[Page], list[str]]:
    """What axe finds serious on a page: each finding with the elements that it is about."""
    source = (UI / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    ask = "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"

    def look(page: Page) -> list[str]:
        page.evaluate(source)
        found = page.evaluate(ask)
        return [
            f"{each['id']} ({each['impact']}): {each['help']}: " + "; ".join(node["html"][:160] for node in each["nodes"][:4])
            for each in found
            if each["impact"] in ("serious", "critical")
        ]

    return look


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Playwright keeps an event loop in this thread for as long as the browser is there: tests of others come before."""
    mine = [item for item in items if item.path.parent == Path(__file__).parent]
    items[:] = [item for item in items if item.path.parent != Path(__file__).parent] + mine
    for item in mine:
        item.add_marker(pytest.mark.program)
