"""Promise 7. Many processes share one database, from its first moment on, and none hears of a lock."""

import os
import re

TASKS = int(os.environ.get("TIDEMILL_TEST_TASKS_PER_PROCESS", "200"))
"""How many tasks each process runs; 1,000 by hand."""

PROCESSES = 8

WORKER = """
import sys
from tidemill import flow, task

@task
def step(n):
    return n + 1

@flow
def many(count):
    return sum(step(n) for n in range(count))

sys.stdin.readline()
print(many(int(sys.argv[1])))
"""


def start_together(start_script, source, *args):
    """Starts the processes, lets them all go at the same moment, and waits for their answers."""
    processes = [start_script(source, *args) for _ in range(PROCESSES)]
    for process in processes:
        process.tell("go")
    return [(process.end(), process.told, process.returncode) for process in processes]


def quiet_about_locks(errors):
    return not re.search(r"locked|SQLITE|BusyError|Traceback", errors)


def test_processes_that_start_together_on_an_empty_home(start_script, cli):
    expected = f"{sum(range(1, TASKS + 1))}\n"
    for out, errors, code in start_together(start_script, WORKER, str(TASKS)):
        assert (code, out) == (0, expected), errors
        assert quiet_about_locks(errors), errors
    runs = cli("flow-run", "ls", "--json")
    assert [run["state_type"] for run in runs] == ["COMPLETED"] * PROCESSES
    task_runs = cli("task-run", "ls", "--json", "--state-type", "COMPLETED", "--limit", str(PROCESSES * TASKS + 1))
    assert len(task_runs) == PROCESSES * TASKS
    assert len({run["id"] for run in task_runs}) == PROCESSES * TASKS
    cli("db", "check")


def test_processes_that_only_arrive_together(start_script, cli):
    """The first moment itself: an empty home, one short flow each, many times over."""
    for round_number in range(3):
        answers = start_together(start_script, WORKER, "1")
        assert [(out, code) for out, _, code in answers] == [("1\n", 0)] * PROCESSES, answers
        assert len(cli("flow-run", "ls", "--json", "--limit", "100")) == PROCESSES * (round_number + 1)


def test_readers_beside_writers(start_script, cli):
    writer = start_script(WORKER, str(TASKS * 3))
    writer.tell("go")
    counts = []
    while writer.poll() is None and len(counts) < 20:
        counts.append(len(cli("task-run", "ls", "--json", "--limit", "10000")))
    writer.end()
    assert writer.returncode == 0, writer.told
    assert counts == sorted(counts)
    assert quiet_about_locks(writer.told), writer.told


def test_a_process_that_holds_a_run_stops_no_other(start_script, run_script):
    holder = start_script(
        """
        import sys
        from tidemill import flow, task

        @task
        def step():
            return 1

        @flow
        def waiting():
            step()
            print("holding", flush=True)
            sys.stdin.readline()
            return step()

        print(waiting())
        """
    )
    holder.says("holding")
    other = run_script(WORKER, "20", input="go\n")
    assert (other.returncode, other.stdout) == (0, "210\n"), other.stderr
    assert (holder.end("go\n"), holder.returncode) == ("1\n", 0), holder.told
