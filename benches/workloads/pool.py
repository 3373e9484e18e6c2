"""Tasks on two worker processes, by an engine or by the bare pool under it. `pool.py ENGINE|bare COUNT processes|dask WORK`.

WORK is how much each task computes: 0 for nothing, otherwise roughly its milliseconds. Timed is from the first submission to
the last result, when all workers are up; how long the first result takes, start of the workers included, is shown beside it.
"""

import sys
from contextlib import contextmanager
from time import perf_counter

from common import count, engine, report, task_runner

WORKERS = 2
COUNT = count()
KIND, WORK = sys.argv[3], int(sys.argv[4])
STEPS_PER_MILLISECOND = 85_000


def work(n, amount):
    sum(range(amount * STEPS_PER_MILLISECOND))
    return n


def measure(submit):
    """Seconds to the first result, and from then on for all of the measured ones. `submit(n, amount)` gives a future."""
    begin = perf_counter()
    submit(0, 0).result()
    first = perf_counter() - begin
    for future in [submit(n, 50) for n in range(2 * WORKERS)]:  # long enough for each worker to get one
        future.result()
    start = perf_counter()
    futures = [submit(n, WORK) for n in range(COUNT)]
    if sum(future.result() for future in futures) != sum(range(COUNT)):
        raise ValueError("a result is missing")
    return first, perf_counter() - start


def by_engine():
    flow, task = engine().flow, engine().task
    if KIND == "dask":
        runner = task_runner("DaskTaskRunner")(n_workers=WORKERS)
    else:
        runner = task_runner("ProcessPoolTaskRunner")(max_workers=WORKERS)
    traced = task(work)

    @flow(task_runner=runner)
    def measured():
        return measure(traced.submit)

    return measured()


@contextmanager
def bare_pool():
    if KIND == "dask":
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield lambda n, amount: client.submit(work, n, amount, pure=False)
    else:
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(WORKERS) as pool:
            yield lambda n, amount: pool.submit(work, n, amount)


def by_bare_pool():
    with bare_pool() as submit:
        return measure(submit)


if __name__ == "__main__":
    first, seconds = by_bare_pool() if sys.argv[1] == "bare" else by_engine()
    report(first_ms=first * 1000, us_each=seconds / COUNT * 1e6, per_second=COUNT / seconds)
