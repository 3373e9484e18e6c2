"""`tidemill task-run`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from tidemill import results
from tidemill.caching import why_hit_or_missed
from tidemill.cli.finding import one_flow_run, one_task_run, open_client
from tidemill.cli.options import ANY, AS_TEXT, BARE, FIRST_PAGE, Chosen, Format, Listing, OfFlowRun, RunName, UsageError
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
from tidemill.exceptions import ObjectNotFound
from tidemill.filters import Filters, FlowFilter, FlowRunFilter, IdFilter, NameFilter, TaskRunFilter, TaskRunSort
from tidemill.records import TaskRun
from tidemill.states import TERMINAL_TYPES, ResultReference, State, StateType, Unkept

app = App(name="task-run", help="Show and repair task runs.", help_format="plaintext", default_parameter=BARE)

_COLUMNS: tuple[Column[TaskRun], ...] = (
    Column("Name", lambda run: run.name),
    Column("State", lambda run: run.state_name or "", state_colour),
    Column("Started", lambda run: when(run.start_time or run.created)),
    Column("Took", took),
    Column("Tries", lambda run: str(run.run_count)),
    Column("ID", lambda run: run.id, only_if_wide=True),
)


_FINAL_TYPES = {type.value.lower(): type for type in StateType if type in TERMINAL_TYPES}


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
    run: RunName,
    /,
    *,
    flow_run: OfFlowRun = None,
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


@app.command
def why(run: RunName, /, *, flow_run: OfFlowRun = None) -> None:
    """Say why a task run used a result of the cache, or why it was executed, with the input that differed.

    For example:
        tidemill task-run why add_one-3c3112ef-0 --flow-run adept-capuchin
    """
    client = open_client()
    found = one_task_run(client, run, flow_run)
    keyed = run_blocking(client.keyed_run(found.id))
    if keyed is None:
        raise ObjectNotFound(f"Task run {found.name!r} has been deleted meanwhile.")
    earlier = run_blocking(client.earlier_keyed_runs(found.id))
    print(printable(why_hit_or_missed(keyed, earlier)))


@app.command
def set_state(
    run: RunName,
    state: Annotated[str, Parameter(help="Completed, failed, cancelled or crashed.")],
    /,
    *,
    result: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="The value of a completed task run, as JSON; by default none.")
    ] = None,
    message: Annotated[str | None, Parameter(help="Why; shown with the state.")] = None,
    flow_run: OfFlowRun = None,
) -> None:
    """Say how a task run ended, in place of what happened; the flow run's next attempt takes it as it is.

    For example:
        tidemill task-run set-state load-3c3112ef-0 completed --result '{"rows": 12}' --flow-run adept-capuchin
        tidemill flow-run retry adept-capuchin
    """
    type = _FINAL_TYPES.get(state.lower())
    if type is None:
        raise UsageError(f"A task run ends {', '.join(_FINAL_TYPES)}, not {state!r}.")
    if result is not None and type is not StateType.COMPLETED:
        raise UsageError(f"--result is for a completed task run; one that is {state.lower()} has none.")
    kept = _kept(result) if type is StateType.COMPLETED else None
    client = open_client()
    found = one_task_run(client, run, flow_run)
    run_blocking(client.set_task_run_state(found.id, State(type=type, message=message, data=kept)))
    print(f"Task run {found.name!r} is {type.value.lower()}.")


def _kept(result: str | None) -> ResultReference:
    try:
        kept = results.keep(None if result is None else json.loads(result))
    except ValueError as error:
        raise UsageError(f"--result takes JSON, such as 42, '\"text\"' or '[1, 2]', and {result!r} is none: {error}.") from None
    if isinstance(kept, Unkept):
        raise UsageError(f"The result cannot be kept: {kept.reason}.")
    return kept


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
