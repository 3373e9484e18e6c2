"""Which function a task has, and what its source says, for cache keys."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import os
import sys
import textwrap
import warnings
import weakref
from collections.abc import Iterator
from types import CodeType
from typing import Any, cast

from tidemill.fingerprints import fingerprint

# The digests of sources, by the function's code: reading a source takes long, and what its file says later was not what was
# loaded. Functions that one `def` makes again and again share their code.
_digests: dict[int, tuple[weakref.ref[CodeType], str]] = {}


def place_of(task: Any) -> str:
    """Which task it is, in every process. Two scripts may have tasks of the same name, and both are called `__main__`."""
    if not task.task_key.startswith("__main__."):
        return task.task_key
    code = getattr(task.function, "__code__", None)
    file = code.co_filename if code is not None else ""
    if file.startswith("<") or "ipykernel" in file:  # a notebook's cell, which has another name each time
        return task.task_key
    return f"{os.path.abspath(file)}:{task.task_key}"


def source_digest(function: Any) -> str:
    """Tells a function's source from others: by its text, or where there is none, by its bytecode."""
    if isinstance(function, functools.partial):
        partial = cast("functools.partial[Any]", function)
        return fingerprint((source_digest(partial.func), partial.args, partial.keywords))
    described: Any = inspect.unwrap(function)
    code: CodeType | None = getattr(described, "__code__", None)
    if code is None and not inspect.isroutine(described):  # an object that can be called
        described = cast("Any", type(described))
        code = getattr(described.__call__, "__code__", None)
    if code is None:
        return fingerprint(f"{getattr(described, '__module__', '')}.{getattr(described, '__qualname__', '')}")
    known = _digests.get(id(code))
    if known is None or known[0]() is not code:
        known = _digests[id(code)] = (weakref.ref(code), _read_digest(described, code))
    return known[1]


def _read_digest(described: Any, code: CodeType) -> str:
    compiled = _digest_of_code(code)
    try:
        source = textwrap.dedent(inspect.getsource(described))
        lines, _ = inspect.findsource(described)
    except (OSError, TypeError, SyntaxError):
        return compiled
    # A file may have been edited since it was loaded; its text is then not what this process executes.
    if compiled in _codes_in("".join(lines), code.co_name):
        return fingerprint(source)
    return fingerprint((source, compiled))


@functools.lru_cache(maxsize=8)
def _compiled(text: str) -> CodeType | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they were shown when the file was loaded
        try:
            return compile(text, "", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        except (SyntaxError, ValueError):
            return None


def _codes_in(text: str, name: str) -> Iterator[str]:
    """The digests of the functions of this name in a source text."""
    pending = [_compiled(text)]
    while pending:
        code = pending.pop()
        if code is None:
            continue
        if code.co_name == name:
            yield _digest_of_code(code)
        pending += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _digest_of_code(code: CodeType) -> str:
    """What a function does, from its bytecode: another version of Python gives another answer."""
    names = (sys.version_info[:2], code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    digest = hashlib.sha256(code.co_code)
    digest.update(repr(names).encode(errors="surrogatepass"))
    for constant in code.co_consts:
        digest.update((_digest_of_code(constant) if isinstance(constant, CodeType) else fingerprint(constant)).encode())
    return digest.hexdigest()
