"""Promise 7. Eight processes that each map 1,000 tasks on one SQLite file lose nothing and hear of nothing."""

import pytest

PROCESSES = 8
ITEMS = 1000

MAPS = f"""
    @task
    def square(n):
        return n * n

    @flow
    def squares(first):
        return sum(square.map(range(first, first + {ITEMS})).result())

    say("ready")
    sys.stdin.readline()
    say(squares(int(sys.argv[1]) * {ITEMS}))
"""


@pytest.mark.slow
def test_eight_processes_that_map_at_once(start_saying, cli, recorded):
    processes = [start_saying(MAPS, str(number), env={"TIDEMILL_LOGGING_LEVEL": "WARNING"}) for number in range(PROCESSES)]
    for process in processes:
        process.says("ready")
    for process in processes:
        process.tell("go")
    for number, process in enumerate(processes):
        expected = sum(n * n for n in range(number * ITEMS, (number + 1) * ITEMS))
        assert (process.end(), process.returncode, process.told) == (f"{expected}\n", 0, "")
    runs = recorded.task_runs(limit=PROCESSES * ITEMS + 1)
    assert len({run["id"] for run in runs}) == PROCESSES * ITEMS
    assert {run["state_type"] for run in runs} == {"COMPLETED"}
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * PROCESSES
    cli("db", "check")
