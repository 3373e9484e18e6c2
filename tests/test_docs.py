"""The documentation is true and whole: what it shows runs and answers as shown, and what is public is in the reference.

Fences that mean something here, beside those that are for reading only:

    ```python                    a whole script: it runs, in an empty home and folder, and must not raise
    ```python script             the same, in a process of its own: for what concerns the process
    ```python killed, run again  the same, and it kills its process; then it runs once more, to the end
    ```python killed, resumed    the same, but the second time by `tidemill flow-run resume`
    ```python notebook           the cells of a notebook, one after the other, separated by `# %%`
    ```python pytest             a file of tests: it passes
    ```python no-run: REASON     cannot run, for this reason; it compiles
    ```text output               what the block before it writes, stderr and stdout together. `...` stands for any text,
                                 times and the two-word names of flow runs for any others
    ```console                   after `$ `, `tidemill` commands: they and their options exist, their values are accepted
"""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import json
import re
import runpy
import shlex
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cyclopts import App, CycloptsError

import tidemill
from tidemill import caching, exceptions, runtime, settings, states, testing
from tidemill.cli.app import app
from tidemill.flows import FlowOptions
from tidemill.tasks import TaskOptions

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")

ChildEnvironment = Callable[[Mapping[str, str] | None], dict[str, str]]


# Reading the pages


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    info: str
    text: str
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def mode(self) -> str:
        return self.info.partition(" ")[2].partition(":")[0]


def blocks_of(page: Path) -> list[Block]:
    blocks: list[Block] = []
    fence = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
    content = page.read_text(encoding="utf-8")
    for match in fence.finditer(content):
        block = Block(page, content.count("\n", 0, match.start()) + 1, match["info"].strip(), match["text"])
        if block.info == "text output":
            before = blocks.pop()
            block = Block(page, before.line, before.info, before.text, block.text)
        blocks.append(block)
    return blocks


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
PYTHON = [block for block in BLOCKS if block.info.split(" ")[0] == "python"]
COMMANDS = [
    (block, line)
    for block in BLOCKS
    if block.info.split(" ")[0] in ("console", "sh")
    for line in block.text.splitlines()
    if re.match(r"(\$ )?(\S+/)?tidemill( |$)", line)
]


# What the pages show


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_an_example_runs_and_answers_as_shown(block: Block, tmp_path: Path, child_environment: ChildEnvironment) -> None:
    script = tmp_path / "example.py"
    script.write_text(block.text, encoding="utf-8")
    match block.mode:
        case "":
            output = run_here(script)
        case "script":
            output = run_apart([sys.executable, str(script)], child_environment)
        case "killed, run again":
            output = run_killed(script, child_environment) + run_apart([sys.executable, str(script)], child_environment)
        case "killed, resumed":
            output = run_killed(script, child_environment) + resume_newest(script, child_environment)
        case "notebook":
            output = run_cells(block.text)
        case "pytest":
            run_apart([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(script)], child_environment)
            return
        case "no-run":
            assert block.info.partition(":")[2].strip(), "say why it cannot run"
            compile(block.text, str(block), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            return
        case other:
            pytest.fail(f"There is no way to run a block marked {other!r}.")
    if block.output is not None:
        expected, got = masked(block.output), masked(output)
        checker, options = doctest.OutputChecker(), doctest.ELLIPSIS
        if not checker.check_output(expected, got, options):
            pytest.fail(checker.output_difference(doctest.Example("", expected), got, options), pytrace=False)


def run_here(script: Path) -> str:
    """Runs a script in this process, as its main module; gives what it wrote."""
    written = io.StringIO()
    with contextlib.chdir(script.parent), contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
        runpy.run_path(str(script), run_name="__main__")
    return written.getvalue()


def run_apart(command: list[str], child_environment: ChildEnvironment) -> str:
    """Runs a command in a process of its own; gives what it wrote."""
    done = subprocess.run(
        command,
        env=child_environment({"PYTHONUNBUFFERED": "1"}),
        cwd=Path(command[-1]).parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def run_killed(script: Path, child_environment: ChildEnvironment) -> str:
    """Runs a script whose process does not survive it; gives what it wrote."""
    command = [sys.executable, str(script)]
    environment = child_environment({"PYTHONUNBUFFERED": "1"})
    done = subprocess.run(
        command, env=environment, cwd=script.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stdout
    return done.stdout


def resume_newest(script: Path, child_environment: ChildEnvironment) -> str:
    """Resumes the newest flow run by the command; gives what it wrote."""
    environment, tidemill_program = child_environment({"PYTHONUNBUFFERED": "1"}), [sys.executable, "-m", "tidemill"]

    def run(*words: str) -> str:
        return subprocess.run(
            [*tidemill_program, "flow-run", *words],
            env=environment,
            cwd=script.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=True,
        ).stdout

    newest = json.loads(run("ls", "--limit", "1", "--json"))[0]
    return run("resume", newest["name"])


def run_cells(text: str) -> str:
    """Runs the cells of a notebook inside a running event loop, as a kernel does."""
    module = types.ModuleType("__main__")

    async def run() -> None:
        for cell in text.split("# %%\n"):
            code = compile(cell, "<cell>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            answer = eval(code, module.__dict__)
            if inspect.iscoroutine(answer):
                await answer

    with contextlib.redirect_stdout(io.StringIO()) as written, contextlib.redirect_stderr(written):
        asyncio.run(run())
    return written.getvalue()


def masked(text: str) -> str:
    text = re.sub(r"\b\d\d:\d\d:\d\d\.\d{3}\b", "HH:MM:SS.mmm", text)
    return re.sub(r"(?i)(flow run )'[a-z]+-[a-z]+'", r"\1'two-words'", text)


@pytest.mark.parametrize(("block", "line"), COMMANDS, ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_shown_exists(block: Block, line: str) -> None:
    words = shlex.split(re.split(r" (?:\||>|&&) | # ", line.removeprefix("$ "))[0])[1:]
    if words in (["--version"], ["--help"], ["--install-completion"]):
        return
    try:
        _, bound, *_ = app.meta.parse_args(words, exit_on_error=False, print_error=False)
        app.parse_args(list(bound.args), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        pytest.fail(f"{block}: `{line}`: {error}", pytrace=False)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_no_variable_that_is_no_setting(page: Path) -> None:
    named = set(re.findall(r"\bTIDEMILL_[A-Z_]+\b", page.read_text(encoding="utf-8")))
    known = {settings.variable_of(name) for name in settings.NAMES}
    assert named <= known | {"TIDEMILL_REQUIRE_PAGE"}  # it is for hatch_build.py


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_what_exists(page: Path) -> None:
    content = page.read_text(encoding="utf-8")
    for target, _, part in (link.partition("#") for link in re.findall(r"\]\(([^)\s]+)\)", content)):
        if "://" in target:
            continue
        file = (page.parent / target) if target else page
        assert file.exists(), f"{page.name} links to {target}, which does not exist"
        if part:
            assert part in anchors(file), f"{page.name} links to {target}#{part}, and there is no such heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


# What the reference has to name


def section(title: str) -> str:
    """The part of the reference under a heading, with the smaller headings in it."""
    found = re.search(rf"^(#+) {re.escape(title)}$\n(.*?)(?=^#{{1,6}} |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/reference.md has no heading {title!r}"
    level = len(found[1])
    end = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(REFERENCE, found.end(1) + 1)
    return REFERENCE[found.start() : end.start() if end else None]


def is_named(name: str, text: str) -> bool:
    """Whether a name stands somewhere in code letters, alone or as the beginning of a call or an assignment."""
    return re.search(rf"`(?:[\w.]*\.)?{re.escape(name)}(?:`|[(\[=: ])", text) is not None


def public_names(module: types.ModuleType) -> Iterator[str]:
    """What a module says without an underscore in front, leaving out what it imports and type variables."""
    if hasattr(module, "__all__"):
        yield from module.__all__
        return
    for statement in ast.parse(inspect.getsource(module)).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names = [name]
            case ast.Assign(targets=targets):
                names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=name)):
                names = [name]
            case _:
                names = []
        yield from (name for name in names if not name.startswith("_") and type(getattr(module, name)).__name__ != "TypeVar")


MODULES = {
    "tidemill": tidemill,
    "tidemill.caching": caching,
    "tidemill.states": states,
    "tidemill.runtime": runtime,
    "tidemill.testing": testing,
    "tidemill.exceptions": exceptions,
}


@pytest.mark.parametrize(("module", "name"), [(title, name) for title in MODULES for name in public_names(MODULES[title])])
def test_a_public_name_is_documented(module: str, name: str) -> None:
    assert is_named(name, section(module)), f"`{name}` is missing under '{module}' in docs/reference.md"


@pytest.mark.parametrize("view", ["flow_run", "task_run"])
def test_what_a_run_can_ask_about_itself_is_documented(view: str) -> None:
    for attribute in (name for name in dir(getattr(runtime, view)) if not name.startswith("_")):
        assert is_named(f"{view}.{attribute}", section("tidemill.runtime")), f"`{view}.{attribute}` is missing"


@pytest.mark.parametrize("name", [name for name in dir(states.State) if not name.startswith("_")])
def test_what_a_state_has_is_documented(name: str) -> None:
    assert is_named(name, section("tidemill.states")), f"`State.{name}` is missing"


@pytest.mark.parametrize(
    ("title", "option"),
    [("Options of @flow", option) for option in FlowOptions.__annotations__]
    + [("Options of @task", option) for option in TaskOptions.__annotations__],
)
def test_an_option_is_documented(title: str, option: str) -> None:
    assert is_named(option, section(title)), f"`{option}` is missing under '{title}' in docs/reference.md"


@pytest.mark.parametrize("name", settings.NAMES)
def test_a_setting_is_documented_with_its_default(name: str) -> None:
    rows = [line for line in section("Settings").splitlines() if line.startswith(f"| `{settings.variable_of(name)}` |")]
    assert len(rows) == 1, f"docs/reference.md needs one row for {settings.variable_of(name)}"
    default = settings.default_of(name)
    if default not in (None, ""):
        assert f"`{shown(default)}`" in rows[0], f"{name}: the default is {shown(default)}"


def shown(default: Any) -> str:
    """A default as one writes it in the environment."""
    return str(default).lower() if isinstance(default, bool) else f"{default:g}" if isinstance(default, float) else str(default)


def commands(parent: App = app, path: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """Every command by its main name, groups left out."""
    for name in (name for name in parent if not name.startswith("-")):
        command = parent[name]
        if command.name[0] != name:
            continue  # an alias
        if command.default_command is None:
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else "")
def test_a_command_is_documented_with_its_options(path: str, command: App) -> None:
    text = section(f"tidemill {path}")
    for argument in command.assemble_argument_collection():
        for name in argument.names if argument.show else ():
            if not name.startswith(("--no-", "--empty-")):
                assert is_named(name, text), f"{name} is missing under 'tidemill {path}' in docs/reference.md"


def test_global_options_and_aliases_are_documented() -> None:
    text = section("Commands")
    for name in [name for name in app if name.startswith("-")] + ["--profile", "-p"]:
        assert is_named(name, text), f"{name} is missing"
    for name in (name for name in app if not name.startswith("-")):
        assert re.search(rf"(?:`|tidemill ){re.escape(name)}\b", text), f"`{name}` is missing"
