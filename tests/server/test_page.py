"""The web page's files, as browsers get them."""

import gzip
import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tidemill.exceptions import SettingsError
from tidemill.server import page
from tidemill.settings import load

ROOT = Path(__file__).parents[2]
INDEX = '<!doctype html><html><head><base href="/" /><title>Tidemill</title></head><body>' + "<p></p>" * 50
SCRIPT = "console.log(1);" * 200
PASSWORD = "ada:correct horse"


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A page, as its build leaves it."""
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / ".vite").mkdir()
    (folder / "index.html").write_text(INDEX)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "assets" / "index-4f.js").write_text(SCRIPT)
    (folder / "assets" / "index-4f.js.map").write_text("{}")
    (folder / "assets" / "letters-5a.woff2").write_bytes(bytes(1000))
    (folder / ".vite" / "manifest.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("hush")
    return folder


@pytest.fixture
def ask(serve: Any, built: Path) -> Callable[..., httpx2.Response]:
    """Asks a server that has this page."""
    served = serve(page=built)

    def request(path: str, method: str = "GET", **headers: str) -> httpx2.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx2.request(method, served.url + path, headers={"Accept-Encoding": "identity", **named})

    return request


@pytest.mark.parametrize(
    "path", ["/", "/index.html", "/runs", "/runs/7/logs?level=20", "/apiary", "/metrics-of-mine", "//api/flows/"]
)
def test_every_address_of_the_page_gives_the_page(ask, path):
    answer = ask(path)
    assert (answer.status_code, answer.text) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_its_files_are_found_with_their_kinds(ask):
    kinds = {
        path: ask(path).headers["content-type"] for path in ("/icon.svg", "/assets/index-4f.js", "/assets/letters-5a.woff2")
    }
    assert kinds == {
        "/icon.svg": "image/svg+xml",
        "/assets/index-4f.js": "text/javascript; charset=utf-8",
        "/assets/letters-5a.woff2": "font/woff2",
    }
    assert ask("/assets/index-4f.js").text == SCRIPT


def test_files_whose_names_change_are_kept_for_a_year_and_others_asked_for_again(ask):
    assert ask("/assets/index-4f.js").headers["cache-control"] == "public, max-age=31536000, immutable"
    assert ask("/icon.svg").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["/assets/", "/assets/old-3e.js", "/assets/index-4f.js.map", "/assets/../index.html"])
def test_what_is_no_file_of_it_is_not_found_among_its_files(ask, path):
    answer = ask(path) if ".." not in path else ask(path.replace("..", "%2e%2e"))
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/assets/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/.vite/manifest.json", "/%00"],
)
def test_nothing_else_on_the_disk_can_be_asked_for(serve, built, path):
    served = serve(page=built)
    port = int(served.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"hush" not in answer
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 400")) or INDEX.encode() in answer


def test_head_tells_the_same_without_the_file(ask):
    for path in ("/", "/assets/index-4f.js"):
        head, whole = ask(path, "HEAD"), ask(path)
        assert (head.status_code, head.content) == (200, b"")
        assert {**head.headers, "date": ""} == {**whole.headers, "date": ""}
        assert head.headers["content-length"] == str(len(whole.content))


def test_who_has_it_already_gets_it_not_again(ask):
    whole = ask("/")
    tag = whole.headers["etag"]
    for given in (tag, f'"another", {tag}', tag.removeprefix("W/"), "*"):
        answer = ask("/runs", If_None_Match=given)
        assert (answer.status_code, answer.content) == (304, b""), given
        assert answer.headers["etag"] == tag
        assert answer.headers["cache-control"] == "no-cache"
    assert ask("/", If_None_Match='"another"').status_code == 200
    assert ask("/icon.svg").headers["etag"] != tag


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("", False),
    ],
)
def test_it_comes_compressed_to_whom_that_is_right(serve, built, accepted, compressed):
    served = serve(page=built)
    with httpx2.stream("GET", f"{served.url}/assets/index-4f.js", headers={"Accept-Encoding": accepted}) as answer:
        body = b"".join(answer.iter_raw())
    assert ("content-encoding" in answer.headers) == compressed
    assert answer.headers["vary"] == "Accept-Encoding"
    assert int(answer.headers["content-length"]) == len(body)
    assert (gzip.decompress(body) if compressed else body) == SCRIPT.encode()


def test_what_gains_nothing_is_not_compressed(ask):
    for path in ("/icon.svg", "/assets/letters-5a.woff2"):
        assert "content-encoding" not in ask(path, Accept_Encoding="gzip").headers


def test_the_page_may_load_its_own_files_and_nothing_else(ask):
    for path in ("/", "/icon.svg", "/assets/index-4f.js"):
        headers = ask(path).headers
        (policy,) = headers.get_list("content-security-policy")
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "font-src": "'self'",
            "connect-src": "'self'",
            "manifest-src": "'self'",
            "base-uri": "'self'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
        }
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["referrer-policy"] == "no-referrer"
    assert ask("/api/health").headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_the_page_needs_no_credentials_and_what_it_shows_does(serve, built):
    served = serve(page=built, server_api_auth_string=PASSWORD)
    codes = {path: httpx2.get(served.url + path).status_code for path in ("/", "/runs/7", "/icon.svg", "/api/version", "/docs")}
    assert codes == {"/": 200, "/runs/7": 200, "/icon.svg": 200, "/api/version": 401, "/docs": 401}
    assert httpx2.post(served.url + "/").status_code == 401


def test_under_a_strange_name_there_is_no_page(ask):
    assert ask("/", Host="evil.example").status_code == 400


def test_what_is_not_the_page_is_as_it_was(ask):
    assert ask("/api/no-such-thing").json() == {"detail": "Not Found"}
    assert ask("/api").status_code == 404
    assert ask("/docs").text.startswith("<!DOCTYPE html>")
    assert "paths" in ask("/openapi.json").json()
    assert ask("/metrics").text.startswith("# HELP")
    assert ask("/", "POST").status_code == 404


def test_its_requests_are_counted_and_logged_under_few_names(serve, built, caplog, wait_until):
    served = serve(page=built, server_access_log="json")
    caplog.set_level("INFO")
    for path in ("/", "/runs/7", "/icon.svg", "/assets/index-4f.js", "/assets/none.js"):
        httpx2.get(served.url + path)

    def told() -> dict[str, tuple[str | None, int]]:
        lines = [json.loads(each.getMessage()) for each in caplog.records if each.name == "tidemill.server.access"]
        return {line["target"]: (line["route"], line["status"]) for line in lines}

    wait_until(lambda: len(told()) == 5)
    assert told() == {
        "/": ("/", 200),
        "/runs/7": ("/", 200),
        "/icon.svg": ("/{file}", 200),
        "/assets/index-4f.js": ("/{file}", 200),
        "/assets/none.js": (None, 404),
    }
    assert 'tidemill_requests_total{method="GET",route="/{file}",status="200"} 2.0' in httpx2.get(f"{served.url}/metrics").text


# Below a path


def test_below_a_path_the_page_knows_where_it_is(serve, built):
    served = serve(page=built, ui_serve_base="/tidemill/")
    expected = INDEX.replace('href="/"', 'href="/tidemill/"')
    for path in ("/tidemill", "/tidemill/", "/tidemill/runs/7", "/", "/runs/7"):
        assert httpx2.get(served.url + path).text == expected, path


def test_a_proxy_may_leave_the_path_in_its_place_or_not(serve, built):
    served = serve(page=built, ui_serve_base="/a/b")
    for base in ("", "/a/b"):
        assert httpx2.get(f"{served.url}{base}/assets/index-4f.js").text == SCRIPT
        assert httpx2.get(f"{served.url}{base}/api/health").json() is True
        assert 'href="/a/b/openapi.json"' in httpx2.get(f"{served.url}{base}/docs").text
        assert httpx2.get(f"{served.url}{base}/api/nowhere").status_code == 404


def test_below_a_path_credentials_are_asked_for_all_the_same(serve, built):
    served = serve(page=built, ui_serve_base="/a", server_api_auth_string=PASSWORD)
    assert httpx2.get(f"{served.url}/a/api/version").status_code == 401
    assert httpx2.get(f"{served.url}/a/api/version", auth=("ada", "correct horse")).status_code == 200
    assert httpx2.get(f"{served.url}/a/a/api/version").headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(("given", "expected"), [("/", "/"), ("/tide/", "/tide"), ("/a/b-c.d", "/a/b-c.d"), ("/apis", "/apis")])
def test_paths_that_it_can_be_below(given, expected):
    assert load({"ui_serve_base": given}).ui_serve_base == expected


@pytest.mark.parametrize("given", ["tide", "/api", "/api/x", "//evil.example", '/"><script>', "/a b", "/a?b", "", "http://x/y"])
def test_paths_that_it_cannot_be_below(given):
    with pytest.raises(SettingsError, match="TIDEMILL_UI_SERVE_BASE"):
        load({"ui_serve_base": given})


def test_the_sources_of_the_page_say_where_it_is_as_the_server_looks_for_it():
    source = ROOT / "ui" / "index.html"
    assert source.read_text().count(page._BASE) == 1


# Without a page


def test_without_a_page_there_is_help_and_everything_else(serve):
    served = serve(ui_serve_base="/tide")
    answer = httpx2.get(served.url)
    assert answer.status_code == 200
    assert "has not been built" in answer.text
    assert "TIDEMILL_REQUIRE_PAGE=1 pip install" in answer.text
    assert re.findall('<base href="(.*?)" />', answer.text) == ["/tide/"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert httpx2.get(f"{served.url}/runs/7").status_code == 404
    assert served.get("health") is True


def test_the_page_of_a_checkout_is_found_where_it_is_built():
    found = page.find()
    assert found in (None, ROOT / "ui" / "dist", Path(page.__file__).parent / "page_files")
