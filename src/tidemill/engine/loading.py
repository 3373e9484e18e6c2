"""Loads a flow from its recorded entry point, so that another process than the one that called it can continue its run.

A script is executed once more, as `__main__`, since everything that was recorded of it says so: the keys of its tasks, and
the classes in its pickled results. But nothing may be started by that: the blocks under `if __name__ == "__main__":` are
left out, and where the file calls a flow or task all the same, loading ends there. A module is imported under its own name.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Iterable, Iterator
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType
from typing import Any, NamedTuple, NoReturn

from tidemill.engine.definitions import Definition, FlowDefinition
from tidemill.engine.failures import traceback_text
from tidemill.entrypoints import PROGRAMS, why_not_loadable
from tidemill.exceptions import FlowNotLoaded

_GUARD = 'Put the call under `if __name__ == "__main__":`, which is left out when the file is loaded.'
_MOST_NAMES = 20

_loading = False
_replaced: list[ModuleType] = []  # a module that nobody refers to may lose its globals while its functions still run


class _Called(BaseException):
    """Ends the execution of a file that is being loaded where it calls a flow or task; no `except Exception` may stop it."""


class _Loaded(NamedTuple):
    """What a file has defined, and whether a call ended it early."""

    module: ModuleType
    cut_short: bool = False


def stop_if_loading(definition: Definition) -> None:
    """To be asked before a flow or task is called: while a file is being loaded, nothing may be started."""
    if _loading:
        raise _Called(definition.name)


def load_flow(entrypoint: str, *, name: str | None = None, module: str | None = None) -> FlowDefinition:
    """The flow that an entry point names.

    A script becomes this process's `__main__`: afterwards `sys.modules["__main__"]`, `sys.argv` and `sys.path` are as if
    Python had been started with it.

    Args:
        entrypoint: `path/to/file.py:qualname`, or `module:qualname`; as `Definition.entrypoint` gives it.
        name: the flow's name, which decides where several flows are made of one function.
        module: the name under which the file ran, if it is known (see `module_that_ran`); otherwise a file inside a package
            is imported, and any other is executed as a script.

    Raises:
        FlowNotLoaded: file or name are gone, the file raises an error, or the flow was never in a file. The message says what
            to do.
    """
    place, _, qualname = entrypoint.rpartition(":")
    if (reason := why_not_loadable(entrypoint)) is not None:
        raise FlowNotLoaded(reason)
    if place.endswith(".py") or os.sep in place or os.path.isfile(place):
        loaded = _load_file(os.path.abspath(place), module)
    else:
        loaded = _import(place)
    return _flow_in(loaded, place, qualname, name)


def module_that_ran(entrypoint: str, task_keys: Iterable[str]) -> str | None:
    """The module name under which an entry point's file ran, as the keys of the run's tasks tell it; None if they do not.

    The same file may run as a script, as `etl` or as `flows.etl`. Keys begin with that name, and only under the same name
    again are finished tasks found.
    """
    keys = list(task_keys)
    parts = os.path.splitext(entrypoint.rpartition(":")[0])[0].split(os.sep)
    if parts[-1] == "__init__":
        parts.pop()
    for n in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[n:])
        if any(key.startswith(f"{name}.") for key in keys):
            return name
    return "__main__" if any(key.startswith("__main__.") for key in keys) else None


def _load_file(path: str, module: str | None) -> _Loaded:
    if not os.path.isfile(path):
        raise FlowNotLoaded(
            f"There is no file {path} any more. Put it back, or say where the flow is now: "
            "tidemill flow-run resume RUN --entrypoint FILE:NAME"
        )
    root, packages, stem = _place_in_packages(path)
    if module is None and packages and stem != "__main__":
        module = ".".join(packages if stem == "__init__" else [*packages, stem])
    if module is None or module in PROGRAMS:
        return _execute_script(path, root, packages, stem)
    _come_first(_root_of(path, module) or root)
    return _import(module)


def _place_in_packages(path: str) -> tuple[str, list[str], str]:
    """The folder that holds the outermost package around a file, the packages from there on, and the file's own name."""
    folder, file = os.path.split(path)
    packages: list[str] = []
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, name = os.path.split(folder)
        packages.insert(0, name)
    return folder, packages, os.path.splitext(file)[0]


def _root_of(path: str, module: str) -> str | None:
    """The folder from which the file is imported under the name `module`; None if its path does not end like that name."""
    whole = os.path.splitext(path)[0].removesuffix(f"{os.sep}__init__")
    tail = os.sep + module.replace(".", os.sep)
    return whole.removesuffix(tail) or os.sep if whole.endswith(tail) else None


def _import(module: str) -> _Loaded:
    with _Loading(f"Module {module}"):
        __import__(module)  # unlike import_module, leaves the frames of the import system out of tracebacks
        return _Loaded(sys.modules[module])
    raise FlowNotLoaded(
        f"Module {module} calls a flow or task, or ends the program, while it is imported, and nothing may be started now. "
        f"{_GUARD}"
    )


def _execute_script(path: str, root: str, packages: list[str], stem: str) -> _Loaded:
    module = ModuleType("__main__")
    module.__file__ = path
    if packages:  # it may have been started by `python -m`: then it imports its neighbours by the package
        module.__package__ = ".".join(packages)
        module.__spec__ = ModuleSpec(f"{module.__package__}.{stem}", None, origin=path)
        sys.path.append(os.path.dirname(path))
    _come_first(root)
    _replaced.append(sys.modules["__main__"])
    for name in PROGRAMS:
        sys.modules[name] = module
    sys.argv = [path]
    with _Loading(path):
        exec(_without_guarded_blocks(path), module.__dict__)
        return _Loaded(module)
    return _Loaded(module, cut_short=True)


def _come_first(folder: str) -> None:
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)


class _Loading:
    """Around the execution of a file: no run may be started. Goes on behind the block where a call ended it, and where
    the file itself ended the program, which it does when what is wanted may be defined."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        global _loading
        _loading = True

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        global _loading
        _loading = False
        if isinstance(error, Exception):
            raise FlowNotLoaded(f"{self._what} cannot be loaded:\n{traceback_text(error)}") from error
        return isinstance(error, _Called | SystemExit)


def _without_guarded_blocks(path: str) -> CodeType:
    with open(path, "rb") as file:
        tree = ast.parse(file.read(), path)
    return compile(_GuardsOff().visit(tree), path, "exec", dont_inherit=True)


class _GuardsOff(ast.NodeTransformer):
    """Makes `__name__ == "__main__"` false in what is executed while a file is loaded, and only there: not in functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        match node:
            case ast.Compare(
                ast.Name("__name__"), [ast.Eq() | ast.NotEq() as operator], [ast.Constant("__main__")]
            ) | ast.Compare(ast.Constant("__main__"), [ast.Eq() | ast.NotEq() as operator], [ast.Name("__name__")]):
                return ast.copy_location(ast.Constant(isinstance(operator, ast.NotEq)), node)
            case _:
                return self.generic_visit(node)


def _flow_in(loaded: _Loaded, place: str, qualname: str, name: str | None) -> FlowDefinition:
    named = _attribute(loaded.module, qualname)
    if isinstance(named, FlowDefinition) and name in (None, named.name):
        return named
    made_of_it = [flow for flow in _flows_of(loaded.module) if flow.qualname == qualname and name in (None, flow.name)]
    if len(made_of_it) == 1:
        return made_of_it[0]
    if isinstance(named, FlowDefinition):  # its name has been changed since
        return named
    _raise_not_found(loaded, place, qualname)


def _attribute(module: ModuleType, qualname: str) -> Any:
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _flows_of(module: ModuleType) -> Iterator[FlowDefinition]:
    return (value for value in vars(module).values() if isinstance(value, FlowDefinition))


def _raise_not_found(loaded: _Loaded, place: str, qualname: str) -> NoReturn:
    if loaded.cut_short:
        raise FlowNotLoaded(
            f"{place} calls a flow or task, or ends the program, before it defines {qualname!r}, and loading a file stops "
            f"there, so that nothing is started twice. {_GUARD}"
        )
    names = sorted({flow.qualname for flow in _flows_of(loaded.module)})
    listed = f"Its flows are {', '.join(names[:_MOST_NAMES])}" if names else "It has no flow"
    raise FlowNotLoaded(
        f"{place} has no flow {qualname!r} any more. {listed}. If the flow was renamed, say which it is now: "
        f"tidemill flow-run resume RUN --entrypoint {place}:NAME. A flow that is defined under "
        '`if __name__ == "__main__":` is not found: define it outside.'
    )
