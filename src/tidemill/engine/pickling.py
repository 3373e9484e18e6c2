"""How flows and tasks travel to another process: by name where the other finds the same under it, else by value.

By value happens in two stages, the object and then what it holds, so that circles close: a recursive task refers to itself
through the globals of its own function.
"""

from __future__ import annotations

import copyreg
import inspect
import sys
import typing
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any

from tidemill.serializers import pickle_by_value

# What `restored` makes anew, and what is computed anew when it is asked for.
_MADE_ANEW = ("function", "descriptor", "fn", "__wrapped__", "signature", "schema_known")
_PROGRAMS = ("__main__", "__mp_main__")

_importable: dict[str, tuple[ModuleType, bool]] = {}


def reduced(definition: Any) -> str | tuple[Any, ...]:
    """What `__reduce__` of a flow or task gives."""
    kind: type[Any] = definition.__class__
    module, qualname = definition.module, definition.qualname
    by_name = module in sys.modules and (_is_importable(module) or not _is_asked_by_cloudpickle())
    if by_name and _is_named(definition, module, qualname):
        return qualname
    state = _state(definition)
    if by_name and _named_function(kind, module, qualname) is definition.function:
        return _named, (kind, module, qualname), state
    if module not in _PROGRAMS and module in sys.modules:
        pickle_by_value(sys.modules[module])  # what else of this module goes along is not found there either
    state["function"] = definition.function
    state["hints"] = _hints(definition)
    return copyreg.__newobj__, (kind,), state  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def restored(definition: Any, state: dict[str, Any], no_receiver: object) -> dict[str, Any]:
    """The attributes of a definition, from its pickled state. The function may be unfinished yet: it is only stored."""
    attributes = dict(state)
    function: Any = attributes.setdefault("function", definition.__dict__.get("function"))
    wrapper: Any = attributes["descriptor"]
    attributes["descriptor"] = function if wrapper is None else wrapper(function)
    attributes["__wrapped__"] = function
    receiver = attributes.setdefault("receiver", no_receiver)
    attributes["fn"] = function if receiver is no_receiver else partial(function, receiver)
    return attributes


def _state(definition: Any) -> dict[str, Any]:
    _ = definition.version, definition.entrypoint  # read from the source file, which the other process may not have
    state: dict[str, Any] = {name: value for name, value in definition.__dict__.items() if name not in _MADE_ANEW}
    if not definition.is_bound:
        del state["receiver"]
    state["descriptor"] = next((kind for kind in (classmethod, staticmethod) if isinstance(definition.descriptor, kind)), None)
    return state


def _hints(definition: Any) -> dict[str, Any] | None:
    """A flow's annotations as types, if they are written as text: a function that travels by value takes along only what its
    code refers to."""
    annotations = getattr(definition.function, "__annotations__", {})
    if definition.kind != "flow" or not any(isinstance(annotation, str) for annotation in annotations.values()):
        return None
    try:
        return typing.get_type_hints(definition.function, include_extras=True)
    except Exception:  # evaluating annotations runs the module's own expressions
        return definition.__dict__.get("hints")


def _named(kind: type[Any], module: str, qualname: str) -> Any:
    """A definition, still empty, of a function that is found by its name."""
    __import__(module)
    definition = object.__new__(kind)
    definition.function = _named_function(kind, module, qualname)
    return definition


def _is_named(definition: Any, module: str, qualname: str) -> bool:
    try:
        return attrgetter(qualname)(sys.modules[module]) is definition
    except AttributeError:
        return False


def _named_function(kind: type[Any], module: str, qualname: str) -> Any:
    """The function of this name, from inside the definition or method object that has it."""
    found: Any = sys.modules[module]
    for name in qualname.split("."):
        found = inspect.getattr_static(found, name, None)
    if isinstance(found, kind):
        return found.function
    return getattr(found, "__func__", found)


def _is_asked_by_cloudpickle() -> bool:
    """Whether it is cloudpickle, or another library's copy of it, that called `__reduce__`. Whoever uses plain pickle expects
    names, also those of the program itself: a `multiprocessing` pool has that program at the other end."""
    frame = sys._getframe(3)  # pyright: ignore[reportPrivateUsage]  # this function, `reduced`, `__reduce__`, who called it
    while frame.f_back is not None and frame.f_globals.get("__name__") == "pickle":  # the pickler that is written in Python
        frame = frame.f_back
    return "cloudpickle" in frame.f_globals.get("__name__", "")


def _is_importable(name: str) -> bool:
    """Whether another process with the same `sys.path` gets this module by its name."""
    module = sys.modules.get(name)
    if module is None or name in _PROGRAMS:
        return False
    known = _importable.get(name)
    if known is None or known[0] is not module:
        known = _importable[name] = (module, _finds(name, module))
    return known[1]


def _finds(name: str, module: ModuleType) -> bool:
    """Looks as an import would that has not happened yet."""
    path: Any = None
    spec: Any = None
    for end in [at for at, sign in enumerate(f"{name}.") if sign == "."]:
        spec = _spec(name[:end], path)
        if spec is None:
            return False
        path = spec.submodule_search_locations or ()
    file = getattr(module, "__file__", None)
    return file is None or spec.origin == file


def _spec(name: str, path: Any) -> Any:
    for finder in sys.meta_path:
        find: Any = getattr(finder, "find_spec", None)
        if find is not None and (spec := find(name, path)) is not None:
            return spec
    return None
