"""What a flow takes is recorded when it is called: once for each function, name and database."""

import asyncio
import pickle
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tidemill import flow
from tidemill.client import connect
from tidemill.colour import BlockingIO
from tidemill.testing import temporary_home


class Asked:
    """A type that tells its schema as models do, and counts how often it is asked."""

    times = 0

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        cls.times += 1
        return {"type": "string"}


class Broken(Asked):
    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        cls.times += 1
        raise RuntimeError("no schema today")


@pytest.fixture(autouse=True)
def from_zero():
    Asked.times = Broken.times = 0


@pytest.fixture
def recorded_for():
    """The schemas that are recorded, by the names of their flows."""

    def read() -> dict[str, Any]:
        rows = connect(BlockingIO()).database.fetch("SELECT name, parameter_schema FROM flow", ())
        return {name: schema and msgspec.json.decode(schema) for name, schema in rows}

    return read


@flow(validate_parameters=False)
def asking(a: Asked): ...


class Shop:
    @flow(validate_parameters=False)
    def sell(self, b: Asked = "tea"): ...

    @flow(validate_parameters=False)
    @classmethod
    def close(cls, c: Asked): ...


def test_once_for_all_runs(recorded_for):
    for n in range(3):
        asking(n)
    assert recorded_for()["asking"]["properties"] == {"a": {"title": "a", "type": "string", "position": 0}}
    assert Asked.times == 1


def test_also_of_methods_subflows_and_async_flows(recorded_for):
    @flow(validate_parameters=False)
    async def outer(d: Asked):
        Shop.close(True)
        return Shop().sell(), Shop().sell()

    for _ in range(2):
        asyncio.run(outer([1]))
    assert {name: list(schema["properties"]) for name, schema in recorded_for().items()} == {
        "outer": ["d"],
        "sell": ["b"],
        "close": ["c"],
    }
    assert Asked.times == 3


def test_under_another_name_and_in_another_database_again(recorded_for, tmp_path: Path):
    @flow(validate_parameters=False)
    def here(a: Asked): ...

    here(1)
    for _ in range(2):
        here.with_options(retries=1)(1)
        here.with_options(name="other")(1)
    assert set(recorded_for()) == {"here", "other"}
    with temporary_home(tmp_path / "elsewhere"):
        here(1)
        assert set(recorded_for()) == {"here"}
    assert Asked.times == 3


def test_what_is_known_stays_behind_when_a_flow_travels(recorded_for):
    asking(1)
    changed = asking.with_options(name="travelled")
    changed(1)
    assert b"schema_known" not in pickle.dumps(changed)
    pickle.loads(pickle.dumps(changed))(1)
    assert Asked.times == 3
    assert set(recorded_for()) == {"asking", "travelled"}


def test_what_cannot_be_told_harms_no_run_and_is_tried_once(recorded_for):
    @flow(validate_parameters=False)
    def odd(a: Broken): ...

    odd(1)
    odd(2)
    assert recorded_for() == {"odd": None}
    assert Broken.times == 1


def test_a_run_with_wrong_parameters_tells_it_too(recorded_for):
    @flow
    def strict(n: int): ...

    assert strict("x", return_state=True).is_failed()
    assert recorded_for()["strict"]["required"] == ["n"]
