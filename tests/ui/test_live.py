"""The page while things happen: flows that run, and a server that goes away and comes back."""

import re
from signal import SIGKILL

import pytest
from playwright.sync_api import expect

# It takes a step, or ends, when it is told to.
STEPS = """
import sys
from tidemill import flow, get_run_logger, task

@task
def step(word):
    get_run_logger().info("the word is %s", word)

@flow(name="steps", flow_run_name=sys.argv[1])
def steps():
    print("began", flush=True)
    for line in sys.stdin:
        step(line.strip())

steps()
"""
STATE = "main header [role=status]"
SILENT = "What you see may be old"


def remember(page):
    page.evaluate("() => { window.isStillThis = true }")


def is_still_this(page):
    return page.evaluate("() => window.isStillThis === true")


def test_a_run_is_seen_from_its_begin_to_its_end(place, open_page, work):
    runs = open_page(place, "/runs")
    remember(runs)
    process = work(STEPS, "patient-crane")
    process.says("began")
    row = runs.get_by_role("row").filter(has_text="patient-crane")
    expect(row).to_contain_text("Running")

    run = open_page(place, f"/runs/{place.run('patient-crane')['id']}")
    remember(run)
    expect(run.locator(STATE)).to_have_text("Running")
    process.tell("heron")
    expect(run.get_by_text("the word is heron")).to_be_visible()
    expect(run.get_by_role("tab", name=re.compile("Task runs"))).to_contain_text("1")
    process.tell("stork")
    expect(run.get_by_text("the word is stork")).to_be_visible()
    run.get_by_role("tab", name=re.compile("Task runs")).click()
    expect(run.get_by_role("row").filter(has_text=re.compile("step-"))).to_have_count(2)
    process.tell("ibis")
    expect(run.get_by_role("row").filter(has_text=re.compile("step-"))).to_have_count(3)

    process.end()
    expect(run.locator(STATE)).to_have_text("Completed")
    expect(row).to_contain_text("Completed")
    assert is_still_this(runs)
    assert is_still_this(run)


def test_a_server_that_comes_back_is_heard_again(tmp_path, open_page, start_server, start_script, excused):
    excused += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
    server = start_server(tmp_path / "own")
    process = start_script(STEPS, "loyal-dog", env={"TIDEMILL_HOME": str(server.home)})
    process.says("began")
    runs = open_page(server, "/runs")
    run = open_page(server, f"/runs/{server.run('loyal-dog')['id']}")
    row = runs.get_by_role("row").filter(has_text="loyal-dog")
    for page, state in ((runs, row), (run, run.locator(STATE))):
        remember(page)
        expect(state).to_contain_text("Running")

    server.stop(SIGKILL)
    for page in (runs, run):
        expect(page.get_by_text(SILENT)).to_be_visible()
    process.tell("nobody hears it")
    process.end()
    start_server(server.home, port=server.port)
    for page, state in ((runs, row), (run, run.locator(STATE))):
        expect(page.get_by_text(SILENT)).to_have_count(0)
        expect(state).to_contain_text("Completed")
        assert is_still_this(page)
    expect(run.get_by_text("the word is nobody hears it")).to_be_visible()


@pytest.mark.parametrize("address", ["/", "/runs", "/runs/{run}", "/runs/{run}?tab=task-runs", "/flows", "/flows/{flow}"])
def test_a_page_at_rest_asks_for_nothing(address, scene, open_page):
    run = next(run for run in scene.runs() if run["flow_name"] == "weather")
    page = open_page(scene, address.format(run=run["id"], flow=run["flow_id"]), clock=True)
    page.wait_for_load_state("load")
    # What is asked for when the stream has begun is asked for soon; the page's time is moved on, the network's is not, so some
    # answers are waited for. After 40 seconds of silence the stream would be taken for lost.
    for _ in range(6):
        page.evaluate("fetch('./api/flow_runs/filter', {method: 'POST', body: '{}'}).then((answer) => answer.text())")
        page.clock.run_for(2_000)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.run_for(18_000)
    assert asked == []
