"""A task that does nothing, called in a loop. `task_loop.py ENGINE COUNT [wait]`; `wait`: for a line on stdin first.

The whole loop is timed, and beside it at most a thousand single calls spread over it, so that a long loop needs no more
memory for its timing than a short one.
"""

import sys
from time import perf_counter

from common import count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()
SINGLE_CALLS = min(COUNT, 1000)
if COUNT % SINGLE_CALLS:
    sys.exit("COUNT has to be less than 1,000, or whole thousands.")
calls = []


@task
def nothing(n):
    return n


@flow
def loop():
    start = perf_counter()
    for _ in range(SINGLE_CALLS):
        before = perf_counter()
        nothing(0)
        calls.append(perf_counter() - before)
        for n in range(1, COUNT // SINGLE_CALLS):
            nothing(n)
    return perf_counter() - start


if sys.argv[3:] == ["wait"]:
    sys.stdin.readline()
begin = perf_counter()
seconds = loop()
calls.sort()
report(
    us_each=seconds / COUNT * 1e6,
    us_each_with_flow=(perf_counter() - begin) / COUNT * 1e6,
    us_call_p50=calls[len(calls) // 2] * 1e6,
    us_call_p99=calls[len(calls) * 99 // 100] * 1e6,
)
