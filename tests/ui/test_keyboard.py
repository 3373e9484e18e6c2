"""The page without a mouse."""

import re

import pytest
from playwright.sync_api import expect

STATE = "main header [role=status]"

# What has the focus, and whether one sees that: an outline, or another look than it has without it.
FOCUS = """() => {
    const focused = document.activeElement;
    if (!focused || focused === document.body) return null;
    const isOutlined = (element) => {
        const style = getComputedStyle(element);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
    };
    // A field may have its outline around what belongs to it.
    const seen = focused.matches(':focus-visible') && (isOutlined(focused) || isOutlined(focused.parentElement));
    const box = focused.getBoundingClientRect();
    const words = focused.getAttribute('aria-label') ?? focused.textContent ?? '';
    return { tag: focused.tagName, words: words.trim().slice(0, 60), seen, area: box.width * box.height };
}"""


@pytest.fixture
def run(scene):
    return next(run for run in scene.runs() if run["flow_name"] == "weather")


def tab_to(page, words, key="Tab", most=80):
    """Goes on by keys until something of that name has the focus."""
    for _ in range(most):
        page.keyboard.press(key)
        focus = page.evaluate(FOCUS)
        if focus is not None and re.fullmatch(words, focus["words"]):
            assert focus["seen"], f"nobody sees that {focus} has the focus"
            return
    raise AssertionError(f"{words} was not reached")


def test_from_the_palette_to_a_run_and_back(scene, open_page, run):
    page = open_page(scene, "/flows")
    page.keyboard.press("Control+k")
    field = page.get_by_placeholder("Find runs")
    expect(field).to_be_focused()
    page.keyboard.type(run["name"])
    expect(page.get_by_role("option", name=run["name"])).to_be_visible()
    expect(page.get_by_role("option", name=run["name"])).to_have_attribute("data-selected", "")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(run["name"])
    expect(field).to_have_count(0)
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")

    tab_to(page, r"Logs")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name=re.compile("Task runs"))).to_have_attribute("data-state", "active")
    expect(page).to_have_url(re.compile("tab=task-runs"))
    assert page.evaluate(FOCUS)["seen"]

    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Flows")


def test_a_menu_and_a_dialog(scene, open_page, run):
    page = open_page(scene, f"/runs/{run['id']}")
    tab_to(page, "More actions")
    page.keyboard.press("Enter")
    expect(page.get_by_role("menuitem", name="Run again")).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("menuitem", name="Set the state")).to_be_focused()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    # The focus is in the dialog, and stays there, round and round.
    for _ in range(12):
        assert page.evaluate("document.querySelector('[role=dialog]').contains(document.activeElement)")
        page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="More actions")).to_be_focused()


def test_the_first_key_leads_past_the_navigation(scene, open_page):
    page = open_page(scene, "/runs")
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUS)["words"] == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")


@pytest.mark.parametrize("address", ["/", "/runs", "/runs/{run}", "/flows", "/settings"])
def test_wherever_the_focus_is_one_sees_it(address, scene, open_page, run):
    page = open_page(scene, address.format(run=run["id"]))
    unseen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        focus = page.evaluate(FOCUS)
        if focus is not None and not (focus["seen"] and focus["area"] > 0):
            unseen.append(focus)
    assert unseen == []


def test_the_focus_follows_to_another_page(scene, open_page):
    page = open_page(scene, "/flows")
    tab_to(page, "Runs")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Runs")
    assert page.evaluate(FOCUS)["words"] == "Runs"


def test_runs_are_chosen_and_the_dialog_gives_the_focus_back(scene, open_page):
    page = open_page(scene, "/runs?state=FAILED")
    tab_to(page, "Choose all that are shown")
    page.keyboard.press("Space")
    expect(page.get_by_role("group", name="Chosen runs")).to_be_visible()
    tab_to(page, "Retry", key="Shift+Tab")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_focused()
