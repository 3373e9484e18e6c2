"""What is right, and works, and is refused by the checkers all the same. A comment that has become unnecessary fails the test:
the gap is closed; take the comment out and move the line to where it belongs.
"""

from collections.abc import AsyncGenerator, Generator

from tidemill import State, flow, task
from tidemill.states import Completed


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
def reached() -> list[object]:
    one: str = Store.named("a")  # type: ignore[call-overload]
    two: str = Store.named_too("b")  # type: ignore[call-overload]
    three: float = Store().taxed(1.0)  # type: ignore[call-overload]
    four: float = Store().taxed_too(2.0)  # type: ignore[call-overload]
    return [one, two, three, four]


@task
def count(upto: int) -> Generator[int, None, str]:
    yield from range(upto)
    return "done"


@flow
def answer() -> State[int]:
    return Completed(data=42)


@task
async def stream(upto: int) -> AsyncGenerator[int, None]:
    for n in range(upto):
        yield n


# Asked for its state, a generator task is iterated to its end, and the state's result is the list of its values.
def counted() -> list[int]:
    return count(3, return_state=True).result()


async def streamed() -> list[int]:
    state = await stream(3, return_state=True)
    return state.result()


# A flow that returns a state made by hand gives that state's value, not the state.
def unpacked() -> int:
    return answer()  # type: ignore[return-value]  # pyright: ignore[reportReturnType]
