"""The client's verbs about cached results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from tidemill import clock, orchestration, storage
from tidemill.cache_keys import KeyedRun
from tidemill.client.key_folder import KeyFolder
from tidemill.client.session import Session
from tidemill.colour import IO
from tidemill.orchestration import cached_results
from tidemill.states import ResultReference
from tidemill.store import Database, Store, caching
from tidemill.store.caching import CachedResult

T = TypeVar("T")

# Who waits for another's result looks again after so many seconds, at first and at most.
_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.25
_LOOKS_PER_SEARCH_FOR_THE_LOST = 8


class CachingVerbs:
    """Verbs on cached results, for a client to inherit.

    Each takes `key_storage`: the folder that the keys are in, if they are not in the database. Moments are microseconds.
    """

    io: IO
    database: Database
    _store: Store
    _session: Session

    async def find_cached(self, key: str, now: int | None = None, *, key_storage: str | None = None) -> CachedResult | None:
        """The result that is kept under a key, has not expired, and whose file, if it is one on this machine, is there.

        Reading it may still fail, with MissingResult: then `forget_cached` and compute it.
        """
        now = clock.now() if now is None else now
        found = caching.find(self.database.fetch, key, now) if key_storage is None else KeyFolder(key_storage).find(key, now)
        if found is None or found.reference.inline is not None:
            return found
        return found if storage.may_exist(found.reference.storage_key or "") else None

    async def fill_cache(
        self,
        key: str,
        task_run_id: str,
        expires: int | None,
        reference: ResultReference,
        *,
        flow_run_id: str | None = None,
        key_storage: str | None = None,
    ) -> None:
        """Keeps the result of a task run under a key, and releases the run's claim on it.

        Args:
            expires: the moment from which it is not used any more.
            flow_run_id: the only flow run that can use it, where the key holds for one (`CachePolicy.holds_for_one_run`).
        """
        result = CachedResult(task_run_id, clock.now(), expires, reference)
        if key_storage is not None:
            folder = KeyFolder(key_storage)
            folder.fill(key, result)
            folder.release(key, task_run_id)
            return

        await self._while_no_other_writes(lambda: cached_results.fill(self._store, key, result, flow_run_id))

    async def forget_cached(self, key: str, task_run_id: str, *, key_storage: str | None = None) -> None:
        """Removes a task run's result, which cannot be read any more, from a key."""
        if key_storage is not None:
            KeyFolder(key_storage).forget(key, task_run_id)
            return

        await self._while_no_other_writes(lambda: cached_results.forget(self._store, key, task_run_id))

    async def claim_cache_key(self, key: str, owner: str, *, key_storage: str | None = None) -> bool:
        """Notes that the task run `owner` computes the result of a key; False if another does. A claim ends with
        `fill_cache`, with `release_cache_key`, or with its process."""
        if key_storage is not None:
            return KeyFolder(key_storage).claim(key, owner)
        lease = self._session.lease()

        return await self._while_no_other_writes(lambda: cached_results.claim(self._store, key, owner, lease))

    async def release_cache_key(self, key: str, owner: str, *, key_storage: str | None = None) -> None:
        """Takes a claim back: the run has failed, or its result cannot be kept."""
        if key_storage is not None:
            KeyFolder(key_storage).release(key, owner)
            return

        await self._while_no_other_writes(lambda: cached_results.release(self._store, key, owner))

    async def find_or_claim_cached(self, key: str, owner: str, *, key_storage: str | None = None) -> CachedResult | None:
        """The result that is kept under a key; None when the task run `owner` is now the one to compute it. While another
        computes it, this waits: for its result, or until it fails or its process is gone."""
        pause, looks = _FIRST_PAUSE, 0
        while True:
            found = await self.find_cached(key, key_storage=key_storage)
            if found is not None:
                return found
            if await self.claim_cache_key(key, owner, key_storage=key_storage):
                found = await self.find_cached(key, key_storage=key_storage)  # it may have been filled just before
                if found is not None:
                    await self.release_cache_key(key, owner, key_storage=key_storage)
                return found
            looks += 1
            if looks % _LOOKS_PER_SEARCH_FOR_THE_LOST == 0 and key_storage is None:
                await self._while_no_other_writes(lambda: orchestration.reclaim_lost_runs(self._store, clock.now()))
            await self.io.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def keyed_run(self, task_run_id: str) -> KeyedRun | None:
        """A task run, as far as its cache key is concerned."""
        return caching.keyed_run(self.database.fetch, task_run_id)

    async def earlier_keyed_runs(self, task_run_id: str, limit: int = 200) -> list[KeyedRun]:
        """The runs before a task run that have its cache key, or are of the same task and have another; newest first."""
        return caching.earlier_keyed_runs(self.database.fetch, task_run_id, limit)

    def _remove_unused_files(self, keys: Sequence[str]) -> None:
        """Removes the result files of runs that are gone, but for those that other runs share."""
        used = caching.keys_in_use(self.database.fetch, keys)
        for key in keys:
            if key not in used:
                storage.delete(key)

    async def _while_no_other_writes(self, work: Callable[[], T]) -> T:
        return await self.io.within(self.database, work)


__all__ = ["CachedResult", "CachingVerbs"]
