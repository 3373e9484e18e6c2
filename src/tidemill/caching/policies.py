"""Cache policies: what makes two calls the same."""

from __future__ import annotations

import copy
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, TypeVar, cast

from tidemill.caching.sources import place_of, source_digest
from tidemill.exceptions import DefinitionError, SerializationError
from tidemill.fingerprints import fingerprint, fingerprint_of_atoms

Self = TypeVar("Self", bound="CachePolicy")

_LONGEST_KEY = 2000
_SHORT = 12  # digits of an ingredient that are recorded: enough to tell two runs apart


class IsolationLevel(str, Enum):
    """What happens when two calls with the same key miss at once: both execute, or the second waits for the first."""

    READ_COMMITTED = "READ_COMMITTED"
    SERIALIZABLE = "SERIALIZABLE"


@dataclass(frozen=True)
class CacheContext:
    """The call that a key is made for.

    Attributes:
        task: the task that is called.
        flow_run_id: the flow run it is called in; None outside a flow.
        task_run_id: the run of this call.
        parameters: its arguments, by the names of the parameters, defaults included.
        flow_parameters: those of the flow run.
    """

    task: Any
    flow_run_id: str | None
    task_run_id: str
    parameters: Mapping[str, Any]
    flow_parameters: Mapping[str, Any]


class CacheKey(NamedTuple):
    """A key, and short fingerprints of what it was made of."""

    key: str
    ingredients: dict[str, str]


class _Unhashable(Exception):
    """An input cannot be hashed; says which, and why."""


class CachePolicy:
    """Makes cache keys. A policy of one's own is a subclass with `compute_key`; policies are put together with `+`."""

    key_storage: str | None = None
    isolation_level: IsolationLevel = IsolationLevel.READ_COMMITTED

    def compute_key(
        self, task_ctx: CacheContext, inputs: Mapping[str, Any], flow_parameters: Mapping[str, Any], **kwargs: Any
    ) -> str | None:
        """The key of a call; None if its result is neither to be looked up nor kept for others."""
        raise NotImplementedError(f"{type(self).__qualname__} needs a method compute_key(task_ctx, inputs, flow_parameters).")

    def compute(self, context: CacheContext) -> CacheKey | None:
        """The key of a call, with what it was made of.

        Raises:
            SerializationError: one of the inputs cannot be hashed.
            TypeError: a key is no text.
        """
        key = self._own_key(context)
        return None if key is None else CacheKey(_storable(key), {self._label(): fingerprint(key)[:_SHORT]})

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        """What a call's key is made of, by name; None if there is to be no key."""
        key = self._own_key(context)
        return None if key is None else {self._label(): fingerprint(key)}

    @property
    def holds_for_one_run(self) -> bool:
        """Whether the keys hold for one flow run only, so that they are of no use when that is deleted."""
        return False

    def configure(
        self: Self,
        key_storage: str | os.PathLike[str] | None = None,
        isolation_level: IsolationLevel | str | None = None,
    ) -> Self:
        """The same policy, with its keys kept elsewhere or with another isolation.

        Args:
            key_storage: a folder for the keys, instead of the database: several databases can share it.
            isolation_level: `SERIALIZABLE`: of two calls that miss at once the second waits for the first one's result.

        Raises:
            DefinitionError: there is no such isolation level.
        """
        changed = copy.copy(self)
        if key_storage is not None:
            object.__setattr__(changed, "key_storage", os.path.abspath(os.path.expanduser(os.fspath(key_storage))))
        if isolation_level is not None:
            try:
                level = IsolationLevel(isolation_level)
            except ValueError:
                raise DefinitionError(f"isolation_level is READ_COMMITTED or SERIALIZABLE, not {isolation_level!r}.") from None
            object.__setattr__(changed, "isolation_level", level)
        return changed

    @staticmethod
    def from_cache_key_fn(cache_key_fn: Callable[[CacheContext, dict[str, Any]], str | None]) -> CacheKeyFnPolicy:
        """A policy whose keys a function makes."""
        return CacheKeyFnPolicy(cache_key_fn)

    def __add__(self, other: object) -> CachePolicy:
        if not isinstance(other, CachePolicy):
            return NotImplemented
        if isinstance(other, NoCachePolicy):
            return self
        return CompoundCachePolicy([self, other])

    def __sub__(self, other: object) -> CachePolicy:
        raise TypeError(f"Inputs can be left out of policies that have INPUTS in them; {self!r} has not.")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}()"

    def _own_key(self, context: CacheContext) -> str | None:
        key: Any = self.compute_key(context, dict(context.parameters), dict(context.flow_parameters))
        if key is not None and not isinstance(key, str):
            raise TypeError(f"The cache key of task {context.task.name!r} must be text or None; {self!r} gave {key!r}.")
        return key or None

    def _label(self) -> str:
        return type(self).__qualname__

    def members(self) -> tuple[CachePolicy, ...]:
        """The policies that it is put together of; itself, if it is not."""
        return (self,)


class CacheKeyFnPolicy(CachePolicy):
    """The key is what a function of the context and the parameters gives; tasks whose functions give the same share it."""

    def __init__(self, cache_key_fn: Callable[[CacheContext, dict[str, Any]], str | None]) -> None:
        if not callable(cache_key_fn):  # pyright: ignore[reportUnnecessaryComparison]
            raise DefinitionError(f"cache_key_fn is a function of the context and the parameters, not {cache_key_fn!r}.")
        if inspect.iscoroutinefunction(cache_key_fn):
            raise DefinitionError(f"cache_key_fn is a plain function; {cache_key_fn!r} is async.")
        self.cache_key_fn = cache_key_fn

    def compute_key(
        self, task_ctx: CacheContext, inputs: Mapping[str, Any], flow_parameters: Mapping[str, Any], **kwargs: Any
    ) -> str | None:
        return self.cache_key_fn(task_ctx, dict(inputs))

    def __repr__(self) -> str:
        return f"CacheKeyFnPolicy({getattr(self.cache_key_fn, '__name__', self.cache_key_fn)})"

    def _label(self) -> str:
        return "cache_key_fn"


class _MixedPolicy(CachePolicy):
    """A policy whose key is the digest of its ingredients and of which task is called: two tasks never share one."""

    def compute_key(
        self, task_ctx: CacheContext, inputs: Mapping[str, Any], flow_parameters: Mapping[str, Any], **kwargs: Any
    ) -> str | None:
        context = CacheContext(task_ctx.task, task_ctx.flow_run_id, task_ctx.task_run_id, inputs, flow_parameters)
        made = self.compute(context)
        return None if made is None else made.key

    def compute(self, context: CacheContext) -> CacheKey | None:
        try:
            ingredients = self.ingredients(context)
        except _Unhashable as error:
            raise self._teaching(error, context) from error.__cause__
        if ingredients is None:
            return None
        ingredients = {"task": fingerprint(place_of(context.task)), **ingredients}
        key = fingerprint_of_atoms(dict(sorted(ingredients.items())))
        return CacheKey(key, {name: whole[:_SHORT] for name, whole in ingredients.items()})

    def _teaching(self, error: _Unhashable, context: CacheContext) -> SerializationError:
        name, reason = error.args
        return SerializationError(
            f"The input {name!r} of task {context.task.name!r} cannot be hashed, so there is no cache key: {reason}. Leave it "
            f"out of the key, cache_policy={self!r} - {name!r}, or make the key yourself with cache_key_fn."
        )


class Inputs(_MixedPolicy):
    """The inputs of the call; see `INPUTS`."""

    def __init__(self, exclude: Iterable[str] = ()) -> None:
        self.exclude = frozenset(exclude)

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for name, value in context.parameters.items():
            if name in self.exclude:
                continue
            try:
                found[f"inputs.{name}"] = fingerprint(value)
            except RecursionError as error:
                raise _Unhashable(name, "it is too deep") from error
            except Exception as error:  # taking a value apart runs its own code
                raise _Unhashable(name, str(error).rstrip(".")) from error
        return found

    def __sub__(self, other: object) -> Inputs:
        names = _names(other)
        changed = copy.copy(self)
        changed.exclude = self.exclude | names
        return changed

    def __repr__(self) -> str:
        return "INPUTS" + "".join(f" - {name!r}" for name in sorted(self.exclude))


class TaskSource(_MixedPolicy):
    """The source of the task's function; see `TASK_SOURCE`."""

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        return {"task source": source_digest(context.task.function)}

    def __repr__(self) -> str:
        return "TASK_SOURCE"


class FlowParameters(_MixedPolicy):
    """The parameters of the flow run; see `FLOW_PARAMETERS`."""

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        if context.flow_run_id is None:
            return None
        found: dict[str, str] = {}
        for name, value in context.flow_parameters.items():
            try:
                found[f"flow parameters.{name}"] = fingerprint(value)
            except Exception as error:
                raise SerializationError(
                    f"The parameter {name!r} of the flow cannot be hashed, so task {context.task.name!r} has no cache key: "
                    f"{str(error).rstrip('.')}. Use INPUTS instead of FLOW_PARAMETERS."
                ) from error
        return found

    def __repr__(self) -> str:
        return "FLOW_PARAMETERS"


class RunId(_MixedPolicy):
    """The flow run; see `RUN_ID`."""

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        return None if context.flow_run_id is None else {"run": fingerprint(context.flow_run_id)}

    @property
    def holds_for_one_run(self) -> bool:
        return True

    def __repr__(self) -> str:
        return "RUN_ID"


class CompoundCachePolicy(_MixedPolicy):
    """Several policies in one: the same key when all of theirs are the same, and none when one of them gives none."""

    def __init__(self, policies: Iterable[CachePolicy]) -> None:
        together = list(policies)
        self.policies = tuple(member for policy in together for member in policy.members())
        for option in ("key_storage", "isolation_level"):
            given = {getattr(policy, option) for policy in together} - {getattr(CachePolicy, option)}
            if len(given) > 1:
                raise DefinitionError(f"Policies that are put together cannot differ in {option}: {sorted(given)}.")
            if given:
                setattr(self, option, given.pop())

    def ingredients(self, context: CacheContext) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for policy in self.policies:
            part = policy.ingredients(context)
            if part is None:
                return None
            for name, value in part.items():
                while found.get(name, value) != value:  # two functions, or two policies of one class
                    name += "'"
                found[name] = value
        return found

    @property
    def holds_for_one_run(self) -> bool:
        return any(policy.holds_for_one_run for policy in self.policies)

    def __sub__(self, other: object) -> CachePolicy:
        if not any(isinstance(policy, Inputs) for policy in self.policies):
            return super().__sub__(other)
        changed = copy.copy(self)
        changed.policies = tuple(policy - other if isinstance(policy, Inputs) else policy for policy in self.policies)
        return changed

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.policies))

    def members(self) -> tuple[CachePolicy, ...]:
        return self.policies


class NoCachePolicy(CachePolicy):
    """No key, so nothing is looked up or kept; see `NO_CACHE`."""

    def compute_key(
        self, task_ctx: CacheContext, inputs: Mapping[str, Any], flow_parameters: Mapping[str, Any], **kwargs: Any
    ) -> str | None:
        return None

    def __add__(self, other: object) -> CachePolicy:
        return other if isinstance(other, CachePolicy) else NotImplemented

    def __sub__(self, other: object) -> CachePolicy:
        return self

    def __repr__(self) -> str:
        return "NO_CACHE"


INPUTS = Inputs()
TASK_SOURCE = TaskSource()
FLOW_PARAMETERS = FlowParameters()
RUN_ID = RunId()
DEFAULT = INPUTS + TASK_SOURCE + RUN_ID
NO_CACHE = NONE = NoCachePolicy()


def _names(given: object) -> frozenset[str]:
    names = [given] if isinstance(given, str) else list(cast("Iterable[Any]", given)) if isinstance(given, Iterable) else [None]
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"What is left out of INPUTS is the name of a parameter, or several: INPUTS - 'conn', not {given!r}.")
    return frozenset(cast("list[str]", names))


def _storable(key: str) -> str:
    """The key as it is recorded: one that is very long, or no Unicode, by its fingerprint."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return fingerprint(key)
    return key if len(key) <= _LONGEST_KEY else fingerprint(key)
