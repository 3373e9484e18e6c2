"""Who may use a server and for what, and what it refuses to look at."""

import ast
import asyncio
import base64
import hashlib
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

import tidemill.server
from tidemill import clock
from tidemill.exceptions import TidemillError
from tidemill.server.attempts import delay_after
from tidemill.server.bodies import MOST_LEVELS, BodyTooSlow, checked, is_deeper
from tidemill.server.security import Role, is_loopback, role_needed, role_needed_of_socket
from tidemill.server.tokens import PREFIX, create_token
from tidemill.store import tokens

PASSWORD = "ada:correct horse"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def basic(credential: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(credential.encode()).decode()}


@pytest.fixture
def secret_of(served: Any) -> Callable[..., str]:
    """Creates a token of this role and gives its secret."""

    def create(role: Any, **more: Any) -> str:
        return create_token(served.store, f"{role}'s", role, **more)[1]

    return create


# Credentials


def test_nobody_is_asked_before_there_is_a_token(served):
    assert served.post("variables/filter") == []
    assert served.get("variables/count", code=405)


def test_from_the_first_token_on_everybody_is_asked(served, secret_of, wait_until):
    served.get("version")
    secret = secret_of("admin")
    wait_until(lambda: served.api.get("version").status_code == 401)
    assert served.api.get("version", headers=bearer(secret)).status_code == 200
    for path in ("health", "ready", "hello"):
        served.get(path)
    for path in ("/docs", "/openapi.json", "/metrics", "/api/nowhere", "/api"):
        assert httpx2.get(served.url + path).status_code == 401, path


def test_whoever_is_asked_is_told_how_to_answer(serve):
    answer = serve(server_api_auth_string=PASSWORD).api.get("version")
    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate") == ['Basic realm="Tidemill", charset="UTF-8"', "Bearer"]
    assert "Authorization: Bearer" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 401),
        (basic(PASSWORD), 200),
        (bearer(PASSWORD), 200),
        (basic("ada:wrong"), 401),
        (basic("ada"), 401),
        ({"Authorization": "Basic ???"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"Authorization": "Negotiate x"}, 401),
        ({"Authorization": "Bearer \u00fc\u00f6".encode("latin-1")}, 401),
        (bearer(PREFIX + "unknown"), 401),
    ],
)
def test_a_name_and_a_password_give_access(serve, headers, expected):
    served = serve(server_api_auth_string=PASSWORD)
    assert served.api.get("version", headers=headers).status_code == expected


def test_a_password_may_have_any_letters(serve):
    served = serve(server_api_auth_string="ad\u00e4:p:\u00e4\u00df")
    assert served.api.get("version", headers=basic("ad\u00e4:p:\u00e4\u00df")).status_code == 200


def test_a_token_is_a_password_too(served, secret_of):
    secret = secret_of("viewer")
    assert served.api.get("version", headers=basic(f"whoever:{secret}")).status_code == 200


def test_a_token_in_the_address_is_not_taken(serve):
    served = serve(server_api_auth_string=PASSWORD)
    secret = create_token(served.store, "mine", "admin")[1]
    served.get("version", code=401, access_token=secret, token=secret)


def test_only_a_hash_of_a_token_is_kept(served, secret_of, home):
    secret = secret_of("admin")
    assert secret.startswith(PREFIX)
    assert len(secret) - len(PREFIX) == 43  # 32 bytes
    ((kept,),) = served.store.database.fetch("SELECT hash FROM token", ())
    assert kept == hashlib.sha256(secret.encode()).digest()
    assert not any(secret.encode() in file.read_bytes() for file in home.iterdir() if file.is_file())


def test_a_name_is_given_once(served, secret_of):
    secret_of("admin")
    with pytest.raises(TidemillError, match="There is a token"):
        secret_of("admin")


def test_an_expired_token_gives_no_access(served, secret_of):
    expired, valid = secret_of("viewer", expires=clock.now() - 1), secret_of("admin", expires=clock.now() + 10**9)
    assert served.api.get("version", headers=bearer(expired)).status_code == 401
    assert served.api.get("version", headers=bearer(valid)).status_code == 200


def test_a_revoked_token_gives_no_access_and_leaves_the_server_closed(served, secret_of, wait_until):
    secret = secret_of("admin")
    assert served.api.get("version", headers=bearer(secret)).status_code == 200
    with served.store.transaction() as execute:
        assert tokens.revoke(execute, "admin's", clock.now())
    wait_until(lambda: served.api.get("version", headers=bearer(secret)).status_code == 401)
    served.get("version", code=401)


def test_a_deleted_token_is_as_if_it_had_never_been(served, secret_of, wait_until):
    secret_of("admin")
    wait_until(lambda: served.api.get("version").status_code == 401)
    with served.store.transaction() as execute:
        assert tokens.delete(execute, "admin's")
    wait_until(lambda: served.api.get("version").status_code == 200)


def test_when_a_token_was_last_used_is_noted_now_and_then(served, secret_of, wait_until):
    secret = secret_of("viewer")

    def last_used() -> Any:
        (token,) = tokens.all_tokens(served.store.database.fetch)
        return token.last_used

    assert last_used() is None
    served.api.get("version", headers=bearer(secret))
    wait_until(last_used)
    noted = last_used()
    for _ in range(5):
        served.api.get("version", headers=bearer(secret))
    assert last_used() == noted


def test_while_nobody_can_be_looked_up_it_is_said_so(served, secret_of, caplog):
    secret = secret_of("viewer")
    with served.store.transaction() as execute:
        execute("DROP TABLE token", ())
    served.services.security.tokens_changed()
    for headers in ({}, {"Authorization": f"Bearer {secret}"}):
        answer = served.api.get("/version", headers=headers)
        assert (answer.status_code, "no such table" in answer.json()["detail"]) == (503, True)
    assert served.api.get("/health").status_code == 200
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(f"{served.url.replace('http', 'ws')}/api/events/out", additional_headers={"Authorization": "Bearer x"}),
    ):
        pass
    with connect(f"{served.url.replace('http', 'ws')}/api/events/out", subprotocols=["prefect"]) as client:
        client.send('{"type": "auth", "token": "x"}')
        with pytest.raises(ConnectionClosed, match="1013"):
            client.recv(timeout=30)
    assert {record.exc_info for record in caplog.records} == {None}


def test_who_fails_too_often_is_not_looked_at_any_more(serve):
    served = serve(server_api_auth_string=PASSWORD)
    served.services.security._attempts._waiting = 10**6  # nobody has to wait
    secret = create_token(served.store, "mine", "viewer")[1]
    codes = {served.api.get("version", headers=basic("ada:wrong")).status_code for _ in range(20)}
    assert codes == {401}
    assert served.api.get("version", headers=basic(PASSWORD)).status_code == 429
    assert served.api.get("version", headers=bearer(secret)).status_code == 200, "a token cannot be guessed"


def test_failures_are_answered_ever_later():
    assert [delay_after(failures) for failures in (1, 2, 3, 4, 5, 6, 20)] == [0, 0, 0, 0.2, 0.4, 0.8, 2]


def test_no_secret_is_logged(serve, caplog, wait_until):
    served = serve(server_api_auth_string=PASSWORD, server_access_log="json")
    caplog.set_level("DEBUG")
    served.api.get("version", headers=basic("ada:almost right"))
    served.api.get("version", headers=bearer(PREFIX + "abcdef"), params={"access_token": "hush", "limit": 5})
    wait_until(lambda: "limit=5" in logged(caplog))
    assert "A request from 127.0.0.1 was refused" in logged(caplog)
    for word in ("almost right", "abcdef", "hush", "correct horse", basic("ada:almost right")["Authorization"]):
        assert word not in logged(caplog)
    assert PASSWORD not in repr(served.settings)


def logged(caplog: Any) -> str:
    """What the server has logged; the test's own client logs too."""
    return "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("tidemill"))


# Roles


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/health", None),
        ("GET", "/api/ready/", None),
        ("GET", "/api/hello", None),
        ("OPTIONS", "/api/flows/", None),
        ("GET", "/api/version", Role.VIEWER),
        ("GET", "/metrics", Role.VIEWER),
        ("GET", "/docs", Role.VIEWER),
        ("GET", "/docs/", Role.VIEWER),
        ("GET", "/api", Role.VIEWER),
        ("GET", "/", None),
        ("HEAD", "/runs/7", None),
        ("GET", "/apiary", None),
        ("POST", "/", Role.OPERATOR),
        ("GET", "/api/events/stream", Role.VIEWER),
        ("GET", "/api/admin/version", Role.VIEWER),
        ("GET", "/api/admin/loops", Role.VIEWER),
        ("GET", "/api/admin/storage", Role.VIEWER),
        ("PUT", "/api/admin/storage", Role.ADMIN),
        ("GET", "/api/admin/settings", Role.ADMIN),
        ("POST", "/api/admin/version", Role.ADMIN),
        ("POST", "/api/flow_runs/filter", Role.VIEWER),
        ("POST", "/api/flow_runs/filter/", Role.VIEWER),
        ("POST", "/api/task_runs/count", Role.VIEWER),
        ("POST", "/api/flows/paginate", Role.VIEWER),
        ("POST", "/api/flow_runs/history", Role.VIEWER),
        ("POST", "/api/ui/flow_runs/task_run_counts", Role.VIEWER),
        ("POST", "/api/ui/flows/activity", Role.VIEWER),
        ("POST", "/api/flow_runs/7/input/filter", Role.VIEWER),
        ("POST", "/api/events/count-by/day", Role.VIEWER),
        ("DELETE", "/api/variables/name/filter", Role.OPERATOR),
        ("POST", "/api/flow_runs/", Role.OPERATOR),
        ("POST", "/api/flow_runs/7/set_state", Role.OPERATOR),
        ("POST", "/api/v2/concurrency_limits/increment", Role.OPERATOR),
        ("PATCH", "/api/flow_runs/7", Role.OPERATOR),
        ("BREW", "/api/flow_runs/7", Role.OPERATOR),
    ],
)
def test_the_role_that_a_request_needs(method, path, role):
    assert role_needed(method, path) == role


def test_each_role_may_what_those_below_it_may(served, secret_of):
    allowed = {
        role: [
            served.api.request(method, path, json={}, headers=bearer(secret)).status_code != 403
            for method, path in [("POST", "variables/filter"), ("POST", "variables/"), ("GET", "admin/settings")]
        ]
        for role, secret in [(role, secret_of(role)) for role in ("viewer", "operator", "admin")]
    }
    assert allowed == {"viewer": [True, False, False], "operator": [True, True, False], "admin": [True, True, True]}


def test_whoever_lacks_a_role_is_told_which(served, secret_of):
    answer = served.api.post("variables/", json={"name": "x", "value": 1}, headers=bearer(secret_of("viewer")))
    assert answer.status_code == 403
    assert answer.json()["detail"] == "You have the role viewer; this needs the role operator."


# Websockets


def test_the_role_that_a_websocket_needs():
    assert role_needed_of_socket("/api/events/in") is Role.OPERATOR
    assert role_needed_of_socket("/api/events/out/") is Role.VIEWER
    assert role_needed_of_socket("/api/logs/out") is Role.VIEWER


@pytest.fixture
def greet(served: Any) -> Callable[..., Any]:
    """Opens `/events/in` and gives the answer to its first frame, or the code with which it was closed."""

    def open_socket(token: str | None = None, **more: Any) -> Any:
        address = served.url.replace("http", "ws") + "/api/events/in"
        try:
            with connect(address, subprotocols=["prefect"], proxy=None, **more) as opened:
                opened.send(json.dumps({"type": "auth", "token": token}))
                return json.loads(opened.recv())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else None
        except InvalidStatus as refused:
            return refused.response.status_code

    return open_socket


def test_a_websocket_says_who_it_is_in_its_first_frame(greet, secret_of, wait_until):
    assert greet() == {"type": "auth_success"}
    operator, viewer = secret_of("operator"), secret_of("viewer")
    wait_until(lambda: greet() == 1008)
    assert greet(operator) == {"type": "auth_success"}
    assert greet(viewer) == 1008
    assert greet(PREFIX + "unknown") == 1008


def test_a_websocket_may_say_it_in_its_header(greet, secret_of, wait_until):
    operator = secret_of("operator")
    wait_until(lambda: greet() == 1008)
    assert greet(additional_headers=bearer(operator)) == {"type": "auth_success"}
    assert greet(additional_headers=bearer(PREFIX + "unknown")) == 403


def test_a_websocket_of_a_foreign_page_is_refused(greet):
    assert greet(origin="https://evil.example") == 403
    assert greet(additional_headers={"Host": "evil.example"}) in (400, 403)


# Hosts and origins


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LocalHost:80", 200),
        ("127.0.0.1:4200", 200),
        ("[::1]:4200", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1.evil.example:4200", 400),
        ("10.0.0.1", 400),
    ],
)
def test_a_request_for_another_name_is_refused(served, host, expected):
    assert served.api.get("health", headers={"Host": host}).status_code == expected


def test_names_may_be_allowed(serve):
    served = serve(server_allowed_hosts="runs.example.com, *.internal")
    codes = [
        served.api.get("health", headers={"Host": host}).status_code
        for host in ("runs.example.com:4200", "a.internal", "internal", "xinternal", "b.example.com", "localhost")
    ]
    assert codes == [200, 200, 400, 400, 400, 200]
    assert serve(server_allowed_hosts="*").api.get("health", headers={"Host": "any.where"}).status_code == 200


def test_where_every_address_is_served_any_number_may_be_asked_for(serve):
    served = serve(server_api_host="0.0.0.0", server_api_auth_string=PASSWORD)
    codes = [served.api.get("health", headers={"Host": host}).status_code for host in ("10.1.2.3:4200", "[fd00::1]", "a.b")]
    assert codes == [200, 200, 400]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 422),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 422),
    ],
)
def test_a_foreign_page_changes_nothing(served, headers, expected):
    assert served.api.post("variables/", content=b"{}", headers=headers).status_code == expected


def test_our_own_page_changes_what_it_likes(served):
    assert served.api.post("variables/", content=b"{}", headers={"Origin": served.url}).status_code == 422


def test_answers_are_for_foreign_pages_only_if_configured(serve):
    origin = {"Origin": "https://page.example"}
    closed = serve()
    assert "access-control-allow-origin" not in closed.api.get("version", headers=origin).headers
    asked = {**origin, "Access-Control-Request-Method": "POST"}
    assert "access-control-allow-origin" not in closed.api.options("variables/filter", headers=asked).headers

    opened = serve(server_cors_origins="https://page.example", server_api_auth_string=PASSWORD)
    preflight = opened.api.options("variables/filter", headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://page.example")
    read = opened.api.get("version", headers={**origin, **basic(PASSWORD)})
    assert (read.status_code, read.headers["access-control-allow-origin"]) == (200, "https://page.example")
    refused = opened.api.get("version", headers=origin)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "https://page.example")
    other = opened.api.get("version", headers={"Origin": "https://pageXexample", **basic(PASSWORD)})
    assert "access-control-allow-origin" not in other.headers
    assert opened.api.post("variables/", content=b"{}", headers={**origin, **basic(PASSWORD)}).status_code == 422


def test_answers_protect_themselves_in_browsers(served):
    headers = served.api.get("version").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True), ("0.0.0.0", False), ("runs", False)],
)
def test_what_only_this_machine_reaches(host, expected):
    assert is_loopback(host) is expected


# Bodies


def test_a_large_body_is_refused(serve):
    served = serve(server_max_body=1000)
    assert served.api.post("variables/filter", content=b" " * 1000 + b"{").status_code == 413
    pieces = (b" " * 100 for _ in range(11))  # sent in pieces, its size is not known before
    assert served.api.post("variables/filter", content=pieces).status_code == 413
    assert served.api.post("variables/filter", content=b" " * 998 + b"{}").status_code == 200
    assert served.api.post("variables/filter", content=iter([b"{", b"}"])).status_code == 200


def test_a_body_larger_than_the_frameworks_own_limit_is_read(serve):
    served = serve(server_max_body="12MiB")
    assert served.api.post("variables/filter", content=b" " * (11 << 20) + b"{}").status_code == 200


def test_a_deep_body_is_refused(served):
    deep = "[" * (MOST_LEVELS + 1) + "]" * (MOST_LEVELS + 1)
    answer = served.api.post("variables/", content='{"name": "x", "value": ' + deep + "}")
    assert answer.status_code == 422
    assert "nested more deeply" in answer.json()["detail"]
    assert served.api.post("variables/filter", content="[" * 100_000).status_code == 422


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("[]", 1),
        ('{"a": [1, {"b": []}]}', 4),
        ('["[[[[[[[["]', 1),
        ('["\\"[[[[", "\\\\", "]]]]"]', 1),
        ('["\\\\\\"[[[", [1]]', 2),
        ('["a""b"]', 1),
        ('[["]", ["]]"], "["]]', 3),
    ],
)
def test_how_deeply_a_body_is_nested(text, levels):
    assert not is_deeper(text.encode(), levels)
    assert is_deeper(text.encode(), levels - 1)


def test_a_body_that_does_not_arrive_is_waited_for_only_so_long():
    async def nothing() -> Any:
        await asyncio.Event().wait()

    with pytest.raises(BodyTooSlow):
        asyncio.run(checked(nothing, "10", "", 1000, patience=0.01))


def test_who_goes_before_the_body_is_there_does_no_harm(served):
    host, port = served.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"POST /api/variables/filter HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    assert served.get("health") is True


# What the server never does


def test_the_server_unpickles_nothing():
    forbidden = {"pickle", "_pickle", "cPickle", "cloudpickle", "marshal", "shelve", "dill", "jsonpickle", "copyreg"}
    found = [
        f"{path}: {name}"
        for path in sorted(Path(tidemill.server.__file__).parent.rglob("*.py"))
        for name in imported(path)
        if name.split(".")[0] in forbidden or name.startswith(("tidemill.serializers", "tidemill.results", "tidemill.storage"))
    ]
    assert not found


def imported(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names += [alias.name for alias in node.names]
            case ast.ImportFrom():
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            case ast.Call(func=ast.Name(id="__import__") | ast.Attribute(attr="import_module")):
                names.append(ast.unparse(node))
            case _:
                pass
    return names
