"""`tidemill flow-run resume`, `retry` and `cancel`, and `tidemill task-run set-state`: on runs of real processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill import flow
from tidemill.cli import flow_run_actions

START = """
import os
from pathlib import Path
from tidemill import flow, task

HERE = Path(__file__).parent

def say(word):
    with open(HERE / "said", "a") as file:
        file.write(f"{word} ")

@task
def load(n):
    say(f"load-{n}")
    return n * 10

@task
def check(total):
    say("check")
    if not (HERE / "mended").exists():
        %s
    return total + 1
"""
KILL = "os.kill(os.getpid(), 9)"
FAIL = "raise ValueError('no good')"

PLAIN = """
@flow(flow_run_name="etl")
def etl(upto: int):
    return check(sum([load(n) for n in range(upto)]))

print("executed from top to bottom")
etl(2)
"""

Cli = Callable[..., Any]
Recorded = Any


class Program:
    """A script whose flow ends badly until it is mended."""

    def __init__(self, run_script: Callable[..., Any], folder: Path) -> None:
        self._run_script = run_script
        self.folder = folder

    def run(self, source: str = PLAIN, ending: str = KILL) -> None:
        done = self._run_script(START % ending + source)
        assert done.returncode, done.stdout + done.stderr

    def mend(self) -> None:
        (self.folder / "mended").touch()

    @property
    def said(self) -> list[str]:
        """The task executions of all its processes."""
        return (self.folder / "said").read_text().split()


@pytest.fixture
def program(run_script: Callable[..., Any], tmp_path: Path) -> Program:
    return Program(run_script, tmp_path)


class TestResume:
    def test_what_has_finished_is_not_executed_again(self, program: Program, cli: Cli, recorded: Recorded) -> None:
        program.run()
        assert "Crashed" in cli("flow-run", "ls")
        program.mend()
        answer = cli("flow-run", "resume", "etl", "--json")
        assert (answer["state_type"], answer["run_count"]) == ("COMPLETED", 2)
        assert program.said == ["load-0", "load-1", "check", "check"]
        assert recorded.flow_run()["id"] == answer["id"]
        assert len(recorded.task_runs()) == 3

    def test_again_and_again_until_it_is_done(self, program: Program, cli: Cli, recorded: Recorded) -> None:
        program.run()
        for _ in range(3):
            cli("flow-run", "resume", "etl", code=-9)
        program.mend()
        cli("flow-run", "resume", "etl")
        assert cli("flow-run", "resume", "etl", "--json")["run_count"] == 5
        assert program.said == ["load-0", "load-1", *["check"] * 5]
        assert recorded.flow_run()["state_type"] == "COMPLETED"

    def test_one_that_has_completed_is_left_alone(self, program: Program, cli: Cli, tidemill: Cli, recorded: Recorded) -> None:
        program.run()
        program.mend()
        cli("flow-run", "resume", "etl")
        answer = tidemill("flow-run", "resume", "etl")
        assert (answer.code, answer.out) == (0, "")
        assert "Flow run 'etl' has completed; there is nothing to do." in answer.err
        assert recorded.flow_run()["run_count"] == 2

    def test_one_that_fails_again(self, program: Program, cli: Cli) -> None:
        program.run(ending=FAIL)
        said = cli("flow-run", "resume", "etl", code=1)
        assert "ValueError: no good" in said
        assert "executed from top to bottom" in said
        assert program.said == ["load-0", "load-1", "check", "check"]

    def test_values_of_the_scripts_own_classes(self, program: Program, cli: Cli) -> None:
        program.run(
            """
            from dataclasses import dataclass

            @dataclass(frozen=True)
            class Point:
                x: int

            @task
            def make(n):
                say("make")
                return Point(n)

            @flow(flow_run_name="etl")
            def etl(points: set[Point]):
                assert type(make(1)) is Point and all(type(point) is Point for point in points)
                check(sum(point.x for point in points))

            etl({Point(1), Point(2)})
            """.replace("\n            ", "\n")
        )
        program.mend()
        cli("flow-run", "resume", "etl")
        assert program.said == ["make", "check", "check"]

    def test_an_async_flow_behind_a_guard(self, program: Program, cli: Cli) -> None:
        program.run(
            """
            import asyncio

            @task
            async def nap(n):
                say(f"nap-{n}")

            @flow(flow_run_name="etl")
            async def etl():
                await asyncio.gather(nap(1), nap(2))
                check(1)

            if __name__ == "__main__":
                asyncio.run(etl())
            """.replace("\n            ", "\n")
        )
        program.mend()
        cli("flow-run", "resume", "etl")
        assert sorted(program.said) == ["check", "check", "nap-1", "nap-2"]

    @pytest.mark.parametrize(("call", "said"), [("Store(7).etl()", "load-7"), ("Store.named()", "Store")])
    def test_a_method_of_an_object_or_of_a_class(self, program: Program, cli: Cli, call: str, said: str) -> None:
        program.run(
            f"""
            class Store:
                def __init__(self, size):
                    self.size = size

                @flow(flow_run_name="etl")
                def etl(self):
                    check(load(self.size))

                @flow(flow_run_name="etl")
                @classmethod
                def named(cls):
                    say(cls.__name__)
                    check(1)

            {call}
            """.replace("\n            ", "\n")
        )
        program.mend()
        cli("flow-run", "resume", "etl")
        assert [word for word in program.said if word != said] == ["check", "check"]
        assert said in program.said

    def test_a_flow_of_a_module_that_a_script_imports(
        self, program: Program, run_script: Any, cli: Cli, recorded: Recorded
    ) -> None:
        source = (START % KILL + PLAIN).replace("\netl(2)", "")
        (program.folder / "imported.py").write_text(source)
        run_script("import imported\nimported.etl(2)")
        assert "imported.load" in {run["task_key"] for run in recorded.task_runs()}
        program.mend()
        cli("flow-run", "resume", "etl")
        assert program.said == ["load-0", "load-1", "check", "check"]

    def test_one_that_is_at_work(self, start_script: Any, program: Program, tidemill: Cli, wait_until: Any) -> None:
        process = start_script(START % "input()" + PLAIN)
        wait_until(lambda: (program.folder / "said").exists() and "check" in program.said)
        answer = tidemill("flow-run", "resume", "etl")
        assert answer.code == 1
        assert "Error: Flow run 'etl' is at work: Running(). Wait until it has ended" in answer.err
        process.end("\n")

    def test_a_subflow_run_continues_with_its_parent(self, program: Program, tidemill: Cli) -> None:
        program.run(
            """
            @flow(flow_run_name="inner")
            def inner(): check(1)

            @flow(flow_run_name="outer")
            def outer(): inner()

            outer()
            """.replace("\n            ", "\n")
        )
        answer = tidemill("flow-run", "resume", "inner")
        assert answer.code == 1
        assert "'inner' is a subflow run of 'outer' and continues with it: tidemill flow-run resume outer" in answer.err

    def test_a_file_that_has_moved(self, program: Program, cli: Cli) -> None:
        program.run()
        program.mend()
        moved = program.folder / "moved.py"
        (program.folder / "script.py").rename(moved)
        said = cli("flow-run", "resume", "etl", code=1)
        assert f"Error: There is no file {program.folder / 'script.py'} any more." in said
        cli("flow-run", "resume", "etl", "--entrypoint", f"{moved}:etl")
        assert program.said == ["load-0", "load-1", "check", "check"]

    def test_a_flow_of_no_file(self, tidemill: Cli, run_script: Any) -> None:
        source = "from tidemill import flow\n@flow(flow_run_name='typed')\ndef typed(): 1 / 0\ntyped()"
        run_script(f"exec(compile({source!r}, '<string>', 'exec'))")
        answer = tidemill("flow-run", "resume", "typed")
        assert answer.code == 1
        assert "typed in, not in a file" in answer.err
        assert "same idempotency_key" in answer.err


class TestRetry:
    def test_what_failed_is_executed_again(self, program: Program, cli: Cli) -> None:
        program.run(ending=FAIL)
        program.mend()
        assert cli("flow-run", "retry", "etl", "--json")["state_type"] == "COMPLETED"
        assert program.said == ["load-0", "load-1", "check", "check"]

    def test_by_the_code_as_it_is_now(self, program: Program, cli: Cli) -> None:
        program.run(ending=FAIL)
        script = program.folder / "script.py"
        script.write_text(script.read_text().replace(FAIL, "say('mended')"))
        cli("flow-run", "retry", "etl")
        assert program.said == ["load-0", "load-1", "check", "check", "mended"]

    def test_from_a_task_run_on(self, program: Program, cli: Cli, tidemill: Cli, recorded: Recorded) -> None:
        program.run(ending=FAIL)
        program.mend()
        cli("flow-run", "retry", "etl")
        answer = tidemill("flow-run", "retry", "etl")
        assert answer.code == 0
        assert "To run a part of it again: tidemill flow-run retry etl --from TASK_RUN" in answer.err
        [second] = (
            run["name"] for run in recorded.task_runs() if run["name"].startswith("load") and run["name"].endswith("-1")
        )
        cli("flow-run", "retry", "etl", "--from", second)
        assert program.said == ["load-0", "load-1", "check", "check", "load-1"]
        assert recorded.flow_run()["state_type"] == "COMPLETED"

    def test_from_a_task_run_that_is_not_there(self, program: Program, tidemill: Cli) -> None:
        program.run(ending=FAIL)
        answer = tidemill("flow-run", "retry", "etl", "--from", "nobody")
        assert answer.code == 1
        assert "There is no task run 'nobody' in flow run 'etl'" in answer.err


SLEEPER = """
import time
from tidemill import flow, task

@task
def nap():
    print("asleep", flush=True)
    while True:
        time.sleep(0.05)

@flow(flow_run_name="sleeper")
def sleeper():
    nap()

try:
    sleeper()
except BaseException as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def sleeper(start_script: Any) -> Any:
    process = start_script(SLEEPER)
    assert process.stdout.readline() == "asleep\n"
    return process


class TestCancel:
    def test_a_run_of_another_process(self, sleeper: Any, tidemill: Cli, recorded: Recorded) -> None:
        answer = tidemill("flow-run", "cancel", "sleeper", "--reason", "wrong day")
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.startswith("Flow run 'sleeper' ended: Cancelled(")
        sleeper.end()
        assert recorded.flow_run()["state_type"] == "CANCELLED"
        assert recorded.task_run()["state_type"] == "CANCELLED"
        assert [state["message"] for state in recorded.states(recorded.flow_run()) if state["type"] == "CANCELLING"] == [
            "wrong day"
        ]

    def test_without_waiting(self, sleeper: Any, tidemill: Cli, wait_until: Any, recorded: Recorded) -> None:
        answer = tidemill("flow-run", "cancel", "sleeper", "--no-wait")
        assert answer.out == "Flow run 'sleeper' is asked to end.\n"
        sleeper.end()
        assert recorded.flow_run()["state_type"] == "CANCELLED"

    def test_one_that_cannot_hear(self, sleeper: Any, suspend: Any, tidemill: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
        suspend(sleeper)
        monkeypatch.setattr(flow_run_actions, "_PATIENCE", 0.2)
        answer = tidemill("flow-run", "cancel", "sleeper")
        assert answer.code == 1
        assert "Flow run 'sleeper' has not ended within 0 seconds" in answer.err
        sleeper.kill()
        sleeper.wait()
        assert tidemill("flow-run", "ls").lines[1].split()[2] == "Cancelled"

    def test_one_that_is_killed_meanwhile(self, sleeper: Any, suspend: Any, tidemill: Cli) -> None:
        suspend(sleeper)
        tidemill("flow-run", "cancel", "sleeper", "--no-wait")
        sleeper.kill()
        sleeper.wait()
        answer = tidemill("flow-run", "cancel", "sleeper")
        assert answer.code == 1
        assert "This run has already ended, as CANCELLED." in answer.err

    def test_several_of_which_some_have_ended(self, sleeper: Any, tidemill: Cli) -> None:
        @flow(flow_run_name="done")
        def done() -> None: ...

        done()
        answer = tidemill("flow-run", "cancel", "done", "sleeper")
        assert answer.code == 1
        assert "Flow run 'done' is not cancelled: This run has already ended, as COMPLETED." in answer.err
        assert "Flow run 'sleeper' ended: Cancelled" in answer.out

    def test_a_cancelled_run_can_be_resumed(self, sleeper: Any, tidemill: Cli, cli: Cli, write_script: Any) -> None:
        tidemill("flow-run", "cancel", "sleeper")
        sleeper.end()
        script = Path(sleeper.args[1])
        script.write_text(script.read_text().replace("while True:", "if 0:"))
        assert cli("flow-run", "resume", "sleeper", "--json")["state_type"] == "COMPLETED"


class TestSetState:
    def test_the_next_attempt_takes_it_as_it_is(self, program: Program, cli: Cli, tidemill: Cli) -> None:
        program.run(PLAIN.replace("return", "return say('got'), say(str(").replace("range(upto)]))", "range(upto)]))))"), FAIL)
        [failed] = tidemill("task-run", "ls", "--state", "failed", "--json").json
        answer = tidemill("task-run", "set-state", failed["name"], "Completed", "--result", "-5", "--message", "by hand")
        assert (answer.code, answer.out) == (0, f"Task run {failed['name']!r} is completed.\n")
        cli("flow-run", "retry", "etl")
        assert sorted(program.said) == ["-5", "check", "got", "got", "load-0", "load-1"]
        [state] = tidemill("task-run", "inspect", failed["id"]).out.partition("\nStates\n")[2].splitlines()[-1:]
        assert state.endswith("Completed('by hand')")

    def test_without_a_result_it_is_none(self, program: Program, tidemill: Cli, recorded: Recorded) -> None:
        program.run(ending=FAIL)
        [failed] = tidemill("task-run", "ls", "--state", "failed", "--json").json
        tidemill("task-run", "set-state", failed["id"], "COMPLETED", "--flow-run", "etl")
        [now] = tidemill("task-run", "ls", "--name", "check", "--json").json
        assert (now["state_name"], now["state"]["data"]["serializer"]["type"]) == ("Completed", "json")

    def test_to_failed(self, program: Program, tidemill: Cli, cli: Cli) -> None:
        program.run(ending=FAIL)
        [name] = {
            run["name"] for run in tidemill("task-run", "ls", "--name", "load", "--json").json if "-1" in run["name"][-2:]
        }
        assert tidemill("task-run", "set-state", name, "failed", "--message", "wrong value").code == 0
        program.mend()
        cli("flow-run", "retry", "etl")
        assert program.said == ["load-0", "load-1", "check", "load-1", "check"]

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["running"], "A task run ends completed, failed, cancelled, crashed, not 'running'."),
            (["completed", "--result", "{"], "--result takes JSON"),
            (["failed", "--result", "1"], "--result is for a completed task run; one that is failed has none."),
        ],
    )
    def test_what_makes_no_sense(self, tidemill: Cli, arguments: list[str], told: str) -> None:
        answer = tidemill("task-run", "set-state", "any", *arguments)
        assert answer.code == 1
        assert told in answer.err

    def test_of_a_run_at_work(self, sleeper: Any, tidemill: Cli, wait_until: Any, recorded: Recorded) -> None:
        wait_until(recorded.task_runs)  # that it runs is written a moment after it has begun
        napping = recorded.task_run()
        answer = tidemill("task-run", "set-state", napping["id"], "completed")
        assert answer.code == 1
        assert "at work" in answer.err
