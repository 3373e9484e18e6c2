"""What a form for another run of a flow is made from."""

from typing import Any

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
