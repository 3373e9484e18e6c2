"""From what a person types to the one run that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from tidemill.cli.output import note, printable, when
from tidemill.client import Client, connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import AmbiguousName, ObjectNotFound, StoreError, StoreUnreachable
from tidemill.records import FlowRun, TaskRun

R = TypeVar("R", FlowRun, TaskRun)

_MOST_CANDIDATES = 10
_PATIENCE_SECONDS = 2.0
# For so long a command waits until a server has what this machine has recorded; the rest is sent later.
_CATCH_UP_SECONDS = 1.0


def open_client() -> Client:
    """The client of this process's settings, for plain calls: `run_blocking(client.verb(...))`.

    Runs whose process is gone are noted as such first, and what waits for a server is sent there, so that every command
    shows what is true now.
    """
    client = connect(BlockingIO())
    try:
        with client.database.waiting_at_most(_PATIENCE_SECONDS):
            run_blocking(client.reclaim_lost_runs())
    except StoreUnreachable as error:
        note(f"Runs whose process is gone may be shown as running. {error}")
    except StoreError:  # a database that can only be read is shown as it is
        pass
    run_blocking(client.catch_up(_CATCH_UP_SECONDS))
    return client


def one_flow_run(client: Client, text: str) -> FlowRun:
    """The flow run of this name, id, or beginning of an id.

    Raises:
        ObjectNotFound: there is none.
        AmbiguousName: there are several; the message lists them.
    """
    found = run_blocking(client.find_flow_runs(text))
    if not found:
        raise ObjectNotFound(f"There is no flow run {text!r}. To see which there are: tidemill flow-run ls")
    return _only(found, text, "flow runs")


def one_task_run(client: Client, text: str, flow_run: str | None) -> TaskRun:
    """The task run of this name, id, or beginning of an id; of one flow run if that is given.

    Raises:
        ObjectNotFound: there is none.
        AmbiguousName: there are several; the message lists them.
    """
    parent = one_flow_run(client, flow_run) if flow_run is not None else None
    found = run_blocking(client.find_task_runs(text, parent.id if parent else None))
    if not found:
        of_parent = f" --flow-run {parent.name}" if parent else ""
        place = f" in flow run {parent.name!r}" if parent else ""
        raise ObjectNotFound(f"There is no task run {text!r}{place}. To see which there are: tidemill task-run ls{of_parent}")
    return _only(found, text, "task runs")


def _only(found: Sequence[R], text: str, what: str) -> R:
    if len(found) == 1:
        return found[0]
    lines = [f"{len(found)} {what} answer to {text!r}; name one by its id:"]
    lines += [f"  {run.id}  {_described(run)}" for run in found[:_MOST_CANDIDATES]]
    if len(found) > _MOST_CANDIDATES:
        lines.append("  ...")
    raise AmbiguousName("\n".join(lines))


def _described(run: FlowRun | TaskRun) -> str:
    parts = [run.name, run.state_name or "", when(run.created)]
    if isinstance(run, TaskRun) and run.flow_run_id:
        parts.append(f"of flow run {run.flow_run_id}")
    return printable("  ".join(parts))
