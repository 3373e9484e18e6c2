"""Async tasks that do nothing, awaited one by one or all at once. `async_tasks.py ENGINE COUNT loop|gather`."""

import asyncio
import sys
from time import perf_counter

from common import count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()


@task
async def nothing(n):
    return n


async def loop():
    for n in range(COUNT):
        await nothing(n)


async def gather():
    await asyncio.gather(*(nothing(n) for n in range(COUNT)))


work = {"loop": loop, "gather": gather}[sys.argv[3]]


@flow
async def whole():
    start = perf_counter()
    await work()
    return perf_counter() - start


begin = perf_counter()
seconds = asyncio.run(whole())
report(
    us_each=seconds / COUNT * 1e6,
    per_second=COUNT / seconds,
    per_second_with_flow=COUNT / (perf_counter() - begin),
)
