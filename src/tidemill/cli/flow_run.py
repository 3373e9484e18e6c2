"""`tidemill flow-run`."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from tidemill.cli.finding import one_flow_run, open_client
from tidemill.cli.flow_run_actions import cancel, resume, retry
from tidemill.cli.log_lines import LogPrinter
from tidemill.cli.options import (
    ANY,
    AS_TEXT,
    BARE,
    FIRST_PAGE,
    WHOLE,
    Chosen,
    Format,
    Listing,
    RunName,
    RunNames,
    UsageError,
    WholeListing,
    read_level,
)
from tidemill.cli.output import (
    Column,
    confirmed,
    exact,
    note,
    painted_state,
    printable,
    shortened,
    show_json,
    show_list,
    show_run,
    state_colour,
    took,
    when,
)
from tidemill.client import Client
from tidemill.colour import run_blocking
from tidemill.filters import (
    Filters,
    FlowFilter,
    FlowRunFilter,
    FlowRunSort,
    IdFilter,
    LevelFilter,
    LogFilter,
    LogSort,
    NameFilter,
    Page,
    StateFilter,
    StateTypeFilter,
    TaskRunFilter,
)
from tidemill.records import FlowRun, Log
from tidemill.states import StateType

app = App(
    name="flow-run",
    help="Show, follow, continue, cancel and delete flow runs.",
    help_format="plaintext",
    default_parameter=BARE,
)

# While following, the database is asked this often; seconds.
_FOLLOW_INTERVAL = 0.25
_LINES_AT_ONCE = 5000
_MOST_SUBFLOWS = 20

_COLUMNS: tuple[Column[FlowRun], ...] = (
    Column("Name", lambda run: run.name),
    Column("Flow", lambda run: run.flow_name or ""),
    Column("State", lambda run: run.state_name or "", state_colour),
    Column("Started", lambda run: when(run.start_time or run.expected_start_time)),
    Column("Took", took),
    Column("ID", lambda run: run.id, only_if_wide=True),
)

app.command(resume)
app.command(retry)
app.command(cancel)


@app.command
def ls(
    *,
    flow: Annotated[Sequence[str], Parameter(name=["--flow", "--flow-name"], help="Only of this flow. Repeatable.")] = (),
    chosen: Chosen = ANY,
    listing: Listing = FIRST_PAGE,
) -> None:
    """List flow runs, the newest first.

    For example:
        tidemill flow-run ls --state failed --since 2h
        tidemill flow-run ls --flow etl --json
    """
    client = open_client()
    filters = Filters(
        flows=FlowFilter(name=NameFilter(any_=list(flow))) if flow else None,
        flow_runs=FlowRunFilter(
            state=chosen.state_filter,
            name=chosen.name_filter,
            tags=chosen.tags_filter,
            expected_start_time=chosen.time_filter,
        ),
    )
    runs = run_blocking(client.flow_runs(filters, FlowRunSort.ID_DESC, listing.page))
    show_list(runs, _COLUMNS, listing, "flow runs", lambda: run_blocking(client.count_flow_runs(filters)))


@app.command
def inspect(run: RunName, /, *, format: Format = AS_TEXT) -> None:
    """Show a flow run: its states, parameters, task runs, subflow runs, and the error if it failed."""
    client = open_client()
    found = one_flow_run(client, run)
    if format.json:
        show_json(found)
        return
    subflows = Filters(flow_runs=FlowRunFilter(parent_flow_run_id=IdFilter(any_=[found.id])))
    children = run_blocking(client.flow_runs(subflows, FlowRunSort.START_TIME_ASC, Page(_MOST_SUBFLOWS)))
    show_run(_details(client, found), run_blocking(client.flow_run_states(found.id)), found, children)


@app.command
def logs(
    run: RunName,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], help="Go on until the run ends.")] = False,
    level: Annotated[str | None, Parameter(help="Only lines of this level (INFO, 30 ...) or above.")] = None,
    tail: Annotated[int | None, Parameter(name=["--tail", "-t"], help="Only the last so many lines.")] = None,
    reverse: Annotated[bool, Parameter(name=["--reverse", "-r"], help="The latest first.")] = False,
    listing: WholeListing = WHOLE,
) -> None:
    """Show what a flow run logged, its tasks included.

    For example:
        tidemill flow-run logs adept-capuchin --follow
        tidemill flow-run logs adept-capuchin --level error --tail 20
    """
    if tail is not None and tail < 0:
        raise UsageError(f"--tail must be 0 or more, not {tail}.")
    if follow and (reverse or listing.limit or listing.offset):
        raise UsageError("--follow shows lines as they come: it goes with --tail and --level only.")
    client = open_client()
    found = one_flow_run(client, run)
    lowest = read_level(level) if level is not None else 0
    if follow:
        _follow(client, found, lowest, tail, LogPrinter(client, found, listing.json))
        return
    lines = _log_lines(client, found, lowest, tail, reverse, listing.page)
    if listing.json:
        show_json([line for piece in lines for line in piece])
        return
    printer = LogPrinter(client, found, as_json=False)
    for piece in lines:
        printer.print(piece)


@app.command
def delete(
    runs: RunNames,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.")] = False,
) -> int:
    """Delete flow runs with their task runs and logs."""
    client = open_client()
    found = [one_flow_run(client, run) for run in runs]
    for run in found:
        count = run_blocking(client.count_task_runs(Filters(flow_runs=_itself(run))))
        question = f"Delete flow run {run.name!r} ({run.state_name}) with {count} task runs?"
        if not confirmed(question, yes):
            note("Nothing was deleted." if run is found[0] else f"{run.name!r} was not deleted.")
            return 1
        run_blocking(client.delete_flow_run(run.id))
        print(f"Deleted flow run {run.name!r}.")
    return 0


def _details(client: Client, run: FlowRun) -> Iterator[tuple[str, str | None]]:
    yield "Flow run", printable(run.name)
    yield "ID", run.id
    yield "Flow", run.flow_name
    yield "Flow version", run.flow_version
    yield "Entrypoint", run.entrypoint
    yield "State", painted_state(run.state) if run.state else None
    yield "Created", exact(run.created)
    yield "Started", exact(run.start_time)
    yield "Ended", exact(run.end_time)
    yield "Took", took(run)
    yield "Attempts", str(run.run_count)
    yield "Retries", str(run.empirical_policy.retries or "")
    yield "Tags", ", ".join(run.tags)
    yield "Parent", _parent(client, run)
    yield "Task runs", _task_run_counts(client, run)
    for n, (name, value) in enumerate(run.parameters.items()):
        yield "" if n else "Parameters", f"{name} = {shortened(repr(value))}"


def _parent(client: Client, run: FlowRun) -> str | None:
    if run.parent_flow_run_id is None:
        return None
    parent = run_blocking(client.flow_run(run.parent_flow_run_id))
    return f"{parent.name}  {parent.id}" if parent else run.parent_flow_run_id


def _task_run_counts(client: Client, run: FlowRun) -> str:
    counts: dict[str, int] = {}
    for type in StateType:
        of_type = TaskRunFilter(state=StateFilter(type=StateTypeFilter(any_=[type])))
        filters = Filters(flow_runs=_itself(run), task_runs=of_type)
        counts[type.value.lower()] = run_blocking(client.count_task_runs(filters))
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _itself(run: FlowRun) -> FlowRunFilter:
    return FlowRunFilter(id=IdFilter(any_=[run.id]))


def _log_filter(run: FlowRun, lowest: int) -> LogFilter:
    return LogFilter(flow_run_id=IdFilter(any_=[run.id]), level=LevelFilter(ge_=lowest) if lowest else None)


def _log_lines(client: Client, run: FlowRun, lowest: int, tail: int | None, reverse: bool, page: Page) -> Iterator[list[Log]]:
    """The lines asked for, a piece at a time, so that a long log takes little memory and can be cut short by a pipe."""
    filter = _log_filter(run, lowest)
    if tail is not None:
        last = run_blocking(client.logs(filter, LogSort.TIMESTAMP_DESC, Page(tail)))
        yield last if reverse else last[::-1]
        return
    sort = LogSort.TIMESTAMP_DESC if reverse else LogSort.TIMESTAMP_ASC
    offset, wanted = page.offset, page.limit
    while wanted is None or wanted > 0:
        size = _LINES_AT_ONCE if wanted is None else min(_LINES_AT_ONCE, wanted)
        lines = run_blocking(client.logs(filter, sort, Page(size, offset)))
        yield lines
        if len(lines) < size:
            return
        offset += size
        wanted = wanted if wanted is None else wanted - size


def _follow(client: Client, run: FlowRun, lowest: int, tail: int | None, printer: LogPrinter) -> None:
    """Prints lines as they are committed, until the run has ended and its last line is out."""
    after = 0
    if tail is not None:
        [last] = _log_lines(client, run, lowest, max(tail, 1), False, Page())
        printer.print(last if tail else [])
        after = max((line.seq for line in last), default=0)
    while True:
        current = run_blocking(client.flow_run(run.id))
        ended = current is None or (current.state is not None and current.state.is_final())
        while lines := run_blocking(client.logs_after(after, run.id, _LINES_AT_ONCE)):
            after = lines[-1].seq
            printer.print([line for line in lines if line.level >= lowest])
        if ended:
            return
        time.sleep(_FOLLOW_INTERVAL)
