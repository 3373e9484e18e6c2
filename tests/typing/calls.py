"""Calling flows and tasks gives what their functions give, exactly, whatever the options."""

from datetime import date
from typing import assert_type

from tidemill import Flow, State, Task, exponential_backoff, flow, task


@task
def shout(word: str, times: int = 1) -> str:
    return word.upper() * times


@task(name="length-of", retries=3, retry_delay_seconds=exponential_backoff(2), tags=["text"], timeout_seconds=60)
def length(word: str, /, *, bonus: int = 0) -> int:
    return len(word) + bonus


@task
async def fetch(url: str) -> bytes:
    return url.encode()


@task(retries=1, log_prints=True)
async def fetch_all(*urls: str, **headers: str) -> list[bytes]:
    return [await fetch(url) for url in urls]


@task
def nothing() -> None: ...


@flow
def report(day: date) -> dict[str, int]:
    return {shout(str(day)): length("word", bonus=1)}


@flow(name="nightly", flow_run_name="nightly-{day}", version="1", validate_parameters=False)
def nightly(day: date, names: list[str] | None = None) -> dict[str, int]:
    return report(day)


@flow
async def collect(url: str, count: int = 1) -> list[bytes]:
    return await fetch_all(*[url] * count, accept="text/html")


@flow(retries=2, retry_delay_seconds=[1, 10], timeout_seconds=600)
async def collect_again(url: str) -> list[bytes]:
    return await collect(url)


# A decorated function is a Flow or Task of its parameters and its return value.
a_task: Task[[str, int], str] = shout
a_flow: Flow[[date], dict[str, int]] = report
a_task_of_anything: Task[..., object] = shout
assert_type(shout.name, str)
assert_type(report.retries, int)


def plain() -> None:
    assert_type(shout("a"), str)
    assert_type(shout("a", 2), str)
    assert_type(shout(word="a", times=2), str)
    assert_type(length("a", bonus=1), int)
    assert_type(report(date.today()), dict[str, int])
    assert_type(nightly(date.today(), names=["a"]), dict[str, int])


def plain_for_the_state() -> None:
    assert_type(shout("a", return_state=True), State[str])
    assert_type(shout(word="a", times=2, return_state=True), State[str])
    assert_type(length("a", return_state=True), State[int])
    assert_type(report(date.today(), return_state=True), State[dict[str, int]])
    assert_type(nightly(date.today(), return_state=True), State[dict[str, int]])
    assert_type(nothing(return_state=True), State[None])


def plain_with_options() -> None:
    assert_type(shout.with_options(name="loud", retries=2)("a", 2), str)
    assert_type(shout.with_options(retries=2)("a", return_state=True), State[str])
    assert_type(length.with_options(tags=["a"], retry_jitter_factor=0.5)("a"), int)
    assert_type(report.with_options(flow_run_name="today")(date.today()), dict[str, int])
    assert_type(nightly.with_options(timeout_seconds=1.5)(date.today(), return_state=True), State[dict[str, int]])


def plain_function_itself() -> None:
    assert_type(shout.fn("a", 2), str)
    assert_type(length.fn("a", bonus=1), int)
    assert_type(report.fn(date.today()), dict[str, int])
    assert_type(shout.with_options(retries=1).fn("a"), str)


async def awaited() -> None:
    assert_type(await fetch("a"), bytes)
    assert_type(await fetch_all("a", "b", accept="text/html"), list[bytes])
    assert_type(await collect("a", count=2), list[bytes])
    assert_type(await collect_again("a"), list[bytes])


async def awaited_for_the_state() -> None:
    assert_type(await fetch("a", return_state=True), State[bytes])
    assert_type(await fetch_all("a", "b", return_state=True), State[list[bytes]])
    assert_type(await collect("a", return_state=True), State[list[bytes]])
    assert_type(await collect_again("a", return_state=True), State[list[bytes]])


async def awaited_with_options() -> None:
    assert_type(await fetch.with_options(retries=1)("a"), bytes)
    assert_type(await fetch.with_options(retries=1)("a", return_state=True), State[bytes])
    assert_type(await collect.with_options(name="other")("a", 2), list[bytes])
    assert_type(await collect.with_options(name="other")("a", return_state=True), State[list[bytes]])
    assert_type(await fetch.fn("a"), bytes)
    assert_type(await collect.fn("a"), list[bytes])
