"""What one may do with runs: each action by clicking, and what came of it as the API tells it."""

import re

import pytest
from playwright.sync_api import expect

STATE = "main header [role=status]"
# Fails until there is the file that it is told of.
BROKEN = """
import sys
from pathlib import Path
from tidemill import flow, task

@task
def prepare():
    return "prepared"

@task
def need(file, before):
    return Path(file).read_text()

@flow
def broken(file: str, times: int = 1):
    return need(file, prepare())

if __name__ == "__main__":
    for name in sys.argv[2:]:
        broken.with_options(flow_run_name=name)(sys.argv[1], return_state=True)
"""
ENDLESS = """
import sys
import time
from tidemill import flow

@flow
def endless():
    print("began", flush=True)
    while True:
        time.sleep(0.01)

if __name__ == "__main__":
    endless.with_options(flow_run_name=sys.argv[1])(return_state=True)
"""


@pytest.fixture
def broken(place, work, tmp_path):
    """Runs of a flow that failed, by the names that they are to have."""

    def make(*names):
        process = work(BROKEN, tmp_path / "needed", *names)
        process.end()
        assert process.wait() == 0, process.told
        return [place.run(name) for name in names]

    return make


def open_run(open_page, server, run, **how):
    page = open_page(server, f"/runs/{run['id']}", **how)
    expect(page.locator(STATE)).not_to_be_empty()
    return page


def choose_of_menu(page, action):
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name=action).click()


def shown_command(page):
    command = page.get_by_role("dialog").locator("code", has_text="tidemill flow-run")
    expect(command).to_be_visible()
    return command.inner_text()


def test_a_run_is_cancelled(place, work, open_page):
    process = work(ENDLESS, "tireless-mule")
    process.says("began")
    run = place.run("tireless-mule")
    page = open_run(open_page, place, run)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_label("Reason").fill("it takes too long")
    page.get_by_role("button", name="Cancel the run").click()
    expect(page.locator(STATE)).to_have_text("Cancelled")
    process.wait()
    assert place.get(f"flow_runs/{run['id']}")["state_type"] == "CANCELLED"
    said = [state["message"] for state in place.get("flow_run_states", flow_run_id=run["id"])]
    assert "it takes too long" in said
    expect(page.get_by_role("button", name="Cancel", exact=True)).to_have_count(0)


def test_a_failed_run_is_retried_by_the_command_that_is_shown(place, broken, execute, open_page, tmp_path):
    (run,) = broken("hopeful-hen")
    page = open_run(open_page, place, run)
    page.get_by_role("button", name="Retry", exact=True).click()
    page.get_by_label("Reason").fill("the file is there now")
    page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
    command = shown_command(page)
    waiting = place.get(f"flow_runs/{run['id']}")["state"]
    assert (waiting["name"], waiting["message"]) == ("AwaitingRetry", "the file is there now")

    (tmp_path / "needed").write_text("here")
    execute(command)
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    expect(page.locator(STATE)).to_have_text("Completed")
    expect(page.get_by_role("link", name="Attempt 2")).to_be_visible()
    ended = place.get(f"flow_runs/{run['id']}")
    assert (ended["state_type"], ended["run_count"]) == ("COMPLETED", 2)


def test_a_run_is_retried_from_a_task_run(place, work, execute, open_page, tmp_path):
    (tmp_path / "needed").write_text("here")
    work(BROKEN, tmp_path / "needed", "second-thought").end()
    run = place.run("second-thought")
    tasks = place.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    need = next(task for task in tasks if task["name"].startswith("need"))
    page = open_page(place, f"/task-runs/{need['id']}")
    page.get_by_role("button", name="Retry the run from this task").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
    execute(shown_command(page))

    counts = {
        task["name"].split("-")[0]: task["run_count"]
        for task in place.post("task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    }
    assert place.get(f"flow_runs/{run['id']}")["state_type"] == "COMPLETED"
    attempts = place.get(f"ui/flow_runs/{run['id']}/attempts")
    assert [(each["executed"], each["reused"]) for each in attempts] == [(2, 0), (1, 1)], counts


def test_a_paused_run_is_resumed(place, open_page):
    # As a client of the field's pauses it.
    flow = place.post("flows/", {"name": "careful"})["id"]
    run = place.post("flow_runs/", {"flow_id": flow, "name": "calm-toad", "state": {"type": "RUNNING"}})
    pause = {"type": "PAUSED", "state_details": {"pause_key": "first"}}
    place.post(f"flow_runs/{run['id']}/set_state", {"state": pause})
    page = open_run(open_page, place, run)
    expect(page.locator(STATE)).to_have_text("Paused")
    page.get_by_role("button", name="Resume", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator(STATE)).to_have_text("Running")
    assert place.get(f"flow_runs/{run['id']}")["state_type"] == "RUNNING"


def test_a_state_is_set_with_a_reason(place, broken, open_page):
    (run,) = broken("stubborn-ox")
    page = open_run(open_page, place, run)
    choose_of_menu(page, "Set the state")
    page.get_by_role("combobox", name="State").select_option("COMPLETED")
    page.get_by_role("textbox", name="Name").fill("Settled")
    page.get_by_role("textbox", name="Reason").fill("done by hand")
    page.get_by_label("Force it").check()
    page.get_by_role("button", name="Set the state").last.click()
    expect(page.locator(STATE)).to_have_text("Settled")
    state = place.get(f"flow_runs/{run['id']}")["state"]
    assert (state["type"], state["name"], state["message"]) == ("COMPLETED", "Settled", "done by hand")


def test_what_is_deleted_can_be_taken_back(place, broken, open_page):
    (run,) = broken("lucky-cat")
    page = open_run(open_page, place, run, clock=True)
    choose_of_menu(page, "Delete")
    expect(page.get_by_text("lucky-cat is deleted")).to_be_visible()
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="lucky-cat")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(STATE)).to_have_text("Failed")
    page.clock.run_for(20_000)
    assert place.run("lucky-cat")["id"] == run["id"]


def test_what_is_not_taken_back_is_deleted(place, broken, open_page, wait_until):
    broken("doomed-rat")
    page = open_run(open_page, place, place.run("doomed-rat"), clock=True)
    choose_of_menu(page, "Delete")
    expect(page.get_by_text("doomed-rat is deleted")).to_be_visible()
    assert place.run("doomed-rat") is not None
    page.clock.run_for(20_000)
    wait_until(lambda: place.run("doomed-rat") is None)
    expect(page.get_by_text("doomed-rat is deleted")).to_have_count(0)


def test_who_leaves_the_page_has_deleted_nevertheless(place, broken, open_page, wait_until):
    broken("hasty-elk")
    page = open_run(open_page, place, place.run("hasty-elk"))
    choose_of_menu(page, "Delete")
    expect(page.get_by_text("hasty-elk is deleted")).to_be_visible()
    page.goto("about:blank")
    wait_until(lambda: place.run("hasty-elk") is None)


def test_a_flow_is_run_again_with_other_parameters(place, broken, execute, open_page, tmp_path):
    (run,) = broken("second-wind")
    (tmp_path / "other").write_text("here")
    page = open_run(open_page, place, run)
    choose_of_menu(page, "Run again")
    dialog = page.get_by_role("dialog")
    times = dialog.get_by_label("times")
    times.fill("many")
    expect(dialog.get_by_role("button", name=re.compile("Make a run"))).to_be_disabled()
    times.fill("3")
    dialog.get_by_label("file").fill(str(tmp_path / "other"))
    dialog.get_by_label("Name of the run").fill("third-wind")
    dialog.get_by_role("button", name="Make a run with 2 changed").click()
    command = shown_command(page)
    made = place.run("third-wind")
    assert made["parameters"] == {"file": str(tmp_path / "other"), "times": 3}

    dialog.get_by_role("link", name="third-wind").click()
    expect(page.locator(STATE)).to_have_text("Scheduled")
    execute(command)
    expect(page.locator(STATE)).to_have_text("Completed")
    assert place.run("third-wind")["state_type"] == "COMPLETED"


@pytest.fixture
def three(broken, request):
    names = [f"{request.node.name[-12:]}-{n}" for n in range(3)]
    broken(*names)
    return names


def open_chosen(open_page, server, names, chosen, **how):
    page = open_page(server, f"/runs?q={names[0][:-2]}", **how)
    for name in chosen:
        page.get_by_role("checkbox", name=f"Choose {name}").check()
    return page


def test_many_are_retried_at_once(place, three, execute, open_page, tmp_path):
    page = open_chosen(open_page, place, three, three[:2])
    page.get_by_role("group", name="Chosen runs").get_by_role("button", name="Retry").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry", exact=True).click()
    commands = page.get_by_label("Commands", exact=True)
    expect(commands).to_be_visible()
    assert [place.run(name)["state_name"] for name in three] == ["AwaitingRetry", "AwaitingRetry", "Failed"]
    (tmp_path / "needed").write_text("here")
    for command in commands.inner_text().splitlines():
        execute(command)
    page.get_by_role("dialog").get_by_role("button", name="Close").last.click()
    for name in three[:2]:
        expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("Completed")
    assert [place.run(name)["state_type"] for name in three] == ["COMPLETED", "COMPLETED", "FAILED"]


def test_many_are_deleted_at_once(place, three, open_page, wait_until):
    page = open_chosen(open_page, place, three, three[1:], clock=True)
    page.get_by_role("group", name="Chosen runs").get_by_role("button", name="Delete").click()
    expect(page.get_by_role("row").filter(has_text=three[1])).to_have_count(0)
    page.clock.run_for(20_000)
    wait_until(lambda: [place.run(name) is None for name in three] == [False, True, True])


def test_many_are_cancelled_at_once(place, work, open_page):
    names = ["idle-ant-1", "idle-ant-2"]
    processes = [work(ENDLESS, name) for name in names]
    for process in processes:
        process.says("began")
    page = open_chosen(open_page, place, names, names)
    page.get_by_role("group", name="Chosen runs").get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Cancel 2 runs").click()
    for name in names:
        expect(page.get_by_role("row").filter(has_text=name)).to_contain_text("Cancelled")
    for process in processes:
        process.wait()
    assert [place.run(name)["state_type"] for name in names] == ["CANCELLED", "CANCELLED"]
