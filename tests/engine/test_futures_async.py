"""`TaskRunFuture` where the flow is async: awaited, gathered, limited, cancelled."""

import asyncio

import pytest

from tidemill import flow, task


@task
def echo(x):
    return x


@task
def stumble(text="gone"):
    raise LookupError(text)


def test_await_gives_the_value_or_raises_the_exception():
    @task
    async def double(x):
        await asyncio.sleep(0)
        return x * 2

    @flow
    async def parent():
        plain, own, failed = echo.submit(1), double.submit(2), stumble.submit()
        with pytest.raises(LookupError, match="gone"):
            await failed
        return await plain, await own, await own, await echo.map([3, 4])

    assert asyncio.run(parent()) == (1, 4, 4, [3, 4])


def test_futures_can_be_gathered_and_limited():
    @task
    async def double(x):
        return x * 2

    @task
    async def endless():
        await asyncio.Event().wait()

    @flow
    async def parent():
        values = await asyncio.gather(*double.map(range(5)), echo.submit(9))
        waiting = endless.submit()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await waiting
        assert not waiting.done()
        given = await asyncio.wait_for(echo.submit(1), 60)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_value(future)) for future in double.map([1, 2])]
        raise EndTheFlow([*values, given, *[task.result() for task in tasks]])

    async def _value(future):
        return await future

    class EndTheFlow(BaseException):
        pass

    # An endless task is left: only what interrupts the flow ends it.
    with pytest.raises(BaseException) as caught:  # noqa: PT011
        asyncio.run(parent())
    assert caught.value.args == ([0, 2, 4, 6, 8, 9, 1, 2, 4],)


def test_the_loop_runs_on_while_a_future_is_awaited(gate):
    @flow
    async def parent():
        future = gate.task.submit(7)
        while not gate.begun.is_set():
            await asyncio.sleep(0.001)
        asyncio.get_running_loop().call_later(0.02, gate.open.set)
        return await future

    assert asyncio.run(parent()) == 7


def test_a_loop_that_would_block_for_its_own_task_is_told(recorded):
    @task
    async def double(x):
        return x * 2

    @flow
    async def parent():
        future = double.submit(2)
        for look in (future.result, future.wait):
            with pytest.raises(RuntimeError, match=r"'double-\w+-0' runs on this very event loop.*await future"):
                look()
        return await future

    assert asyncio.run(parent()) == 4


def test_cancelling_the_one_that_awaits_leaves_the_run_alone(gate):
    @flow
    async def parent():
        future = gate.task.submit(7)
        waiting = asyncio.ensure_future(_value(future))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open.set()
        return await future

    async def _value(future):
        return await future

    assert asyncio.run(parent()) == 7


def test_a_future_outlives_the_loop_that_awaited_it(gate):
    kept = []

    @flow
    def outer():
        future = gate.task.submit(7)

        async def wait_a_little():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(_value(future), 0.01)

        asyncio.run(wait_a_little())
        gate.open.set()
        kept.append(future.result())
        return 1

    async def _value(future):
        return await future

    outer()
    assert kept == [7]
