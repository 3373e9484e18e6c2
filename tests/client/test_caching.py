"""The client's verbs about cached results, with the keys in the database and in a folder."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import clock, ids, results, settings
from tidemill.client import close_sessions, connect
from tidemill.client.caching import CachedResult
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import StoreReadOnly
from tidemill.records import NewFlowRun, Progress, TaskRunEntry
from tidemill.states import COMPLETED, PENDING, Pending, ResultReference, Running

SMALL = ResultReference("json", b"42")


class Cache:
    """The verbs of a plain client, with the keys in one place."""

    def __init__(self, key_storage: str | None) -> None:
        self.key_storage = key_storage

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def do(*args: Any, **more: Any) -> Any:
            client = connect(BlockingIO())
            return run_blocking(getattr(client, verb)(*args, **more, key_storage=self.key_storage))

        return do

    def keep(self, reference: ResultReference = SMALL, key: str = "k", expires: int | None = None) -> str:
        run = ids.new_id()
        self.fill_cache(key, run, expires, reference)
        return run


@pytest.fixture(params=["database", "folder"])
def cache(request: pytest.FixtureRequest, tmp_path: Path) -> Cache:
    return Cache(None if request.param == "database" else str(tmp_path / "keys"))


def large(value: object = "tide") -> ResultReference:
    """A result in a file."""
    with settings.using(results_inline_limit=0):
        kept = results.keep(value)
    assert isinstance(kept, ResultReference)
    assert kept.inline is None
    return kept


def test_what_was_kept_is_found(cache: Cache) -> None:
    assert cache.find_cached("k") is None
    run = cache.keep()
    found = cache.find_cached("k")
    assert isinstance(found, CachedResult)
    assert (found.task_run_id, found.expires, found.reference) == (run, None, SMALL)
    assert cache.find_cached("other") is None


def test_what_has_expired_is_not_found(cache: Cache) -> None:
    moment = clock.now() + 3_600_000_000
    cache.keep(expires=moment)
    assert cache.find_cached("k", moment - 1) is not None
    assert cache.find_cached("k", moment) is None
    assert cache.find_cached("k") is not None


@pytest.mark.parametrize("key", ["a/b", "../x", "ü🌊", "x" * 5_000])
def test_any_text_is_a_key(cache: Cache, key: str) -> None:
    cache.keep(key=key)
    assert cache.find_cached(key) is not None


def test_a_result_in_a_file_is_found_while_the_file_is_there(cache: Cache, home: Path) -> None:
    reference = large()
    cache.keep(reference)
    found = cache.find_cached("k")
    assert results.load(found.reference) == "tide"
    (home / "results" / str(reference.storage_key)).unlink()
    assert cache.find_cached("k") is None


def test_a_result_in_half_a_file_is_a_miss(cache: Cache, home: Path) -> None:
    reference = large()
    cache.keep(reference)
    file = home / "results" / str(reference.storage_key)
    file.write_bytes(file.read_bytes()[:-1])
    assert cache.find_cached("k") is None


def test_a_result_at_a_url_is_believed_until_it_is_read(cache: Cache) -> None:
    run = cache.keep(ResultReference("json", None, "memory://gone/x"))
    assert cache.find_cached("k") is not None
    cache.forget_cached("k", run)
    assert cache.find_cached("k") is None


def test_forgetting_leaves_what_took_its_place(cache: Cache) -> None:
    first = cache.keep()
    second = cache.keep()
    cache.forget_cached("k", first)
    assert cache.find_cached("k").task_run_id == second
    cache.forget_cached("nothing", first)


class TestClaims:
    def test_one_run_at_a_time_computes_a_key(self, cache: Cache) -> None:
        one, other = ids.new_id(), ids.new_id()
        assert cache.claim_cache_key("k", one)
        assert cache.claim_cache_key("k", one)
        assert not cache.claim_cache_key("k", other)
        assert cache.claim_cache_key("other", other)
        cache.release_cache_key("k", other)
        assert not cache.claim_cache_key("k", other)
        cache.release_cache_key("k", one)
        assert cache.claim_cache_key("k", other)

    def test_who_keeps_a_result_releases_the_key(self, cache: Cache) -> None:
        one = ids.new_id()
        cache.claim_cache_key("k", one)
        cache.fill_cache("k", one, None, SMALL)
        assert cache.claim_cache_key("k", ids.new_id())

    def test_the_first_gets_the_claim_and_later_ones_the_result(self, cache: Cache) -> None:
        one = ids.new_id()
        assert cache.find_or_claim_cached("k", one) is None
        cache.fill_cache("k", one, None, SMALL)
        assert cache.find_or_claim_cached("k", ids.new_id()).task_run_id == one
        assert cache.claim_cache_key("k", ids.new_id())  # the second has left no claim

    def test_threads_compute_once(self, cache: Cache) -> None:
        computed: list[str] = []
        got: list[CachedResult] = []

        def compute() -> None:
            me = ids.new_id()
            found = cache.find_or_claim_cached("k", me)
            if found is None:
                computed.append(me)
                cache.fill_cache("k", me, None, SMALL)
            else:
                got.append(found)

        threads = [threading.Thread(target=compute) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(computed) == 1
        assert [found.task_run_id for found in got] == computed * 7

    def test_when_the_first_fails_the_next_computes(self, cache: Cache) -> None:
        first, second = ids.new_id(), ids.new_id()
        cache.claim_cache_key("k", first)
        answers: list[Any] = []
        waiting = threading.Thread(target=lambda: answers.append(cache.find_or_claim_cached("k", second)))
        waiting.start()
        cache.release_cache_key("k", first)
        waiting.join()
        assert answers == [None]
        assert not cache.claim_cache_key("k", first)


COMPUTE = """
import os, sys
from tidemill import ids
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.states import ResultReference

key_storage = sys.argv[1] or None
client = connect(BlockingIO())
for n in range(10):
    me = ids.new_id()
    if run_blocking(client.find_or_claim_cached(f"k{n}", me, key_storage=key_storage)) is None:
        with open("computed", "a") as file:
            file.write(f"{n}\\n")
        run_blocking(client.fill_cache(f"k{n}", me, None, ResultReference("json", b"42"), key_storage=key_storage))
"""

HOLD = """
import sys
from tidemill import ids
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking

client = connect(BlockingIO())
assert run_blocking(client.claim_cache_key("k", ids.new_id(), key_storage=sys.argv[1] or None))
print("held", flush=True)
sys.stdin.read()
"""


class TestProcesses:
    def test_processes_compute_each_key_once(self, cache: Cache, start_script: Any, tmp_path: Path) -> None:
        processes = [start_script(COMPUTE, cache.key_storage or "", cwd=tmp_path) for _ in range(4)]
        for process in processes:
            process.end()
            assert process.returncode == 0, process.told
        assert sorted((tmp_path / "computed").read_text().split(), key=int) == [str(n) for n in range(10)]

    def test_the_claim_of_a_process_that_was_killed_is_void(self, cache: Cache, start_script: Any) -> None:
        process = start_script(HOLD, cache.key_storage or "")
        assert process.stdout.readline() == "held\n", process.told
        me = ids.new_id()
        assert not cache.claim_cache_key("k", me)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cache.find_or_claim_cached("k", me) is None

    def test_the_claim_of_a_process_that_has_ended_is_void(self, cache: Cache, start_script: Any) -> None:
        process = start_script(HOLD, cache.key_storage or "")
        assert process.stdout.readline() == "held\n", process.told
        process.end("")
        assert cache.claim_cache_key("k", ids.new_id())

    def test_a_forked_child_neither_holds_nor_drops_the_claims_of_its_parent(self, cache: Cache) -> None:
        one, other = ids.new_id(), ids.new_id()
        assert cache.claim_cache_key("k", one)
        hold, go = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(hold, 1)
            os._exit(0)
        os.close(hold)
        try:
            assert not cache.claim_cache_key("k", other)
            cache.release_cache_key("k", one)
            assert cache.claim_cache_key("k", other)
        finally:
            os.close(go)
            os.waitpid(child, 0)


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path / "keys"

    def test_another_home_shares_it_with_its_results(self, folder: Path, tmp_path: Path) -> None:
        cache = Cache(str(folder))
        cache.keep(large())
        close_sessions()
        with settings.using(home=str(tmp_path / "elsewhere"), results_storage_path=str(tmp_path / "elsewhere" / "results")):
            found = cache.find_cached("k")
            assert results.load(found.reference) == "tide"
            close_sessions()

    def test_a_damaged_record_is_a_miss(self, folder: Path) -> None:
        cache = Cache(str(folder))
        cache.keep()
        (record,) = folder.iterdir()
        record.write_bytes(record.read_bytes()[:-5])
        assert cache.find_cached("k") is None
        cache.keep()
        assert cache.find_cached("k") is not None

    def test_released_locks_leave_no_files(self, folder: Path) -> None:
        cache = Cache(str(folder))
        one = ids.new_id()
        cache.claim_cache_key("k", one)
        assert [path.suffix for path in folder.iterdir()] == [".lock"]
        cache.release_cache_key("k", one)
        assert list(folder.iterdir()) == []

    def test_a_folder_that_cannot_be_written_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        cache = Cache(str(tmp_path / "file"))
        with pytest.raises(StoreReadOnly, match="key_storage"):
            cache.claim_cache_key("k", ids.new_id())


def test_deleting_a_run_leaves_the_file_that_a_hit_shares(home: Path) -> None:
    client = connect(BlockingIO())
    reference = large()
    flow_runs = [ids.new_id(), ids.new_id()]
    for flow_run_id in flow_runs:
        new = NewFlowRun(id=flow_run_id, name="adept-capuchin", flow_name="etl")
        run_blocking(client.create_flow_run(new, [Pending(), Running()]))
        progress = Progress(PENDING, "Pending", (("PENDING", None, None, 1),)).then(COMPLETED, None, None, 2)
        entry = TaskRunEntry(ids.new_id(), flow_run_id, 1, "step-0", "m.step", "0", "[]", None, 1, progress, result=reference)
        client.recorder.put(entry)
        run_blocking(client.flush())
    run_blocking(client.delete_flow_run(flow_runs[0]))
    assert results.load(reference) == "tide"
    run_blocking(client.delete_flow_run(flow_runs[1]))
    assert os.listdir(home / "results") == []
