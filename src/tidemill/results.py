"""How a run's value is kept: small ones in the run's row, larger ones as files, unkeepable ones not at all."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from tidemill import serializers, settings, states, storage
from tidemill.exceptions import DefinitionError, FailedRun, MissingResult, SerializationError
from tidemill.ids import new_id
from tidemill.serializers import Serializer
from tidemill.states import ResultReference, Unkept

_NONE = ResultReference("json", b"null")

NOT_WANTED = Unkept("persist_result is False")


class ResultOptions(NamedTuple):
    """What a task or flow says about its results; made by `result_options`, which checks it.

    Attributes:
        persist: False: its results are never kept. None or True: they are, as far as they can be.
        storage: the folder or URL that its results are files in, small ones too; None: the folder of the settings.
        serializer: how they are written; None: JSON where it gives the value back exactly, else pickle.
        storage_key: how the files are called: a template or a function that gives the name; None: by an id of their own.
    """

    persist: bool | None = None
    storage: str | None = None
    serializer: str | Serializer | None = None
    storage_key: str | Callable[[], str] | None = None

    def within(self, around: ResultOptions) -> ResultOptions:
        """These options in a run whose flow has the options `around`: what they leave open is as there, but names of files
        are each one's own."""
        if around is AS_USUAL:
            return self
        return ResultOptions(
            around.persist if self.persist is None else self.persist,
            around.storage if self.storage is None else self.storage,
            around.serializer if self.serializer is None else self.serializer,
            self.storage_key,
        )


AS_USUAL = ResultOptions()


def result_options(
    *,
    persist_result: Any = None,
    result_storage: Any = None,
    result_serializer: Any = None,
    result_storage_key: Any = None,
) -> ResultOptions:
    """The options of a task or flow about its results, checked.

    Raises:
        DefinitionError: one of them cannot be as it is.
    """
    if not isinstance(persist_result, bool | None):
        raise DefinitionError(f"persist_result is True, False or None, not {persist_result!r}.")
    if result_serializer is not None:
        serializers.chosen(result_serializer)
    if not (result_storage_key is None or callable(result_storage_key) or isinstance(result_storage_key, str)):
        raise DefinitionError(
            "result_storage_key is a template such as 'report-{parameters[day]}.json', or a function that gives a name, not "
            f"{result_storage_key!r}."
        )
    place = storage.place_of(result_storage)
    if (persist_result, place, result_serializer, result_storage_key) == (None, None, None, None):
        return AS_USUAL
    return ResultOptions(persist_result, place, result_serializer, cast("Any", result_storage_key))


def keep(
    value: Any, options: ResultOptions = AS_USUAL, names: Callable[[], Mapping[str, Any]] | None = None
) -> ResultReference | Unkept:
    """Keeps a value and gives the reference to it, or the reason why it is not kept.

    Args:
        names: what a template of a `result_storage_key` may use, such as `parameters`, `flow_run` and `task_run`.

    Raises:
        StoreFull, StoreReadOnly, StoreUnreachable: the result storage does not take it.
    """
    if options is AS_USUAL:
        if value is None:
            return _NONE
    elif options.persist is False:
        return NOT_WANTED
    current = settings.current()
    try:
        serializer, data = _dump(value, options.serializer)
    except SerializationError as error:
        return Unkept(str(error))
    if len(data) <= current.results_inline_limit and options.storage is None and options.storage_key is None:
        return ResultReference(serializer, data)
    if len(data) > current.results_size_limit:
        limit = f"the limit is {current.results_size_limit:,} (TIDEMILL_RESULTS_SIZE_LIMIT)"
        return Unkept(f"it has {len(data):,} bytes when serialized; {limit}")
    try:
        name = new_id() if options.storage_key is None else _name_of_file(options.storage_key, names)
        key = storage.key_of(options.storage, name)
    except storage.UnusableKey as error:
        return Unkept(str(error))
    return ResultReference(serializer, None, storage.write(key, data, pinned=options.storage_key is not None))


def keep_error(error: BaseException) -> ResultReference:
    """Keeps an exception. One whose class takes other arguments than it hands on to Exception is put together again from its
    parts; one that does not survive even that is kept as a FailedRun that says what it was."""
    data = _pickled(error) or _pickled(_Parts(error))
    if data is None or len(data) > settings.current().results_inline_limit:
        data = pickle.dumps(FailedRun(f"{type(error).__qualname__}: {_message(error)[:1000]}"))
    return ResultReference("pickle", data)


class _Parts:
    """An exception as what it is made of; unpickled, it is the exception."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> tuple[Any, ...]:
        error = self._error
        return _put_together, (type(error), error.args, error.__dict__)


def _put_together(kind: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


def _pickled(value: Any) -> bytes | None:
    """The value, pickled, if it can be read again."""
    try:
        data = serializers.dump_pickle(value)
        pickle.loads(data)
    except Exception:  # whatever the value's own methods raise
        return None
    return data


def load(reference: ResultReference) -> Any:
    """The value behind a reference.

    Raises:
        MissingResult: the file is gone or damaged, or its bytes do not give a value.
    """
    data = reference.inline
    if data is None:
        data = storage.read(reference.storage_key or "")
    try:
        return serializers.load(reference.serializer, data)
    except SerializationError as error:
        raise MissingResult(f"{error} Run it again.") from error


states.load_reference = load


def _dump(value: Any, serializer: str | Serializer | None) -> tuple[str, bytes]:
    if serializer is None:
        return serializers.dump(value)
    way = serializers.chosen(serializer)
    return way.name, way.dump(value)


def _name_of_file(key: str | Callable[[], str], names: Callable[[], Mapping[str, Any]] | None) -> str:
    try:
        name: Any = key() if callable(key) else key.format(**(names() if names is not None else {}))
    except Exception as error:  # the user's function; a template may ask a parameter for anything
        raise storage.UnusableKey(
            f"its result_storage_key {key!r} cannot be filled in: {type(error).__name__} {error}"
        ) from error
    if not isinstance(name, str):
        raise storage.UnusableKey(f"its result_storage_key gave {name!r}; it must give text")
    return name


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a broken __str__ must not hide that the run failed
        return "(the exception has no readable message)"
