"""Generators as tasks are iterated like the functions they are.

`gaps.py` has what the types do not say yet.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import assert_type

from tidemill import task


@task
def count(upto: int) -> Generator[int, None, str]:
    yield from range(upto)
    return "done"


@task(retries=1)
def lines(text: str) -> Iterator[str]:
    yield from text.splitlines()


@task
async def stream(upto: int) -> AsyncGenerator[int, None]:
    for n in range(upto):
        yield n


@task
async def pages(url: str) -> AsyncIterator[bytes]:
    yield url.encode()


def iterated() -> Generator[int, None, str]:
    assert_type(count(3), Generator[int, None, str])
    assert_type(list(count(3)), list[int])
    assert_type(lines("a"), Iterator[str])
    assert_type(list(lines("a")), list[str])
    assert_type(list(count.with_options(name="counted")(3)), list[int])
    assert_type(list(count.fn(3)), list[int])
    last = yield from count(3)
    assert_type(last, str)
    return last


async def iterated_async() -> None:
    assert_type(stream(3), AsyncGenerator[int, None])
    assert_type([n async for n in stream(3)], list[int])
    assert_type([page async for page in pages("a")], list[bytes])
    assert_type([n async for n in stream.with_options(tags=["a"])(3)], list[int])
