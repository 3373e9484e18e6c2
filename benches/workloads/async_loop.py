"""An async task that does nothing, awaited in a loop. `async_loop.py ENGINE COUNT`."""

import asyncio
from time import perf_counter

from common import count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()


@task
async def nothing(n):
    return n


@flow
async def loop():
    start = perf_counter()
    for n in range(COUNT):
        await nothing(n)
    return perf_counter() - start


report(us_each=asyncio.run(loop()) / COUNT * 1e6)
