"""Failed attempts to get in: each is answered a little later than the one before, and too many are refused unseen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

# Of one address, within a minute. Who has a token never guesses, so this is for passwords.
_MOST_FAILURES = 20
_FORGET_AFTER_SECONDS = 60.0
_FREE_FAILURES = 3
_LONGEST_DELAY_SECONDS = 2.0
# So that neither memory nor open connections grow with the number of those who try.
_MOST_ADDRESSES = 4096
_MOST_WAITING = 64


@dataclass
class _Failures:
    count: int
    last: float


def delay_after(failures: int) -> float:
    """Seconds to wait before the last of so many failures is answered."""
    return min(0.1 * 2 ** (failures - _FREE_FAILURES), _LONGEST_DELAY_SECONDS) if failures > _FREE_FAILURES else 0.0


class Attempts:
    """Who has failed how often, by address."""

    def __init__(self) -> None:
        self._by_address: dict[str, _Failures] = {}
        self._waiting = 0

    def are_too_many(self, address: str) -> bool:
        """Whether somebody at this address has failed so often that the next attempt is not even looked at."""
        return self._recent(address) >= _MOST_FAILURES

    async def failed(self, address: str) -> int:
        """Notes a failure and waits before it is answered; gives how many there were lately."""
        count = self._recent(address) + 1
        self._by_address.pop(address, None)  # so that the newest stands last
        self._by_address[address] = _Failures(count, time.monotonic())
        while len(self._by_address) > _MOST_ADDRESSES:
            del self._by_address[next(iter(self._by_address))]
        if self._waiting < _MOST_WAITING:
            self._waiting += 1
            try:
                await asyncio.sleep(delay_after(count))
            finally:
                self._waiting -= 1
        return count

    def _recent(self, address: str) -> int:
        failures = self._by_address.get(address)
        if failures is None or time.monotonic() - failures.last > _FORGET_AFTER_SECONDS:
            return 0
        return failures.count
