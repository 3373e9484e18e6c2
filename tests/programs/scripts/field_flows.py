"""Flows of the field, run by its own client, unmodified: one scenario after the other, each with a line that tells its end."""

import asyncio
import logging
import sys
import threading
import time
from datetime import timedelta

from prefect import allow_failure, flow, get_run_logger, pause_flow_run, resume_flow_run, tags, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import INPUTS
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName, LogFilter, LogFilterLevel
from prefect.events import emit_event
from prefect.events.clients import get_events_subscriber
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.logging.clients import get_logs_subscriber
from prefect.states import Completed, Failed
from prefect.variables import Variable


@task
def add_one(x):
    return x + 1


@task
def double(x):
    get_run_logger().info("Doubling %s", x)
    return 2 * x


@flow
def plain(x: int = 1):
    get_run_logger().warning("Beginning with %s", x)
    return double(add_one(x))


@flow
def inner(x):
    return add_one(x)


@flow
def outer():
    return inner(1) + inner(add_one(10))


@flow
def task_retries():
    tries = []

    @task(retries=2, retry_delay_seconds=0.1)
    def flaky():
        tries.append(1)
        if len(tries) < 3:
            raise ValueError(f"try {len(tries)}")
        return len(tries)

    return flaky()


FLOW_TRIES = []


@flow(retries=2, retry_delay_seconds=0.1)
def flow_retries():
    FLOW_TRIES.append(add_one(len(FLOW_TRIES)))
    if len(FLOW_TRIES) < 3:
        raise ValueError("again")
    return FLOW_TRIES


@task
def broken():
    raise RuntimeError("it is broken")


@flow
def failing():
    broken()


@flow
def failing_in_part():
    bad = broken.submit()
    after = add_one.submit(bad)
    good = add_one.submit(allow_failure(1))
    bad.wait()
    after.wait()
    return [bad.state.name, after.state.name, good.result()]


@flow
def by_hand(good):
    return Completed(message="as I say") if good else Failed(message="as I say")


@task
async def add_later(x):
    await asyncio.sleep(0.01)
    return x + 1


@flow
async def in_a_loop():
    return sum(await asyncio.gather(*[add_later(n) for n in range(10)]))


@flow
def mapped():
    return sum(add_one.map(range(100)).result())


@flow(log_prints=True)
def printing():
    print("printed")
    get_run_logger().debug("not to be seen")
    logging.getLogger("elsewhere").warning("not shipped")
    for _ in range(300):
        get_run_logger().info("one of many lines")


@task(tags=["red"])
def tagged():
    return 1


@flow
def with_tags():
    with tags("blue"):
        tagged()
    return tagged()


@task(task_run_name="greet-{name}")
def greet(name):
    return f"Hello {name}"


@flow(flow_run_name="greeting-{name}")
def named(name):
    return greet(name)


@task(persist_result=True, cache_policy=INPUTS, cache_expiration=timedelta(minutes=5))
def cached(x):
    return x


@flow
def caching(x):
    return [cached(x), cached(x)]


@task(timeout_seconds=0.2)
def slow():
    time.sleep(5)


@flow
def timing_out():
    return slow(return_state=True).name


@task
def calls_another(x):
    return add_one(x) + add_one.submit(x).result()


@flow
def nested():
    return calls_another(1)


@flow
def making_things():
    create_markdown_artifact("# Report", key="report", description="of the day")
    create_table_artifact([{"a": 1}], key="table")
    Variable.set("answer", {"is": 42}, tags=["x"], overwrite=True)
    emit_event("shop.order.placed", resource={"prefect.resource.id": "shop.order.1"}, payload={"items": 2})
    return Variable.get("answer")


@flow
def pausing():
    pause_flow_run(timeout=60, poll_interval=0.2)
    return add_one(1)


def resumed(run):
    """Runs a flow that pauses, and resumes it from another thread, as a person would."""

    def resume():
        with get_client(sync_client=True) as client:
            while True:
                paused = [r for r in client.read_flow_runs() if r.state and r.state.name == "Paused"]
                if paused:
                    resume_flow_run(paused[0].id)
                    return
                time.sleep(0.1)

    person = threading.Thread(target=resume)
    person.start()
    try:
        return run()
    finally:
        person.join()


def looking():
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(any_=["greeting-you"])))
        [run] = found
        flow_of_it = client.read_flow(run.flow_id)
        return [run.name, run.parameters, flow_of_it.name, run.state.type.value, client.read_flow_run(run.id).run_count]


async def looking_async():
    async with get_client() as client:
        return sorted({one.name for one in await client.read_flows(limit=200)} & {"plain", "mapped"})


@flow(flow_run_name="watched")
def watched():
    return add_one(1)


async def watching():
    """What a runner or a person who watches sees of a flow run."""
    names = [f"prefect.flow-run.{name}" for name in ("Running", "Completed")]
    seen = []
    async with get_events_subscriber(filter=EventFilter(event=EventNameFilter(name=names))) as events:
        running = asyncio.create_task(asyncio.to_thread(watched))
        async for event in events:
            if event.resource["prefect.resource.name"] == "watched":
                related = sorted(each.role for each in event.related)
                seen.append([event.event, event.resource["prefect.state-type"], event.payload["intended"], related])
                if event.event.endswith("Completed"):
                    break
        await running
    return seen


async def watching_logs():
    """The lines of a flow run while it runs, as `--watch` shows them. Its own server does so only when told to."""
    async with get_logs_subscriber(filter=LogFilter(level=LogFilterLevel(ge_=logging.WARNING))) as lines:
        running = asyncio.create_task(asyncio.to_thread(plain, 3))
        async for line in lines:
            if line.message.startswith("Beginning with"):
                break
        await running
    return line.message


SCENARIOS = {
    "plain": plain,
    "subflow": outer,
    "task retries": task_retries,
    "flow retries": flow_retries,
    "failing": failing,
    "failing in part": failing_in_part,
    "completed by hand": lambda: by_hand(True, return_state=True).message,
    "failed by hand": lambda: by_hand(False),
    "wrong parameter": lambda: plain("one"),
    "async": lambda: asyncio.run(in_a_loop()),
    "map": mapped,
    "logs": printing,
    "tags": with_tags,
    "names": lambda: named("you"),
    "caching": lambda: caching(time.time())[0] > 0,
    "time limit": timing_out,
    "nested": nested,
    "things": making_things,
    "pause": lambda: resumed(pausing),
    "looking": looking,
    "looking async": lambda: asyncio.run(looking_async()),
    "watching": lambda: asyncio.run(watching()),
    "outside": lambda: add_one(5),
}

WHEN_ASKED_FOR = {"watching logs": lambda: asyncio.run(watching_logs())}


def main(chosen):
    for name in chosen or SCENARIOS:
        scenario = SCENARIOS.get(name) or WHEN_ASKED_FOR[name]
        try:
            print(f"{name}: {scenario()!r}", flush=True)
        except Exception as error:
            if chosen:
                raise
            print(f"{name}: raised {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
