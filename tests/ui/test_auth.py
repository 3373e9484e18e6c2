"""Who may see the page, and what it offers them."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

PASSWORD = "ada:correct horse: battery"


@pytest.fixture(scope="module")
def guarded(scene_home, tmp_path_factory, start_server, environment_for):
    """A server that asks for a token, and makes more of them."""
    home = tmp_path_factory.mktemp("guarded") / "home"
    home.mkdir()
    for name in ("tidemill.db", "tidemill.db.lock"):
        if (scene_home / name).exists():
            (home / name).write_bytes((scene_home / name).read_bytes())
    made = subprocess.run(
        [sys.executable, "-m", "tidemill", "server", "token", "create", "admin", "--role", "admin"],
        env=environment_for(home),
        capture_output=True,
        text=True,
        check=True,
    )
    server = start_server(home)
    server.api.headers["Authorization"] = f"Bearer {re.search(r'tidemill_[^ ]+', made.stdout)[0].strip()}"
    yield server
    server.stop()


@pytest.fixture
def token(guarded, request):
    """Makes a token of a role, of a name of its own."""
    return lambda role: guarded.post("admin/tokens", {"name": f"{request.node.name}-{role}", "role": role})["secret"]


@pytest.fixture
def failed(guarded):
    return f"/runs/{guarded.runs(state={'type': {'any_': ['FAILED']}})[0]['id']}"


def log_in(page, token):
    page.get_by_label("Token", exact=True).last.fill(token)
    page.get_by_role("button", name="Log in").click()


def test_it_asks_and_a_token_lets_in(guarded, failed, token, open_page):
    page = open_page(guarded, failed)
    expect(page.get_by_text("This server asks who you are")).to_be_visible()
    expect(page.get_by_role("navigation")).to_have_count(0)
    log_in(page, token("viewer"))
    # One comes to where one wanted to go.
    expect(page.get_by_text("StationSilent").first).to_be_visible()
    page.reload()
    expect(page.get_by_text("StationSilent").first).to_be_visible()


def test_a_wrong_token_is_told(guarded, open_page):
    page = open_page(guarded, "/runs")
    log_in(page, "tidemill_wrong")
    expect(page.get_by_role("alert")).to_contain_text("did not let you in")
    expect(page.get_by_label("Token", exact=True).last).to_have_value("tidemill_wrong")


def test_one_who_may_only_look_is_offered_nothing_else(guarded, failed, token, open_page):
    page = open_page(guarded, failed)
    log_in(page, token("viewer"))
    expect(page.get_by_text("StationSilent").first).to_be_visible()
    expect(page.get_by_role("button", name="Retry")).to_have_count(0)
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Copy the id")).to_be_visible()
    for action in ("Delete", "Set the state", "Run again"):
        expect(page.get_by_role("menuitem", name=action)).to_have_count(0)


def test_an_operator_is_offered_what_there_is(guarded, failed, token, open_page):
    page = open_page(guarded, failed)
    log_in(page, token("operator"))
    expect(page.get_by_role("button", name="Retry", exact=True)).to_be_visible()
    page.get_by_role("button", name="More actions").click()
    expect(page.get_by_role("menuitem", name="Delete")).to_be_visible()


def test_a_revoked_token_leads_to_the_login(guarded, token, open_page, request):
    page = open_page(guarded, "/runs")
    log_in(page, token("viewer"))
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    guarded.post(f"admin/tokens/{request.node.name}-viewer/revoke")
    # At once, not only when it asks for something the next time.
    expect(page.get_by_text("This server asks who you are")).to_be_visible()


def test_one_who_logs_out_is_forgotten(guarded, token, open_page):
    page = open_page(guarded, "/runs")
    log_in(page, token("operator"))
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_text("This server asks who you are")).to_be_visible()
    page.reload()
    expect(page.get_by_text("This server asks who you are")).to_be_visible()


def test_a_password_lets_in(tmp_path, start_server, open_page):
    server = start_server(tmp_path / "guarded", TIDEMILL_SERVER_API_AUTH_STRING=PASSWORD)
    page = open_page(server, "/settings")
    page.get_by_label("Name and password").check()
    user, _, password = PASSWORD.partition(":")
    page.get_by_label("Name", exact=True).fill(user)
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("did not let you in")
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()
