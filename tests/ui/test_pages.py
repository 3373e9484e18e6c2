"""Every page opens, without a complaint of the browser or of axe, in both themes, on a large screen and on a small one."""

import pytest
from playwright.sync_api import expect

PAGES = {
    "dashboard": "/",
    "runs": "/runs",
    "run": "/runs/{weather}",
    "failed run": "/runs/{failed}",
    "large run": "/runs/{large}",
    "logs": "/runs/{weather}?tab=logs",
    "task runs": "/runs/{weather}?tab=task-runs",
    "attempts": "/runs/{weather}?tab=attempts",
    "parameters": "/runs/{weather}?tab=parameters",
    "details": "/runs/{weather}?tab=details",
    "task run": "/task-runs/{task}",
    "failed task run": "/task-runs/{failed_task}",
    "flows": "/flows",
    "flow": "/flows/{flow}",
    "compare": "/compare?left={left}&right={right}",
    "limits": "/concurrency-limits",
    "variables": "/variables",
    "artifacts": "/artifacts",
    "settings": "/settings",
    "no such page": "/nowhere",
}


@pytest.fixture(scope="module")
def ids(scene):
    """What addresses are about."""

    def newest(flow_name, *types):
        runs = scene.runs(state={"type": {"any_": list(types)}}) if types else scene.runs()
        return next(run for run in runs if run["flow_name"] == flow_name)

    weather = newest("weather", "COMPLETED")
    failed = newest("nightly-load", "FAILED")
    trained = [run for run in scene.runs() if run["flow_name"] == "train-model"]
    tasks = scene.post("task_runs/filter", {"flow_runs": {"id": {"any_": [weather["id"]]}}})
    broken = scene.post(
        "task_runs/filter",
        {"flow_runs": {"id": {"any_": [failed["id"]]}}, "task_runs": {"state": {"type": {"any_": ["FAILED"]}}}},
    )
    return {
        "weather": weather["id"],
        "failed": failed["id"],
        "large": max(trained, key=lambda run: run["parameters"]["batches"])["id"],
        "task": tasks[0]["id"],
        "failed_task": broken[0]["id"],
        "flow": weather["flow_id"],
        "left": trained[0]["id"],
        "right": trained[1]["id"],
    }


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_it_opens_and_axe_finds_nothing_serious(name, theme, ids, scene, open_page, axe):
    page = open_page(scene, PAGES[name].format(**ids), theme=theme, ready="main h1, main h2")
    assert axe(page) == []


@pytest.mark.parametrize("name", PAGES)
def test_it_fits_a_telephone(name, ids, scene, open_page):
    page = open_page(scene, PAGES[name].format(**ids), width=380, height=800, ready="main h1, main h2")
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_a_failing_flows_error_is_seen_without_a_click(ids, scene, open_page):
    page = open_page(scene, f"/runs/{ids['failed']}")
    expect(page.get_by_text("StationSilent").first).to_be_in_viewport()
    expect(page.get_by_text("at least 5000 were expected").first).to_be_in_viewport()
