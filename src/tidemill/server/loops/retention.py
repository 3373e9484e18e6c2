"""Removes what is old, a little at a time: runs, cached results that have expired, tokens, and the disk space they took."""

from __future__ import annotations

import asyncio
import logging

from tidemill import clock
from tidemill.orchestration.retention import Deleted, delete_expired_results, delete_old_runs, delete_old_tokens
from tidemill.server.access import StoreAccess
from tidemill.server.result_files import remove_files
from tidemill.settings import Settings
from tidemill.store import Store
from tidemill.store.space import reclaim_space

_log = logging.getLogger("tidemill.server.loops")

_MICROSECONDS_A_DAY = 24 * 60 * 60 * 1_000_000
# So that no one who writes waits for long; each is a commit.
_MOST_ROWS_AT_ONCE = 2_000
_MOST_PAGES_AT_ONCE = 1_000
_PAUSE_SECONDS = 0.05


class Retention:
    """What one tick of the loop does."""

    def __init__(self, access: StoreAccess, settings: Settings) -> None:
        self._access = access
        self._days = settings.server_retention_days
        self._folder = settings.results_storage_path

    async def __call__(self) -> None:
        now = clock.now()
        if self._days:
            before = now - self._days * _MICROSECONDS_A_DAY
            await self._remove_runs(before)
            await self._access.write(delete_old_tokens, before)
        await self._remove_expired_results(now)
        while await self._access.write(_reclaim_space):
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _remove_runs(self, before: int) -> None:
        runs = 0
        while True:
            deleted = await self._access.write(delete_old_runs, before, _MOST_ROWS_AT_ONCE)
            runs += deleted.flow_runs
            if not await self._goes_on(deleted):
                break
        if runs:
            _log.info("Removed %d flow runs that ended more than %d days ago.", runs, self._days)

    async def _remove_expired_results(self, now: int) -> None:
        while await self._goes_on(await self._access.write(delete_expired_results, now, _MOST_ROWS_AT_ONCE)):
            pass

    async def _goes_on(self, deleted: Deleted) -> bool:
        await remove_files(self._folder, deleted.unused_keys)
        await asyncio.sleep(_PAUSE_SECONDS)
        return deleted.more


def _reclaim_space(store: Store) -> int:
    return reclaim_space(store.database, _MOST_PAGES_AT_ONCE)
