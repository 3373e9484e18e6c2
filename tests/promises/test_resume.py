"""Promise 3. A run resumes where it stopped: after its process was killed, the same run continues in another one."""

import signal

import pytest

THREE_STEPS = """
    @task
    def step(n):
        say("step", n)
        return n + 1

    @flow(idempotency_key="nightly")
    def nightly():
        first = step(0)
        second = step(first)
        MOMENT
        return step(second)

    say(nightly())
"""


def test_killed_between_tasks(say, two_of, recorded):
    before, after = two_of(THREE_STEPS, "die()", "")
    assert say(before, killed=True) == ["step 0", "step 1"]
    assert say(after) == ["step 2", "3"]
    run = recorded.flow_run()
    assert [state["name"] for state in recorded.states(run)] == ["Pending", "Running", "Crashed", "Resuming", "Completed"]
    assert run["run_count"] == 2
    assert say(after) == ["3"]


def test_killed_again_and_again(say, recorded):
    source = """
        @task
        def step(n):
            say("step", n)
            if n == int(sys.argv[1]):
                die()
            return n

        @flow(idempotency_key="nightly")
        def nightly():
            return [step(n) for n in range(4)]

        say(nightly())
    """
    for n in range(4):
        assert say(source, str(n), killed=True) == ([f"step {n - 1}"] if n else []) + [f"step {n}"]
    assert say(source, "9") == ["step 3", "[0, 1, 2, 3]"]
    assert recorded.flow_run()["run_count"] == 5


def test_killed_in_a_task_whose_bug_is_then_mended(say, two_of):
    source = """
        @task
        def fetch():
            '''DOCSTRING'''
            say("fetch")
            return [3, 1, 2]

        @task
        def order(VARIABLE):
            MOMENT
            return sorted(VARIABLE)

        @flow(idempotency_key="nightly")
        def nightly():
            VARIABLE = fetch()
            return order(VARIABLE)

        say(nightly())
    """
    before, after = two_of(source, "die()", "pass")
    assert say(before.replace("VARIABLE", "items"), killed=True) == ["fetch"]
    assert say(after.replace("VARIABLE", "numbers").replace("DOCSTRING", "Now documented.")) == ["[1, 2, 3]"]


def test_killed_before_the_first_task(say, two_of, recorded):
    before, after = two_of(THREE_STEPS.replace("first = step(0)", "MOMENT\n        first = step(0)", 1), "die()", "")
    assert say(before, killed=True) == []
    assert say(after) == ["step 0", "step 1", "step 2", "3"]
    assert recorded.flow_run()["run_count"] == 2


def test_killed_inside_a_map(say, recorded):
    source = """
        import threading
        done = 0
        lock = threading.Lock()

        @task
        def square(n):
            global done
            with lock:
                done += 1
                if done == 101 and len(sys.argv) > 1:
                    die()
                say("square", n)
            return n * n

        @flow(idempotency_key="nightly")
        def nightly():
            return sum(square.map(range(300)).result())

        say(nightly())
    """
    first = say(source, "die", killed=True)
    assert len(first) == 100
    kept = {run["name"] for run in recorded.task_runs(limit=1000) if run["state_type"] == "COMPLETED"}
    *second, value = say(source)
    assert value == str(sum(n * n for n in range(300)))
    assert len(second) == 300 - len(kept)
    assert set(first) | set(second) == {f"square {n}" for n in range(300)}
    assert len(recorded.task_runs(limit=1000)) == 300


def test_killed_in_the_third_level_of_subflows(say, two_of, recorded):
    source = """
        @task
        def step(n):
            say("step", n)
            return n + 1

        @flow
        def bottom(n):
            say("bottom", n)
            value = step(n)
            if n == 20:
                MOMENT
            return step(value)

        @flow
        def middle(n):
            say("middle")
            return bottom(step(n)) + bottom(20)

        @flow(idempotency_key="nightly")
        def top():
            say("top")
            return middle(step(0))

        say(top())
    """
    before, after = two_of(source, "die()", "pass")
    first = ["top", "step 0", "middle", "step 1", "bottom 2", "step 2", "step 3", "bottom 20", "step 20"]
    assert say(before, killed=True) == first
    assert say(after) == ["top", "middle", "bottom 20", "step 21", "26"]
    assert len(recorded.flow_runs()) == 4
    assert {run["state_type"] for run in recorded.flow_runs() + recorded.task_runs()} == {"COMPLETED"}


def test_killed_in_an_async_flow(say, two_of, recorded):
    source = """
        import asyncio

        @task
        async def square(n):
            await asyncio.sleep(0)
            say("square", n)
            return n * n

        @flow(idempotency_key="nightly")
        async def nightly():
            first = await asyncio.gather(*map(square, range(20)))
            MOMENT
            return sum(first) + await square(20)

        say(asyncio.run(nightly()))
    """
    before, after = two_of(source, "die()", "pass")
    assert len(say(before, killed=True)) == 20
    assert say(after) == ["square 20", str(sum(n * n for n in range(21)))]


def test_killed_in_a_flow_that_is_a_method(say, two_of):
    source = """
        class Report:
            def __init__(self, day):
                self.day = day

            @task
            def read(self):
                say("read", self.day)
                return self.day * 10

            @flow
            def make(self, factor):
                value = self.read()
                MOMENT
                return value * factor

        day = int(sys.argv[1])
        say(Report(day).make.with_options(idempotency_key=f"report-{day}")(2))
    """
    before, after = two_of(source, "die()", "pass")
    assert say(before, "1", killed=True) == ["read 1"]
    assert say(after, "1") == ["20"]
    assert say(after, "2") == ["read 2", "40"]


def test_results_and_parameters_of_classes_that_the_script_defines(say, two_of):
    source = """
        import dataclasses, datetime, enum
        from pydantic import BaseModel

        class Colour(enum.Enum):
            RED = 1

        @dataclasses.dataclass(frozen=True)
        class Point:
            x: int
            y: int
            colour: Colour = Colour.RED

        class Shape(BaseModel):
            points: list[tuple[int, int]]

        @task
        def moved(point, by):
            say("moved", point, by)
            return Point(point.x + by, point.y)

        @task
        def area(shape, day):
            say("area", shape, day)
            return Shape(points=shape.points * 2)

        @flow(idempotency_key="shapes")
        def shapes(point: Point, shape: Shape, day: datetime.datetime):
            first, second = moved(point, 1), area(shape, day)
            MOMENT
            return moved(first, 2).x, area(second, day).points, type(first) is Point

        say(shapes(Point(1, 2), Shape(points=[(0, 0)]), datetime.datetime(2024, 2, 29)))
    """
    before, after = two_of(source, "die()", "pass")
    first = say(before, killed=True)
    assert [line.split()[0] for line in first] == ["moved", "area"]
    second = say(after)
    assert [line.split()[0] for line in second[:-1]] == ["moved", "area"]
    assert second[0].startswith("moved Point(x=2")
    assert second[-1] == "(4, [(0, 0), (0, 0), (0, 0), (0, 0)], True)"
    assert say(after) == second[-1:]


def test_killed_while_a_failed_task_waits_for_its_retry(say, start_saying, recorded, wait_until):
    source = """
        @task(retries=1, retry_delay_seconds=DELAY)
        def unsteady():
            say("try", runtime.task_run.run_count)
            if len(sys.argv) > 1:
                raise OSError("once")
            return "steady"

        @flow(idempotency_key="nightly")
        def nightly():
            return unsteady()

        say(nightly())
    """
    process = start_saying(source.replace("DELAY", "600"), "fail")
    wait_until(lambda: [run["state_name"] for run in recorded.task_runs()] == ["AwaitingRetry"])
    process.kill()
    assert process.end() == "try 1\n"
    assert say(source.replace("DELAY", "0")) == ["try 2", "steady"]
    names = [state["name"] for state in recorded.states(recorded.task_run())]
    assert names == ["Pending", "Running", "AwaitingRetry", "Crashed", "Pending", "Retrying", "Completed"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, -signal.SIGINT)])
def test_interrupted_by_a_signal(say, two_of, number, code):
    before, after = two_of(THREE_STEPS, f"os.kill(os.getpid(), {int(number)})", "")
    assert say(before, code=code) == ["step 0", "step 1"]
    assert say(after) == ["step 2", "3"]


def test_a_process_that_ends_itself_in_a_task(say):
    source = """
        @task
        def step(n):
            say("step", n)
            if n == 1 and len(sys.argv) > 1:
                os._exit(3)
            return n

        @flow(idempotency_key="nightly")
        def nightly():
            return [step(n) for n in range(3)]

        say(nightly())
    """
    assert say(source, "end", code=3) == ["step 0", "step 1"]
    assert say(source) == ["step 1", "step 2", "[0, 1, 2]"]


def test_a_call_with_other_parameters_executes_what_depends_on_them(say, two_of):
    source = """
        @task
        def fetch(source):
            say("fetch", source)
            return source * 2

        @flow(idempotency_key="merge")
        def merge(left, right):
            values = fetch(left), fetch(right)
            MOMENT
            return values

        say(merge("left", sys.argv[1]))
    """
    before, after = two_of(source, "die()", "pass")
    assert say(before, "right", killed=True) == ["fetch left", "fetch right"]
    assert say(after, "wrong") == ["fetch wrong", "('leftleft', 'wrongwrong')"]


def test_a_large_result_that_was_lost_is_computed_again(say, two_of, home, recorded):
    source = """
        @task
        def large():
            say("large")
            return "x" * 100_000

        @task
        def size(text):
            say("size")
            return len(text)

        @flow(idempotency_key="nightly")
        def nightly():
            value = size(large())
            MOMENT
            return value

        say(nightly())
    """
    before, after = two_of(source, "die()", "pass")
    assert say(before, killed=True) == ["large", "size"]
    (file,) = [path for path in (home / "results").rglob("*") if path.is_file()]
    file.write_bytes(file.read_bytes()[:-1])
    assert say(after) == ["large", "100000"]
    assert any("executed again" in line["message"] for line in recorded.logs())


def test_two_flows_that_were_killed_in_one_process_resume_each_for_itself(say, two_of, recorded):
    source = """
        import threading

        @task
        def step(name, n):
            say(name, n)
            return n

        @flow(idempotency_key="of-{name}")
        def part(name):
            value = step(name, 1)
            barrier.wait()
            MOMENT
            return step(name, value + 1)

        names = sys.argv[1:]
        barrier = threading.Barrier(len(names))
        threads = [threading.Thread(target=part, args=(name,)) for name in names]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    """
    before, after = two_of(source, "die()", "pass")
    assert sorted(say(before, "a", "b", killed=True)) == ["a 1", "b 1"]
    assert say(after, "a") == ["a 2"]
    assert {run["state_type"] for run in recorded.flow_runs()} == {"COMPLETED", "CRASHED"}
    assert say(after, "b") == ["b 2"]


def test_relaxed_durability_resumes_from_what_was_committed(say, two_of):
    before, after = two_of(THREE_STEPS, "die()", "")
    relaxed = {"TIDEMILL_DURABILITY": "relaxed"}
    assert say(before, killed=True, env=relaxed) == ["step 0", "step 1"]
    assert say(after, env=relaxed)[-2:] == ["step 2", "3"]
