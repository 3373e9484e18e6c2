"""A future's result has the type that its task returns: submitted, mapped, awaited, waited for."""

from collections.abc import AsyncGenerator, Generator, Iterator
from typing import assert_type

from tidemill import (
    ProcessPoolTaskRunner,
    SequentialTaskRunner,
    State,
    TaskRunFuture,
    TaskRunFutureList,
    ThreadPoolTaskRunner,
    allow_failure,
    as_completed,
    flow,
    quote,
    task,
    unmapped,
    wait,
)


@task
def shout(word: str, times: int = 1) -> str:
    return word.upper() * times


@task(retries=3)
async def fetch(url: str) -> bytes:
    return url.encode()


@task
def count(n: int) -> Generator[int]:
    yield from range(n)


@task
async def stream(n: int) -> AsyncGenerator[float]:
    for x in range(n):
        yield x / 2


@task
def nothing() -> None: ...


@task
def maybe(x: int) -> int | None:
    return x or None


class Store:
    @task
    def price(self, item: str) -> float:
        return len(item)


@flow(task_runner=ThreadPoolTaskRunner(max_workers=4))
def submitted() -> list[TaskRunFuture[str]]:
    future = shout.submit("a")
    assert_type(future, TaskRunFuture[str])
    assert_type(future.result(), str)
    assert_type(future.result(timeout=1.5), str)
    assert_type(future.state, State[str])
    assert_type(future.wait(1), State[str] | None)
    assert_type(future.task_run_id, str)
    assert_type(future.name, str)
    assert_type(future.done(), bool)
    assert_type(fetch.submit("a").result(), bytes)
    assert_type(count.submit(3).result(), list[int])
    assert_type(stream.submit(3).result(), list[float])
    assert_type(nothing.submit(), TaskRunFuture[None])
    assert_type(maybe.submit(1).result(), int | None)
    return [future]


@flow(task_runner=SequentialTaskRunner())
def with_futures_for_values() -> str:
    first = shout.submit("a", times=2)
    second = shout.submit(first, wait_for=[first, fetch.submit("b")])
    third = shout.submit(allow_failure(second), wait_for=[allow_failure(first)])
    return shout.submit(quote("c"), wait_for=[third]).result()


@flow(task_runner=ProcessPoolTaskRunner(max_workers=2))
def mapped() -> None:
    futures = shout.map(["a", "b"], unmapped(2))
    assert_type(futures, TaskRunFutureList[str])
    assert_type(futures.result(), list[str])
    assert_type(futures.result(timeout=1), list[str])
    assert_type(futures[0], TaskRunFuture[str])
    assert_type([future.result() for future in futures], list[str])
    futures.wait(timeout=2.5)
    assert_type(fetch.map(x for x in ("a", "b")), TaskRunFutureList[bytes])
    assert_type(fetch.map(["a"]).result(), list[bytes])
    assert_type(shout.with_options(retries=1).map(["a"]).result(), list[str])


@flow
def waited_for() -> None:
    futures = shout.map(["a", "b"])
    done, not_done = wait(futures, timeout=1)
    assert_type(done, set[TaskRunFuture[str]])
    assert_type(not_done, set[TaskRunFuture[str]])
    assert_type(wait(iter(futures)).done, set[TaskRunFuture[str]])
    assert_type(as_completed(futures), Iterator[TaskRunFuture[str]])
    assert_type([future.result() for future in as_completed([fetch.submit("a")], timeout=2)], list[bytes])


@flow
async def awaited() -> list[bytes]:
    future = fetch.submit("a")
    assert_type(future, TaskRunFuture[bytes])
    assert_type(await future, bytes)
    assert_type(await shout.submit("a"), str)
    assert_type(await count.submit(3), list[int])
    assert_type(await stream.submit(3), list[float])
    assert_type(await shout.map(["a"]), list[str])
    assert_type(await nothing.submit(), None)
    return await fetch.map(["a", "b"])


def methods() -> None:
    assert_type(Store().price.submit("tea").result(), float)
    assert_type(Store().price.map(["tea", "milk"]).result(), list[float])


def callbacks() -> None:
    def note(future: TaskRunFuture[str]) -> None:
        assert_type(future.result(), str)

    shout.submit("a").add_done_callback(note)


def a_future_of_anything(future: TaskRunFuture[object]) -> None:
    assert_type(future.result(), object)


a_future_of_anything(shout.submit("a"))


# What is wrong is found.
text: int = shout.submit("a").result()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
shout.submit("a").upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
shout.map(["a"]).result().upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
shout.submit("a").add_done_callback(print("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wait(["a"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
ThreadPoolTaskRunner(max_workers="4")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@flow(task_runner="threads")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def text_for_a_runner() -> None: ...
