"""What a form for another run of a flow is made from."""

from typing import Any

from tidemill import flow

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


def test_of_a_run_of_another_client_the_schema_is_inferred(served: Any) -> None:
    flow = served.post("flows/", {"name": "theirs"})["id"]
    values = {"day": "monday", "upto": 3, "options": {"dry": True}}
    run = served.post("flow_runs/", {"flow_id": flow, "parameters": values})["id"]
    answer = served.get(f"ui/flow_runs/{run}/parameter_schema")
    assert (answer["values"], answer["recorded"]) == (values, False)
    assert answer["schema"]["properties"] == {
        "day": {"title": "day", "type": "string", "position": 0},
        "upto": {"title": "upto", "type": "integer", "position": 1},
        "options": {"title": "options", "type": "object", "properties": {"dry": {"type": "boolean"}}, "position": 2},
    }


def test_of_a_run_that_is_not_there(served: Any) -> None:
    served.get(f"ui/flow_runs/{UNKNOWN}/parameter_schema", code=404)
    served.get("ui/flow_runs/nonsense/parameter_schema", code=422)


def test_what_a_flow_takes_is_recorded_when_it_is_called(served: Any, home: Any) -> None:
    @flow(name="nightly")
    def first(day: str, upto: int | None = None) -> None:
        """Fetches the days.

        One after the other.
        """

    first("monday")
    [run] = served.post("flow_runs/filter")
    answer = served.get(f"ui/flow_runs/{run['id']}/parameter_schema")
    assert (answer["recorded"], answer["values"]) == (True, {"day": "monday", "upto": None})
    assert answer["schema"]["required"] == ["day"]
    assert answer["schema"]["description"] == "Fetches the days."
    assert answer["schema"]["properties"]["upto"]["anyOf"] == [{"type": "integer"}, {"type": "null"}]

    @flow(name="nightly")
    def second(days: list[str]) -> None: ...

    second([])
    changed = served.get(f"ui/flow_runs/{run['id']}/parameter_schema")
    assert list(changed["schema"]["properties"]) == ["days"]
