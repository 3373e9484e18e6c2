"""Async tasks that do nothing, all awaited at once with `asyncio.gather`. `async_gather.py ENGINE COUNT`."""

import asyncio
from time import perf_counter

from common import count, engine, report

flow, task = engine().flow, engine().task
COUNT = count()


@task
async def nothing(n):
    return n


@flow
async def fan_out():
    start = perf_counter()
    await asyncio.gather(*(nothing(n) for n in range(COUNT)))
    return perf_counter() - start


begin = perf_counter()
seconds = asyncio.run(fan_out())
report(per_second=COUNT / seconds, per_second_with_flow=COUNT / (perf_counter() - begin))
