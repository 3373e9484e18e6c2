"""`get_client()`: each operation, plain and awaited, with the types of what it takes and gives."""

from typing import assert_type

from tidemill import get_client
from tidemill.client.operations import SyncTidemillClient, TidemillClient
from tidemill.filters import FlowFilter, NameFilter
from tidemill.records import Flow, FlowRun, TaskRun
from tidemill.side_records import Variable


def plain() -> None:
    with get_client(sync_client=True) as client:
        assert_type(client, SyncTidemillClient)
        assert_type(client.hello(), str)
        assert_type(client.read_flows(flow_filter=FlowFilter(name=NameFilter(any_=["a"])), limit=5), list[Flow])
        assert_type(client.read_flow_run("id"), FlowRun)
        assert_type(client.read_variable_by_name("name"), Variable | None)
        assert_type(client.delete_variable_by_name("name"), None)


async def awaited() -> None:
    async with get_client() as client:
        assert_type(client, TidemillClient)
        assert_type(await client.hello(), str)
        assert_type(await client.read_task_runs(), list[TaskRun])
        assert_type(await client.create_variable("name", 1), Variable)


def wrong() -> None:
    client = get_client(sync_client=True)
    client.read_flow_run(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.read_flows(limit="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    client.read_variable_by_name()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
