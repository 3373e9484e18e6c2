"""A function's parameters: bound as Python binds them, checked against their annotations, recorded as JSON."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any

import msgspec

from tidemill.engine.parameter_types import parameter_schema
from tidemill.exceptions import DefinitionError, ParameterTypeError

_POSITIONAL_ONLY, _EITHER, _VAR_POSITIONAL, _KEYWORD_ONLY, _VAR_KEYWORD = inspect._ParameterKind  # pyright: ignore[reportPrivateUsage]
_UNCHECKED = (inspect.Parameter.empty, Any, object)
LARGEST_RECORD = 512 * 1024
_LONGEST_STAND_IN = 200


class Signature:
    """How one function takes its parameters. Made on the first call, since reading signatures takes time."""

    def __init__(self, fn: Callable[..., Any], name: str, *, bound: bool) -> None:
        self._fn = fn
        self._name = name
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except ValueError:
            raise DefinitionError(
                f"The parameters of {name!r} cannot be read, as with some functions written in C. Wrap it: def {name}(...)."
            ) from None
        self._receiver = parameters[0].name if bound and parameters else None
        self._parameters = {parameter.name: parameter for parameter in parameters}
        self._bind = _compile_binder(getattr(fn, "__name__", name), parameters)
        self._annotations: dict[str, Any] | None = None
        self._adapters: dict[str, Any] = {}

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """The parameters by name, with defaults filled in, and apart from them the instance or class of a method.

        Raises:
            TypeError: the call does not fit the function; Python's own message.
        """
        bound = self._bind(*args, **kwargs)
        receiver = bound.pop(self._receiver, None) if self._receiver is not None else None
        return bound, receiver

    def arguments(self, parameters: dict[str, Any], receiver: Any = None) -> tuple[list[Any], dict[str, Any]]:
        """The call that gives a function these parameters."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self._parameters.items():
            if name == self._receiver:
                args.append(receiver)
            elif parameter.kind is _VAR_POSITIONAL:
                args.extend(parameters[name])
            elif parameter.kind is _VAR_KEYWORD:
                kwargs.update(parameters[name])
            elif parameter.kind is _KEYWORD_ONLY:
                kwargs[name] = parameters[name]
            else:
                args.append(parameters[name])
        return args, kwargs

    def fitted(self, recorded: dict[str, Any]) -> dict[str, Any]:
        """Parameters that were recorded, perhaps of an earlier edition of the function, with the defaults of those that it
        has got since.

        Raises:
            ParameterTypeError: it has some no more, or some are missing; the message names each.
        """
        fitted: dict[str, Any] = {}
        problems = [f" - {name}: there is no such parameter" for name in recorded if name not in self._parameters]
        for name, parameter in self._parameters.items():
            if name in recorded:
                fitted[name] = recorded[name]
            elif parameter.default is not parameter.empty:
                fitted[name] = parameter.default
            elif parameter.kind in (_VAR_POSITIONAL, _VAR_KEYWORD):
                fitted[name] = () if parameter.kind is _VAR_POSITIONAL else {}
            elif name != self._receiver:
                problems.append(f" - {name}: it has no value")
        self._raise_of(problems)
        return fitted

    def schema(self, description: str | None) -> bytes | None:
        """The parameters as a JSON schema, in JSON; None where none can be made.

        Args:
            description: its first line says what the function does.
        """
        parameters = [parameter for parameter in self._parameters.values() if parameter.name != self._receiver]
        return parameter_schema(parameters, self._known_annotations(), description)

    def check(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters, coerced to their annotations by pydantic's rules.

        Raises:
            ParameterTypeError: some do not fit; the message names each, with the reason.
        """
        annotations = self._known_annotations()
        checked = parameters
        problems: list[str] = []
        for name, value in parameters.items():
            annotation = annotations.get(name, inspect.Parameter.empty)
            if annotation in _UNCHECKED or (type(value) is annotation and annotation in _EXACT):
                continue
            if value is self._parameters[name].default:
                continue
            if checked is parameters:
                checked = dict(parameters)
            checked[name] = self._coerce(name, annotation, value, problems)
        self._raise_of(problems)
        return checked

    def _known_annotations(self) -> dict[str, Any]:
        if self._annotations is None:
            self._annotations = _annotations_of(self._fn)
        return self._annotations

    def _raise_of(self, problems: list[str]) -> None:
        if problems:
            told = "\n".join(problems)
            raise ParameterTypeError(f"Flow run received invalid parameters for flow {self._name!r}:\n{told}")

    def _coerce(self, name: str, annotation: Any, value: Any, problems: list[str]) -> Any:
        from pydantic import ValidationError

        adapter = self._adapters.get(name)
        if adapter is None:
            adapter = self._adapters[name] = _adapter_for(annotation, self._parameters[name].kind)
        try:
            return adapter.validate_python(value)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False):
                where = ".".join(str(part) for part in (name, *problem["loc"]))
                problems.append(f" - {where}: {problem['msg']}")
            return value


_EXACT = frozenset({int, str, float, bool, bytes, list, dict, tuple, set})


def _compile_binder(name: str, parameters: list[inspect.Parameter]) -> Callable[..., dict[str, Any]]:
    """A function with the same parameters that gives them as a dict: ten times faster than `Signature.bind`, and a wrong
    call raises Python's own error with the function's own name."""
    defaults = {f"_default_{n}": p.default for n, p in enumerate(parameters) if p.default is not p.empty}
    declared: list[str] = []
    for n, parameter in enumerate(parameters):
        kind = parameter.kind
        if kind is _KEYWORD_ONLY and not any(p.kind is _VAR_POSITIONAL for p in parameters) and "*" not in declared:
            declared.append("*")
        stars = {_VAR_POSITIONAL: "*", _VAR_KEYWORD: "**"}.get(kind, "")
        default = f"=_default_{n}" if f"_default_{n}" in defaults else ""
        declared.append(f"{stars}{parameter.name}{default}")
        following = parameters[n + 1 : n + 2]
        if kind is _POSITIONAL_ONLY and not (following and following[0].kind is _POSITIONAL_ONLY):
            declared.append("/")
    fields = ", ".join(f"{p.name!r}: {p.name}" for p in parameters)
    scope: dict[str, Any] = dict(defaults)
    exec(f"def _bind({', '.join(declared)}): return {{{fields}}}", scope)
    binder: Callable[..., dict[str, Any]] = scope["_bind"]
    binder.__qualname__ = name  # which Python's message about a wrong call names
    return binder


def _annotations_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Annotations as types; those whose names cannot be resolved (imported for type checking only) are left out."""
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except Exception:  # evaluating annotations runs the module's own expressions
        raw = getattr(fn, "__annotations__", {})
        return {name: annotation for name, annotation in raw.items() if not isinstance(annotation, str)}


def _adapter_for(annotation: Any, kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter
    from pydantic.errors import PydanticSchemaGenerationError

    if kind is _VAR_POSITIONAL:
        annotation = tuple[annotation, ...]
    elif kind is _VAR_KEYWORD:
        annotation = dict[str, annotation]
    try:
        return TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))


def as_json(parameters: dict[str, Any]) -> bytes:
    """The parameters as a JSON object; what JSON cannot hold, or is too large, is a readable stand-in."""
    try:
        data = msgspec.json.encode(parameters, enc_hook=_encodable)
        if len(data) <= LARGEST_RECORD:
            return data
    except Exception:  # encoding asks objects for their own idea of themselves
        pass
    return msgspec.json.encode({name: _readable(value) for name, value in parameters.items()})


def _readable(value: Any) -> Any:
    try:
        data = msgspec.json.encode(value, enc_hook=_encodable)
    except Exception:
        return stand_in(value)
    if len(data) > LARGEST_RECORD:
        return stand_in(value)
    return msgspec.Raw(data)


def _encodable(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        dumped = dump(mode="json")
        if not callable(getattr(dumped, "model_dump", None)):
            return dumped
    return stand_in(value)


def stand_in(value: Any) -> str:
    """A short text for a value that cannot be recorded itself."""
    try:
        text = repr(value)
    except Exception:  # a broken __repr__ must not stop a run
        text = f"{type(value).__qualname__} object"
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= _LONGEST_STAND_IN else f"{text[:_LONGEST_STAND_IN]}..."
