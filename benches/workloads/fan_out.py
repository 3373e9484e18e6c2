"""Tasks that do nothing, all at once on the runner that a flow has by default. `fan_out.py ENGINE COUNT submit|map`."""

import sys
from time import perf_counter

from common import count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()


@task
def nothing(n):
    return n


def submit():
    futures = [nothing.submit(n) for n in range(COUNT)]
    return sum(future.result() for future in futures)


def map_():
    return sum(nothing.map(list(range(COUNT))).result())


work = {"submit": submit, "map": map_}[sys.argv[3]]


@flow
def fan_out():
    start = perf_counter()
    if work() != sum(range(COUNT)):
        raise ValueError("a result is missing")
    return perf_counter() - start


begin = perf_counter()
seconds = fan_out()
report(
    us_each=seconds / COUNT * 1e6,
    per_second=COUNT / seconds,
    per_second_with_flow=COUNT / (perf_counter() - begin),
)
