"""A task's options about caching, checked where the task is declared."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from tidemill import settings
from tidemill.caching.policies import INPUTS, TASK_SOURCE, CacheContext, CacheKeyFnPolicy, CachePolicy, Inputs, NoCachePolicy
from tidemill.exceptions import DefinitionError


class CacheOptions(NamedTuple):
    """What a task says about caching; made by `cache_options`, which checks it. Times are microseconds."""

    policy: CachePolicy
    expiration: int | None = None
    refresh: bool | None = None

    @property
    def is_refreshed(self) -> bool:
        """Whether the task is to be executed also where there is a result."""
        return settings.current().task_refresh_cache if self.refresh is None else self.refresh

    def expires(self, now: int) -> int | None:
        """The moment from which a result kept `now` is not used any more; None for never."""
        return None if self.expiration is None else now + self.expiration


def cache_options(
    *,
    cache_policy: Any = None,
    cache_key_fn: Any = None,
    cache_expiration: Any = None,
    refresh_cache: Any = None,
    persist_result: bool | None = None,
    function: Callable[..., Any] | None = None,
) -> CacheOptions | None:
    """The options of a task about caching, checked; None for a task that is never cached.

    Args:
        cache_policy: when an earlier result may be used again.
        cache_key_fn: makes the key; wins over `cache_policy`.
        cache_expiration: how long a result may be used again: a timedelta, or seconds.
        refresh_cache: execute the task also where there is a result, and keep the new one; None: as the setting
            `task_refresh_cache` says.
        persist_result: the task's option of that name.
        function: the task's function, to find inputs that are left out and do not exist.

    Raises:
        DefinitionError: one of them cannot be as it is.
    """
    if not isinstance(refresh_cache, bool | None):
        raise DefinitionError(f"refresh_cache is True, False or None, not {refresh_cache!r}.")
    expiration = _expiration(cache_expiration)
    policy = cache_policy if cache_key_fn is None else CacheKeyFnPolicy(cache_key_fn)
    if policy is None:
        if expiration is not None:
            raise DefinitionError("cache_expiration does nothing without a cache_policy; such as cache_policy=INPUTS.")
        return None
    if not isinstance(policy, CachePolicy):
        meant = f" Write {policy.__qualname__}()." if isinstance(policy, type) else ""
        raise DefinitionError(f"cache_policy is a policy such as INPUTS or INPUTS + TASK_SOURCE, not {policy!r}.{meant}")
    if isinstance(policy, NoCachePolicy):
        return None
    if persist_result is False:
        raise DefinitionError("A cached result has to be kept: leave out persist_result=False, or the cache policy.")
    if function is not None:
        _refuse_unknown_inputs(policy, function)
    return CacheOptions(policy, expiration, refresh_cache)


def task_input_hash(context: CacheContext, arguments: Mapping[str, Any]) -> str | None:
    """A `cache_key_fn` for the same task, code and arguments.

    Raises:
        SerializationError: one of the arguments cannot be hashed.
    """
    return (INPUTS + TASK_SOURCE).compute_key(context, arguments, context.flow_parameters)


def _expiration(given: Any) -> int | None:
    if given is None:
        return None
    span = given if isinstance(given, timedelta) else None
    if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given < 1e9:
        span = timedelta(seconds=given)
    if span is None or span <= timedelta(0):
        raise DefinitionError(f"cache_expiration is a timedelta, or seconds, above 0; not {given!r}.")
    return span // timedelta(microseconds=1)


def _refuse_unknown_inputs(policy: CachePolicy, function: Callable[..., Any]) -> None:
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
        return
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)]
    for member in policy.members():
        for name in sorted(member.exclude.difference(names)) if isinstance(member, Inputs) else ():
            known = ", ".join(names) or "none"
            raise DefinitionError(
                f"{policy!r} leaves out {name!r}, which {function.__name__}() does not take; it has: {known}."
            )
