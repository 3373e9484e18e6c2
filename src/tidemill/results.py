"""How a run's value is kept: small ones in the run's row, larger ones as files, unkeepable ones not at all."""

from __future__ import annotations

import errno
import os
import pickle
from typing import Any

from tidemill import serializers, settings, states
from tidemill.exceptions import FailedRun, MissingResult, SerializationError, StoreFull, StoreReadOnly
from tidemill.ids import new_id
from tidemill.states import ResultReference, Unkept

_NONE = ResultReference("json", b"null")


def keep(value: Any) -> ResultReference | Unkept:
    """Keeps a value and gives the reference to it, or the reason why it is not kept."""
    if value is None:
        return _NONE
    current = settings.current()
    try:
        serializer, data = serializers.dump(value)
    except SerializationError as error:
        return Unkept(str(error))
    if len(data) <= current.results_inline_limit:
        return ResultReference(serializer, data)
    if len(data) > current.results_size_limit:
        limit = f"the limit is {current.results_size_limit:,} (TIDEMILL_RESULTS_SIZE_LIMIT)"
        return Unkept(f"it has {len(data):,} bytes when serialized; {limit}")
    return ResultReference(serializer, None, _write_file(current.results_storage_path, data))


def keep_error(error: BaseException) -> ResultReference:
    """Keeps an exception; one that does not survive pickling is kept as a FailedRun that says what it was."""
    try:
        data = serializers.dump_pickle(error)
        pickle.loads(data)
    except Exception:  # whatever the exception's own methods raise
        data = pickle.dumps(FailedRun(f"{type(error).__qualname__}: {_message(error)}"))
    if len(data) > settings.current().results_inline_limit:
        data = pickle.dumps(FailedRun(f"{type(error).__qualname__}: {_message(error)[:1000]}"))
    return ResultReference("pickle", data)


def load(reference: ResultReference) -> Any:
    """The value behind a reference.

    Raises:
        MissingResult: the file is gone, or its bytes do not give a value.
    """
    data = reference.inline
    if data is None:
        path = os.path.join(settings.current().results_storage_path, reference.storage_key or "")
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise MissingResult(f"The result file {path} cannot be read: {error.strerror}. Run it again.") from None
    try:
        return serializers.load(reference.serializer, data)
    except SerializationError as error:
        raise MissingResult(f"{error} Run it again.") from error


states.load_reference = load


def _write_file(folder: str, data: bytes) -> str:
    """Writes a file whole or not at all, and gives its key."""
    key = new_id()
    path = os.path.join(folder, key)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path + ".part", "wb") as file:
            file.write(data)
            if settings.current().durability == "power":
                file.flush()
                os.fsync(file.fileno())
        os.replace(path + ".part", path)
    except OSError as error:
        kind = StoreFull if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else StoreReadOnly
        raise kind(
            f"The result file {path} cannot be written: {error.strerror}. Make room or give this user permission, or set "
            "TIDEMILL_RESULTS_STORAGE_PATH to another folder."
        ) from None
    return key


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a broken __str__ must not hide that the run failed
        return "(the exception has no readable message)"
