"""What a flow takes, as it is kept beside the flow."""

from typing import Any

from tidemill.store import flows, reading


def kept(desk: Any) -> str | None:
    flow = reading.flow_by_name(desk.fetch, "etl")
    assert flow is not None
    return flows.recorded_parameters(desk.fetch, flow.id)


def test_the_latest_is_kept_and_what_says_nothing_changes_nothing(desk: Any) -> None:
    desk.flow_run()
    assert kept(desk) is None
    for schema in (b'{"type":"object"}', None, b'{"type":"object"}', b'{"title":"other"}'):
        desk.flow_run(parameter_schema=schema)
    assert kept(desk) == '{"title":"other"}'


def test_a_flow_that_is_not_there_takes_nothing_known(desk: Any) -> None:
    assert flows.recorded_parameters(desk.fetch, "01a20228-08a1-71b7-83e3-616c46d61474") is None
