"""The flow runs of this process that others may cancel, or take away: looked at now and then by the pulse."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tidemill.states import CANCELLING, StateType

_MOST_A_LOOK = 500

Holds = Mapping[str, tuple[StateType, int, str | None]]


class ChangeCounter(Protocol):
    def data_version(self) -> int:
        """A number that changes whenever others commit."""
        ...


class Watch:
    """Whom to call when a flow run is being cancelled.

    Args:
        database: tells whether anything has changed at all.
        holds: for each of these flow runs that exists: its state's type, its attempt, and the lease that holds it.
    """

    def __init__(self, database: ChangeCounter, holds: Callable[[Sequence[str]], Holds]) -> None:
        self._database = database
        self._holds = holds
        self._callbacks: dict[str, Callable[[], None]] = {}
        self._seen: int | None = None
        self._again = False

    def __len__(self) -> int:
        return len(self._callbacks)

    def add(self, flow_run_id: str, on_cancelling: Callable[[], None]) -> None:
        self._callbacks[flow_run_id] = on_cancelling
        self._again = True

    def remove(self, flow_run_id: str) -> None:
        self._callbacks.pop(flow_run_id, None)

    def forget(self) -> None:
        """Watches nothing any more; for a forked child, whose parent goes on watching."""
        self._callbacks.clear()

    def look_again(self) -> None:
        """What this process has written itself does not change the number, but is to be seen too."""
        self._again = True

    def look(self, check: Callable[[str, StateType, int, str | None], None]) -> None:
        """Calls whoever watches a run that is being cancelled, once, and tells `check` how every
        watched run stands: its state's type, its attempt, and the lease that holds it."""
        again = self._again
        if again:
            self._again = False  # before it looks: what is written from now on asks for another look
        version = self._database.data_version()
        if version == self._seen and not again:
            return
        self._seen = version
        watched = list(self._callbacks)
        for start in range(0, len(watched), _MOST_A_LOOK):
            for flow_run_id, (type, attempt, lease_id) in self._holds(watched[start : start + _MOST_A_LOOK]).items():
                check(flow_run_id, type, attempt, lease_id)
                if type is CANCELLING:
                    self._call(flow_run_id)

    def _call(self, flow_run_id: str) -> None:
        on_cancelling = self._callbacks.pop(flow_run_id, None)
        if on_cancelling is None:
            return
        try:
            on_cancelling()
        except Exception:  # the pulse, whose thread this is, has leases to renew
            logging.getLogger("tidemill").exception("Flow run %s could not be told that it is being cancelled.", flow_run_id)
