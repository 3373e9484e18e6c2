"""What runs are called."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from typing import Any

from tidemill.exceptions import DefinitionError, InvalidNameError
from tidemill.texts import storable

_LONGEST_RUN_NAME = 500
_FORBIDDEN = "/%&><"


def check_name(name: object, kind: str) -> str:
    """The name, if it may be one.

    Raises:
        InvalidNameError: it is empty, no text, or holds a character that addresses and templates need for themselves.
    """
    if not isinstance(name, str) or not name:
        raise InvalidNameError(f"The name of a {kind} must be text of at least one character, not {name!r}.")
    wrong = sorted(set(name) & set(_FORBIDDEN))
    if wrong:
        raise InvalidNameError(
            f"The {kind} name {name!r} contains {' '.join(wrong)}; names cannot hold any of / % & > <. Choose another: "
            f"@{kind}(name=...)."
        )
    return storable(name)


@cache
def short_hash(task_key: str) -> str:
    """The 8 hex digits in a task run's name."""
    return hashlib.md5(task_key.encode(), usedforsecurity=False).hexdigest()[:8]


def from_template(template: str | Callable[..., str], parameters: dict[str, Any], kind: str) -> str:
    """The run's name from the user's template over the parameters, or from the user's function.

    Raises:
        InvalidNameError: the template names something that is no parameter, or the function gives no text.
    """
    if callable(template):
        name = template()
    else:
        try:
            name = template.format(**parameters)
        except Exception as error:  # a template may ask a parameter for anything
            known = ", ".join(parameters) or "none"
            raise InvalidNameError(
                f"The {kind}_run_name {template!r} cannot be filled in: {type(error).__name__} {error}. Parameters that it may "
                f"use: {known}."
            ) from error
    if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidNameError(f"{kind}_run_name gave {name!r}; it must give text.")
    return storable(name if len(name) <= _LONGEST_RUN_NAME else f"{name[:_LONGEST_RUN_NAME]}...")


def idempotency_key(template: str, parameters: dict[str, Any], receiver: Any) -> str:
    """The key of a run, from the user's template over the parameters and, of a method, `self` or `cls`.

    Raises:
        DefinitionError: the template names something that is no parameter.
    """
    try:
        key = template.format(**parameters, **({} if receiver is None else {"self": receiver, "cls": receiver}))
    except Exception as error:  # a template may ask a parameter for anything
        known = ", ".join(parameters) or "none"
        raise DefinitionError(
            f"The idempotency_key {template!r} cannot be filled in: {type(error).__name__} {error}. It may use: {known}."
        ) from error
    return storable(key)
