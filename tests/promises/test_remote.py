"""Runs that a server records are recorded once and whole, whatever becomes of the server or of their process."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

SAYING = """\
import os, sys
from tidemill import flow, task

@task
def step(n):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()} {n}\\n")
    return n

@flow
def steps(count):
    return sum(step(n) for n in range(count))

if __name__ == "__main__":
    steps(int(sys.argv[2]))
    print("ended", flush=True)
"""


class Server:
    """A server of its own, which can be killed and started again at the same address."""

    def __init__(self, home, environment):
        self._home = home
        self._environment = environment
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"
        self._process = None

    def start(self):
        """Starts it; it answers a little later."""
        command = [sys.executable, "-m", "tidemill", "server", "start", "--port", str(self.port)]
        self._process = subprocess.Popen(
            command, env=self._environment(self._home), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def answers(self):
        try:
            return urllib.request.urlopen(f"{self.url}/health", timeout=5).status == 200
        except OSError:
            return False

    def kill(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def read(self, path, body=None):
        """What the REST API answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@pytest.fixture
def make_server(tmp_path, environment_for, wait_until):
    made = []

    def make(**more):
        server = Server(tmp_path / "server", lambda home: environment_for(home, more))
        made.append(server)
        server.start()
        wait_until(server.answers)
        return server

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def through(server):
    """The environment of a process whose runs this server records."""
    return {"TIDEMILL_API_URL": server.url}


def flow_runs(cli, env):
    return cli("flow-run", "ls", "--json", "--limit", "0", env=env)


def task_runs(cli, env):
    return cli("task-run", "ls", "--json", "--limit", "0", env=env)


def test_a_script_records_on_the_server(server, through, run_script, cli, tmp_path):
    done = run_script(SAYING, str(tmp_path / "said"), "3", env=through)
    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
    (run,) = flow_runs(cli, through)
    assert (run["flow_name"], run["state_name"]) == ("steps", "Completed")
    assert cli("flow-run", "inspect", run["name"], env=through).count("Completed") == 2
    assert "Finished in state Completed()" in cli("flow-run", "logs", run["name"], env=through)
    assert [each["name"] for each in cli("flow", "ls", "--json", env=through)] == ["steps"]
    on_the_server = cli("flow-run", "ls", "--json", env={"TIDEMILL_HOME": str(tmp_path / "server")})
    assert [each["id"] for each in on_the_server] == [run["id"]]
    assert not (tmp_path / "home" / "tidemill.db").exists()


def test_a_server_that_is_killed_again_and_again_gets_everything_once(server, through, start_script, cli, tmp_path, wait_until):
    said = tmp_path / "said"
    scripts = [start_script(SAYING, str(said), "300", env=through) for _ in range(3)]
    for _ in range(3):
        before = said.stat().st_size if said.exists() else 0
        wait_until(lambda before=before: said.exists() and said.stat().st_size > before)
        server.kill()
        server.start()
    wait_until(server.answers)
    for script in scripts:
        assert script.end() == "ended\n", script.told
    cli("journal", "ship", env=through)
    assert len(said.read_text().splitlines()) == len(set(said.read_text().splitlines())) == 900
    assert {run["state_name"] for run in flow_runs(cli, through)} == {"Completed"}
    recorded = task_runs(cli, through)
    assert len(recorded) == len({run["id"] for run in recorded}) == 900
    assert {run["state_name"] for run in recorded} == {"Completed"}
    for run in flow_runs(cli, through):
        lines = cli("flow-run", "logs", run["id"], "--json", env=through)
        created = [line["message"] for line in lines if line["message"].startswith("Created task run")]
        assert len(created) == len(set(created)) == 300


def test_while_the_server_is_down_runs_go_on_and_are_sent_later(server, through, run_script, cli, tmp_path, wait_until):
    said = str(tmp_path / "said")
    run_script(SAYING, said, "1", env=through)
    server.kill()
    env = {**through, "TIDEMILL_REMOTE_ACKNOWLEDGE_SECONDS": "0.5"}
    done = run_script(SAYING, said, "5", env=env)
    assert (done.returncode, done.stdout) == (0, "ended\n")
    assert "changes wait in the journal" in done.stderr
    (journal,) = cli("journal", "status", "--json", env=through)
    assert journal["server"] == server.url
    assert journal["waiting"] > 0
    assert "cannot be reached" in journal["last_error"]
    assert cli("journal", "ship", "--timeout", "0.5", env=through, code=1)
    server.start()
    wait_until(server.answers)
    assert cli("journal", "ship", env=through) == "The server has everything.\n"
    assert [run["state_name"] for run in flow_runs(cli, through)] == ["Completed", "Completed"]
    assert len(task_runs(cli, through)) == 6
    (journal,) = cli("journal", "status", "--json", env=through)
    assert (journal["waiting"], journal["last_error"]) == (0, None)


def test_what_a_killed_process_had_not_sent_the_next_command_sends(
    server, through, start_script, run_script, cli, tmp_path, wait_until
):
    said = tmp_path / "said"
    run_script(SAYING, str(said), "1", env=through)
    said.unlink()
    server.kill()
    script = start_script(
        SAYING.replace("return n\n", "import time; time.sleep(600 if n == 7 and len(sys.argv) > 2 else 0); return n\n"),
        str(said),
        "10",
        env=through,
    )
    wait_until(lambda: said.exists() and len(said.read_text().splitlines()) == 8)
    script.send_signal(signal.SIGKILL)
    script.wait()
    server.start()
    wait_until(server.answers)
    newest, _ = flow_runs(cli, through)
    assert newest["state_name"] == "Crashed"
    states = [run["state_name"] for run in task_runs(cli, through) if run["flow_run_id"] == newest["id"]]
    assert states.count("Completed") == 7
    assert set(states) <= {"Completed", "Crashed"}  # whether the last was noted to have begun, is a matter of moments


def test_a_full_disk_of_the_server_stops_nobody(make_server, run_script, cli, tmp_path, wait_until):
    """The server's file may not grow: what a full disk is to its database."""
    server = make_server()
    through = {"TIDEMILL_API_URL": server.url, "TIDEMILL_REMOTE_ACKNOWLEDGE_SECONDS": "2"}
    said = str(tmp_path / "said")
    run_script(SAYING, said, "1", env=through)
    subprocess.run(["prlimit", f"--pid={server._process.pid}", "--fsize=1000:unlimited"], check=True)
    done = run_script(SAYING, said, "400", env=through)
    assert (done.returncode, done.stdout) == (0, "ended\n")
    assert "changes wait in the journal" in done.stderr
    subprocess.run(["prlimit", f"--pid={server._process.pid}", "--fsize=unlimited:unlimited"], check=True)
    wait_until(lambda: cli("journal", "ship", env=through) == "The server has everything.\n")
    assert len(task_runs(cli, through)) == 401


def test_cancelling_through_the_server_reaches_the_process(through, start_script, cli, wait_until):
    script = start_script(
        """
        import time
        from tidemill import flow

        @flow(flow_run_name="endless")
        def endless():
            print("begun", flush=True)
            while True:
                time.sleep(0.01)

        endless()
        """,
        env=through,
    )
    assert script.stdout.readline() == "begun\n"
    wait_until(lambda: flow_runs(cli, through))
    elsewhere = {**through, "TIDEMILL_HOME": str(script.said.parent / "elsewhere")}
    assert "ended: Cancelled" in cli("flow-run", "cancel", "endless", "--reason", "enough", env=elsewhere)
    script.wait()
    assert "was cancelled: enough" in script.told


def test_a_run_is_resumed_on_another_machine(through, run_script, cli, tmp_path):
    source = tmp_path / "steps.py"
    source.write_text(
        """\
import sys
from tidemill import flow, task

@task
def step(n):
    if n == 3 and broken:
        raise ValueError("broken")
    print("step", n, flush=True)
    return n

broken = True

@flow(flow_run_name="climb")
def steps():
    return [step(n) for n in range(5)]

if __name__ == "__main__":
    steps()
"""
    )
    done = run_script(f"import runpy; runpy.run_path({str(source)!r}, run_name='__main__')", env=through)
    assert done.returncode == 1
    source.write_text(source.read_text().replace("broken = True", "broken = False"))
    elsewhere = {**through, "TIDEMILL_HOME": str(tmp_path / "elsewhere")}
    assert cli("flow-run", "resume", "climb", env=elsewhere) == "step 3\nstep 4\n"
    (run,) = flow_runs(cli, through)
    assert (run["state_name"], run["run_count"]) == ("Completed", 2)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("http://127.0.0.1:9/api", "It has never been reached from here"),
        ("{url}/wrong", "is no Tidemill server"),
    ],
)
def test_a_wrong_address_is_one_clear_error(server, run_script, tmp_path, address, says):
    env = {"TIDEMILL_API_URL": address.format(url=server.url.removesuffix("/api"))}
    done = run_script(SAYING, str(tmp_path / "said"), "1", env=env)
    assert done.returncode == 1
    assert says in done.stderr
    assert not (tmp_path / "said").exists()
    assert not (tmp_path / "home" / "journals").exists()


def test_a_wrong_token_is_one_clear_error(server, cli, run_script, tmp_path, wait_until):
    created = cli("server", "token", "create", "me", "--role", "operator", env={"TIDEMILL_HOME": str(tmp_path / "server")})
    token = created.split()[-1]

    def asks():
        try:
            server.read("engine/version")
        except urllib.error.HTTPError as error:
            return error.code == 401
        return False

    wait_until(asks)
    env = {"TIDEMILL_API_URL": server.url}
    said = str(tmp_path / "said")
    done = run_script(SAYING, said, "1", env=env)
    assert (done.returncode, "set TIDEMILL_API_KEY" in done.stderr) == (1, True)
    done = run_script(SAYING, said, "1", env={**env, "TIDEMILL_API_KEY": "tidemill_wrong"})
    assert (done.returncode, "Check TIDEMILL_API_KEY" in done.stderr) == (1, True)
    assert "tidemill_wrong" not in done.stderr
    done = run_script(SAYING, said, "1", env={**env, "TIDEMILL_API_KEY": token})
    assert done.returncode == 0, done.stderr
