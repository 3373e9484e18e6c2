"""Large values that stay in Dask workers: here stands only what they are found by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from tidemill.exceptions import MissingResult
from tidemill.fingerprints import digest_of
from tidemill.results import load
from tidemill.runners.dask import worker
from tidemill.runners.dask.connection import Call, Connection
from tidemill.states import ResultReference, ValueElsewhere


class DaskValue(ValueElsewhere):
    """The value of a task run, in a worker for as long as somebody here refers to it.

    Args:
        kept: where it was kept too.
    """

    def __init__(self, connection: Connection, call: Call, name: str, kept: ResultReference | None) -> None:
        self.connection = connection
        self.kept = kept
        self.has_digest = call.has_digest
        self._key = call.key
        self._future = call.future
        self._name = name
        self._note: Callable[[Any], None] | None = None
        self._here: tuple[Any] | None = None
        self._fetching = threading.Lock()

    def fetch(self) -> Any:
        with self._fetching:
            if self._here is None:
                value = self._brought()
                if self._note is not None:
                    self._note(value)
                self._here = (value,)
        return self._here[0]

    def when_fetched(self, note: Callable[[Any], None]) -> None:
        self._note = note

    def digest_elsewhere(self) -> bytes:
        """See `fingerprints`."""
        if self._here is None and self.connection.is_open:
            return self.connection.run(worker.digest_of_value, self._future)
        return digest_of(self.fetch())

    def _brought(self) -> Any:
        problem: Exception | None = None
        if self.connection.is_open:
            try:
                return self.connection.bring(self._future)
            except Exception as error:  # whatever became of its worker
                problem = error
        if self.kept is not None:
            return load(self.kept)
        raise MissingResult(
            f"The value of task run {self._name!r} was in a Dask worker, which is gone, and was not kept. Run it again."
        ) from problem

    def __reduce__(self) -> tuple[Any, ...]:
        inputs = _packing.inputs
        if inputs is None:
            return _same, (self.fetch(),)
        inputs[self._key] = self._future
        return worker.arrived, (self._key,)


class _Packing(threading.local):
    inputs: dict[str, Any] | None = None


_packing = _Packing()


@contextmanager
def packing(inputs: dict[str, Any]) -> Generator[None]:
    """For the length of a block values are pickled by their keys, and noted in `inputs`."""
    _packing.inputs = inputs
    try:
        yield
    finally:
        _packing.inputs = None


def _same(value: Any) -> Any:
    return value
