"""The cache in the store: results by key, claims that go with their process, and the runs that had a key."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tidemill import ids
from tidemill.states import COMPLETED, RUNNING, ResultReference, StateDetails
from tidemill.store import caching, leases
from tidemill.store.caching import CachedResult

NOW = 1_714_564_800_000_000
SMALL = ResultReference("json", b"42")
LARGE = ResultReference("pickle", None, "some-key")


def result(reference: ResultReference = SMALL, expires: int | None = None, created: int = NOW) -> CachedResult:
    return CachedResult(ids.new_id(), created, expires, reference)


class Cache:
    """The verbs, each in a transaction of its own."""

    def __init__(self, desk: Any) -> None:
        self.desk = desk

    def find(self, key: str = "k", now: int = NOW) -> CachedResult | None:
        return caching.find(self.desk.fetch, key, now)

    def fill(self, kept: CachedResult, key: str = "k", flow_run_id: str | None = None) -> CachedResult:
        with self.desk.store.transaction() as execute:
            caching.fill(execute, key, kept, flow_run_id)
        return kept

    def forget(self, task_run_id: str, key: str = "k") -> None:
        with self.desk.store.transaction() as execute:
            caching.forget(execute, key, task_run_id)

    def claim(self, owner: str, lease: Any = None, key: str = "k") -> bool:
        with self.desk.store.transaction() as execute:
            leases.ensure_lease(execute, lease or self.desk.lease)
            return caching.claim(execute, key, owner, (lease or self.desk.lease).id, NOW)

    def release(self, owner: str, key: str = "k") -> None:
        with self.desk.store.transaction() as execute:
            caching.release(execute, key, owner)


@pytest.fixture
def cache(desk: Any) -> Cache:
    return Cache(desk)


class TestResults:
    @pytest.mark.parametrize("reference", [SMALL, LARGE, ResultReference("json", b"")])
    def test_what_was_kept_is_found(self, cache: Cache, reference: ResultReference) -> None:
        assert cache.find() is None
        kept = cache.fill(result(reference))
        assert cache.find() == kept
        assert cache.find("another") is None

    def test_the_last_one_counts(self, cache: Cache) -> None:
        cache.fill(result(SMALL, NOW + 1))
        kept = cache.fill(result(LARGE))
        assert cache.find(now=NOW + 10) == kept

    @pytest.mark.parametrize(("now", "found"), [(NOW + 9, True), (NOW + 10, False), (NOW + 11, False)])
    def test_what_has_expired_is_not_found(self, cache: Cache, now: int, found: bool) -> None:
        cache.fill(result(expires=NOW + 10))
        assert (cache.find(now=now) is not None) is found

    def test_what_has_expired_goes_when_others_come(self, cache: Cache, desk: Any) -> None:
        for n in range(15):
            cache.fill(result(expires=NOW + 10), f"old-{n}")
        cache.fill(result(created=NOW + 20), "new-1")
        assert desk.count("cache") == 6
        cache.fill(result(created=NOW + 20), "new-2")
        assert desk.count("cache") == 2

    def test_what_cannot_be_read_any_more_is_forgotten_unless_another_took_its_place(self, cache: Cache) -> None:
        first, second = result(), result()
        cache.fill(first)
        cache.fill(second)
        cache.forget(first.task_run_id)
        assert cache.find() == second
        cache.forget(second.task_run_id)
        assert cache.find() is None

    def test_what_only_one_flow_run_can_use_goes_with_it(self, cache: Cache, desk: Any) -> None:
        run = desk.flow_run()
        cache.fill(result(), "bound", run)
        cache.fill(result(), "free")
        desk.execute("DELETE FROM flow_run WHERE id = ?", ids.to_bytes(run))
        assert cache.find("bound") is None
        assert cache.find("free") is not None

    def test_nothing_is_kept_for_a_flow_run_that_is_gone(self, cache: Cache) -> None:
        cache.fill(result(), flow_run_id=ids.new_id())
        assert cache.find() is None

    def test_a_lookup_reads_one_row(self, desk: Any) -> None:
        plan = desk.plan("SELECT * FROM cache WHERE key = ? AND (expires IS NULL OR expires > ?)", "k", 1)
        assert "using index" in plan.lower().replace("index scan using", "using index")


class TestClaims:
    def test_only_one_holds_a_key(self, cache: Cache) -> None:
        one, other = ids.new_id(), ids.new_id()
        assert cache.claim(one)
        assert not cache.claim(other)
        assert cache.claim(other, key="another")

    def test_who_holds_it_may_ask_again(self, cache: Cache) -> None:
        one = ids.new_id()
        assert cache.claim(one)
        assert cache.claim(one)

    def test_a_released_key_is_free_and_only_its_owner_releases_it(self, cache: Cache) -> None:
        one, other = ids.new_id(), ids.new_id()
        cache.claim(one)
        cache.release(other)
        assert not cache.claim(other)
        cache.release(one)
        assert cache.claim(other)

    def test_a_claim_goes_with_the_lease_of_its_process(self, cache: Cache, desk: Any) -> None:
        lost = desk.another_lease()
        assert cache.claim(ids.new_id(), lost)
        with desk.store.transaction() as execute:
            leases.delete_lease(execute, lost.id)
        assert cache.claim(ids.new_id())


class TestKeyedRuns:
    @staticmethod
    def record(desk: Any, n: int, cache_key: str | None, task_key: str = "module.step", **details: Any) -> str:
        entry = desk.entry(
            None,
            n,
            task_key=task_key,
            cache_key=cache_key,
            created=NOW + n,
            details=StateDetails(**details) if details else None,
        )
        desk.record([desk.advance(entry, RUNNING, COMPLETED)])
        return entry.id

    def test_a_run_is_told_with_its_key(self, desk: Any) -> None:
        expires = datetime(2026, 11, 22, 12, tzinfo=UTC)
        run = caching.keyed_run(desk.fetch, self.record(desk, 0, "k", cache_expiration=expires))
        assert run is not None
        assert (run.name, run.cache_key, run.state_type, run.expires) == ("step-0", "k", COMPLETED, expires)
        assert run.ended is not None
        assert run.ended > run.time
        assert run.refreshed is False
        assert caching.keyed_run(desk.fetch, ids.new_id()) is None

    def test_what_the_key_was_made_of_is_told(self, desk: Any) -> None:
        id = self.record(desk, 0, "k")
        details = '{"cache_ingredients": {"inputs.x": "12ab"}, "refresh_cache": true, "error": null}'
        desk.execute("UPDATE task_run SET details = ? WHERE id = ?", details, ids.to_bytes(id))
        run = caching.keyed_run(desk.fetch, id)
        assert run is not None
        assert run.ingredients == {"inputs.x": "12ab"}
        assert run.refreshed is True

    def test_the_runs_before_it_of_its_task_or_with_its_key_are_told_newest_first(self, desk: Any) -> None:
        first = self.record(desk, 0, "a")
        self.record(desk, 1, None)
        other_task = self.record(desk, 2, "k", task_key="module.other")
        self.record(desk, 3, "b", task_key="module.other")
        third = self.record(desk, 4, "k")
        run = self.record(desk, 5, "k")
        self.record(desk, 6, "k")
        found = [one.id for one in caching.earlier_keyed_runs(desk.fetch, run, 100)]
        assert found == [third, other_task, first]
        assert [one.id for one in caching.earlier_keyed_runs(desk.fetch, run, 1)] == [third]
        assert caching.earlier_keyed_runs(desk.fetch, ids.new_id(), 100) == []


def test_the_files_that_other_runs_share_are_known(desk: Any) -> None:
    keys = [f"file-{n}" for n in range(1_200)]
    for n in (3, 700, 1_199):
        desk.record([desk.entry(None, n, result=ResultReference("pickle", None, keys[n]))])
    assert caching.keys_in_use(desk.fetch, keys) == {keys[3], keys[700], keys[1_199]}
    assert caching.keys_in_use(desk.fetch, []) == set()
    assert "task_run_by_result_key" in desk.plan("SELECT result_key FROM task_run WHERE result_key IN (?, ?)", "a", "b")
