"""A flow that does nothing, called in a loop inside another flow. `subflow_loop.py ENGINE COUNT`."""

from time import perf_counter

from common import count, engine, report

flow = engine().flow
COUNT = count()


@flow
def nothing(n):
    return n


@flow
def loop():
    start = perf_counter()
    for n in range(COUNT):
        nothing(n)
    return perf_counter() - start


report(us_each=loop() / COUNT * 1e6)
