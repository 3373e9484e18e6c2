"""Which runs are listed: chosen on the page, kept in the address, saved under a name."""

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture
def names(scene):
    """The names of the runs of a flow."""
    return lambda flow, **also: {run["name"] for run in scene.runs(**also) if run["flow_name"] == flow}


def listed(page):
    return page.get_by_role("region", name="Runs").locator("a.run")


def expect_listed(page, names):
    expect(listed(page)).to_have_count(len(names))
    assert {name.strip() for name in listed(page).all_inner_texts()} == set(names)


def test_states_come_back_with_the_address(scene, open_page, names):
    page = open_page(scene, "/runs")
    page.get_by_role("search").get_by_role("button", name="State").click()
    page.get_by_role("menuitemcheckbox", name="Failed").click()
    page.get_by_role("menuitemcheckbox", name="Crashed").click()
    page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile(r"state=FAILED(,|%2C)CRASHED"))
    failed = {run["name"] for run in scene.runs(state={"type": {"any_": ["FAILED", "CRASHED"]}})}
    expect_listed(page, failed)
    page.reload()
    expect_listed(page, failed)
    expect(page.get_by_role("search").get_by_role("button", name="Failed, Crashed")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(page).to_have_url(re.compile(r"/runs$"))


def test_text_flow_and_order_come_back_with_the_address(scene, open_page, names):
    page = open_page(scene, "/runs")
    page.get_by_role("combobox", name="Flow", exact=True).fill("nightly-load")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("flow=nightly-load"))
    expect_listed(page, names("nightly-load"))
    page.get_by_role("searchbox", name="Run, flow or id").fill("2026-11-21")
    expect(page).to_have_url(re.compile("q=2026-11-21"))
    expect_listed(page, ["load 2026-11-21"])
    page.get_by_role("combobox", name="Sort").select_option("START_TIME_ASC")
    expect(page).to_have_url(re.compile("sort=START_TIME_ASC"))
    page.reload()
    expect_listed(page, ["load 2026-11-21"])
    expect(page.get_by_role("combobox", name="Flow", exact=True)).to_have_value("nightly-load")
    expect(page.get_by_role("combobox", name="Sort")).to_have_value("START_TIME_ASC")


def test_subflow_runs_are_listed_if_they_are_asked_for(scene, open_page, names):
    page = open_page(scene, "/runs?flow=publish")
    expect(page.get_by_text("No run fits these filters")).to_be_visible()
    page.get_by_role("checkbox", name="Subflow runs").check()
    expect_listed(page, names("publish"))
    expect(page).to_have_url(re.compile("subflows=1"))


def test_a_time_range_comes_back_with_the_address(scene, open_page):
    page = open_page(scene, "/runs?flow=nightly-load")
    page.get_by_role("combobox", name="Started").select_option("24h")
    expect(page).to_have_url(re.compile("since=24h"))
    expect(listed(page)).to_have_count(4)
    page.goto(f"{scene.url}/runs?flow=nightly-load&until=2020-01-01T00:00:00Z")
    expect(page.get_by_text("No run fits these filters")).to_be_visible()


def test_filters_are_saved_for_everybody_and_forgotten(scene, open_page):
    page = open_page(scene, "/runs?state=FAILED&flow=nightly-load")
    page.get_by_role("button", name="Saved filters").click()
    page.get_by_role("menuitem", name="Save these filters").click()
    page.get_by_role("dialog").get_by_role("textbox", name="Name").fill("Bad nights")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Saved filters")).to_have_text("Bad nights")
    assert [saved["name"] for saved in scene.post("saved_searches/filter")] == ["Bad nights"]

    other = open_page(scene, "/runs")
    other.get_by_role("button", name="Saved filters").click()
    other.get_by_role("menuitem", name="Bad nights", exact=True).click()
    expect(other).to_have_url(re.compile("state=FAILED.*flow=nightly-load|flow=nightly-load.*state=FAILED"))
    expect(listed(other)).to_have_count(3)
    other.get_by_role("button", name="Saved filters").click()
    other.get_by_role("menuitem", name="Forget").click()
    expect(other.get_by_text("is forgotten")).to_be_visible()
    assert scene.post("saved_searches/filter") == []


def test_two_that_are_chosen_are_compared(scene, open_page):
    page = open_page(scene, "/runs?flow=train-model")
    chosen = page.get_by_role("group", name="Chosen runs")
    boxes = page.get_by_role("checkbox", name=re.compile(r"Choose (?!all)"))
    boxes.nth(0).check()
    expect(chosen.get_by_role("button", name="Compare")).to_be_disabled()
    boxes.nth(1).check()
    names = [name.strip() for name in listed(page).all_inner_texts()[:2]]
    chosen.get_by_role("button", name="Compare").click()
    expect(page).to_have_url(re.compile("/compare[?]left=[0-9a-f-]+&right=[0-9a-f-]+"))
    choices = page.locator("main option:checked")
    for name in names:
        expect(choices.filter(has_text=name)).to_have_count(1)
    page.reload()
    for name in names:
        expect(choices.filter(has_text=name)).to_have_count(1)
