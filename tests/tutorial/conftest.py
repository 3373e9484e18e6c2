"""A cat-fact server on loopback, and log lines in a form that can be compared."""

import http.server
import json
import re
import threading
from collections.abc import Callable, Iterator

import pytest

FACT = {"fact": "Cats sleep 70% of their lives.", "length": 30}


class CatFacts(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(FACT).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="session")
def cat_facts() -> Iterator[str]:
    """The address of a server that knows one fact about cats."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CatFacts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/fact"
        server.shutdown()
        thread.join()


PREFIX = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} \| (?:(INFO)   |(ERROR)  |(WARNING)) \| ", re.MULTILINE)
FLOW_RUN_NAME = re.compile(r"(?:[Ff]low run|subflow run) '([a-z]+-[a-z]+)'")


@pytest.fixture(scope="session")
def comparable() -> Callable[[str], list[str]]:
    """Makes of a log its lines, times left out and the flow runs' random names numbered as they appear."""

    def lines(text: str) -> list[str]:
        text = PREFIX.sub(r"\1\2\3 | ", text)
        for number, name in enumerate(dict.fromkeys(FLOW_RUN_NAME.findall(text)), start=1):
            text = text.replace(f"'{name}'", f"'flow-run-{number}'")
        return text.splitlines()

    return lines


@pytest.fixture(scope="session")
def fact() -> dict[str, object]:
    """What the server knows."""
    return FACT


class Programs:
    """The tutorial's programs, as its reader types them."""

    add_one = """
from tidemill import flow, task

@task
def add_one(x): return x + 1
"""

    call_api = """
import sys, requests
from tidemill import flow, task

@task
def call_api(url):
    response = requests.get(url)
    print(response.status_code)
    return response.json()
"""

    api_flow = (
        call_api
        + """
@flow
def api_flow(url):
    fact_json = call_api(url, return_state=True)
    return fact_json
"""
    )

    api_flow_that_raises = api_flow.replace(", return_state=True", "")

    two_tasks = (
        call_api
        + """
@task
def parse_fact(response):
    print(response["fact"])
    return

@flow
def api_flow(url):
    fact_json = call_api(url)
    parse_fact(fact_json)
    return
"""
    )

    favorite_function = """
from tidemill import flow

@flow
def my_favorite_function():
    print("This function doesn't do much")
    return 42

@flow
def my_favorite_function_flow():
    state = my_favorite_function(return_state=True)
    return state

state = my_favorite_function_flow()
"""

    async_flow = "import asyncio\n" + api_flow.replace("def call_api", "async def call_api").replace(
        "def api_flow", "async def async_flow"
    ).replace("call_api(url, return_state=True)", "await call_api(url)")


@pytest.fixture(scope="session")
def programs() -> type[Programs]:
    return Programs
