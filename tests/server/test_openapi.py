"""The description of the API, and whether the API survives whatever it allows."""

import re
from collections import Counter

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase

# It never ends, which is tested elsewhere.
WITHOUT_END = {"/api/events/stream"}
EXAMPLES = 4


@pytest.fixture
def document(served):
    return served.api.get(f"{served.url}/openapi.json").json()


def operations(document):
    return [(method, path, operation) for path, of_path in document["paths"].items() for method, operation in of_path.items()]


def test_every_operation_has_a_name_of_its_own_a_subject_and_a_summary(document):
    described = operations(document)
    assert len(described) > 100
    assert [name for name, count in Counter(operation["operationId"] for *_, operation in described).items() if count > 1] == []
    for _, path, operation in described:
        assert re.fullmatch(r"[a-z0-9_\-]+", operation["operationId"]), path
        assert operation["tags"], path
        assert operation["summary"], path
        assert "400" not in operation["responses"], path


def test_the_names_of_kinds_are_plain(document):
    names = set(document["components"]["schemas"])
    assert {"Flow", "FlowRun", "TaskRun", "State", "Log", "PaginatedFlowRun"} <= names
    assert all(name.isidentifier() and "_" not in name for name in names)


def test_what_is_created_or_is_there_already_is_told_apart(document):
    paths = document["paths"]
    for path in ("/api/flows", "/api/flow_runs", "/api/task_runs", "/api/flow_runs/{flow_run_id}/set_state"):
        assert {"200", "201"} <= set(paths[path]["post"]["responses"])
    assert paths["/api/flow_runs/filter"]["post"]["requestBody"]["required"] is False
    assert paths["/api/flow_runs"]["post"]["requestBody"]["required"] is True


def test_the_page_shows_every_operation_and_needs_nothing_from_elsewhere(served, document):
    answer = served.api.get(f"{served.url}/docs")
    assert answer.headers["content-type"].startswith("text/html")
    for _, path, operation in operations(document):
        assert f'id="{operation["operationId"]}"' in answer.text, path
    assert "<script" not in answer.text
    assert set(re.findall(r'(?:src|href)="([^#"]+)', answer.text)) == {"/openapi.json"}


def test_nothing_that_the_document_allows_breaks_the_server(served, document):
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url)
    served.post("flow_runs/", {"flow_id": served.post("flows/", {"name": "x"})["id"]})
    broken: list[str] = []
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.method.upper() not in ("GET", "POST") or operation.path in WITHOUT_END:
            continue
        tried += 1
        broken += attempts(served, operation)
    assert tried > 70
    assert broken == []


def attempts(served, operation):
    """Tries an operation a few times; gives the attempts that broke the server."""
    broken: list[str] = []

    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def attempt(case):
        asked = case.as_transport_kwargs(base_url=served.url)
        body = {"content": asked["data"]} if isinstance(asked.get("data"), bytes | str) else {"json": asked.get("json")}
        url, params, headers = asked["url"], asked.get("params"), asked.get("headers")
        answer = served.api.request(asked["method"], url, params=params, headers=headers, **body)
        if answer.status_code >= 500:
            broken.append(f"{asked}: {answer.text}")

    attempt()
    return broken
