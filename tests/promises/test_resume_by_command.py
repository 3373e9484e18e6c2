"""Promise 3, from outside: `tidemill flow-run resume` and `retry`, and what `task-run set-state` decided."""

import json

import pytest


@pytest.fixture
def killed(say):
    """Runs a script that kills itself; gives what it said."""
    return lambda source, *args: say(source, *args, killed=True)


@pytest.fixture
def edit(tmp_path):
    """Edits the script that ran, as people do before they resume."""

    def change(before, after):
        script = tmp_path / "script.py"
        start, before_it, rest = script.read_text().rpartition(before)
        assert before_it
        script.write_text(start + after + rest)

    return change


@pytest.fixture
def command(cli, recorded):
    """`tidemill flow-run WHAT NAME ...` for the flow run that no other run called; gives the lines said by the flow."""

    def run(what, *args, code=0):
        (name,) = [run["name"] for run in recorded.flow_runs() if run["parent_flow_run_id"] is None]
        return [line for line in cli("flow-run", what, name, *args, code=code).splitlines() if line.startswith(">")]

    return run


STEPS = """
    @task
    def step(n):
        say("> step", n)
        if n == 2:
            die()
        return n

    @flow
    def nightly(count):
        return sum(step(n) for n in range(count))

    if __name__ == "__main__":
        nightly(int(sys.argv[1]))
"""


def test_a_killed_run_is_resumed_by_its_name(killed, edit, command, recorded):
    assert killed(STEPS, "4") == ["> step 0", "> step 1", "> step 2"]
    edit("die()", "pass")
    assert command("resume") == ["> step 2", "> step 3"]
    run = recorded.flow_run()
    assert (run["state_type"], run["run_count"], run["parameters"]) == ("COMPLETED", 2, {"count": 4})
    assert command("resume") == []


def test_a_run_that_is_killed_while_it_is_resumed(killed, edit, command, recorded):
    killed(STEPS, "4")
    command("resume", code=-9)
    edit("die()", "pass")
    assert command("resume") == ["> step 2", "> step 3"]
    names = [state["name"] for state in recorded.states(recorded.flow_run())]
    assert names == ["Pending", "Running", "Crashed", "Resuming", "Crashed", "Resuming", "Completed"]


def test_several_commands_at_once_of_which_one_wins(killed, edit, recorded, start_saying, wait_until, tmp_path):
    killed(STEPS, "4")
    go = tmp_path / "go"
    edit("die()", f"while not os.path.exists({str(go)!r}): time.sleep(0.01)")
    resume = "import tidemill.cli\nsys.argv[1:] = ['flow-run', 'resume', NAME]\nsys.exit(tidemill.cli.main())"
    resume = resume.replace("NAME", repr(recorded.flow_run()["name"]))
    processes = [start_saying(resume) for _ in range(4)]
    wait_until(lambda: sum(process.poll() is not None for process in processes) == 3)
    go.touch()
    said = [process.end() for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1, 1, 1]
    assert sorted(said) == ["", "", "", "> step 2\n> step 3\n"]
    assert recorded.flow_run()["run_count"] == 2


PARAMETERS = """
    import dataclasses, datetime
    from pydantic import BaseModel

    @dataclasses.dataclass
    class Point:
        x: int

    class Shape(BaseModel):
        points: set[int]

    @task
    def look(*given):
        say("> look")
        return [type(one).__name__ for one in given]

    @flow
    def nightly(point: Point, shape: Shape, day: datetime.date, raw, **more):
        names = look(point, shape, day, raw, more)
        if len(sys.argv) > 1 and sys.argv[1] == "die":
            die()
        say(">", *names, point.x, shape.points, day, raw, more)

    if __name__ == "__main__":
        nightly(Point(1), Shape(points={1}), datetime.date(2024, 2, 29), raw={(1, 2): {3}}, extra=(1, 2))
"""


def test_parameters_that_are_not_json(killed, command):
    assert killed(PARAMETERS, "die") == ["> look"]
    assert command("resume") == ["> Point Shape date dict dict 1 {1} 2024-02-29 {(1, 2): {3}} {'extra': (1, 2)}"]


def test_a_method_is_resumed_on_the_object_it_was_called_on(killed, edit, command):
    source = """
        class Report:
            def __init__(self, day):
                self.day = day

            @task
            def read(self):
                say("> read")
                return self.day

            @flow
            def make(self):
                value = self.read()
                die()
                say("> made", value, self.day)

        if __name__ == "__main__":
            Report(7).make()
    """
    assert killed(source) == ["> read"]
    edit("die()\n        say", "say")
    assert command("resume") == ["> made 7 7"]


def test_an_async_flow(killed, edit, command):
    source = """
        import asyncio

        @task
        async def step(n):
            say("> step", n)
            return n

        @flow
        async def nightly():
            first = await asyncio.gather(step(1), step(2))
            die()
            say(">", first, await step(3))

        if __name__ == "__main__":
            asyncio.run(nightly())
    """
    assert killed(source) == ["> step 1", "> step 2"]
    edit("die()\n    say", "say")
    assert command("resume") == ["> step 3", "> [1, 2] 3"]


FAILS = """
    @task
    def extract():
        say("> extract")
        return [1, 2, 3]

    @task
    def transform(rows):
        say("> transform", rows)
        return [row * 2 for row in rows]

    @task
    def load(rows):
        say("> load", rows)
        raise OSError("no disk")

    @flow
    def nightly():
        load(transform(extract()))

    if __name__ == "__main__":
        nightly(return_state=True)
"""


def test_a_failure_is_mended_and_retried(say, edit, command, recorded):
    assert say(FAILS) == ["> extract", "> transform [1, 2, 3]", "> load [2, 4, 6]"]
    command("retry", code=1)
    edit('raise OSError("no disk")', "pass")
    assert command("retry") == ["> load [2, 4, 6]"]
    assert recorded.flow_run()["run_count"] == 3
    assert command("retry") == []


def task_run_of(recorded, task):
    (name,) = [run["name"] for run in recorded.task_runs() if run["name"].startswith(f"{task}-")]
    return name


def test_a_retry_from_a_task_run_repeats_what_follows_from_it(say, edit, command, recorded):
    say(FAILS)
    edit('raise OSError("no disk")', "pass")
    edit("row * 2", "row * 3")
    assert command("retry", "--from", task_run_of(recorded, "transform")) == ["> transform [1, 2, 3]", "> load [3, 6, 9]"]
    assert command("retry", "--from", task_run_of(recorded, "load")) == ["> load [3, 6, 9]"]
    first = command("retry", "--from", task_run_of(recorded, "extract"))
    assert first == ["> extract", "> transform [1, 2, 3]", "> load [3, 6, 9]"]
    assert len(recorded.task_runs()) == 3


def test_a_task_run_that_somebody_completed_is_not_executed(say, cli, command, edit, recorded):
    say(FAILS)
    cli("task-run", "set-state", task_run_of(recorded, "transform"), "completed", "--result", json.dumps([10]))
    edit('raise OSError("no disk")', "pass")
    assert command("retry") == ["> load [10]"]


def test_a_failed_task_run_that_somebody_completed_lets_the_flow_end(say, cli, command, recorded):
    say(FAILS)
    cli("task-run", "set-state", task_run_of(recorded, "load"), "completed")
    assert command("retry") == []
    assert recorded.flow_run()["state_type"] == "COMPLETED"


def test_a_task_run_that_somebody_failed_is_executed_again(killed, cli, command, edit, recorded):
    killed(STEPS, "4")
    edit("die()", "pass")
    name = next(run["name"] for run in recorded.task_runs() if run["name"].endswith("-0"))
    cli("task-run", "set-state", name, "failed")
    assert command("resume") == ["> step 0", "> step 2", "> step 3"]


def test_a_retry_from_inside_a_subflow(say, command, recorded):
    source = """
        @task
        def step(name):
            say("> step", name)
            return name

        @flow
        def part(name):
            return step(name + "1") + step(name + "2")

        @task
        def join(left, right):
            say("> join")
            return left + right

        @flow
        def whole():
            return join(part("a"), part("b"))

        if __name__ == "__main__":
            whole()
    """
    assert say(source) == ["> step a1", "> step a2", "> step b1", "> step b2", "> join"]
    part = next(run["name"] for run in recorded.task_runs() if run["name"].startswith("part-0"))
    assert command("retry", "--from", part) == ["> step a1", "> step a2", "> join"]


def test_a_script_that_is_gone_is_said_to_be_gone(killed, tmp_path, cli, recorded):
    killed(STEPS, "4")
    (tmp_path / "script.py").rename(tmp_path / "moved.py")
    name = recorded.flow_run()["name"]
    assert "--entrypoint" in cli("flow-run", "resume", name, code=1)
    assert recorded.flow_run()["state_type"] == "CRASHED"
