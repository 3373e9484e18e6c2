"""Tasks called at odd moments: in a finalizer, a signal handler, at exit, beside a fork; and a home that goes away."""

import gc

import pytest

from tidemill import flow, task

PRELUDE = """
import atexit, faulthandler, os, shutil, signal, sys, threading, warnings
warnings.filterwarnings("ignore", message=".*fork", category=DeprecationWarning)
from tidemill import flow, task, get_run_logger

@task
def add_one(x):
    return x + 1

@flow
def some(n):
    return sum(add_one(0) for _ in range(n))
"""


def test_a_task_called_in_a_finalizer(recorded):
    called = []

    @task
    def note():
        called.append(1)

    class Noting:
        def __init__(self):
            self.itself = self

        def __del__(self):
            note()

    @task
    def step():
        Noting()
        return 1

    @flow
    def parent():
        count = sum(step() for _ in range(100))
        gc.collect()
        return count

    assert parent() == 100
    assert len(called) == 100
    runs = recorded.task_runs(limit=500)
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * 200


@pytest.mark.parametrize("act", ["add_one(n)", "logger.info('said %d', n)", "print('said', n)"])
def test_a_signal_handler_that_calls_a_task_or_speaks(run_script, recorded, cli, act):
    done = run_script(
        PRELUDE
        + f"""
calls = []

@flow(log_prints=True)
def disturbed():
    logger = get_run_logger()

    def disturb(number, frame):
        n = len(calls)
        calls.append(n)
        {act}
        if n < 200:  # set anew each time: with an interval, handlers would pile up on a slow machine
            signal.setitimer(signal.ITIMER_REAL, 0.0007)

    signal.signal(signal.SIGALRM, disturb)
    signal.setitimer(signal.ITIMER_REAL, 0.001)
    while len(calls) < 200:
        assert add_one(1) == 2
    signal.setitimer(signal.ITIMER_REAL, 0)
    return "fine"

assert disturbed() == "fine"
"""
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert recorded.flow_run()["state_type"] == "COMPLETED"
    assert {run["state_type"] for run in recorded.task_runs(limit=100_000)} == {"COMPLETED"}
    cli("db", "check")


def test_a_flow_called_at_exit(run_script, recorded):
    done = run_script(PRELUDE + "atexit.register(lambda: print('at exit', some(2)))\nprint(some(1))\n")
    assert (done.returncode, done.stdout) == (0, "1\nat exit 2\n"), done.stderr
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 2


def test_a_thread_that_works_on_after_the_main_thread_has_ended(run_script, recorded):
    done = run_script(PRELUDE + "threading.Thread(target=lambda: print(sum(some(3) for _ in range(50)))).start()\n")
    assert (done.returncode, done.stdout) == (0, "150\n"), done.stderr
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * 50


def test_a_daemon_thread_that_works_when_the_interpreter_ends(run_script, cli):
    done = run_script(
        PRELUDE
        + """
worked = threading.Event()

def work():
    while True:
        some(3)
        worked.set()

threading.Thread(target=work, daemon=True).start()
worked.wait()
"""
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "Traceback" not in done.stderr
    cli("db", "check")


def test_forks_while_other_threads_record(run_script, cli):
    done = run_script(
        PRELUDE
        + """
going = True

def work():
    while going:
        some(3)

threads = [threading.Thread(target=work) for _ in range(3)]
for thread in threads:
    thread.start()
codes = []
for _ in range(40):
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(20, exit=True)
        os._exit(0 if some(2) == 2 else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    if codes[-1]:
        break
going = False
for thread in threads:
    thread.join()
print(set(codes))
"""
    )
    assert (done.returncode, done.stdout) == (0, "{0}\n"), done.stderr[-3000:]
    cli("db", "check")


@pytest.mark.parametrize("when", ["between runs", "within a run"])
def test_a_home_that_was_removed_is_made_anew_or_missed_aloud(run_script, cli, when):
    """What is recorded after `rm -r` must not go to a file that no longer has a name."""
    removal = "shutil.rmtree(os.environ['TIDEMILL_HOME'])\n"
    within = f"\n@flow\ndef removing():\n    add_one(1)\n    {removal}    return add_one(2)\n"
    first = "some(1)\n" + removal if when == "between runs" else within + "\ntry: removing()\nexcept Exception: pass\n"
    done = run_script(PRELUDE + first + "print(some(2))\n")
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    runs = cli("flow-run", "ls", "--json")
    assert "some" in {run["flow_name"] for run in runs}
    assert runs[0]["state_type"] == "COMPLETED"


def test_a_relative_home_stays_where_it_was_when_the_program_goes_elsewhere(run_script, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    done = run_script(
        PRELUDE + "print(some(1))\nos.chdir('elsewhere')\nprint(some(1))\n",
        env={"TIDEMILL_HOME": "relative"},
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "1\n1\n"), done.stderr
    assert [path.parent.name for path in tmp_path.rglob("tidemill.db")] == ["relative"]


@pytest.mark.parametrize("seconds", ["float('nan')", "float('inf')", "1e15", "True"])
def test_a_limit_that_is_an_odd_number_does_no_harm(run_script, seconds):
    done = run_script(
        PRELUDE
        + f"""
from tidemill.exceptions import DefinitionError

try:
    task(timeout_seconds={seconds})(lambda: "odd")()
except DefinitionError as error:
    assert "timeout_seconds" in str(error)
print(add_one.with_options(timeout_seconds=60)(1))
"""
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
