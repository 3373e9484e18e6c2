"""The JSON schema of a flow's parameters, from their annotations and defaults: what a form for a call of the flow is made from.

Nothing is imported for it, and no annotation may make a run fail: what says nothing here takes anything.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

import msgspec

from tidemill.parameter_schemas import ANYTHING, Schema, of_parameters

_LONGEST_DEFAULT = 4096
_LONGEST_SCHEMA = 64 * 1024
_MOST_LEVELS = 8
_UNIONS = (typing.Union, types.UnionType)
# In this order: a bool is an int, a datetime a date, and an Enum may be a str.
_PLAIN: dict[type, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    Decimal: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "format": "binary"},
    datetime: {"type": "string", "format": "date-time"},
    date: {"type": "string", "format": "date"},
    time: {"type": "string", "format": "time"},
    timedelta: {"type": "string", "format": "duration"},
    UUID: {"type": "string", "format": "uuid"},
    os.PathLike: {"type": "string", "format": "path"},
}
_JSON_TYPES: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def parameter_schema(
    parameters: Sequence[inspect.Parameter], annotations: Mapping[str, Any], description: str | None
) -> bytes | None:
    """The schema as JSON; None where none can be made.

    Args:
        description: its first line says what the flow does.
    """
    try:
        told = _Telling()
        properties = {parameter.name: told.parameter(parameter, annotations) for parameter in parameters}
        required = [parameter.name for parameter in parameters if _is_required(parameter)]
        first_line = (description or "").strip().partition("\n")[0] or None
        whole = of_parameters(properties, required, first_line)
        if told.definitions:
            whole["$defs"] = told.definitions
        encoded = msgspec.json.encode(whole)
        return encoded if len(encoded) <= _LONGEST_SCHEMA else None
    except Exception:  # annotations and defaults are anybody's objects
        return None


def _is_required(parameter: inspect.Parameter) -> bool:
    stars = (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and parameter.kind not in stars


class _Telling:
    """Makes schemas of annotations, and collects what those of pydantic's models refer to."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}

    def parameter(self, parameter: inspect.Parameter, annotations: Mapping[str, Any]) -> Schema:
        schema = self.type(annotations.get(parameter.name, Any), 0)
        if parameter.kind is parameter.VAR_POSITIONAL:
            schema = {"type": "array", "items": schema}
        elif parameter.kind is parameter.VAR_KEYWORD:
            schema = {"type": "object", "additionalProperties": schema or True}
        if parameter.default is not parameter.empty and (default := _as_json(parameter.default)) is not None:
            schema = {**schema, "default": default}
        return schema

    def type(self, annotation: Any, level: int) -> Schema:
        if level >= _MOST_LEVELS:
            return ANYTHING
        origin = typing.get_origin(annotation)
        if origin is not None:
            return self._of_generic(origin, typing.get_args(annotation), level + 1)
        if annotation is None or annotation is type(None):
            return {"type": "null"}
        if isinstance(annotation, type):
            return self._of_class(cast("type[Any]", annotation), level + 1)
        meant = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)  # NewType, `type X = ...`
        return self.type(meant, level + 1) if meant is not None else ANYTHING

    def _of_generic(self, origin: Any, args: tuple[Any, ...], level: int) -> Schema:
        if origin is typing.Literal:
            return _one_of(args)
        if origin is typing.Annotated:
            return self.type(args[0], level)
        if origin in _UNIONS:
            kinds = [self.type(each, level) for each in args]
            return {"anyOf": kinds} if ANYTHING not in kinds else ANYTHING
        if not isinstance(origin, type):
            return ANYTHING
        if issubclass(origin, tuple) and args and args[-1] is not ...:
            places = [self.type(each, level) for each in args if each != ()]
            return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}
        schema = self._of_class(cast("type[Any]", origin), level)
        items = self.type(args[-1] if not issubclass(origin, tuple) else args[0], level) if args else ANYTHING
        if schema.get("type") == "array" and items:
            return {**schema, "items": items}
        if schema == {"type": "object"} and items:
            return {**schema, "additionalProperties": items}
        return schema

    def _of_class(self, kind: type[Any], level: int) -> Schema:
        if kind in _PLAIN:
            return _PLAIN[kind]
        if issubclass(kind, Enum):
            return _one_of([member.value for member in kind])
        if callable(own := getattr(kind, "model_json_schema", None)):
            return self._of_model(own)
        if dataclasses.is_dataclass(kind) or hasattr(kind, "__required_keys__"):
            return self._of_fields(kind, level)
        if issubclass(kind, Mapping):
            return {"type": "object"}
        for plain, schema in _PLAIN.items():
            if issubclass(kind, plain):
                return schema
        if kind in (object, typing.Generic):
            return ANYTHING
        if issubclass(kind, Set):
            return {"type": "array", "uniqueItems": True}
        return {"type": "array"} if issubclass(kind, list | tuple | Sequence) or kind in _ITERABLES else ANYTHING

    def _of_model(self, own: Callable[[], Any]) -> Schema:
        """A model of pydantic's knows its schema; what that refers to has its place at the outermost schema."""
        schema: dict[str, Any] = dict(own())
        self.definitions.update(schema.pop("$defs", {}))
        return schema

    def _of_fields(self, kind: type[Any], level: int) -> Schema:
        """A dataclass, or a TypedDict."""
        hints = typing.get_type_hints(kind)
        required = sorted(getattr(kind, "__required_keys__", ()))
        names = list(hints)
        if dataclasses.is_dataclass(kind):
            fields = [field for field in dataclasses.fields(kind) if field.init]
            names = [field.name for field in fields]
            missing = dataclasses.MISSING
            required = [field.name for field in fields if field.default is missing and field.default_factory is missing]
        properties = {name: self.type(hints.get(name, Any), level) for name in names}
        return {"type": "object", "title": kind.__name__, "properties": properties, "required": required}


_ITERABLES = frozenset({typing.get_origin(typing.Iterable), typing.get_origin(typing.Collection)})


def _one_of(values: Sequence[Any]) -> Schema:
    known = [value.value if isinstance(value, Enum) else value for value in values]
    names = {_JSON_TYPES.get(cast("type[Any]", type(value))) for value in known}
    if None in names:
        return ANYTHING
    return {"type": names.pop(), "enum": known} if len(names) == 1 else {"enum": known}


def _as_json(default: Any) -> msgspec.Raw | None:
    """A default as JSON, if JSON can say it in a few words."""
    try:
        data = msgspec.json.encode(default)
    except Exception:  # encoding asks objects for what they hold
        return None
    return msgspec.Raw(data) if len(data) <= _LONGEST_DEFAULT else None
