"""Values to bytes and back.

Plain values (numbers, text, and small lists and dicts of them) are written as JSON, which people and the page can read;
everything else is pickled, by cloudpickle where the standard pickle cannot. A task may choose another way (`chosen`). The
name of the way is kept beside the bytes.
"""

from __future__ import annotations

import io
import pickle
import sys
import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from math import isfinite
from types import FunctionType, ModuleType
from typing import Any, NamedTuple, Protocol, cast

import msgspec

from tidemill.exceptions import DefinitionError, SerializationError

_PICKLE_PROTOCOL = 5
# A value with more parts than this is pickled: looking at each part to see whether JSON gives it back exactly would cost
# more than it is worth.
_MOST_PLAIN_PARTS = 100
_ANY_NUMBER_OF_PARTS = 1 << 62
_LARGEST_INT = 2**63

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class Serializer(Protocol):
    """A way of one's own to write values.

    Its `name`, if it has one, else the name of its class, is kept beside what it wrote, with the place of its class: a
    process that has not made one finds it there, and calls the class without arguments.
    """

    def dumps(self, value: Any, /) -> bytes: ...

    def loads(self, data: bytes, /) -> Any: ...


class Way(NamedTuple):
    """How values are written and read back, under the name that is kept beside the bytes."""

    name: str
    dump: Callable[[Any], bytes]
    load: Callable[[bytes], Any]


def dump(value: Any) -> tuple[str, bytes]:
    """The serializer's name and the bytes.

    Raises:
        SerializationError: neither pickle nor cloudpickle can write the value; says of what type it is, and why.
    """
    if _is_plain(value, _MOST_PLAIN_PARTS) >= 0:
        try:
            return "json", _encode(value)
        except UnicodeEncodeError:  # text that is no Unicode
            pass
    return "pickle", dump_pickle(value)


def dump_pickle(value: Any) -> bytes:
    """The value, pickled.

    Raises:
        SerializationError
    """
    try:
        return pickle.dumps(value, protocol=_PICKLE_PROTOCOL)
    except Exception as first:  # pickle raises whatever a value's own methods raise
        try:
            return _dump_with_cloudpickle(value)
        except Exception:
            name = type(value).__qualname__
            raise SerializationError(f"a value of type {name} cannot be pickled ({first})") from None


def _dump_with_cloudpickle(value: Any) -> bytes:
    """The value, with functions that have no name to be found by. What the program itself defines goes by name all the same,
    so that another process of the same program gets objects of its own classes."""
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    class NamingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # pyright: ignore[reportUntypedBaseClass, reportUnknownMemberType]
        def reducer_override(self, obj: Any) -> Any:
            if isinstance(obj, type | FunctionType) and obj.__module__ == "__main__" and _is_found_in_main(obj):
                return NotImplemented
            return super().reducer_override(obj)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    file = io.BytesIO()
    NamingPickler(file, protocol=_PICKLE_PROTOCOL).dump(value)  # pyright: ignore[reportUnknownMemberType]
    return file.getvalue()


def _is_found_in_main(named: type | FunctionType) -> bool:
    found: Any = sys.modules["__main__"]
    for name in named.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is named


def name_classes_of_main() -> None:
    """In a process that executes another program's functions: gives the classes of that program's `__main__`, which came by
    value, their names here, so that their objects are pickled by name."""
    from cloudpickle import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    main = sys.modules["__main__"]
    came: dict[str, type] = getattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", {})
    for kind in list(came.values()):
        if kind.__module__ == "__main__" and "." not in kind.__qualname__:
            setattr(main, kind.__name__, kind)


def dump_json(value: Any) -> bytes:
    """The value as JSON, if JSON gives it back as it is.

    Raises:
        SerializationError: it does not; says which part, and of what type that is.
    """
    try:
        if _is_plain(value, _ANY_NUMBER_OF_PARTS) >= 0:
            return _encode(value)
    except UnicodeEncodeError as error:
        raise SerializationError(f"it holds text that is no Unicode ({error.reason}), which JSON cannot hold") from None
    except RecursionError:
        raise SerializationError("it is too deep for JSON, or holds itself") from None
    raise SerializationError(f"JSON would not give it back as it is: {_part_that_is_not_plain(value, 'it')}")


def dump_by_value(value: Any) -> bytes:
    """The value, pickled for another process: functions and classes of `__main__` travel themselves, not by name.

    Raises:
        SerializationError
    """
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    try:
        return cloudpickle.dumps(value, protocol=_PICKLE_PROTOCOL)  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # pickling runs whatever a value's own methods do
        name = type(value).__qualname__
        raise SerializationError(f"a value of type {name} cannot be pickled ({error})") from error


def pickle_by_value(module: ModuleType) -> None:
    """From now on functions and classes of this module travel themselves, since other processes cannot import it."""
    import cloudpickle  # pyright: ignore[reportMissingTypeStubs]

    cloudpickle.register_pickle_by_value(module)  # pyright: ignore[reportUnknownMemberType]


def load(serializer: str, data: bytes) -> Any:
    """The value that `dump`, or a chosen way, wrote.

    Raises:
        SerializationError: the bytes do not give a value, or there is no serializer of that name.
    """
    read = _READERS.get(serializer) or _way_named(serializer).load
    try:
        return read(data)
    except Exception as error:  # unpickling runs the value's own code
        raise SerializationError(f"The kept value cannot be read back: {type(error).__name__}: {error}") from error


def chosen(serializer: object) -> Way:
    """The way that an option names.

    Args:
        serializer: `"pickle"`, `"json"`, `"compressed/pickle"` (or `"compressed/json"`; `"compressed/lzma/pickle"` by
            another library: zlib, bz2 or lzma), or an object with `dumps` and `loads` (see `Serializer`).

    Raises:
        DefinitionError: it is neither.
    """
    if isinstance(serializer, str):
        try:
            return _way_named(serializer)
        except SerializationError as error:
            raise DefinitionError(str(error)) from None
    if isinstance(serializer, type):
        raise DefinitionError(f"A serializer is an object, not a class: write {serializer.__qualname__}().")
    if not (callable(getattr(serializer, "dumps", None)) and callable(getattr(serializer, "loads", None))):
        raise DefinitionError(f"A serializer is one of {_NAMES}, or an object with dumps() and loads(), not {serializer!r}.")
    own = cast("Serializer", serializer)
    kind = type(own)
    name = getattr(serializer, "name", kind.__name__)
    way = Way(f"{name}@{kind.__module__}:{kind.__qualname__}", partial(_dump_by, own), own.loads)
    _own_ways[way.name] = way
    return way


_NAMES = "'pickle', 'json', 'compressed/pickle' and 'compressed/json'"
_READERS: dict[str, Callable[[bytes], Any]] = {"json": _decode, "pickle": pickle.loads}
_WRITERS: dict[str, Callable[[Any], bytes]] = {"json": dump_json, "pickle": dump_pickle}
_COMPRESSIONS = ("zlib", "bz2", "lzma")
_own_ways: dict[str, Way] = {}


def _way_named(name: str) -> Way:
    way = _own_ways.get(name)
    if way is not None:
        return way
    if name in _READERS:
        return Way(name, _WRITERS[name], _READERS[name])
    match name.split("/"):
        case ["compressed", inner] if inner in _READERS:
            return _compressed(name, "zlib", _way_named(inner))
        case ["compressed", library, inner] if inner in _READERS and library in _COMPRESSIONS:
            return _compressed(name, library, _way_named(inner))
        case _:
            pass
    if "@" in name:
        return _way_of_its_class(name)
    raise SerializationError(f"There is no serializer {name!r}; known are {_NAMES}.")


def _compressed(name: str, library: str, inner: Way) -> Way:
    codec: Any = zlib if library == "zlib" else import_module(library)

    def dump(value: Any) -> bytes:
        return codec.compress(inner.dump(value))

    def load(data: bytes) -> Any:
        return inner.load(codec.decompress(data))

    return Way(name, dump, load)


def _way_of_its_class(name: str) -> Way:
    """The way of an own serializer that this process has not made: its module may make it, or else its class is called."""
    short, _, place = name.partition("@")
    module, _, path = place.partition(":")
    try:
        found: Any = import_module(module)
        if name in _own_ways:
            return _own_ways[name]
        for part in path.split("."):
            found = getattr(found, part)
        return chosen(found())._replace(name=name)
    except Exception as error:  # importing and calling run the user's code
        raise SerializationError(
            f"The serializer {short!r} is not known here, and {place} does not give it ({type(error).__name__}: {error}). "
            "Import the module that makes it first."
        ) from error


def _dump_by(serializer: Serializer, value: Any) -> bytes:
    who = type(serializer).__qualname__
    try:
        data: Any = serializer.dumps(value)
    except Exception as error:  # the user's code
        raise SerializationError(f"{who}.dumps() cannot write it ({type(error).__name__}: {error})") from error
    if not isinstance(data, bytes):
        raise SerializationError(f"{who}.dumps() gave {type(data).__name__}; it must give bytes")
    return data


def _is_plain(value: Any, parts: int) -> int:
    """How many of the allowed parts are left if JSON gives the value back exactly; -1 if it does not or is too large."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if value is None or kind is bool or kind is str:
        return parts - 1
    if kind is int:
        return parts - 1 if -_LARGEST_INT <= value < _LARGEST_INT else -1
    if kind is float:
        return parts - 1 if isfinite(value) else -1
    if kind is list:
        members: Any = value
    elif kind is dict:
        if any(type(key) is not str for key in value):
            return -1
        members = value.values()
    else:
        return -1
    if len(members) > parts:
        return -1
    for member in members:
        parts = _is_plain(member, parts - 1)
        if parts < 0:
            return -1
    return parts


def _part_that_is_not_plain(value: Any, place: str) -> str:
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    if kind is list or kind is dict:
        pairs: Any = value.items() if kind is dict else enumerate(value)  # pyright: ignore[reportUnknownVariableType]
        for key, member in pairs:
            if kind is dict and type(key) is not str:
                return f"{place} has a key of type {type(key).__name__}"
            if _is_plain(member, _ANY_NUMBER_OF_PARTS) < 0:
                return _part_that_is_not_plain(member, f"{place}[{key!r}]")
    return f"{place} is {value!r}" if kind in (int, float) else f"{place} is of type {kind.__qualname__}"
