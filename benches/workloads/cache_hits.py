"""A task whose result is in the cache, called in a loop. `cache_hits.py ENGINE COUNT`."""

from time import perf_counter

from common import by_inputs, count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()
executed = []


@task(cache_policy=by_inputs(), persist_result=True)
def cached(n):
    executed.append(n)
    return n


@flow
def loop():
    start = perf_counter()
    cached(0)
    miss = perf_counter() - start
    start = perf_counter()
    for _ in range(COUNT):
        cached(0)
    return miss, perf_counter() - start


miss, seconds = loop()
if executed != [0]:
    raise ValueError(f"the task was executed {len(executed)} times")
report(us_each=seconds / COUNT * 1e6, us_miss=miss * 1e6)
