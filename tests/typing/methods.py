"""Methods as flows and tasks: the object is filled in, in type as in fact.

`gaps.py` has what the checkers do not follow yet.
"""

from typing import assert_type

from tidemill import State, Task, flow, task


class Store:
    @task
    def price(self, item: str, times: int = 1) -> float:
        return len(item) * times

    @task(retries=2)
    async def ask(self, item: str) -> float:
        return len(item)

    @flow
    def bill(self, items: list[str]) -> float:
        return sum(self.price(item) for item in items)

    @flow(name="slow-bill")
    async def slow_bill(self, items: list[str]) -> float:
        return sum([await self.ask(item) for item in items])

    @task
    @classmethod
    def named(cls, name: str) -> str:
        return f"{cls.__name__} {name}"

    @classmethod
    @task(retries=1)
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


def through_the_object(store: Store) -> None:
    bound: Task[[str, int], float] = store.price
    assert_type(bound("tea", 1), float)
    assert_type(store.price("tea"), float)
    assert_type(store.price("tea", times=2), float)
    assert_type(store.price("tea", return_state=True), State[float])
    assert_type(store.price.with_options(retries=1)("tea"), float)
    assert_type(store.price.fn("tea"), float)
    assert_type(store.bill(["tea"]), float)
    assert_type(store.bill(["tea"], return_state=True), State[float])
    assert_type(store.named("a"), str)
    assert_type(store.named_too("a"), str)


def through_the_class(store: Store) -> None:
    assert_type(Store.price(store, "tea"), float)
    assert_type(Store.bill(store, ["tea"]), float)
    assert_type(Store.taxed(1.0), float)
    assert_type(Store.taxed_too(1.0), float)
    assert_type(Store.taxed(1.0, return_state=True), State[float])


async def awaited(store: Store) -> None:
    assert_type(await store.ask("tea"), float)
    assert_type(await store.ask("tea", return_state=True), State[float])
    assert_type(await store.slow_bill(["tea"]), float)
    assert_type(await store.slow_bill.with_options(retries=1)(["tea"], return_state=True), State[float])
    assert_type(await Store.ask(store, "tea"), float)
