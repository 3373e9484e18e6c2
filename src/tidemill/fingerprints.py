"""A short text that is the same for equal values, in every process and whatever objects happen to be shared."""

from __future__ import annotations

import hashlib
import sys
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from tidemill.serializers import dump_pickle

_ATOMS = frozenset({int, str, float, bool, bytes, type(None)})
_TEXT = frozenset({str})
_TEXTS = frozenset({str, bytes})
_LONG = 65_536
_SEQUENCES = frozenset({list, tuple})
_ATOMS_AT_ONCE = 100_000
_NAMED = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType)
_LENGTH = 32


def fingerprint(value: Any) -> str:
    """32 hex digits that identify the value.

    Containers are walked, and objects are taken apart as pickle does it, so that neither the order of a set or dict nor the
    sharing of objects matters. Functions and classes are identified as pickle identifies them.

    Raises:
        SerializationError: some part of the value cannot be pickled.
        RecursionError: the value is too deep.
    """
    return _digest(value, ()).hex()[:_LENGTH]


def digest_of(value: Any) -> bytes:
    """The digest of a value that is part of others; see `fingerprint`. Atoms that are not long have none of their own."""
    return _digest(value, ())


def fingerprint_of_atoms(values: dict[str, Any]) -> str:
    """The same for a dict of numbers and short texts, the inputs of most calls, at a fraction of the cost: the text of such
    a dict tells it from others."""
    return hashlib.sha256(repr(values).encode(errors="surrogatepass")).hexdigest()[:_LENGTH]


def is_atom(value: Any) -> bool:
    """Whether a value is a number, a text, bytes or None."""
    return type(value) in _ATOMS


def _digest(value: Any, around: tuple[int, ...]) -> bytes:
    """The digest of a value; `around` are the ids of the objects it is part of, to see circles."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    digest = hashlib.sha256(f"{kind.__module__}.{kind.__qualname__}:".encode())
    if kind in _ATOMS:
        digest.update(_bytes_of_atom(kind, value))
        return digest.digest()
    if kind in _SEQUENCES and _ATOMS.issuperset(map(type, value)) and not _has_long(value) and _feed_atoms(digest, value):
        return digest.digest()
    elsewhere: Any = getattr(cast(Any, kind), "digest_elsewhere", None)  # of what stands for a value in another process
    if elsewhere is not None:
        return elsewhere(value)
    if id(value) in around:
        digest.update(f"circle {len(around) - around.index(id(value))}".encode())
        return digest.digest()
    for part in _parts(kind, value, (*around, id(value))):
        digest.update(part)
    return digest.digest()


def is_long(value: Any) -> bool:
    """Whether a value is a text or bytes of such a length that its own digest is worth being fed in its place."""
    return type(value) in _TEXTS and len(value) > _LONG


def _has_long(values: Any) -> bool:
    """Whether there is one among numbers and texts."""
    return not _TEXTS.isdisjoint(map(type, values)) and any(map(is_long, values))


def _bytes_of_atom(kind: Any, value: Any) -> bytes:
    if kind is bytes:
        return value
    if kind is str:
        return value.encode(errors="surrogatepass")
    if kind is int:
        return b"%x" % value  # the decimal digits of a very large number take long, and Python refuses to give them
    return repr(value).encode()


def _feed_atoms(digest: Any, values: Any) -> bool:
    """Feeds a digest with a list or tuple of numbers and texts, whose own text tells it from others: many times faster than
    one by one. False if Python refuses to give the text of a number in it."""
    fresh = digest.copy()
    try:
        for start in range(0, len(values), _ATOMS_AT_ONCE):
            fresh.update(repr(values[start : start + _ATOMS_AT_ONCE]).encode(errors="surrogatepass"))
    except ValueError:
        return False
    digest.update(fresh.digest())
    return True


def _parts(kind: Any, value: Any, around: tuple[int, ...]) -> list[bytes]:
    if kind is list or kind is tuple:
        return [_digest(member, around) for member in value]
    if kind is set or kind is frozenset:
        return sorted(_digest(member, around) for member in value)
    if kind is dict:
        named = cast("dict[Any, Any]", value)
        if _TEXT.issuperset(map(type, named)):
            names = sorted(named)
            return [_digest([*names, *(named[name] for name in names)], around)]
        return sorted(_digest(key, around) + _digest(member, around) for key, member in named.items())
    if isinstance(value, FunctionType) and not _is_found_by_name(value):
        return _parts_of_function(value, around)
    if isinstance(value, _NAMED):
        return [dump_pickle(value)]
    try:
        reduced = value.__reduce_ex__(4)
    except Exception:  # not to be taken apart; perhaps cloudpickle can
        return [dump_pickle(value)]
    if isinstance(reduced, str):
        return [reduced.encode()]
    make, arguments, *rest = reduced
    state, *items = (*rest, None, None, None)[:3]
    members = [None if each is None else list(each) for each in items]
    return [_digest(part, around) for part in (make, arguments, state, *members)]


def _is_found_by_name(function: FunctionType) -> bool:
    found: Any = sys.modules.get(function.__module__)
    for name in function.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is function


def _parts_of_function(function: FunctionType, around: tuple[int, ...]) -> list[bytes]:
    """What a lambda or a nested function does, and with what; not where it stands."""
    enclosed = [cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell)]
    held = (function.__defaults__, function.__kwdefaults__, enclosed)
    return [_digest_of_code(function.__code__), *(_digest(part, around) for part in held)]


def _is_filled(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _digest_of_code(code: CodeType) -> bytes:
    digest = hashlib.sha256(code.co_code)
    digest.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode(errors="surrogatepass"))
    for constant in code.co_consts:
        digest.update(_digest_of_code(constant) if isinstance(constant, CodeType) else _digest(constant, ()))
    return digest.digest()
