"""What is wrong is found. Every comment here says which error the checkers must report: one that is lost fails the test,
since a comment without its error is an error itself.
"""

from typing import assert_type

from tidemill import State, Task, exponential_backoff, flow, get_run_logger, runtime, tags, task
from tidemill.testing import temporary_home


@task
def shout(word: str, times: int = 1) -> str:
    return word.upper() * times


@flow
async def collect(url: str) -> list[bytes]:
    return [url.encode()]


class Store:
    @task
    def price(self, item: str) -> float:
        return len(item)


# Arguments. (Beside `return_state` neither checker looks at them: a ParamSpec cannot be extended by a keyword, PEP 612.)
shout(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
shout()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
shout("a", 1, 2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
shout("a", time=2)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
shout.fn(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
shout.with_options(retries=1)(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Store().price(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
Store().price()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
Store.price("tea")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


async def awaited() -> None:
    await collect(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    await collect()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    collect("a")  # type: ignore[unused-coroutine]  # pyright: ignore[reportUnusedCoroutine]
    list(collect("a"))  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# Values.
number: int = shout("a")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
state: State[int] = shout("a", return_state=True)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
held: Task[[int], str] = shout  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
shout("a", return_state=True).upper()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
shout("a").result()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
real = shout("a", return_state=True).result().real  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
assert_type(shout("a"), int)  # type: ignore[assert-type]  # pyright: ignore[reportAssertTypeFailure]


# Options.
@task(retrys=1)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def unknown_option() -> None: ...


@flow(task_run_name="a")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def option_of_a_task() -> None: ...


@task(validate_parameters=True)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
def option_of_a_flow() -> None: ...


@task(retries="1")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def text_for_a_number() -> None: ...


@flow(timeout_seconds="1")  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def text_for_seconds() -> None: ...


@task(on_failure=print)  # type: ignore[call-overload, untyped-decorator]  # pyright: ignore[reportArgumentType]
def one_hook_for_a_list() -> None: ...


@task(retry_delay_seconds="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def text_for_delays() -> None: ...


shout.with_options(retrys=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
shout.with_options(retries="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
collect.with_options(retry_condition_fn=None)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
task(3)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


# What stands around.
exponential_backoff("2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
get_run_logger().info()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
misspelt = runtime.flow_run.nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
runtime.flow_run.name = "b"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
temporary_home(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
tags(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
