"""The server as a program: how it starts and stops, alone or as several processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tidemill.server import pid_file
from tidemill.server.serving import bind

pytestmark = pytest.mark.program


class Program:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process = process
        self._said = said
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("The server answers at "), line + self.said
        self.url = line.split()[4]
        self.port = int(self.url.rpartition(":")[2])

    @property
    def said(self) -> str:
        """What it has written to stderr so far."""
        return self._said.read_text()

    def get(self, path: str) -> Any:
        return httpx2.get(f"{self.url}/api/{path}", timeout=60).json()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Asks it to stop, and gives its exit code."""
        self.process.send_signal(number)
        return self.process.wait(120)


@pytest.fixture
def start(child_environment: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts a server on a free port; `fails` gives what it said instead, which must be all."""
    started: list[subprocess.Popen[str]] = []

    def run(*options: str, port: int = 0, fails: bool = False, **env: str) -> Any:
        said = tmp_path / f"server-{len(started)}.stderr"
        with said.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tidemill", "server", "start", "--port", str(port), *options],
                env=child_environment(env),
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )
        started.append(process)
        if fails:
            assert process.wait(120) == 1
            return said.read_text()
        return Program(process, said)

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_it_says_where_it_answers_and_ends_when_it_is_asked(start, home):
    server = start()
    assert server.get("health") is True
    (info,) = pid_file.all_running(str(home))
    assert (info.url, info.process.pid) == (server.url, server.process.pid)
    assert server.end() == 0
    assert pid_file.all_running(str(home)) == []
    assert not list(home.glob("server-*.json"))
    assert server.said == ""


def test_ctrl_c_ends_it_too(start):
    assert start().end(signal.SIGINT) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_is_under_way_is_answered_before_it_ends(start, workers):
    server = start("--workers", workers)
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        body = b'{"name": "x", "value": 1}'
        head = f"POST /api/variables/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:5])
        httpx2.get(f"{server.url}/api/health")
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            server.process.wait(0.3)
        connection.sendall(body[5:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 201")
    assert server.process.wait(120) == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_live_stream_ends_with_it(start, workers):
    server = start("--workers", workers)
    with httpx2.stream("GET", f"{server.url}/api/events/stream", timeout=60) as stream:
        assert stream.status_code == 200
        server.process.send_signal(signal.SIGTERM)
        for _ in stream.iter_raw():
            pass
    assert server.process.wait(120) == 0


def test_a_second_server_on_the_port_is_refused_and_told_who_has_it(start):
    server = start()
    said = start(port=server.port, fails=True)
    assert said.startswith(f"Error: A server of this home answers at {server.url} already (process {server.process.pid}).")
    assert said.count("\n") == 1


def test_a_port_of_another_program_is_told_as_such(start):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        said = start(port=port, fails=True)
    assert said == f"Error: Another program has port {port} of 127.0.0.1. Choose another port: --port {port + 1}\n"


def test_a_port_can_be_had_again_at_once(start):
    server = start()
    assert server.get("health") is True
    server.end()
    assert start(port=server.port).get("health") is True


def test_a_killed_server_leaves_nothing_in_the_way(start, home):
    server = start()
    server.end(signal.SIGKILL)
    assert pid_file.all_running(str(home)) == []
    again = start(port=server.port)
    assert [info.process.pid for info in pid_file.all_running(str(home))] == [again.process.pid]


def test_where_it_cannot_tell_of_itself_it_serves_all_the_same(start, home):
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    (home / f"server-{port}.json").mkdir(parents=True)
    server = start(port=port)
    assert server.get("health") is True
    assert "`tidemill server status` and `stop` do not find this server" in server.said
    assert [path.name for path in home.glob("server-*")] == [f"server-{port}.json"]
    assert server.end() == 0


def test_an_address_that_others_reach_needs_credentials(start, cli):
    said = start("--host", "0.0.0.0", fails=True)
    assert "tidemill server token create NAME --role admin" in said
    assert said.count("\n") == 1
    secret = cli("server", "token", "create", "mine", "--role", "admin").strip()
    server = start("--host", "0.0.0.0")
    assert httpx2.get(f"{server.url}/api/version").status_code == 401
    assert httpx2.get(f"{server.url}/api/version", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert httpx2.get(f"{server.url}/api/health").status_code == 200


def test_a_password_will_do(start):
    server = start("--host", "0.0.0.0", TIDEMILL_SERVER_API_AUTH_STRING="ada:lovelace")
    assert httpx2.get(f"{server.url}/api/version", auth=("ada", "lovelace")).status_code == 200


def test_an_address_that_is_not_ours_is_told(start):
    said = start("--host", "192.0.2.1", TIDEMILL_SERVER_API_AUTH_STRING="a:b", fails=True)
    assert said.startswith("Error: The server cannot listen on 192.0.2.1, port 0: ")


def test_a_database_that_cannot_be_opened_is_one_line(start, home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "tidemill.db").write_bytes(b"this is no database" * 100)
    said = start(fails=True)
    assert said.startswith("Error: ")
    assert "damaged or is not a Tidemill database" in said
    assert said.count("\n") == 1


def test_it_writes_no_secret(start):
    server = start(TIDEMILL_SERVER_API_AUTH_STRING="ada:lovelace", TIDEMILL_SERVER_ACCESS_LOG="json")
    httpx2.get(f"{server.url}/api/version", auth=("ada", "wrong-one"))
    httpx2.get(f"{server.url}/api/version?token=hush", auth=("ada", "lovelace"))
    server.end()
    lines = [json.loads(line.partition(" - ")[2]) for line in server.said.splitlines() if "server.access" in line]
    assert [(line["status"], line["user"]) for line in lines] == [(401, None), (200, "ada")]
    for word in ("lovelace", "wrong-one", "hush"):
        assert word not in server.said


# Several processes


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_several_processes_answer_on_one_address_and_one_of_them_leads(start, wait_until):
    server = start("--workers", "2")

    def who_leads() -> dict[str, bool]:
        told = [server.get("admin/loops") for _ in range(8)]
        return {each["server"]: each["leads"] for each in told}

    leads: dict[str, bool] = {}  # both have answered sooner or later
    wait_until(lambda: leads.update(who_leads()) or sorted(leads.values()) == [False, True])
    assert {f"{os.uname().nodename}:{pid}" for pid in children_of(server.process.pid)} == set(leads)
    assert server.end() == 0
    assert server.said == ""


def test_a_process_that_dies_is_replaced_and_another_leads(start, wait_until):
    server = start("--workers", "2")
    wait_until(lambda: server.get("admin/loops")["leads"])
    leader = int(next(told for _ in range(100) if (told := server.get("admin/loops"))["leads"])["server"].rpartition(":")[2])
    before = set(children_of(server.process.pid))
    os.kill(leader, signal.SIGKILL)
    wait_until(lambda: len(set(children_of(server.process.pid)) - {leader}) == 2)
    assert set(children_of(server.process.pid)) - before
    new_leader = wait_for_leader(server, wait_until)
    assert new_leader != leader
    assert f"Process {leader} of the server has died (signal SIGKILL). Another is started." in server.said
    assert server.end() == 0


def wait_for_leader(server: Program, wait_until: Any) -> int:
    found: list[str] = []

    def leads() -> bool:
        told = server.get("admin/loops")
        found.append(told["server"])
        return told["leads"]

    wait_until(leads)
    return int(found[-1].rpartition(":")[2])


def test_processes_do_not_outlive_the_one_that_started_them(start, wait_until):
    server = start("--workers", "2")
    children = children_of(server.process.pid)
    assert len(children) == 2
    server.end(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in children))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except OSError:
        return False


def test_the_processes_count_together(start, wait_until):
    server = start("--workers", "2")
    for _ in range(20):
        httpx2.get(f"{server.url}/api/version")  # each time by a connection of its own

    def counted() -> str:
        lines = httpx2.get(f"{server.url}/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("tidemill_requests_total") and "/api/version" in line)

    assert {counted().rpartition(" ")[2] for _ in range(6)} == {"20.0"}


# Load


def test_many_clients_at_once_while_it_is_asked_to_stop(start):
    server = start()
    wrong: list[str] = []

    def ask() -> None:
        with httpx2.Client(base_url=f"{server.url}/api", timeout=60) as client:
            for _ in range(10_000):
                try:
                    answer = client.post("variables/filter", json={})
                except httpx2.TransportError:  # it is gone
                    return
                if answer.status_code != 200:
                    wrong.append(answer.text)

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    server.get("health")
    assert server.end() == 0
    for client in clients:
        client.join()
    assert wrong == []
    assert "Traceback" not in server.said


# Its file


def test_a_port_of_ipv6(home):
    with bind("::1", 0) as listening:
        assert listening.family is socket.AF_INET6
    assert pid_file.url_of("::1", 4200) == "http://[::1]:4200"
    assert pid_file.url_of("0.0.0.0", 4200) == "http://127.0.0.1:4200"
    assert pid_file.url_of("localhost", 4200) == "http://localhost:4200"


def test_a_file_that_cannot_be_read_is_of_nobody(home):
    home.mkdir(parents=True, exist_ok=True)
    (home / "server-4200.json").write_text("{}")
    (home / "server-x.json").write_text("{}")
    (home / "server-1.log").write_text("{}")
    assert pid_file.all_running(str(home)) == []
    assert pid_file.running(str(home), 4200) is None
    assert pid_file.all_running(str(home / "nowhere")) == []


def test_no_more_is_loaded_than_it_needs(run_script):
    """Each of these would take several MiB and a good part of the time until it answers."""
    done = run_script(
        """
        import sys
        from tidemill import settings
        from tidemill.server.app import create_app
        from tidemill.server.serving import open_services
        create_app(open_services(settings.load()))
        print({"pydantic", "attrs", "jinja2", "psycopg", "rich", "httpx2"} & set(sys.modules))
        """
    )
    assert done.stdout == "set()\n", done.stderr
