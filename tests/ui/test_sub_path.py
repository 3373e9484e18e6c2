"""The page below a path, behind a proxy that takes the path away, and behind one that leaves it there."""

import re
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

BASE = "/tools/mill"
NOT_PASSED_ON = {"connection", "keep-alive", "transfer-encoding", "host"}


class Proxy(BaseHTTPRequestHandler):
    """Passes on what comes below the path, piece by piece as it arrives; there is nothing at other addresses."""

    protocol_version = "HTTP/1.1"
    port: int
    strips: bool

    def pass_on(self):
        if not self.path.startswith(f"{BASE}/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in NOT_PASSED_ON}
        upstream = HTTPConnection("127.0.0.1", self.port)
        try:
            path = self.path.removeprefix(BASE) if self.strips else self.path
            upstream.request(self.command, path, body or None, {**headers, "Host": self.headers["Host"]})
            answer = upstream.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in NOT_PASSED_ON | {"content-length"}:
                    self.send_header(name, value)
            self.send_header("Connection", "close")
            self.end_headers()
            while piece := answer.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass  # the browser, or the server, has gone
        finally:
            upstream.close()
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = do_HEAD = pass_on

    def log_message(self, format, *args):
        pass


class Listening(ThreadingHTTPServer):
    daemon_threads = True
    # A browser opens several connections at once.
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # the browser has gone


@pytest.fixture(scope="module")
def below(scene_home, tmp_path_factory, start_server):
    home = tmp_path_factory.mktemp("below") / "home"
    home.mkdir()
    (home / "tidemill.db").write_bytes((scene_home / "tidemill.db").read_bytes())
    server = start_server(home, TIDEMILL_UI_SERVE_BASE=BASE)
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["strips", "leaves"])
def proxied(below, request):
    handler = type("Handler", (Proxy,), {"port": below.port, "strips": request.param == "strips"})
    listening = Listening(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_address[1]}"
    listening.shutdown()
    listening.server_close()


def test_links_and_their_addresses_stay_below_the_path(proxied, open_page):
    page = open_page(proxied, f"{BASE}/")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Runs").click()
    expect(page).to_have_url(f"{proxied}{BASE}/runs")
    page.locator("td a.run").first.click()
    expect(page).to_have_url(re.compile(f"{proxied}{BASE}/runs/[0-9a-f-]+"))
    heading = page.get_by_role("heading", level=1)
    expect(heading).not_to_have_text("Runs")
    name = heading.inner_text()
    page.reload()
    expect(heading).to_have_text(name)
    page.go_back()
    expect(heading).to_have_text("Runs")
    for link in page.get_by_role("link").all():
        assert link.evaluate("link => new URL(link.href).pathname").startswith(f"{BASE}/")


def test_an_address_from_elsewhere_opens_what_it_names(below, proxied, open_page):
    run = next(run for run in below.runs(state={"type": {"any_": ["FAILED"]}}) if run["flow_name"] == "nightly-load")
    page = open_page(proxied, f"{BASE}/runs/{run['id']}?tab=details")
    expect(page.get_by_text("StationSilent").first).to_be_visible()
    expect(page.get_by_role("tab", name="Details")).to_have_attribute("data-state", "active")


def test_what_happens_is_told_there_too(below, proxied, open_page, request):
    flow = below.post("flows/", {"name": "below"})["id"]
    name = f"run-{request.node.callspec.id}"
    page = open_page(proxied, f"{BASE}/runs")
    expect(page.get_by_role("row").nth(1)).to_be_visible()
    run = below.post("flow_runs/", {"flow_id": flow, "name": name, "state": {"type": "RUNNING"}})["id"]
    row = page.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("Running")
    below.post(f"flow_runs/{run}/set_state", {"state": {"type": "COMPLETED"}})
    expect(row).to_contain_text("Completed")


def test_actions_go_there_too(below, proxied, open_page, request):
    flow = below.post("flows/", {"name": "below"})["id"]
    name = f"act-{request.node.callspec.id}"
    run = below.post("flow_runs/", {"flow_id": flow, "name": name, "state": {"type": "RUNNING"}})["id"]
    page = open_page(proxied, f"{BASE}/runs/{run}")
    page.get_by_role("button", name="More actions").click()
    page.get_by_role("menuitem", name="Set the state").click()
    page.get_by_role("combobox", name="State").select_option("FAILED")
    page.get_by_role("button", name="Set the state").last.click()
    expect(page.locator("main header [role=status]")).to_have_text("Failed")
    assert below.get(f"flow_runs/{run}")["state_type"] == "FAILED"
