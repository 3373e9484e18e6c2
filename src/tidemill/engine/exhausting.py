"""Generator tasks whose run nobody iterates over: submitted ones, and those in other processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any


def exhausted(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that gives the list of what a generator function yields; for one whose run nobody can iterate over."""

    def listed(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        return _listed(generator) if hasattr(generator, "__anext__") else list(generator)

    return listed


async def _listed(generator: AsyncGenerator[Any, Any]) -> list[Any]:
    return [item async for item in generator]
