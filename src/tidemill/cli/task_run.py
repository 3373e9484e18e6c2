"""`tidemill task-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from tidemill.cli.finding import one_flow_run, one_task_run, open_client
from tidemill.cli.options import ANY, AS_TEXT, BARE, FIRST_PAGE, Chosen, Format, Listing
from tidemill.cli.output import (
    Column,
    exact,
    painted_state,
    printable,
    show_json,
    show_list,
    show_run,
    state_colour,
    took,
    when,
)
from tidemill.client import Client
from tidemill.colour import run_blocking
from tidemill.filters import Filters, FlowFilter, FlowRunFilter, IdFilter, NameFilter, TaskRunFilter, TaskRunSort
from tidemill.records import TaskRun

app = App(name="task-run", help="Show task runs.", help_format="plaintext", default_parameter=BARE)

_COLUMNS: tuple[Column[TaskRun], ...] = (
    Column("Name", lambda run: run.name),
    Column("State", lambda run: run.state_name or "", state_colour),
    Column("Started", lambda run: when(run.start_time or run.created)),
    Column("Took", took),
    Column("Tries", lambda run: str(run.run_count)),
    Column("ID", lambda run: run.id, only_if_wide=True),
)


@app.command
def ls(
    *,
    flow_run: Annotated[str | None, Parameter(help="Only of this flow run: name, id, or beginning of an id.")] = None,
    flow: Annotated[Sequence[str], Parameter(help="Only of runs of this flow. Repeatable.")] = (),
    chosen: Chosen = ANY,
    listing: Listing = FIRST_PAGE,
) -> None:
    """List task runs, the newest first.

    For example:
        tidemill task-run ls --flow-run adept-capuchin --state failed
    """
    client = open_client()
    parent = one_flow_run(client, flow_run) if flow_run is not None else None
    filters = Filters(
        flows=FlowFilter(name=NameFilter(any_=list(flow))) if flow else None,
        flow_runs=FlowRunFilter(id=IdFilter(any_=[parent.id])) if parent else None,
        task_runs=TaskRunFilter(
            state=chosen.state_filter,
            name=chosen.name_filter,
            tags=chosen.tags_filter,
            expected_start_time=chosen.time_filter,
        ),
    )
    runs = run_blocking(client.task_runs(filters, TaskRunSort.ID_DESC, listing.page))
    show_list(runs, _COLUMNS, listing, "task runs", lambda: run_blocking(client.count_task_runs(filters)))


@app.command
def inspect(
    run: Annotated[str, Parameter(help="Name, id, or beginning of an id.")],
    /,
    *,
    flow_run: Annotated[
        str | None, Parameter(help="The flow run that it is of, when several have a task run of this name.")
    ] = None,
    format: Format = AS_TEXT,
) -> None:
    """Show a task run: its states, what its inputs came from, and the error if it failed.

    For example:
        tidemill task-run inspect add_one-3c3112ef-0 --flow-run adept-capuchin
    """
    client = open_client()
    found = one_task_run(client, run, flow_run)
    if format.json:
        show_json(found)
        return
    show_run(_details(client, found), run_blocking(client.task_run_states(found.id)), found)


def _details(client: Client, run: TaskRun) -> Iterator[tuple[str, str | None]]:
    parent = run_blocking(client.flow_run(run.flow_run_id)) if run.flow_run_id else None
    yield "Task run", printable(run.name)
    yield "ID", run.id
    yield "Flow run", f"{parent.name}  {parent.id}" if parent else run.flow_run_id
    yield "Task version", run.task_version
    yield "State", painted_state(run.state) if run.state else None
    yield "Created", exact(run.created)
    yield "Started", exact(run.start_time)
    yield "Ended", exact(run.end_time)
    yield "Took", took(run)
    yield "Tries", str(run.run_count)
    yield "Retries", str(run.empirical_policy.retries or "")
    yield "Tags", ", ".join(run.tags)
    yield "Cache key", run.cache_key
    from_others = [(name, sources) for name, sources in run.task_inputs.items() if sources]
    for n, (name, sources) in enumerate(from_others):
        yield "" if n else "Inputs", f"{name} from {', '.join(map(_described, sources))}"


def _described(source: dict[str, Any]) -> str:
    """A source as it is recorded: `{"input_type": "task_run", "id": "..."}` and the like."""
    kind, *values = (str(value) for value in source.values())
    return " ".join([kind.replace("_", " "), *values])
