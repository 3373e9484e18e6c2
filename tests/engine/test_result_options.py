"""The options of a task or flow about its results: whether, where, how and under which names they are kept."""

import json
import os

import pytest

from tidemill import ProcessPoolTaskRunner, flow, task
from tidemill.caching import INPUTS
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import MissingResult
from tidemill.filters import Filters, IdFilter, TaskRunFilter


def called(colour, each, *args, **options):
    """Calls a task in a flow."""

    @flow(**options)
    @colour.paint
    async def parent():
        return [await colour.call(each, *args)]

    (value,) = colour.run(parent)
    return value


def read_back(run):
    """The value of a recorded run, as another process finds it."""
    chosen = Filters(task_runs=TaskRunFilter(id=IdFilter(any_=[run["id"]])))
    (found,) = run_blocking(connect(BlockingIO()).task_runs(chosen))
    return found.state.result()


def content(path):
    """What a file of results holds, behind the line that tells whether it is whole."""
    return path.read_bytes().partition(b"\n")[2]


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_is_not_to_be_kept_is_executed_again_on_resume(colour, recorded):
    bad, made = True, []

    @task(persist_result=False)
    @colour.paint
    async def fresh():
        made.append(1)
        return len(made)

    @task
    @colour.paint
    async def kept():
        made.append("kept")
        return 5

    @flow(idempotency_key="k")
    @colour.paint
    async def parent():
        values = [await colour.call(fresh), await colour.call(kept)]
        if bad:
            raise OSError
        return values

    colour.run(parent, return_state=True)
    bad = False
    assert colour.run(parent) == [3, 5]
    assert made == [1, "kept", 1]


def test_what_is_not_to_be_kept_is_still_handed_over(colour, recorded):
    @task(persist_result=False)
    @colour.paint
    async def give():
        return {"a": 1}

    assert called(colour, give) == {"a": 1}
    assert not any("is not kept" in log["message"] for log in recorded.logs())
    with pytest.raises(MissingResult):
        read_back(recorded.task_run())


def test_a_folder_and_a_template(colour, recorded, tmp_path):
    place = tmp_path / "kept"

    @task(result_storage=place, result_storage_key="{flow_run.name}/{task_run.name}-{parameters[day]}.json")
    @colour.paint
    async def report(day):
        return {"day": day}

    assert called(colour, report, 3, flow_run_name="nightly") == {"day": 3}
    (name,) = files(place)
    assert name.startswith("nightly/report-")
    assert name.endswith("-0-3.json")
    assert read_back(recorded.task_run()) == {"day": 3}


@pytest.mark.parametrize("serializer", ["json", "pickle", "compressed/json", "compressed/pickle"])
def test_serializers(colour, recorded, tmp_path, serializer):
    @task(result_storage=tmp_path / "kept", result_serializer=serializer, result_storage_key="one")
    @colour.paint
    async def give():
        return {"a": [1, "x" * 10_000]}

    assert called(colour, give) == {"a": [1, "x" * 10_000]}
    written = content(tmp_path / "kept" / "one")
    assert (len(written) < 5_000) == serializer.startswith("compressed")
    if serializer == "json":
        assert json.loads(written) == {"a": [1, "x" * 10_000]}
    assert read_back(recorded.task_run()) == {"a": [1, "x" * 10_000]}


def test_a_storage_in_memory(colour, recorded):
    @task(result_storage="memory://results")
    @colour.paint
    async def give():
        return [1, 2]

    assert called(colour, give) == [1, 2]
    assert read_back(recorded.task_run()) == [1, 2]


def test_what_a_task_leaves_open_is_as_in_its_flow(colour, recorded, tmp_path):
    @task
    @colour.paint
    async def as_the_flow():
        return 1

    @task(result_storage=tmp_path / "own", result_serializer="pickle")
    @colour.paint
    async def own():
        return 2

    @task(persist_result=True)
    @colour.paint
    async def kept_all_the_same():
        return 3

    @flow(result_storage=tmp_path / "of the flow", result_serializer="json")
    @colour.paint
    async def parent():
        await colour.call(as_the_flow)
        await colour.call(own)
        return "its own"

    @flow(persist_result=False)
    @colour.paint
    async def keeps_nothing():
        await colour.call(as_the_flow)
        await colour.call(kept_all_the_same)
        return "its own"

    assert colour.run(parent) == "its own"
    assert b"1" in [content(tmp_path / "of the flow" / name) for name in files(tmp_path / "of the flow")]
    assert len(files(tmp_path / "own")) == 1
    colour.run(keeps_nothing)
    runs = {run["name"].partition("-")[0]: run for run in recorded.task_runs(recorded.flow_run(flow="keeps-nothing"))}
    assert read_back(runs["kept_all_the_same"]) == 3
    with pytest.raises(MissingResult):
        read_back(runs["as_the_flow"])


@pytest.mark.parametrize("runner", [None, pytest.param(ProcessPoolTaskRunner(1), marks=pytest.mark.program)], ids=repr)
def test_a_future_that_holds_no_value_reads_it_each_time(colour, runner):
    @task(cache_result_in_memory=False)
    @colour.paint
    async def give():
        return ["x" * 10]

    @flow(task_runner=runner)
    @colour.paint
    async def parent():
        future = give.submit()
        if colour.is_async:
            first, second = await future, await future
        else:
            first, second = future.result(), future.result()
        return [first == second == ["x" * 10], first is second]

    assert colour.run(parent) == [True, False]


def test_such_a_future_is_an_input_too(colour):
    @task(cache_result_in_memory=False)
    @colour.paint
    async def give():
        return [1, 2]

    @task
    @colour.paint
    async def total(values):
        return sum(values)

    @flow
    @colour.paint
    async def parent():
        future = total.submit(give.submit())
        return await future if colour.is_async else future.result()

    assert colour.run(parent) == 3


def test_a_kept_file_that_is_gone_means_that_the_task_is_executed_again(colour, tmp_path):
    bad, made = True, []

    @task(result_storage=tmp_path / "kept")
    @colour.paint
    async def make():
        made.append(1)
        return len(made)

    @flow(idempotency_key="k")
    @colour.paint
    async def parent():
        value = await colour.call(make)
        if bad:
            raise OSError
        return value

    colour.run(parent, return_state=True)
    for name in files(tmp_path / "kept"):
        (tmp_path / "kept" / name).unlink()
    bad = False
    assert colour.run(parent) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"\x80\x05"])
def test_a_damaged_file_is_never_a_wrong_value(colour, tmp_path, damage):
    made = []

    @task(result_storage=tmp_path / "kept", result_storage_key="{parameters[x]}", cache_policy=INPUTS)
    @colour.paint
    async def make(x):
        made.append(1)
        return {"made": len(made)}

    assert called(colour, make, 1) == {"made": 1}
    (tmp_path / "kept" / "1").write_bytes(damage)
    assert called(colour, make, 1) == {"made": 2}
    assert called(colour, make, 1) == {"made": 2}


def test_a_folder_that_cannot_be_made_is_told(colour, recorded, tmp_path):
    (tmp_path / "file").write_text("in the way")

    @task(result_storage=tmp_path / "file" / "kept")
    @colour.paint
    async def give():
        return 1

    with pytest.raises(Exception, match="kept"):
        called(colour, give)
    assert os.path.isfile(tmp_path / "file")
