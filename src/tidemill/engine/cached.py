"""A task run and the cache: its key, an earlier result found under it, its own result kept there."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from tidemill import clock
from tidemill.caching import CacheContext, CacheKey, CacheOptions, IsolationLevel
from tidemill.client import CachedResult
from tidemill.engine.task_record import RecordedTaskRun
from tidemill.exceptions import MissingResult, StoreError
from tidemill.records import TaskRunEntry
from tidemill.results import load
from tidemill.states import AWAITING_RERUN, COMPLETED, ResultReference, StateDetails


class Found(NamedTuple):
    """An earlier result."""

    value: Any
    reference: ResultReference


class CacheUse:
    """What one run of a cached task has to do with the cache."""

    def __init__(self, run: RecordedTaskRun, options: CacheOptions) -> None:
        self._run = run
        self._client = run.client
        self._options = options
        self._policy = options.policy
        self._key: CacheKey | None = None
        self._claimed = False
        self._used = False

    async def look(self) -> Found | None:
        """Makes the key, and finds the result that is kept under it; None: the task is to be executed.

        Raises:
            SerializationError: an input cannot be hashed; the message names it.
        """
        run = self._run
        flow_run = run.flow_run
        flow_parameters = flow_run.parameters if flow_run is not None else {}
        context = CacheContext(run.task, run.entry.flow_run_id, run.entry.id, run.parameters, flow_parameters)
        self._key = key = self._policy.compute(context)
        if key is None:
            return None
        refreshed = self._options.is_refreshed or any(step[1] == AWAITING_RERUN for step in run.entry.progress.history)
        run.entry.cache_key = key.key
        run.entry.details = msgspec.structs.replace(
            run.entry.details or StateDetails(),
            cache_key=key.key,
            cache_ingredients=key.ingredients,
            refresh_cache=refreshed or None,
        )
        return None if refreshed else await self._find(key.key)

    async def end(self, entry: TaskRunEntry) -> None:
        """Keeps the result of a run that has completed under its key; to be called when that is durable."""
        key = self._key
        if key is None or self._used:
            return
        if entry.progress.type is not COMPLETED or entry.result is None:
            await self.give_up()
            return
        expires = self._options.expires(clock.now())
        for_one_run = entry.flow_run_id if self._policy.holds_for_one_run else None
        await self._client.fill_cache(
            key.key, entry.id, expires, entry.result, flow_run_id=for_one_run, key_storage=self._policy.key_storage
        )

    async def give_up(self) -> None:
        """Lets others compute what this run was to compute."""
        if self._claimed and self._key is not None:
            self._claimed = False
            with suppress(StoreError):  # the claim ends with the process
                await self._client.release_cache_key(self._key.key, self._run.entry.id, key_storage=self._policy.key_storage)

    async def _find(self, key: str) -> Found | None:
        where = self._policy.key_storage
        while True:
            cached = await self._find_once(key)
            if cached is None:
                return None
            try:
                value = load(cached.reference)
            except MissingResult:  # its file has been removed or damaged
                await self._client.forget_cached(key, cached.task_run_id, key_storage=where)
                continue
            self._used = True
            return Found(value, cached.reference)

    async def _find_once(self, key: str) -> CachedResult | None:
        where = self._policy.key_storage
        if self._policy.isolation_level is not IsolationLevel.SERIALIZABLE:
            return await self._client.find_cached(key, key_storage=where)
        found = await self._client.find_or_claim_cached(key, self._run.entry.id, key_storage=where)
        self._claimed = found is None
        return found
