"""The rules of the house (docs/design.md, section 2), held by reading the source. Nothing of Tidemill is imported here.

A rule is a function from the modules of a package to the faults it finds, so that each is tried twice: on the package,
where it must find none, and on a small wrong house (at the end of this file), where it must find the fault.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "tidemill"

# From the ground up: a room imports from its own row and from lower ones.
ROWS: dict[str, set[str]] = {
    "GROUND": {
        "exceptions",
        "clock",
        "ids",
        "settings",
        "setting_kinds",
        "profiles",
        "colour",
        "serializers",
        "fingerprints",
        "interrupts",
        "names",
        "texts",
        "version",
    },
    "MODEL": {
        "cache_keys",
        "states",
        "records",
        "protocol",
        "event_filters",
        "side_records",
        "filters",
        "schedules",
        "rules",
        "entrypoints",
        "kept_calls",
        "parameter_schemas",
    },
    "KEEP": {"store", "orchestration"},
    "DOOR": {"client", "storage"},
    "RUN": {"engine", "results", "caching", "futures", "logs", "runners"},
    "FACE": {"flows", "tasks", "serve", "testing", "runtime", "__init__"},
    "PROGRAMS": {"server", "worker", "cli", "__main__"},
}

# Who may touch the KEEP; everybody else enters by the door.
KEEPERS = {
    "store",
    "orchestration",
    "client.local",
    "client.session",
    "client.caching",
    "client.key_folder",
    "server",
    "cli",
} | {f"client.{module}" for module in ("journal", "operations", "remote", "shipper", "shipping", "side_operations")}

# What the server, which runs nobody's code, does without.
NOT_FOR_THE_SERVER = {"FACE", "RUN", "DOOR"}

# What GROUND and MODEL neither import nor call, and the few who may: {room: what}. Third-party I/O is away from home
# there anyway.
# fmt: off
IO = {
    "ctypes", "fcntl", "glob", "io", "mmap", "os", "pathlib", "shutil", "tempfile", "tomllib",
    "asyncio", "concurrent", "multiprocessing", "sched", "select", "selectors", "signal", "subprocess", "time",
    "ftplib", "http", "smtplib", "socket", "socketserver", "sqlite3", "ssl", "urllib",
    "open", "print",
}
# fmt: on
NO_IO = {"urllib.parse"}
IO_ALLOWED = {
    "clock": {"time"},
    "colour": {"asyncio", "concurrent", "time"},
    "ids": {"time"},
    "interrupts": {"ctypes", "os", "signal", "time"},
    "names": {"os"},
    "serializers": {"io"},
    "profiles": {"os", "pathlib", "tomllib", "open"},
    "setting_kinds": {"os"},
    "settings": {"os", "pathlib", "tomllib", "open"},
}

# The home of each third-party package: rooms, or modules below them.
HOMES: dict[str, set[str]] = {
    "apsw": {"store"},
    "cloudpickle": {"serializers"},
    "coolname": {"names"},
    "cronsim": {"schedules"},
    "cyclopts": {"cli"},
    "dask": {"runners.dask"},
    "dateutil": {"schedules"},
    "distributed": {"runners.dask"},
    "fsspec": {"storage"},
    "httpx2": {"client.http"},
    "litestar": {"server"},
    "msgspec": set().union(*ROWS.values()) - ROWS["GROUND"] | {"serializers"},
    "prometheus_client": {"server"},
    "psycopg": {
        "store.postgres",
        "store.postgres_connections",
        "store.postgres_errors",
        "store.postgres_leadership",
        "store.postgres_listening",
        "store.postgres_transaction",
    },
    "pydantic": {"engine.parameters"},
    "pydantic_core": {"engine.parameters"},
    "ray": {"runners.ray"},
    "rich": {"cli", "engine.progress"},
    "uvicorn": {"server"},
    "uvloop": {"server"},
}

# Imports inside functions: {file: {module: why it waits}}. Only start-up time and optional extras are reasons.
LATE_IMPORTS: dict[str, dict[str, str]] = {
    "__init__.py": {
        "tidemill.client.operations": "start-up time: only `get_client` needs it",
        "tidemill.runners.dask": "an optional extra, and start-up time",
    },
    "client/local.py": {"tidemill.orchestration.questions": "start-up time: only `get_client` asks them"},
    "client/__init__.py": {
        "tidemill.client.journal": "start-up time: only with a server's address (TIDEMILL_API_URL)",
        "tidemill.client.remote": "start-up time: as tidemill.client.journal",
    },
    "cli/__init__.py": {"tidemill.cli.app": "start-up time: `--version` needs no commands"},
    "cli/server.py": {"tidemill.server.program": "start-up time: only who starts a server needs the web framework"},
    "cli/output.py": {"tidemill.cli.tables": "start-up time: rich is loaded where a table is drawn"},
    "colour.py": {"asyncio": "start-up time: plain flows never need it"},
    "engine/calls.py": {"asyncio": "start-up time: plain flows never need it"},
    "names.py": {"coolname": "start-up time: only a flow run without a name of its own needs it"},
    "engine/parameters.py": {
        "pydantic": "start-up time: only annotations that a value does not meet exactly need it",
        "pydantic.errors": "start-up time: as pydantic",
    },
    "engine/progress.py": {
        "rich.console": "start-up time: only a long map on a terminal shows progress",
        "rich.markup": "start-up time: as rich.console",
        "rich.progress": "start-up time: as rich.console",
    },
    "interrupts.py": {"ctypes": "start-up time: only a time limit on a thread that is not the main one needs it"},
    "runners/child.py": {
        "threading": "start-up time: only a system that cannot kill with the parent needs it",
        "tidemill.serializers": "start-up time: only an exception needs it, and `sys.path` comes from the parent",
        "traceback": "start-up time: only an exception needs it",
    },
    "runners/children.py": {
        "socket": "start-up time: only who starts a process needs it",
        "subprocess": "start-up time: as socket",
    },
    "serializers.py": {"cloudpickle": "start-up time: only what pickle cannot write needs it"},
    "profiles.py": {"tomllib": "start-up time: most homes have no profile file"},
    "storage.py": {"fsspec.core": "an optional extra: only results at a URL need it"},
    "store/__init__.py": {"tidemill.store.postgres": "an optional extra: only a database at a URL needs it"},
    "store/postgres.py": {"tidemill.store.copying": "start-up time: only a backup needs it"},
    "store/leadership.py": {"tidemill.store.postgres_leadership": "an optional extra: only PostgreSQL needs it"},
    "store/sqlite.py": {"ctypes": "start-up time: only a forked child needs it"},
}

FORBIDDEN_NAMES = {
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "core",
    "misc",
    "manager",
    "managers",
    "handler",
    "handlers",
}
FILE_LINES = 450
FUNCTION_LINES = 80


# Reading the house


@dataclass(frozen=True)
class Import:
    target: str  # a module of ours by its name below the package ("client.local"), else the module as written
    ours: bool
    late: bool
    line: int


@dataclass(frozen=True)
class Module:
    name: str  # below the package: "client.local"; a package goes by its own name, ours by "__init__"
    file: str
    text: str
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]

    def at(self, line: int) -> str:
        return f"src/tidemill/{self.file}:{line}"


def read_house(package: Path) -> list[Module]:
    files = {module_name(path.relative_to(package)): path for path in sorted(package.rglob("*.py"))}
    return [read_module(name, path, package, set(files)) for name, path in files.items()]


def read_module(name: str, path: Path, package: Path, known: set[str]) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, path)
    inside = {
        id(node)
        for scope in ast.walk(tree)
        if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda)
        for node in ast.walk(scope)
    }
    imports = dict.fromkeys(
        Import(*resolve(target, package.name, known), late=id(node) in inside, line=node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom | ast.Call)
        for target in targets(node, package.name, path.relative_to(package))
    )
    return Module(name, path.relative_to(package).as_posix(), text, tree, tuple(imports))


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def targets(node: ast.Import | ast.ImportFrom | ast.Call, package: str, path: Path) -> Iterator[str]:
    """The full dotted names that a statement imports, or `import_module("...")` with a name in plain sight."""
    match node:
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom():
            above = [package, *path.parts[:-1]]
            start = above[: len(above) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base.split(".")[0] == package else base for alias in node.names)
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            yield name


def resolve(target: str, package: str, known: set[str]) -> tuple[str, bool]:
    """`tidemill.client.local.Local` is the module `client.local` of ours; what is not ours stays as it is."""
    first, _, rest = target.partition(".")
    if first != package:
        return target, False
    while rest and rest not in known:
        rest = rest.rpartition(".")[0]
    return rest or "__init__", True


def row_of(module: str) -> str | None:
    room = module.partition(".")[0]
    return next((row for row, rooms in ROWS.items() if room in rooms), None)


def lives_in(module: str, places: set[str]) -> bool:
    return any(module == place or module.startswith(place + ".") for place in places)


# The rules


def every_room_stands_in_a_row(house: list[Module]) -> Iterator[str]:
    for module in house:
        if row_of(module.name) is None:
            yield f"{module.at(1)} '{module.room}' stands in no row: put it into ROWS of tests/test_house.py"


def imports_go_down(house: list[Module]) -> Iterator[str]:
    """Rule 1, first half."""
    order = list(ROWS)
    for module, found, target in own_imports(house):
        here, there = row_of(module.name), row_of(target)
        if here and there and order.index(there) > order.index(here):
            yield f"{module.at(found.line)} imports {target}: {here} must not know {there}, which stands above it"


def imports_make_no_circle(house: list[Module]) -> Iterator[str]:
    """Rule 1, second half. One circle at a time: mend it and look again."""
    graph: dict[str, set[str]] = {module.name: set() for module in house}
    for module, _, target in own_imports(house):
        graph[module.name].add(target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "a circle of imports: " + " imports ".join(reversed(error.args[1]))


def runs_enter_by_the_door(house: list[Module]) -> Iterator[str]:
    """Rule 2."""
    for module, found, target in own_imports(house):
        if row_of(target) == "KEEP" and not lives_in(module.name, KEEPERS):
            yield f"{module.at(found.line)} imports {target}: only {', '.join(sorted(KEEPERS))} do; use tidemill.client"


def server_runs_nobodys_code(house: list[Module]) -> Iterator[str]:
    """Rule 3."""
    for module, found, target in own_imports(house):
        if module.room == "server" and row_of(target) in NOT_FOR_THE_SERVER:
            yield f"{module.at(found.line)} imports {target}: the server does without {row_of(target)}"


def ground_and_model_do_no_io(house: list[Module]) -> Iterator[str]:
    """Rule 4."""
    for module in house:
        if row_of(module.name) not in {"GROUND", "MODEL"}:
            continue
        allowed = NO_IO | IO_ALLOWED.get(module.room, set())
        for found in module.imports:
            if not found.ours and lives_in(found.target, IO) and not lives_in(found.target, allowed):
                yield f"{module.at(found.line)} imports {found.target}: {row_of(module.name)} does no I/O"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IO - allowed:
                yield f"{module.at(node.lineno)} calls {node.func.id}(): {row_of(module.name)} does no I/O"


def packages_stay_at_home(house: list[Module]) -> Iterator[str]:
    """Rule 5."""
    for module in house:
        for found in module.imports:
            package = found.target.partition(".")[0]
            if found.ours or package in sys.stdlib_module_names:
                continue
            if package not in HOMES:
                yield f"{module.at(found.line)} imports {package}, which has no home: see docs/design.md, section 9"
            elif not lives_in(module.name, HOMES[package]):
                yield f"{module.at(found.line)} imports {package}, whose home is {', '.join(sorted(HOMES[package]))}"


def imports_stand_at_the_top(house: list[Module], listed: dict[str, dict[str, str]] | None = None) -> Iterator[str]:
    """Rule 6, both ways: a late import is listed, and what is listed exists."""
    listed = LATE_IMPORTS if listed is None else listed
    late = {(module.file, written(found)): module.at(found.line) for module, found in late_imports(house)}
    expected = {(file, target) for file, reasons in listed.items() for target in reasons}
    for file, target in sorted(late.keys() - expected):
        yield f"{late[file, target]} imports {target} late: move it to the top, or list it with a reason"
    for file, target in sorted(expected - late.keys()):
        yield f"src/tidemill/{file} no longer imports {target} late: take it out of LATE_IMPORTS"


def rooms_are_of_a_size_to_read(house: list[Module]) -> Iterator[str]:
    for module in house:
        lines = len(module.text.splitlines())
        if lines > FILE_LINES:
            yield f"{module.at(1)} has {lines} lines, {FILE_LINES} are the most: split it along a seam"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"{module.at(node.lineno)} {node.name}() has {lines} lines, {FUNCTION_LINES} are the most"


def names_say_something(house: list[Module]) -> Iterator[str]:
    for module in house:
        for word in re.split(r"[._]+", module.name):
            if word in FORBIDDEN_NAMES:
                yield f"{module.at(1)} no module may be called '{word}'"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", node.name):
                    if word.lower() in FORBIDDEN_NAMES:
                        yield f"{module.at(node.lineno)} class {node.name}: no class may be called a '{word.lower()}'"


def own_imports(house: list[Module]) -> Iterator[tuple[Module, Import, str]]:
    for module in house:
        for found in module.imports:
            if found.ours and found.target != module.name:
                yield module, found, found.target


def late_imports(house: list[Module]) -> Iterator[tuple[Module, Import]]:
    for module in house:
        for found in module.imports:
            if found.late:
                yield module, found


def written(found: Import) -> str:
    return f"tidemill.{found.target}" if found.ours else found.target


# The tests

RULES = [
    every_room_stands_in_a_row,
    imports_go_down,
    imports_make_no_circle,
    runs_enter_by_the_door,
    server_runs_nobodys_code,
    ground_and_model_do_no_io,
    packages_stay_at_home,
    imports_stand_at_the_top,
    rooms_are_of_a_size_to_read,
    names_say_something,
]

Rule = Callable[[list[Module]], Iterator[str]]


@pytest.fixture(scope="module")
def tidemill() -> list[Module]:
    return read_house(PACKAGE)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tidemill_keeps(rule: Rule, tidemill: list[Module]) -> None:
    if faults := list(rule(tidemill)):
        pytest.fail("\n".join(faults), pytrace=False)


WRONG_HOUSES: list[tuple[Rule, dict[str, str], str]] = [
    (every_room_stands_in_a_row, {"attic.py": ""}, "attic.py:1 'attic' stands in no row"),
    (imports_go_down, {"states.py": "from tidemill.flows import flow", "flows.py": ""}, "MODEL must not know FACE"),
    (
        imports_go_down,
        {"engine/calls.py": "if TYPE_CHECKING:\n    from ..flows import Flow", "flows.py": ""},
        "engine/calls.py:2 imports flows: RUN must not know FACE",
    ),
    (
        imports_make_no_circle,
        {"states.py": "import tidemill.records", "records.py": "def f():\n    from tidemill import states"},
        "states imports records",
    ),
    (
        runs_enter_by_the_door,
        {"engine/calls.py": "import tidemill.store", "store/__init__.py": ""},
        "calls.py:1 imports store",
    ),
    (runs_enter_by_the_door, {"client/http.py": "from tidemill import store", "store/__init__.py": ""}, "http.py:1"),
    (
        server_runs_nobodys_code,
        {"server/app.py": "from tidemill.client import x", "client/__init__.py": ""},
        "without DOOR",
    ),
    (ground_and_model_do_no_io, {"rules.py": "from urllib import request"}, "rules.py:1"),
    (ground_and_model_do_no_io, {"states.py": "import time"}, "states.py:1 imports time: MODEL does no I/O"),
    (ground_and_model_do_no_io, {"ids.py": "x = open('y')"}, "ids.py:1 calls open()"),
    (
        packages_stay_at_home,
        {"logs.py": "from rich.console import Console"},
        "logs.py:1 imports rich, whose home is cli",
    ),
    (packages_stay_at_home, {"logs.py": "import loguru"}, "loguru, which has no home"),
    (imports_stand_at_the_top, {"logs.py": "def f():\n    import json"}, "logs.py:2 imports json late"),
    (imports_stand_at_the_top, {"logs.py": "f = lambda: import_module('json')"}, "logs.py:1 imports json late"),
    (rooms_are_of_a_size_to_read, {"logs.py": "\n" * 451}, "logs.py:1 has 451 lines"),
    (rooms_are_of_a_size_to_read, {"logs.py": "def f():\n" + "    x\n" * 80}, "f() has 81 lines"),
    (names_say_something, {"engine/run_utils.py": ""}, "'utils'"),
    (names_say_something, {"logs.py": "class HTTPManager: ..."}, "class HTTPManager"),
]


@pytest.mark.parametrize(("rule", "files", "fault"), WRONG_HOUSES)
def test_a_rule_finds(rule: Rule, files: dict[str, str], fault: str, tmp_path: Path) -> None:
    faults = list(rule(build(tmp_path, files)))
    assert any(fault in found for found in faults), faults


def test_a_listed_late_import_that_is_gone_is_found(tmp_path: Path) -> None:
    house = build(tmp_path, {"logs.py": "import json"})
    [fault] = imports_stand_at_the_top(house, {"logs.py": {"json": "start-up time"}})
    assert "logs.py no longer imports json late" in fault


def build(folder: Path, files: dict[str, str]) -> list[Module]:
    package = folder / "tidemill"
    for name, text in files.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return read_house(package)
