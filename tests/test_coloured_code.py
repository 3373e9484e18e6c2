"""Coloured code awaits `io.*` and other coloured code, and nothing else: so it runs in either colour."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import tidemill

SOURCE = Path(tidemill.__file__).parent
COLOURED = [*SOURCE.glob("engine/*.py"), *SOURCE.glob("client/*.py"), SOURCE / "colour.py"]
TREES = {file: ast.parse(file.read_text(encoding="utf-8")) for file in COLOURED}
# What there is in one colour only, so that it may await what it likes.
OF_ONE_COLOUR = {
    "AsyncIO": "the colour itself",
    "drive_async": "iterates a user's async generator; `drive` is its plain twin",
    "_exhaust_async": "the same",
    "_listed": "the same; `list` is its plain twin",
    "until_called_back": "what the async colour waits with",
}

# Classes whose methods are reached through `io` only.
IO_CLASSES = {"IO", "BlockingIO", "AsyncIO"}


def async_functions(tree: ast.AST) -> Iterator[str]:
    """The names of coloured functions: a call of one may be awaited."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and node.name in IO_CLASSES:
            continue
        if isinstance(node, ast.AsyncFunctionDef) and node.name not in OF_ONE_COLOUR:
            yield node.name
        yield from async_functions(node)


ASYNC_FUNCTIONS = {name for tree in TREES.values() for name in async_functions(tree)}


def own_awaits(tree: ast.AST) -> Iterator[tuple[ast.AST, ast.expr | None]]:
    """What is awaited in a file outside the things of one colour: each place, and for an `await` its operand."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef) and node.name in OF_ONE_COLOUR:
            continue
        if isinstance(node, ast.Await):
            yield node, node.value
        elif isinstance(node, ast.AsyncFor | ast.AsyncWith) or (isinstance(node, ast.comprehension) and node.is_async):
            yield node, None
        yield from own_awaits(node)


def is_coloured(awaited: ast.expr | None) -> bool:
    match awaited:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="io"))):
            return True
        case ast.Call(func=ast.Attribute(value=ast.Attribute(value=ast.Name(id="self"), attr="io"))):
            return True
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in ASYNC_FUNCTIONS
    return False


@pytest.mark.parametrize("path", COLOURED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_coloured_code_awaits_only_io_and_coloured_code(path: Path) -> None:
    faults = [
        f"line {getattr(where, 'lineno', '?')}: {ast.unparse(where)}"
        for where, awaited in own_awaits(TREES[path])
        if not is_coloured(awaited)
    ]
    assert faults == []


@pytest.mark.parametrize(
    "code",
    [
        "async def f(): await asyncio.sleep(1)",
        "async def f(): await future",
        "async def f(): await self.client.unheard_of()",
        "async def f():\n async with lock: pass",
        "async def f():\n async for x in y: pass",
        "async def f(): return [x async for x in y]",
    ],
)
def test_the_check_finds_what_it_is_for(code: str) -> None:
    assert not all(is_coloured(awaited) for _, awaited in own_awaits(ast.parse(code)))


def test_nothing_is_listed_as_of_one_colour_that_is_gone() -> None:
    names = {getattr(node, "name", "") for tree in TREES.values() for node in ast.walk(tree)}
    assert set(OF_ONE_COLOUR) <= names
