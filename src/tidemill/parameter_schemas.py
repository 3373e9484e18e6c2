"""JSON schemas of a flow's parameters, from which a form can be made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

Schema = dict[str, Any]

ANYTHING: Schema = {}

# Of what is larger or deeper nobody fills in a form.
_MOST_LEVELS = 10
_MOST_FIELDS = 200
_MOST_ITEMS = 200


def of_parameters(properties: Mapping[str, Schema], required: Sequence[str], description: str | None) -> Schema:
    """The schema of the parameters with these schemas, in their order."""
    placed = {name: {**schema, "title": name, "position": n} for n, (name, schema) in enumerate(properties.items())}
    whole: Schema = {"title": "Parameters", "type": "object", "properties": placed, "required": list(required)}
    return whole if description is None else {**whole, "description": description}


def inferred(values: Mapping[str, Any]) -> Schema:
    """A schema that fits these parameters of one run. It cannot know what else would fit, nor what a run can do without."""
    return of_parameters({name: _of_value(value, 1) for name, value in values.items()}, (), None)


def _of_value(value: Any, level: int) -> Schema:
    match value:
        case None:
            return ANYTHING
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            items = _common(cast("list[Any]", value), level + 1)
            return {"type": "array", "items": items} if items else {"type": "array"}
        case dict():
            return _of_object(cast("dict[str, Any]", value), level)
        case _:
            return ANYTHING


def _of_object(value: dict[str, Any], level: int) -> Schema:
    if not value or level >= _MOST_LEVELS or len(value) > _MOST_FIELDS:
        return {"type": "object"}
    return {"type": "object", "properties": {name: _of_value(each, level + 1) for name, each in value.items()}}


def _common(values: list[Any], level: int) -> Schema:
    """The schema of all of these; of none in particular, where they differ."""
    if not values or level >= _MOST_LEVELS or len(values) > _MOST_ITEMS:
        return ANYTHING
    kinds: list[Schema] = []
    for value in values:
        schema = _of_value(value, level)
        if schema not in kinds:
            kinds.append(schema)
    if len(kinds) == 1:
        return kinds[0]
    types = {kind.get("type") for kind in kinds}
    if types == {"integer", "number"}:
        return {"type": "number"}
    return {"type": types.pop()} if len(types) == 1 and None not in types else ANYTHING
