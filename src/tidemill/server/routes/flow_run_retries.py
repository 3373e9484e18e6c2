"""Another attempt of a flow run, and another run like it. The server executes nothing: it says which command does."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import post
from litestar.params import JSONBody

from tidemill.filters import Id
from tidemill.orchestration import retries
from tidemill.records import FlowRun
from tidemill.server.parameters import PathId
from tidemill.server.requests import RunName, Text
from tidemill.server.services import TheStore
from tidemill.server.shown import shown
from tidemill.texts import storable


class Retry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be executed again: what failed or did not finish and, if a task run is named, that one with everything that
    follows from it. `message` is that of the new state."""

    from_task_run_id: Id | None = None
    message: Text | None = None


class Rerun(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is to be other than in the run that is repeated; parameters that are not named keep their values."""

    parameters: dict[str, Any] = {}
    name: RunName | None = None
    tags: list[str] | None = None


class FlowRunToExecute(msgspec.Struct, kw_only=True):
    """A flow run that waits for a process, and the command that executes it; where there is none, `reason` says why."""

    flow_run: FlowRun
    command: str | None
    reason: str | None


@post("/flow_runs/{flow_run_id:str}/retry", status_code=200)
async def retry_flow_run(store: TheStore, flow_run_id: PathId, data: JSONBody[Retry | None] = None) -> FlowRunToExecute:
    """Makes a flow run await its next attempt, which a command executes; 409 if a process works on the run, if it has completed
    and no task run is named, and for a subflow run."""
    asked = data or Retry()
    message = asked.message and storable(asked.message)
    return _told(await store.write(retries.await_retry, flow_run_id, asked.from_task_run_id, message))


@post("/flow_runs/{flow_run_id:str}/rerun")
async def rerun_flow_run(store: TheStore, flow_run_id: PathId, data: JSONBody[Rerun | None] = None) -> FlowRunToExecute:
    """Creates another run of the same flow, with the same parameters but those that are named, which a command executes."""
    asked = data or Rerun()
    name = asked.name and storable(asked.name)
    return _told(await store.write(retries.create_rerun, flow_run_id, asked.parameters, name, asked.tags))


def _told(waiting: retries.ToExecute) -> FlowRunToExecute:
    return FlowRunToExecute(flow_run=shown(waiting.flow_run), command=waiting.command, reason=waiting.reason)


HANDLERS = [retry_flow_run, rerun_flow_run]
