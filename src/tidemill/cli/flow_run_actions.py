"""`tidemill flow-run resume`, `retry` and `cancel`: the commands that move a flow run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import Annotated, Any, cast

from cyclopts import Parameter

from tidemill import kept_calls, serializers
from tidemill.cli.finding import one_flow_run, one_task_run, open_client
from tidemill.cli.options import AS_TEXT, Format, RunName, RunNames
from tidemill.cli.output import note, show_json
from tidemill.client import Client
from tidemill.colour import run_blocking
from tidemill.engine.calls import resume_flow
from tidemill.engine.definitions import FlowDefinition
from tidemill.engine.loading import load_flow, module_that_ran
from tidemill.exceptions import FlowRunIsLive, OrchestrationError
from tidemill.filters import Filters, FlowFilter, FlowRunFilter, IdFilter, Page
from tidemill.records import FlowRun

# How long `cancel` waits for a run to end, and how often it looks; seconds.
_PATIENCE = 30.0
_LOOK_INTERVAL = 0.1

# So many task runs are asked under which name the flow's file ran.
_ENOUGH_TASK_RUNS = 200

Entrypoint = Annotated[
    str | None, Parameter(name=["--entrypoint", "-e"], help="FILE:NAME, if the flow is elsewhere now than it was.")
]


def resume(run: RunName, /, *, entrypoint: Entrypoint = None, format: Format = AS_TEXT) -> int:
    """Continue a flow run that stopped before its end: what has finished is not executed again, the rest is.

    The flow is loaded from the file that it was called from, and runs here until it ends. The exit code is 1 if it does not
    complete.

    For example:
        tidemill flow-run resume adept-capuchin
    """
    client = open_client()
    found = one_flow_run(client, run)
    if found.state is not None and found.state.is_completed():
        note(f"Flow run {found.name!r} has completed; there is nothing to do. See also: tidemill flow-run retry --help")
        return _shown(client, found, format)
    return _continue(client, found, None, entrypoint, format)


def retry(
    run: RunName,
    /,
    *,
    from_: Annotated[
        str | None, Parameter(name="--from", help="A task run of it, to run again with everything that depends on it.")
    ] = None,
    entrypoint: Entrypoint = None,
    format: Format = AS_TEXT,
) -> int:
    """Run again what failed in a flow run, and what did not finish; the rest keeps its results.

    The flow is loaded as it is now, so mend the code first. The exit code is 1 if it does not complete.

    For example:
        tidemill flow-run retry adept-capuchin
        tidemill flow-run retry adept-capuchin --from load-3c3112ef-0
    """
    client = open_client()
    found = one_flow_run(client, run)
    if from_ is None and found.state is not None and found.state.is_completed():
        note(f"Flow run {found.name!r} has completed. To run a part of it again: tidemill flow-run retry {run} --from TASK_RUN")
        return _shown(client, found, format)
    return _continue(client, found, from_, entrypoint, format)


def cancel(
    runs: RunNames,
    /,
    *,
    wait: Annotated[bool, Parameter(negative="--no-wait", help="Wait until they have ended, 30 seconds at the most.")] = True,
    reason: Annotated[str | None, Parameter(help="Why; shown with the state.")] = None,
) -> int:
    """Cancel flow runs, with their subflow runs. The exit code is 1 if one of them has not ended, or had ended before.

    For example:
        tidemill flow-run cancel adept-capuchin --reason "wrong day"
    """
    client = open_client()
    found = [one_flow_run(client, run) for run in runs]
    code = 0
    asked: list[FlowRun] = []
    for run in found:
        verdict = run_blocking(client.cancel_flow_run(run.id, reason))
        if verdict.status == "ABORT":
            note(f"Flow run {run.name!r} is not cancelled: {verdict.reason}")
            code = 1
        else:  # or somebody has asked before
            asked.append(run)
    if not wait:
        for run in asked:
            print(f"Flow run {run.name!r} is asked to end.")
        return code
    return max([code, *_ends(client, asked)])


def _continue(client: Client, run: FlowRun, from_: str | None, entrypoint: str | None, format: Format) -> int:
    _refuse_what_cannot_continue(client, run)
    start = None if from_ is None else one_task_run(client, from_, run.id)
    with contextlib.redirect_stdout(sys.stderr) if format.json else contextlib.nullcontext():
        flow = _flow_of(client, run, entrypoint)
        given, receiver = _call_of(client, run)
        if start is not None:
            run_blocking(client.rerun_from(run.id, start.id))
        resume_flow(flow, run.id, given, receiver)
    return _shown(client, run, format)


def _refuse_what_cannot_continue(client: Client, run: FlowRun) -> None:
    """Says so before the flow's file is executed. Who is first, when two do this at once, is decided later."""
    if run.state is not None and (run.state.is_running() or run.state.is_cancelling()):
        raise FlowRunIsLive(
            f"Flow run {run.name!r} is at work: {run.state}. Wait until it has ended, or end it: "
            f"tidemill flow-run cancel {run.id}"
        )
    if run.parent_flow_run_id is not None:
        parent = run_blocking(client.flow_run(run.parent_flow_run_id))
        name = run.parent_flow_run_id if parent is None else parent.name
        raise OrchestrationError(
            f"Flow run {run.name!r} is a subflow run of {name!r} and continues with it: tidemill flow-run resume {name}"
        )


def _flow_of(client: Client, run: FlowRun, entrypoint: str | None) -> FlowDefinition:
    if run.entrypoint is None:
        raise OrchestrationError(
            f"Where the flow of flow run {run.name!r} is defined was not recorded. Say it: --entrypoint FILE:NAME"
        )
    keys = _task_keys(client, Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[run.id]))))
    if not keys:  # it has not begun yet: then as the runs of its flow before it
        keys = _task_keys(client, Filters(flows=FlowFilter(id=IdFilter(any_=[run.flow_id or ""]))))
    if entrypoint is None:
        return load_flow(run.entrypoint, name=run.flow_name, module=module_that_ran(run.entrypoint, keys))
    return load_flow(entrypoint, module=module_that_ran(entrypoint, keys))


def _task_keys(client: Client, filters: Filters) -> set[str]:
    return {task_run.task_key for task_run in run_blocking(client.task_runs(filters, page=Page(_ENOUGH_TASK_RUNS)))}


def _call_of(client: Client, run: FlowRun) -> tuple[dict[str, Any], Any]:
    """What the flow was called with: its parameters, and the instance or class if it is a method."""
    kept = run_blocking(client.flow_run_call(run.id))
    if kept is None:
        return run.parameters, None
    if (reason := kept_calls.why_unkept(kept)) is not None:
        raise OrchestrationError(
            f"The parameters of flow run {run.name!r} could not be kept ({reason}), so it cannot be continued from "
            "here. Call the flow again in Python with the same idempotency_key."
        )
    original, changes = kept_calls.as_called(kept)
    call: Any = serializers.load(*original)
    given, receiver = (cast("dict[str, Any]", call), None) if isinstance(call, dict) else call
    return {**given, **changes}, receiver


def _shown(client: Client, run: FlowRun, format: Format) -> int:
    """Prints the run if JSON is wanted; gives the exit code."""
    current = run_blocking(client.flow_run(run.id)) or run
    if format.json:
        show_json(current)
    return 0 if current.state is not None and current.state.is_completed() else 1


def _ends(client: Client, runs: Sequence[FlowRun]) -> list[int]:
    """Waits until the runs have ended and says how, each as it ends; gives an exit code for each."""
    deadline = time.monotonic() + _PATIENCE
    waiting = list(runs)
    codes: list[int] = []
    while True:
        for run in list(waiting):
            current = run_blocking(client.flow_run(run.id))
            if current is None or current.state is None or current.state.is_final():
                print(f"Flow run {run.name!r} ended: {current.state if current else 'it was deleted'}")
                waiting.remove(run)
                codes.append(0)
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(_LOOK_INTERVAL)
        run_blocking(client.reclaim_lost_runs())  # a process may die instead of ending its run
    for run in waiting:
        note(
            f"Flow run {run.name!r} has not ended within {_PATIENCE:.0f} seconds; its code may be inside a call that nothing "
            "can interrupt. It is noted as cancelled when that returns, or when its process is killed."
        )
    return [*codes, *(1 for _ in waiting)]
