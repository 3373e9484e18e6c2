"""What the answers of a server mean, and of what is none of ours."""

import http.server
import json
import threading

import pytest

from tidemill.client.http import ServerConnection, TooLarge, address_of
from tidemill.exceptions import FlowRunIsLive, ObjectNotFound, ServerRefused, StoreUnreachable
from tidemill.protocol import MEDIA_TYPE, PROTOCOL, Problem, pack
from tidemill.settings import load

JSON = "application/json"


class Answering:
    """Something that listens, and answers every request alike."""

    def __init__(self):
        self.status, self.kind, self.body = 200, JSON, b"{}"
        self.asked = []
        self.fails_first = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                outer.asked.append((self.command, self.path, self.headers.get("Authorization"), self.rfile.read(length)))
                failing = len(outer.asked) <= outer.fails_first
                self.send_response(503 if failing else outer.status)
                self.send_header("Content-Type", outer.kind)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/api"

    def says(self, status, body, kind=JSON):
        self.status, self.kind = status, kind
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def answering():
    it = Answering()
    yield it
    it.close()


@pytest.fixture
def connect_to():
    made = []

    def connect(url, **more):
        made.append(ServerConnection(load({"api_url": url, **more})))
        return made[-1]

    yield connect
    for each in made:
        each.close()


@pytest.fixture
def connection(answering, connect_to):
    return connect_to(answering.url)


def test_a_server_of_ours_says_who_it_is(answering, connection):
    answering.says(200, {"tidemill": "9.9", "protocol": PROTOCOL})
    assert connection.greet().tidemill == "9.9"
    assert answering.asked[0][:2] == ("GET", "/api/engine/version")


@pytest.mark.parametrize(("protocol", "older"), [(PROTOCOL - 1, "Upgrade the server"), (PROTOCOL + 1, "Upgrade the client")])
def test_a_server_of_another_version_is_refused(answering, connection, protocol, older):
    answering.says(200, {"tidemill": "9.9", "protocol": protocol})
    with pytest.raises(ServerRefused, match=older):
        connection.greet()


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (200, b"<html>", "text/html"),
        (200, {"name": "something else"}, JSON),
        (404, {"detail": "Not Found"}, JSON),
        (404, b"nothing here", "text/plain"),
    ],
)
def test_what_is_no_server_of_ours_is_told_so(answering, connection, status, body, kind):
    answering.says(status, body, kind)
    with pytest.raises(ServerRefused, match="no Tidemill server"):
        connection.greet()


def test_nobody_answers(connect_to):
    with pytest.raises(StoreUnreachable, match="cannot be reached"):
        connect_to("http://127.0.0.1:9/api").greet()


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_server_that_cannot_now_is_as_one_that_is_away(answering, connection, status):
    answering.says(status, {"detail": "busy"})
    with pytest.raises(StoreUnreachable, match=f"HTTP {status}.*busy"):
        connection.ask("shipments", None)


def test_who_is_patient_asks_again(answering, connection):
    answering.fails_first = 2
    answering.says(200, pack(5), MEDIA_TYPE)
    assert connection.ask("count_flows/read", int, patience=60) == 5
    assert len(answering.asked) == 3


def test_errors_of_ours_arrive_as_what_they_are(answering, connection):
    answering.says(409, pack(Problem("FlowRunIsLive", "it runs")), MEDIA_TYPE)
    with pytest.raises(FlowRunIsLive, match="it runs"):
        connection.ask("begin_next_attempt", None)
    answering.says(404, pack(Problem("ObjectNotFound", "no such run")), MEDIA_TYPE)
    with pytest.raises(ObjectNotFound, match="no such run"):
        connection.ask("delete_flow_run", None)
    answering.says(422, pack(Problem("SystemExit", "not one of ours")), MEDIA_TYPE)
    with pytest.raises(ServerRefused, match="not one of ours"):
        connection.ask("delete_flow_run", None)


def test_too_much_at_once_is_told_from_other_refusals(answering, connection):
    answering.says(413, {"detail": "16 MiB at most"})
    with pytest.raises(TooLarge, match="16 MiB"):
        connection.ask("shipments", None)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize(
    ("credentials", "sent", "advice"),
    [
        ({}, None, "set TIDEMILL_API_KEY"),
        ({"api_key": "secret-token"}, "Bearer secret-token", "TIDEMILL_API_KEY"),
        ({"api_auth_string": "me:secret"}, "Basic bWU6c2VjcmV0", "TIDEMILL_API_AUTH_STRING"),
    ],
)
def test_credentials_are_sent_and_never_told(answering, connect_to, status, credentials, sent, advice):
    answering.says(status, {"detail": "Who are you?"})
    with pytest.raises(ServerRefused, match=advice) as refused:
        connect_to(answering.url, **credentials).greet()
    assert answering.asked[0][2] == sent
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://host:4200", "http://host:4200/api"),
        ("http://host:4200/api", "http://host:4200/api"),
        ("https://host/team/api", "https://host/team/api"),
    ],
)
def test_the_address_of_a_server_is_that_of_its_api(given, address):
    assert address_of(given) == address
