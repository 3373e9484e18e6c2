"""Tasks that sleep for 0.1 seconds, on 50 threads. `sleeps.py ENGINE COUNT`."""

import time
from time import perf_counter

from common import count, engine, report, task_runner

flow, task = engine().flow, engine().task
COUNT = count()
SECONDS = 0.1
THREADS = 50


@task
def sleeping():
    time.sleep(SECONDS)


@flow(task_runner=task_runner("ThreadPoolTaskRunner")(max_workers=THREADS))
def many():
    start = perf_counter()
    futures = [sleeping.submit() for _ in range(COUNT)]
    for future in futures:
        future.wait()
    return perf_counter() - start


seconds = many()
report(seconds=seconds, over_ideal=seconds / (SECONDS * -(-COUNT // THREADS)))
