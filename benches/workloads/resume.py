"""A run that is killed behind COUNT finished tasks and continued: how soon is the next task executed? `resume.py ENGINE COUNT`.

Two processes are started, one after the other. The first kills itself in task COUNT + 1, the second continues. `prefect`
has no way to continue a run: there a new run finds the finished tasks by its cache, which it has to be told to keep.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from common import by_inputs, count, engine, report

COUNT = count()
PART = sys.argv[3] if len(sys.argv) > 3 else None
executed = 0
called_at = 0.0


def step(n):
    global executed
    executed += 1
    if n == COUNT and PART == "first":
        os.kill(os.getpid(), signal.SIGKILL)
    if n == COUNT:
        now = time.monotonic()
        print(json.dumps({"called_at": called_at, "executed_at": now, "executed": executed}), flush=True)
    return n


def steps(task):
    for n in range(COUNT + 1):
        task(n)


def by_tidemill():
    traced = engine().task(step)

    @engine().flow
    def many():
        steps(traced)

    return many.with_options(idempotency_key="once")


def by_prefect():
    traced = engine().task(persist_result=True, cache_policy=by_inputs())(step)

    @engine().flow
    def many():
        steps(traced)

    return many


def by_dbos():
    dbos = engine()
    database = f"sqlite:///{os.environ['DBOS_HOME']}/dbos.db"
    dbos.DBOS(config={"name": "bench", "system_database_url": database, "run_admin_server": False})
    traced = dbos.DBOS.step()(step)

    @dbos.DBOS.workflow()
    def many():
        steps(traced)

    def run():
        dbos.DBOS.launch()  # which also continues, by itself, what it finds unfinished
        with dbos.SetWorkflowID("once"):
            many()
        dbos.DBOS.destroy()

    return run


def part(name):
    """Runs one of the two processes, in a group of its own of which nothing is left over: it may have started a server."""
    command = [sys.executable, *sys.argv[:3], name]
    started_at = time.monotonic()
    with tempfile.TemporaryFile("w+") as told:
        process = subprocess.Popen(command, stdout=told, start_new_session=True)
        code = process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        told.seek(0)
        return started_at, code, told.read()


if PART:
    run = {"tidemill": by_tidemill, "prefect": by_prefect, "dbos": by_dbos}[sys.argv[1]]()
    called_at = time.monotonic()
    run()
else:
    _, code, _ = part("first")
    if code != -signal.SIGKILL:
        sys.exit(f"the first process ended with {code}")
    started_at, code, told = part("second")
    if code:
        sys.exit(f"the second process ended with {code}")
    told = json.loads(told.splitlines()[-1])
    report(
        first_new_ms=(told["executed_at"] - told["called_at"]) * 1000,
        process_to_first_new_ms=(told["executed_at"] - started_at) * 1000,
        executed=told["executed"],
    )
