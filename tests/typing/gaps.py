"""What is right, works, and is refused by the checkers all the same. A comment that has become unnecessary fails the test:
the gap is closed; take the comment out and move the line to where it belongs.
"""

from collections.abc import AsyncGenerator, Generator
from typing import assert_type

from tidemill import State, flow, task


class Store:
    @task
    @classmethod
    def named(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @classmethod
    @flow
    def named_too(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @task
    @staticmethod
    def taxed(price: float) -> float:
        return price * 1.2

    @staticmethod
    @flow
    def taxed_too(price: float) -> float:
        return price * 1.2


# A class method reached through the class, a static method reached through an object. Checkers tell a decorator nothing of
# the `classmethod` or `staticmethod` beside it.
Store.named("a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Store.named_too("a")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Store().taxed(1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Store().taxed_too(1.0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


@task
def count(upto: int) -> Generator[int, None, str]:
    yield from range(upto)
    return "done"


@task
async def stream(upto: int) -> AsyncGenerator[int, None]:
    for n in range(upto):
        yield n


# Asked for its state, a generator task is iterated to its end, and the state's result is the list of its values.
assert_type(count(3, return_state=True), State[list[int]])  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]


async def main() -> None:
    waiting = stream(3, return_state=True)
    await waiting  # type: ignore[misc]  # pyright: ignore[reportGeneralTypeIssues]
