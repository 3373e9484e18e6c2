"""Promise 6. One face: the same flow runs in a script, a thread, a running loop, a pool, under pytest."""

import asyncio
import concurrent.futures
import threading

import pytest

from tidemill import State, flow, get_run_logger, tags, task
from tidemill.runtime import flow_run, task_run


@task
def add_one(x):
    get_run_logger().info("said %d", x)
    return x + 1


@flow
def plain(x):
    assert flow_run.name
    assert task_run.name is None
    return add_one(add_one(x))


@task
async def async_add_one(x):
    get_run_logger().info("said %d", x)
    await asyncio.sleep(0)
    return x + 1


@flow
async def coloured(x):
    assert flow_run.name
    assert task_run.name is None
    return await async_add_one(await async_add_one(x))


def all_completed(recorded, flow_runs, task_runs):
    assert [run["state_type"] for run in recorded.flow_runs()] == ["COMPLETED"] * flow_runs
    assert [run["state_type"] for run in recorded.task_runs()] == ["COMPLETED"] * task_runs


def test_under_pytest(recorded):
    assert plain(1) == 3
    assert asyncio.run(coloured(1)) == 3
    assert isinstance(plain(1, return_state=True), State)
    all_completed(recorded, 3, 6)


def test_in_a_thread(recorded):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(plain(1))),
        threading.Thread(target=lambda: answers.append(asyncio.run(coloured(1)))),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [3, 3]
    all_completed(recorded, 2, 4)


def test_a_plain_flow_inside_a_running_loop(recorded):
    async def main():
        return plain(1), plain(1, return_state=True).result(), add_one(1)

    assert asyncio.run(main()) == (3, 3, 2)
    all_completed(recorded, 2, 5)


def test_a_plain_flow_in_to_thread_belongs_to_the_run_that_started_it(recorded):
    @flow
    async def outer():
        return await asyncio.gather(asyncio.to_thread(plain, 1), asyncio.to_thread(add_one, 1))

    assert asyncio.run(outer()) == [3, 2]
    runs = recorded.flow_runs()
    assert sorted(run["parent_task_run_id"] is None for run in runs) == [False, True]


def test_in_a_pool_of_threads(recorded):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(plain, range(10))) == [n + 2 for n in range(10)]
    all_completed(recorded, 10, 20)


def test_async_flows_side_by_side(recorded):
    async def main():
        return await asyncio.gather(*(coloured(n) for n in range(10)))

    assert asyncio.run(main()) == [n + 2 for n in range(10)]
    all_completed(recorded, 10, 20)


def test_async_flows_in_a_task_group_as_tasks_and_with_shield(recorded):
    async def main():
        async with asyncio.TaskGroup() as group:
            first = group.create_task(coloured(1))
            second = group.create_task(async_add_one(1))
        return (
            first.result(),
            second.result(),
            await asyncio.shield(coloured(2)),
            await asyncio.wait_for(coloured(3), 60),
        )

    assert asyncio.run(main()) == (3, 2, 4, 5)
    all_completed(recorded, 3, 7)


def test_in_a_handler_of_a_web_server(recorded):
    import http.server
    import urllib.request

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            value = plain(1) + asyncio.run(coloured(1))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(str(value).encode())

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/", timeout=60) as answer:
                assert answer.read() == b"6"
        finally:
            server.shutdown()
            thread.join()
    all_completed(recorded, 2, 4)


@pytest.mark.parametrize("way", ["script", "module of its own", "exec"])
def test_in_a_script(run_script, recorded, way, tmp_path):
    definitions = (
        "from tidemill import flow, task\n@task\ndef add_one(x): return x + 1\n@flow\ndef plain(x): return add_one(x)\n"
    )
    (tmp_path / "definitions.py").write_text(definitions)
    source = {
        "script": definitions + "print(plain(1))",
        "module of its own": "from definitions import plain\nprint(plain(1))",
        "exec": f"exec({definitions!r})\nprint(plain(1))",
    }[way]
    done = run_script(source)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    all_completed(recorded, 1, 1)


def test_tags_and_context_survive_every_step_of_the_way(recorded):
    @flow
    async def outer():
        with tags("a"):
            here = await asyncio.to_thread(lambda: sorted(flow_run.tags))
            return here, await asyncio.create_task(labelled())

    @task
    async def labelled():
        return sorted(task_run.tags)

    with tags("top"):
        assert asyncio.run(outer()) == (["top"], ["a", "top"])


def test_an_async_generator_an_async_method_and_a_plain_call_in_one_flow():
    class Source:
        @task
        async def numbers(self, n):
            for value in range(n):
                yield value

        @task
        async def double(self, x):
            return 2 * x

    @flow
    async def mixed():
        source = Source()
        return [add_one(await source.double(value)) async for value in source.numbers(3)]

    assert asyncio.run(mixed()) == [1, 3, 5]
