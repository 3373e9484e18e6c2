"""Who the server takes somebody for."""

import pytest

from tidemill.server.tokens import create_token

PASSWORD = "ada:correct horse"


def test_where_nobody_is_asked_everybody_may_do_everything(served):
    assert served.get("me") == {"name": "anybody", "role": "admin", "asks_credentials": False}


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
def test_a_token_has_a_name_and_a_role(serve, role):
    served = serve(server_api_auth_string=PASSWORD)
    secret = create_token(served.store, "laptop", role)[1]
    answer = served.api.get("me", headers={"Authorization": f"Bearer {secret}"})
    assert answer.json() == {"name": "laptop", "role": role, "asks_credentials": True}


def test_a_password_has_a_name_too(serve):
    served = serve(server_api_auth_string=PASSWORD)
    assert served.api.get("me", auth=("ada", "correct horse")).json() == {
        "name": "ada",
        "role": "admin",
        "asks_credentials": True,
    }


def test_whoever_does_not_say_it_is_told_nothing(serve):
    served = serve(server_api_auth_string=PASSWORD)
    assert "name" not in served.get("me", code=401)
    assert served.api.get("me", auth=("ada", "wrong")).status_code == 401


BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}


@pytest.mark.parametrize(
    ("headers", "asks"),
    [
        ({}, True),
        ({"Sec-Fetch-Mode": "navigate"}, True),
        ({"Sec-Fetch-Mode": "cors"}, False),
        ({"Sec-Fetch-Mode": "same-origin"}, False),
        ({**BROWSER, "Accept": "text/html,*/*;q=0.8"}, True),
        ({**BROWSER, "Accept": "*/*"}, False),
        ({**BROWSER, "Accept": "text/event-stream"}, False),
    ],
)
def test_a_script_of_a_page_makes_no_browser_ask_for_a_password(serve, headers, asks):
    answer = serve(server_api_auth_string=PASSWORD).api.get("me", headers=headers)
    assert answer.status_code == 401
    schemes = [challenge.split()[0] for challenge in answer.headers.get_list("www-authenticate")]
    assert schemes == (["Basic", "Bearer"] if asks else ["Bearer"])
