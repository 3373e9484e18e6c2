"""A task that sleeps for 0.1 seconds, called again and again. `ticking.py ENGINE SECONDS`."""

import time

from common import count, engine, report

flow, task = engine().flow, engine().task
SECONDS = count()


@task
def tick():
    time.sleep(0.1)


@flow
def ticking():
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        tick()


ticking()
report()
