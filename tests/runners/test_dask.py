"""What is particular about Dask: where values are, what becomes of workers, and which clusters it uses. What it shares with the
other task runners is in test_conformance*.py."""

import os
import pickle
import signal
from pathlib import Path

import pytest
from distributed import Client

from tidemill import flow, task
from tidemill.exceptions import DefinitionError, TaskRunTimeoutError
from tidemill.runners.children import ChildDied
from tidemill.runners.dask import DaskTaskRunner
from tidemill.runners.dask.own_cluster import OwnCluster
from tidemill.runners.dask.values import DaskValue

pytestmark = pytest.mark.program

LARGE = 1_000_000


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# Values


@pytest.mark.parametrize("persist", [None, False], ids=["kept", "not kept"])
def test_a_large_value_goes_from_worker_to_worker_and_not_through_this_process(persist):
    @task(persist_result=persist)
    def make(letter):
        return {"data": bytearray(letter * LARGE, "ascii")}

    @task
    def measure(one, *, more):
        return len(one["data"]), [bytes(each["data"][:1]) for each in more]

    @flow(task_runner=DaskTaskRunner(n_workers=2))
    def parent():
        made = make.map(["a", "b"])
        assert measure.submit(made[0], more=made).result() == (LARGE, [b"a", b"b"])
        standing = [future.value_elsewhere for future in made]
        assert all(isinstance(one, DaskValue) and one._here is None for one in standing)
        first = made[0].result()
        assert first["data"] == bytearray(b"a" * LARGE)
        assert made[0].result() is first
        assert standing[1]._here is None
        return 1

    assert parent() == 1


def test_a_long_text_stays_too_wherever_it_is_passed():
    @task
    def make(letter):
        return letter * LARGE

    @task
    def join(texts):
        return len("".join(texts))

    @flow(task_runner=DaskTaskRunner(n_workers=2))
    def parent():
        made = make.map(["a", "b"])
        total = join.submit(made).result()
        return total, [future.value_elsewhere._here for future in made]

    assert parent() == (2 * LARGE, [None, None])


def test_where_a_large_input_came_from_is_recorded(recorded):
    @task
    def make():
        return ["x" * 10] * 100_000

    @task
    def use(value):
        return len(value)

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        made = make.submit()
        return use.submit(made).result(), use.submit(made.result()).result()

    assert parent() == (100_000, 100_000)
    made, *used = sorted(recorded.task_runs(), key=lambda run: run["id"])
    assert [[one["id"] for one in run["task_inputs"]["value"]] for run in used] == [[made["id"]]] * 2


@pytest.mark.parametrize("persist", [None, False], ids=["kept", "not kept"])
def test_a_value_outlives_the_cluster(persist):
    @task(persist_result=persist)
    def make():
        return bytearray(LARGE)

    futures = []

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        futures.append(make.submit())
        futures.append(make.submit())
        return futures[0]

    assert len(parent().result()) == LARGE
    assert len(futures[1].result()) == LARGE


def test_a_value_is_had_although_its_worker_has_died():
    @task
    def make():
        return bytearray(LARGE), os.getpid()

    @task
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def measure(made):
        return len(made[0])

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        made = make.submit()
        made.wait()
        die.submit().wait()
        return measure.submit(made).result(), len(made.result()[0])

    assert parent() == (LARGE, LARGE)


# Workers that die


def test_a_worker_that_dies_fails_its_task_and_no_other(recorded, tmp_path):
    begun = tmp_path / "begun"

    @task
    def die():
        with begun.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    @task
    def step(x):
        return x

    @flow(task_runner=DaskTaskRunner(n_workers=2))
    def parent():
        steps = [step.submit(x) for x in range(5)]
        dying = die.submit()
        steps += [step.submit(x) for x in range(5, 10)]
        with pytest.raises(ChildDied, match=r"Dask worker process .* was killed by signal SIGKILL"):
            dying.result()
        return [one.result() for one in steps]

    assert parent() == list(range(10))
    assert begun.read_text() == "x"  # Dask itself would execute it again
    (died,) = [run for run in recorded.task_runs() if run["name"].startswith("die")]
    assert (died["state_type"], died["run_count"]) == ("FAILED", 1)


def test_a_task_whose_worker_died_is_retried_if_it_has_retries(recorded, tmp_path):
    begun = tmp_path / "begun"

    @task(retries=1, retry_delay_seconds=0.001)
    def unsteady():
        if not begun.exists():
            begun.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "survived"

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        return unsteady.submit().result()

    assert parent() == "survived"
    states = [state["name"] for state in recorded.states(recorded.task_run())]
    assert states == ["Pending", "Running", "AwaitingRetry", "Retrying", "Completed"]


def test_a_time_limit_ends_a_call_that_blocks(recorded):
    @task(timeout_seconds=0.1)
    def blocked():
        os.read(os.pipe()[0], 1)

    @task
    def step():
        return 1

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        with pytest.raises(TaskRunTimeoutError):
            blocked.submit().result()
        return step.submit().result()

    assert parent() == 1


# Clusters


@pytest.fixture
def cluster():
    own = OwnCluster(1)
    yield own.cluster
    own.close()


@pytest.mark.parametrize("by", ["address", "cluster"])
def test_an_existing_cluster_is_used_and_left_as_it_was(cluster, by):
    runner = DaskTaskRunner(cluster.scheduler_address) if by == "address" else DaskTaskRunner(cluster=cluster)

    @task
    def parent_process():
        return os.getppid()

    @flow(task_runner=runner)
    def parent():
        return parent_process.submit().result()

    assert parent() == os.getpid()
    assert parent() == os.getpid()
    with Client(cluster, set_as_default=False) as client:
        assert client.submit(len, "abc").result() == 3


def test_a_cluster_of_a_class_is_started_and_closed():
    started = []

    def make(**given):
        started.append((OwnCluster(1), given))
        return started[-1][0].cluster

    @task
    def step():
        return 1

    @flow(task_runner=DaskTaskRunner(cluster_class=make, cluster_kwargs={"a": 1}, client_kwargs={"name": "tidemill"}))
    def parent():
        return step.submit().result()

    assert parent() == 1
    ((own, given),) = started
    assert given == {"a": 1}
    assert own.cluster.status.name == "closed"
    own.close()


def test_flows_inside_flows_share_the_cluster():
    @task
    def worker():
        return os.getpid()

    @flow
    def below():
        return worker.submit().result()

    @flow(task_runner=DaskTaskRunner(n_workers=1))
    def parent():
        return worker.submit().result(), below(), below()

    assert len(set(parent())) == 1


def test_nothing_is_left_of_the_cluster():
    @task
    def step():
        return os.getpid(), os.getcwd()

    @flow(task_runner=DaskTaskRunner(n_workers=2))
    def parent():
        return step.map(range(0)), [step.submit().result() for _ in range(3)]

    before = set(children_of(os.getpid()))
    parent()
    assert set(children_of(os.getpid())) <= before


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"address": "tcp://x", "n_workers": 2}, "takes one of .* not address and n_workers"),
        ({"cluster_kwargs": {"processes": False}}, "for a cluster_class"),
        ({"address": 5}, "address is that of a Dask scheduler"),
        ({"n_workers": 0}, "n_workers must be a whole number"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together_are_refused(given, told):
    with pytest.raises(DefinitionError, match=told):
        DaskTaskRunner(**given)


def test_a_runner_travels_with_its_options():
    runner = pickle.loads(pickle.dumps(DaskTaskRunner("tcp://10.0.0.5:8786", client_kwargs={"timeout": 3})))
    assert repr(runner) == "DaskTaskRunner(address='tcp://10.0.0.5:8786', client_kwargs={'timeout': 3})"
    assert repr(runner.fresh()) == repr(runner)


# Programs

UNGUARDED = """
import os
from tidemill import flow, task
from tidemill.runners.dask import DaskTaskRunner

print("top", flush=True)

@task
def step(x):
    return x + 1

@flow(task_runner=DaskTaskRunner(n_workers=2))
def parent():
    return step.submit(step.submit(1)).result()

print(parent())
"""


def test_a_script_needs_no_guard_and_says_nothing_of_dask(run_script):
    done = run_script(UNGUARDED, env={"PYTHONWARNINGS": "error"})
    assert done.stdout == "top\n3\n", done.stderr
    assert "distributed" not in done.stderr
    assert "Warning" not in done.stderr
    assert "Exception ignored" not in done.stderr


STUCK = """
import os, time
from tidemill import flow, task
from tidemill.runners.dask import DaskTaskRunner

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # in one piece: three processes say something at once

@task
def stuck(x):
    say("begun", os.getpid())
    {how}

@task
def after(x):
    return x

@flow(task_runner=DaskTaskRunner(n_workers=2))
def interrupted():
    futures = stuck.map(range(4))
    after.submit(futures[0])
    say("submitted")
    futures.wait()

interrupted()
print("never reached")
"""


@pytest.mark.parametrize("how", ["for _ in range(60_000): time.sleep(0.01)", "time.sleep(600)"], ids=["python", "blocked"])
@pytest.mark.parametrize(
    ("signum", "codes"),
    [(signal.SIGINT, {-2, 130}), (signal.SIGTERM, {-15, 143}), (signal.SIGKILL, {-9})],
    ids=["INT", "TERM", "KILL"],
)
def test_a_signal_ends_the_flow_and_its_workers(start_script, cli, recorded, wait_until, lives, signum, codes, how):
    process = start_script(STUCK.format(how=how))
    *begun, submitted = sorted(process.lines(3))
    assert submitted == "submitted", process.told
    workers = {int(line.removeprefix("begun ")) for line in begun}
    process.send_signal(signum)
    assert process.end() == "", process.told
    assert process.returncode in codes, process.told
    wait_until(lambda: not any(map(lives, workers)))
    if signum == signal.SIGKILL:
        cli("flow-run", "ls")  # ends what is left of dead processes
    assert recorded.flow_run()["state_type"] == "CRASHED"
    if signum != signal.SIGKILL:
        tasks = recorded.task_runs()
        assert len(tasks) == 5
        assert {one["state_type"] for one in tasks} <= {"CANCELLED", "CRASHED"}, [one["state"] for one in tasks]
        assert "distributed" not in process.told
