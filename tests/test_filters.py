"""The filter grammar: what a request body may say."""

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from tidemill import filters
from tidemill.filters import Filters, LogFilter, Operator, Page
from tidemill.states import StateType

ID = "01920000-0000-7000-8000-000000000001"


def test_a_request_body_is_read() -> None:
    body = {
        "flows": {"name": {"any_": ["my-flow"]}},
        "flow_runs": {
            "operator": "or_",
            "id": {"any_": [ID]},
            "state": {"type": {"any_": ["FAILED"], "not_any_": ["COMPLETED"]}, "name": {"any_": ["TimedOut"]}},
            "tags": {"all_": ["a"], "is_null_": False},
            "start_time": {"after_": "2024-01-01T00:00:00Z"},
        },
        "task_runs": {"subflow_runs": {"exists_": True}, "flow_run_id": {"is_null_": True}},
    }
    read = msgspec.convert(body, Filters)
    assert read.flow_runs is not None
    assert read.flow_runs.operator is Operator.or_
    assert read.flow_runs.state is not None
    assert read.flow_runs.state.type is not None
    assert read.flow_runs.state.type.any_ == [StateType.FAILED]
    written = json.loads(msgspec.json.encode(read))
    assert written == body


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({"flow_runs": {"nmae": {}}}, "unknown field `nmae`"),
        ({"flow_runs": {"name": {"like": "x"}}}, "unknown field `like`"),
        ({"flow_runs": {"id": {"any_": ["1"]}}}, "matching regex"),
        ({"flow_runs": {"operator": "xor_"}}, "Invalid enum value 'xor_'"),
        ({"flow_runs": {"state": {"type": {"any_": ["DONE"]}}}}, "Invalid enum value 'DONE'"),
        ({"task_runs": {"start_time": {"before_": "yesterday"}}}, "RFC3339"),
        ({"task_runs": {"start_time": {"before_": "0001-01-01T00:00:00+01:00"}}}, "outside the calendar"),
        ({"deployments": {"nmae": {}}}, "unknown field `nmae`"),
    ],
)
def test_what_is_no_filter_is_refused(body: dict[str, Any], complaint: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=complaint):
        msgspec.convert(body, Filters)


@pytest.mark.parametrize("text", ["2024-05-01T12:00:00", "2024-05-01 12:00:00Z", "2024-05-01T14:00:00+02:00"])
def test_a_time_without_a_zone_is_utc(text: str) -> None:
    read = msgspec.convert({"before_": text}, filters.TimeFilter)
    assert read.before_ == datetime(2024, 5, 1, 12, tzinfo=UTC)


def test_a_search_text_has_a_limit() -> None:
    with pytest.raises(msgspec.ValidationError, match="200"):
        msgspec.convert({"text": {"query": "x" * 201}}, LogFilter)


def test_a_page_is_the_first_unless_said_otherwise() -> None:
    assert Page() == (200, 0)


def test_sorts_have_the_names_of_the_rest_api() -> None:
    assert [sort.value for sort in filters.FlowRunSort][:3] == ["ID_DESC", "START_TIME_ASC", "START_TIME_DESC"]
    for enum in (filters.FlowSort, filters.FlowRunSort, filters.TaskRunSort, filters.LogSort):
        for sort in enum:
            assert sort.name == sort.value
