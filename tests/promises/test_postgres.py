"""Promises 1, 2, 3 and 7 on PostgreSQL, which is one URL away; also while its server is stopped, or crashes."""

import time

import pytest

from tidemill import settings

PROCESSES = 8
TASKS = 400


@pytest.fixture
def use(home, monkeypatch):
    """Records everything, here and in the processes that this test starts, in the database at a URL."""

    def choose(url):
        monkeypatch.setenv("TIDEMILL_DATABASE_URL", url)
        settings.reload()

    yield choose
    monkeypatch.delenv("TIDEMILL_DATABASE_URL", raising=False)


@pytest.fixture
def on_postgres(use, postgres_url):
    use(postgres_url)


STEPS = """
    @task
    def step(n):
        say("> step", n)
        if n == 2 and MOMENT:
            die()
        get_run_logger().info(f"step {n} is done")
        return n

    @flow
    def nightly(count):
        return sum(step(n) for n in range(count))

    if __name__ == "__main__":
        say(nightly(4))
"""


def test_a_script_in_an_empty_home_and_an_empty_database(on_postgres, say, cli, home):
    assert say(STEPS.replace("MOMENT", "False"))[-1] == "6"
    (run,) = cli("flow-run", "ls", "--json")
    assert (run["state_type"], run["parameters"]) == ("COMPLETED", {"count": 4})
    assert "step 3 is done" in cli("flow-run", "logs", run["name"])
    assert not (home / "tidemill.db").exists()
    assert "is sound" in cli("db", "check")


def test_a_killed_run_is_resumed_and_does_nothing_twice(on_postgres, say, cli, recorded, tmp_path):
    assert say(STEPS.replace("MOMENT", "True"), killed=True) == ["> step 0", "> step 1", "> step 2"]
    (tmp_path / "script.py").write_text((tmp_path / "script.py").read_text().replace("and True", "and False"))
    (name,) = [run["name"] for run in recorded.flow_runs()]
    resumed = cli("flow-run", "resume", name).splitlines()
    assert [line for line in resumed if line.startswith(">")] == ["> step 2", "> step 3"]
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "Crashed", "Resuming", "Completed"]
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * 4


def test_a_run_is_cancelled_from_another_process(on_postgres, start_saying, cli, recorded):
    process = start_saying(
        """
        @flow
        def endless():
            say("begun")
            while True:
                time.sleep(0.01)

        endless()
        """
    )
    assert process.stdout.readline() == "begun\n", process.told
    cli("flow-run", "cancel", recorded.flow_run()["name"])
    process.end()
    assert recorded.flow_run()["state_type"] == "CANCELLED"


SHARED = """
import os, time
from tidemill import task
from tidemill.caching import INPUTS

@task(cache_policy=INPUTS.configure(isolation_level="SERIALIZABLE"))
def once(n):
    os.write(1, b"computed\\n")
    time.sleep(0.2)
    return n
"""


def test_a_cached_result_is_computed_once_by_all_processes(on_postgres, start_saying, recorded, tmp_path):
    (tmp_path / "shared.py").write_text(SHARED)
    source = "import shared; say('ready'); sys.stdin.readline(); shared.once(1)"
    processes = [start_saying(source) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.told
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert "".join(process.end() for process in processes) == "computed\n"
    assert sorted(run["state_name"] for run in recorded.task_runs()) == ["Cached", "Cached", "Cached", "Completed"]


MAPS = f"""
    @task
    def square(n):
        return n * n

    @flow
    def squares(first):
        return sum(square.map(range(first, first + {TASKS})).result())

    say("ready")
    sys.stdin.readline()
    say(squares(int(sys.argv[1]) * {TASKS}))
"""


@pytest.mark.slow
def test_eight_processes_that_map_at_once(on_postgres, start_saying, cli, recorded):
    processes = [start_saying(MAPS, str(number), env={"TIDEMILL_LOGGING_LEVEL": "WARNING"}) for number in range(PROCESSES)]
    for process in processes:
        assert process.stdout.readline() == "ready\n", process.told
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for number, process in enumerate(processes):
        expected = sum(n * n for n in range(number * TASKS, (number + 1) * TASKS))
        assert (process.end(), process.returncode, process.told) == (f"{expected}\n", 0, "")
    runs = recorded.task_runs(limit=PROCESSES * TASKS + 1)
    assert len({run["id"] for run in runs}) == PROCESSES * TASKS
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * PROCESSES
    cli("db", "check")


LOOPS = f"""
    @task
    def step(n):
        get_run_logger().info(f"line {{n}}")
        time.sleep(0.001)
        return n

    @flow
    def loop():
        for n in range({TASKS}):
            step(n)
            say(n)

    loop()
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fast", "immediate"])
def test_nothing_is_lost_or_doubled_while_the_database_restarts(use, start_saying, start_postgres, recorded, wait_until, how):
    """`fast` ends the sessions of all who are connected; `immediate` is a crash, from which the server recovers."""
    with start_postgres() as server:
        use(server.url)
        processes = [start_saying(LOOPS) for _ in range(3)]
        for process in processes:
            assert process.stdout.readline() == "0\n", process.told
        for _ in range(3):
            before = len(recorded.task_runs(limit=5000))
            wait_until(lambda before=before: len(recorded.task_runs(limit=5000)) > before + 20)
            server.stop(how)
            time.sleep(0.2)  # the work goes on without it, and waits
            server.start()
        for process in processes:
            assert (process.end().splitlines()[-1], process.returncode) == (str(TASKS - 1), 0), process.told
        runs = recorded.task_runs(limit=5000)
        assert [run["state_type"] for run in runs] == ["COMPLETED"] * (3 * TASKS)
        assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 3
        for run in recorded.flow_runs():
            lines = [line["message"] for line in recorded.logs(run) if line["message"].startswith("line ")]
            assert sorted(lines) == sorted(f"line {n}" for n in range(TASKS))
