"""Promise 4. No zombies: a run whose process died ends by itself, and of two who want a run exactly one gets it."""

import signal

import pytest

SHORT_LEASE = {"TIDEMILL_LEASE_SECONDS": "1"}

STEP = """
    @task
    def step(n):
        say("step", n)
        return n
"""

WAITING = (
    STEP
    + """
    @flow(idempotency_key="nightly")
    def nightly():
        first = step(1)
        sys.stdin.readline()
        return first + step(2)

    say(nightly())
"""
)
"""Executes a step, waits for a line of input, and executes another one."""


@pytest.fixture
def stop_after_a_step(suspend, wait_until, recorded):
    """Stops a process once it has recorded that it has taken a step."""

    def stop(process):
        wait_until(lambda: [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"])
        suspend(process)

    return stop


def state_of(cli, *more):
    (run,) = cli("flow-run", "ls", "--json", *more)
    return run["state_type"], run["state"]["message"]


def kill(process):
    process.kill()
    process.wait()


@pytest.mark.parametrize("command", [("flow-run", "ls"), ("task-run", "ls"), ("flow", "ls")], ids=" ".join)
def test_any_command_notices_that_a_process_is_gone(start_saying, cli, recorded, command):
    process = start_saying(WAITING)
    process.says("step 1")
    kill(process)
    cli(*command)
    run = recorded.flow_run()
    gone = f"The process that ran it is gone (process {process.pid} on host "
    assert run["state_type"] == "CRASHED"
    assert run["state"]["message"].startswith(gone)
    assert [state["name"] for state in recorded.states(run)] == ["Pending", "Running", "Crashed"]


def test_the_next_flow_run_notices_that_a_process_is_gone(start_saying, say, recorded):
    process = start_saying(WAITING)
    process.says("step 1")
    kill(process)
    say("@flow\ndef other():\n    return 1\n\nother()")
    assert recorded.flow_run("nightly")["state_type"] == "CRASHED"


def test_a_process_that_runs_a_flow_notices_that_another_is_gone(start_saying, wait_until, recorded):
    witness = start_saying(WAITING.replace("nightly", "daily"), env=SHORT_LEASE)
    process = start_saying(WAITING)
    witness.says("step 1")
    process.says("step 1")
    kill(process)
    wait_until(lambda: recorded.flow_run("nightly")["state_type"] == "CRASHED")
    assert recorded.flow_run("daily")["state_type"] == "RUNNING"
    assert witness.end("go\n") == "step 2\n3\n"


def test_everything_that_was_unfinished_ends_with_its_process(start_saying, cli, recorded):
    process = start_saying(
        """
        @task
        def waiting(n):
            say("waiting")
            time.sleep(600)

        @flow
        def part():
            waiting.map(range(2)).result()

        @flow
        def whole():
            part()

        whole()
        """
    )
    process.says("waiting", "waiting")
    kill(process)
    cli("flow-run", "ls")
    assert {run["state_type"] for run in recorded.flow_runs() + recorded.task_runs()} == {"CRASHED"}


def test_a_run_is_ended_once_however_many_notice(start_saying, recorded):
    process = start_saying(WAITING)
    process.says("step 1")
    others = [
        start_saying("sys.stdin.readline()\nimport tidemill.cli\nsys.argv[1:] = ['flow-run', 'ls']\ntidemill.cli.main()")
        for _ in range(8)
    ]
    kill(process)
    for other in others:
        other.tell("go")
    for other in others:
        other.end()
        assert other.returncode == 0, other.told
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "Crashed"]


@pytest.mark.parametrize("again", ["key", "command"])
def test_a_live_run_is_refused(start_saying, cli, recorded, again):
    process = start_saying(WAITING)
    process.says("step 1")
    if again == "key":
        other = start_saying(WAITING)
        assert (other.end(), other.returncode) == ("", 1)
        answer = other.told
        assert f"process {process.pid}" in answer
    else:
        answer = cli("flow-run", "resume", recorded.flow_run()["name"], code=1)
    assert "is at work" in answer
    assert "tidemill flow-run cancel" in answer
    assert process.end("go\n") == "step 2\n3\n"
    assert [state["name"] for state in recorded.states(recorded.flow_run())] == ["Pending", "Running", "Completed"]


def test_a_live_run_is_refused_in_its_own_process(say):
    source = """
        from tidemill.exceptions import FlowRunIsLive

        @flow(idempotency_key="nightly")
        def nightly(depth):
            try:
                nightly(depth + 1)
            except FlowRunIsLive:
                say("refused")
            thread = threading.Thread(target=elsewhere)
            thread.start()
            thread.join()
            return depth

        def elsewhere():
            try:
                nightly(5)
            except FlowRunIsLive:
                say("refused elsewhere")

        say(nightly(0))
    """
    assert say(source) == ["refused", "refused elsewhere", "0"]


RESUMED_AT_ONCE = (
    STEP
    + """
    from tidemill.exceptions import FlowRunIsLive

    @flow(idempotency_key="nightly")
    def nightly():
        values = [step(n) for n in range(3)]
        if len(sys.argv) == 1:
            die()
        say("won")
        sys.stdin.readline()
        return values

    if len(sys.argv) > 1:
        say("ready")
        sys.stdin.readline()
    try:
        say(nightly())
    except FlowRunIsLive as refused:
        say("refused", runtime.flow_run.id is None)
"""
)


@pytest.mark.parametrize("count", [2, 8])
def test_of_several_who_resume_at_once_exactly_one_wins(start_saying, say, recorded, count):
    assert say(RESUMED_AT_ONCE, killed=True) == ["step 0", "step 1", "step 2"]
    processes = [start_saying(RESUMED_AT_ONCE, "again") for _ in range(count)]
    for process in processes:
        process.says("ready")
    for process in processes:
        process.tell("go")
    first = [process.lines(1)[0] for process in processes]
    assert sorted(first) == ["refused True"] * (count - 1) + ["won"]
    winner = processes[first.index("won")]
    assert winner.end("go\n") == "[0, 1, 2]\n", winner.told
    run = recorded.flow_run()
    assert [state["name"] for state in recorded.states(run)] == ["Pending", "Running", "Crashed", "Resuming", "Completed"]
    assert run["run_count"] == 2


def test_of_eight_who_begin_at_once_exactly_one_executes_it(start_saying, recorded):
    processes = [start_saying(RESUMED_AT_ONCE, "first") for _ in range(8)]
    for process in processes:
        process.says("ready")
    for process in processes:
        process.tell("go")
    first = [process.lines(1)[0] for process in processes]
    assert sorted(first) == ["refused True"] * 7 + ["step 0"]
    winner = processes[first.index("step 0")]
    assert winner.end("go\n") == "step 1\nstep 2\nwon\n[0, 1, 2]\n", winner.told
    assert recorded.flow_run()["run_count"] == 1


FENCED = (
    STEP
    + """
    from tidemill.exceptions import FencedRun

    @flow(idempotency_key="nightly")
    def nightly():
        values = [step(1)]
        if len(sys.argv) == 1:
            sys.stdin.readline()
        values.append(step(2))
        if len(sys.argv) > 1:
            say("newer")
            sys.stdin.readline()
        return values

    try:
        say(nightly())
    except FencedRun as fenced:
        say("fenced:", fenced)
"""
)


def test_a_process_that_was_stopped_past_its_lease_is_fenced(start_saying, wait_until, stop_after_a_step, cli, recorded):
    older = start_saying(FENCED, env=SHORT_LEASE)
    older.says("step 1")
    stop_after_a_step(older)
    wait_until(lambda: state_of(cli)[0] == "CRASHED")
    newer = start_saying(FENCED, "newer", env=SHORT_LEASE)
    newer.says("step 2", "newer")
    older.send_signal(signal.SIGCONT)
    assert older.end("go\n").splitlines()[-1].startswith("fenced: "), older.told
    assert recorded.flow_run()["state_type"] == "RUNNING"
    assert newer.end("go\n") == "[1, 2]\n", newer.told
    run = recorded.flow_run()
    assert [state["name"] for state in recorded.states(run)] == ["Pending", "Running", "Crashed", "Resuming", "Completed"]
    steps = [(one["name"].partition("-")[0], one["state_type"]) for one in recorded.task_runs()]
    assert steps == [("step", "COMPLETED")] * 2
    cli("db", "check")


def test_a_process_that_was_stopped_is_fenced_also_when_nobody_has_resumed(
    start_saying, wait_until, stop_after_a_step, cli, recorded
):
    process = start_saying(FENCED, env=SHORT_LEASE)
    process.says("step 1")
    stop_after_a_step(process)
    wait_until(lambda: state_of(cli)[0] == "CRASHED")
    process.send_signal(signal.SIGCONT)
    assert process.end("go\n").splitlines()[-1].startswith("fenced: "), process.told
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "Crashed"]


def test_a_process_that_was_stopped_within_its_lease_goes_on(start_saying, stop_after_a_step, cli):
    process = start_saying(FENCED)
    process.says("step 1")
    stop_after_a_step(process)
    assert state_of(cli)[0] == "RUNNING"
    process.send_signal(signal.SIGCONT)
    assert process.end("go\n") == "step 2\n[1, 2]\n", process.told


def test_a_process_that_was_fenced_may_run_other_flows(start_saying, wait_until, stop_after_a_step, cli, recorded):
    source = FENCED + "    say(nightly.with_options(idempotency_key='another', name='another')())\n"
    process = start_saying(source, env=SHORT_LEASE)
    process.says("step 1")
    stop_after_a_step(process)
    wait_until(lambda: state_of(cli)[0] == "CRASHED")
    process.send_signal(signal.SIGCONT)
    lines = process.end("go\ngo\n").splitlines()
    assert lines[-1] == "[1, 2]", process.told
    assert recorded.flow_run("another")["state_type"] == "COMPLETED"


BUSY = {
    "the whole interpreter": "import re; re.match('(a+)+b', 'a' * 26)",
    "one thread": "for _ in range(40_000_000): pass",
    "the event loop": "asyncio.run(blocked())",
}


@pytest.mark.parametrize("work", BUSY.values(), ids=BUSY)
def test_a_busy_process_is_never_declared_dead(start_saying, cli, recorded, work):
    source = """
        import asyncio

        async def blocked():
            time.sleep(1.5)

        @task
        def busy():
            say("busy")
            WORK
            return "done"

        @flow
        def nightly():
            return busy()

        say(nightly())
    """
    process = start_saying(source.replace("WORK", work), env={"TIDEMILL_LEASE_SECONDS": "0.2"})
    process.says("busy")
    seen = set()
    while process.poll() is None:
        seen.add(state_of(cli, "--flow", "nightly")[0])
    assert process.end() == "done\n", process.told
    assert seen <= {"RUNNING", "COMPLETED"}
    assert [state["name"] for state in recorded.states(recorded.flow_run())] == ["Pending", "Running", "Completed"]
