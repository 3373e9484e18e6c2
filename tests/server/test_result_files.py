"""Result files of runs that are deleted over the API: those in the server's own folder go with them."""

from pathlib import Path
from typing import Any

import pytest

from tidemill import flow, task

LARGE = 1_000_000


@task
def fetch(n: int) -> str:
    return "x" * (LARGE + n)


@task(cache_key_fn=lambda context, parameters: "one key")
def fetch_cached() -> str:
    return "y" * LARGE


@pytest.fixture
def files(home: Path) -> Any:
    """How many result files there are."""
    return lambda: len(list((home / "results").iterdir()))


def only(served: Any, what: str, **filters: Any) -> str:
    [run] = served.post(f"{what}/filter", filters)
    return run["id"]


@pytest.fixture
def two_files(served: Any, files: Any) -> str:
    """A flow run with two result files, its own and its task run's."""

    @flow(persist_result=True)
    def nightly() -> str:
        return fetch(0)

    nightly()
    assert files() == 2
    return only(served, "flow_runs")


def test_with_a_flow_run(served: Any, files: Any, two_files: str) -> None:
    served.answer("DELETE", f"flow_runs/{two_files}", 204)
    assert files() == 0


def test_with_many_flow_runs(served: Any, files: Any, two_files: str) -> None:
    assert served.post("flow_runs/bulk_delete") == {"deleted": [two_files]}
    assert files() == 0


@pytest.mark.parametrize("many", [True, False])
def test_with_a_flow(served: Any, files: Any, two_files: str, many: bool) -> None:
    flow_id = only(served, "flows")
    if many:
        assert served.post("flows/bulk_delete") == {"deleted": [flow_id]}
    else:
        served.answer("DELETE", f"flows/{flow_id}", 204)
    assert files() == 0


def test_with_a_task_run(served: Any, files: Any, two_files: str) -> None:
    served.answer("DELETE", f"task_runs/{only(served, 'task_runs')}", 204)
    assert files() == 1


def test_what_others_use_stays(served: Any, files: Any, home: Path) -> None:
    @flow
    def first() -> None:
        fetch_cached()

    @flow
    def elsewhere() -> None:
        fetch.with_options(result_storage=home / "mine")(1)

    first()
    elsewhere()
    assert files() == 1
    served.post("flow_runs/bulk_delete")
    assert served.post("flow_runs/count") == 0
    assert files() == 1, "the cached result goes on being used"
    assert len(list((home / "mine").iterdir())) == 1, "another folder is its owner's"
