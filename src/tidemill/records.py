"""What things are, said once for the SDK, the store and the server.

The structs that are read have the field names of the REST API and are what travels on the wire; the entries that are
written (`TaskRunEntry`, `LogEntry`, `Batch`) are their compact form, with times in microseconds.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from tidemill import clock, ids
from tidemill.states import (
    DEFAULT_NAMES,
    RUNNING,
    TERMINAL_TYPES,
    FullStateDetails,
    ResultReference,
    State,
    StateDetails,
    StateType,
)
from tidemill.texts import storable


class Flow(msgspec.Struct, kw_only=True):
    """A flow, known by its name."""

    id: str
    name: str
    tags: list[str] = []
    labels: dict[str, Any] = {}
    created: datetime
    updated: datetime


class RunPolicy(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How a run is retried, as it was when the run began (`empirical_policy` on the wire). Delays are seconds."""

    retries: int = 0
    retry_delay: float | list[float] = 0.0
    retry_jitter_factor: float | None = None

    def delay_before(self, retry: int) -> float:
        """Seconds to wait before the n-th retry (from 1); the last of a list of delays serves for all that follow."""
        if isinstance(self.retry_delay, list):
            return self.retry_delay[min(retry, len(self.retry_delay)) - 1] if self.retry_delay else 0.0
        return self.retry_delay

    def jittered_delay(self, retry: int) -> float:
        """The same with jitter: drawn from an exponential distribution around the delay, and held within
        `retry_jitter_factor` of it, so that many runs that failed together do not come back together."""
        delay = self.delay_before(retry)
        factor = self.retry_jitter_factor
        if not factor or not delay:
            return delay
        drawn = random.expovariate(1 / delay)
        return min(max(drawn, delay * max(0.0, 1 - factor)), delay * (1 + factor))


class FlowRunPolicy(RunPolicy, kw_only=True, omit_defaults=False):
    """A flow run's policy as the REST API has it: also how far its pauses have come, and names that older clients use."""

    max_retries: int = 0
    retry_delay_seconds: float = 0.0
    pause_keys: list[str] = []
    resuming: bool = False
    retry_type: str | None = None


class TaskRunPolicy(RunPolicy, kw_only=True, omit_defaults=False):
    """A task run's policy as the REST API has it: also with names that older clients use."""

    max_retries: int = 0
    retry_delay_seconds: float = 0.0


class FlowRun(msgspec.Struct, kw_only=True):
    """One execution of a flow, over all its attempts."""

    id: str
    name: str
    flow_id: str | None = None
    flow_name: str | None = None
    flow_version: str | None = None
    entrypoint: str | None = None
    parameters: dict[str, Any] = {}
    tags: list[str] = []
    labels: dict[str, Any] = {}
    context: dict[str, Any] = {}
    empirical_policy: FlowRunPolicy = msgspec.field(default_factory=FlowRunPolicy)
    parent_task_run_id: str | None = None
    parent_flow_run_id: str | None = None
    idempotency_key: str | None = None
    run_count: int = 0
    state_id: str | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    state: State[Any] | None = None
    created: datetime | None = None
    updated: datetime | None = None
    expected_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    total_run_time: float = 0.0
    estimated_run_time: float = 0.0
    estimated_start_time_delta: float = 0.0
    auto_scheduled: bool = False
    infrastructure_pid: str | None = None
    infrastructure_document_id: str | None = None
    job_variables: dict[str, Any] | None = {}
    deployment_id: str | None = None
    deployment_version: str | None = None
    work_queue_id: str | None = None
    work_queue_name: str | None = None
    work_pool_id: str | None = None
    work_pool_name: str | None = None
    created_by: dict[str, Any] | None = None


class TaskRun(msgspec.Struct, kw_only=True):
    """One execution of a task, over all its tries."""

    id: str
    name: str
    flow_run_id: str | None = None
    task_key: str
    dynamic_key: str
    task_version: str | None = None
    tags: list[str] = []
    labels: dict[str, Any] = {}
    task_inputs: dict[str, list[dict[str, Any]]] = {}
    empirical_policy: TaskRunPolicy = msgspec.field(default_factory=TaskRunPolicy)
    cache_key: str | None = None
    cache_expiration: datetime | None = None
    run_count: int = 0
    flow_run_run_count: int = 0
    state_id: str | None = None
    state_type: StateType | None = None
    state_name: str | None = None
    state: State[Any] | None = None
    created: datetime | None = None
    updated: datetime | None = None
    expected_start_time: datetime | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    next_scheduled_start_time: datetime | None = None
    total_run_time: float = 0.0
    estimated_run_time: float = 0.0
    estimated_start_time_delta: float = 0.0


class Log(msgspec.Struct, kw_only=True):
    """One line that a run logged. `id` sorts in the order in which lines were committed."""

    id: str
    name: str
    level: int
    message: str
    timestamp: datetime
    flow_run_id: str | None = None
    task_run_id: str | None = None
    created: datetime | None = None
    updated: datetime | None = None
    seq: int = 0


class Lease(msgspec.Struct, kw_only=True):
    """A process's claim on the runs it works on: valid until `deadline` (microseconds), if it is not renewed.

    `boot_id` names the place where `pid` means this process; `process_start` tells it from a later one of the same id.
    """

    id: str
    pid: int
    boot_id: str
    hostname: str
    acquired: int
    deadline: int
    process_start: int | None = None


class NewFlowRun(msgspec.Struct, kw_only=True):
    """What is known of a flow run before it is created."""

    id: str
    name: str
    flow_name: str
    # Where it is known, the flow is there already.
    flow_id: str | None = None
    flow_version: str | None = None
    entrypoint: str | None = None
    parameters: bytes = b"{}"
    tags: Sequence[str] = ()
    labels: bytes = b"{}"
    context: bytes = b"{}"
    job_variables: bytes = b"{}"
    policy: RunPolicy = msgspec.field(default_factory=RunPolicy)
    parent_task_run_id: str | None = None
    parent_flow_run_id: str | None = None
    idempotency_key: str | None = None
    # The call's arguments, serialized (serializer, bytes), where `parameters` does not give them back as they were.
    call: tuple[str, bytes] | None = None
    # The JSON schema of the flow's parameters, where it may not be recorded yet.
    parameter_schema: bytes | None = None


# One state in a task run's history: type, name (None where the type says it), message, time in microseconds.
Step = tuple[str, str | None, str | None, int]


class Progress(msgspec.Struct, frozen=True, gc=False):
    """How far a task run has come. Never changed, only replaced: another thread may be recording it at this moment."""

    type: StateType
    name: str
    history: tuple[Step, ...]
    run_count: int = 0
    start_time: int | None = None
    end_time: int | None = None
    total_run_time: int = 0

    def then(self, type: StateType, name: str | None, message: str | None, time: int) -> Progress:
        """The progress after one more state. Times never decrease, whatever the clock does."""
        before, _, _, began = self.history[-1]
        name, message = name and storable(name), message and storable(message)
        time = max(time, began)
        running = type is RUNNING
        return Progress(
            type,
            name or DEFAULT_NAMES[type],
            (*self.history, (type.value, name, message, time)),
            self.run_count + running,
            time if running and self.start_time is None else self.start_time,
            time if type in TERMINAL_TYPES else None,
            self.total_run_time + (time - began if before == "RUNNING" else 0),
        )


class TaskRunEntry(msgspec.Struct, eq=False, gc=False):
    """A task run as its process holds it and as it is recorded: the whole story each time, so that recording it twice
    is the same as recording it once.

    `lease_id` is the lease of the process that executes it, for one outside a flow that has not ended.
    """

    id: str
    flow_run_id: str | None
    attempt: int
    name: str
    task_key: str
    dynamic_key: str
    tags: str
    policy: str | None
    created: int
    progress: Progress
    task_version: str | None = None
    task_inputs: str = "{}"
    details: StateDetails | None = None
    input_hash: str | None = None
    cache_key: str | None = None
    result: ResultReference | None = None
    lease_id: str | None = None


# A line as it is recorded: flow run id, task run id, level, time in microseconds, logger, message.
LogEntry = tuple[str | None, str | None, int, int, str, str]


class Batch(msgspec.Struct):
    """What one commit of a run's process records."""

    task_runs: list[TaskRunEntry]
    logs: list[LogEntry]
    leases: tuple[str, ...] = ()


# For each flow run of which something was refused to be recorded: the latest such attempt, and why.
Refusals = dict[str, tuple[int, str]]


def add_refusal(refused: Refusals, flow_run_id: str, attempt: int, reason: str) -> None:
    """Notes a refusal, unless one of a later attempt is noted."""
    if flow_run_id not in refused or refused[flow_run_id][0] < attempt:
        refused[flow_run_id] = (attempt, reason)


def states_of_history(run_id: str, history: Sequence[Sequence[Any]]) -> list[State[Any]]:
    """The states in a task run's history; their ids follow from the run's."""
    states: list[State[Any]] = []
    for n, (type_text, name, message, time) in enumerate(history):
        type = StateType(type_text)
        state = State[Any](
            type=type,
            name=name or "",
            message=message,
            timestamp=clock.to_datetime(time),
            id=ids.nth_id(run_id, n),
            state_details=FullStateDetails(task_run_id=run_id),
        )
        states.append(state)
    return states


def seconds(microseconds: int) -> float:
    """A length of time as the wire has it."""
    return microseconds / 1_000_000


def milliseconds(microseconds: int) -> float:
    """A time as browsers have it."""
    return microseconds / 1000


def task_run_of(entry: TaskRunEntry, state: State[Any]) -> TaskRun:
    """A task run as its own process knows it."""
    progress = entry.progress
    return TaskRun(
        id=entry.id,
        name=entry.name,
        flow_run_id=entry.flow_run_id,
        task_key=entry.task_key,
        dynamic_key=entry.dynamic_key,
        task_version=entry.task_version,
        tags=msgspec.json.decode(entry.tags),
        task_inputs=msgspec.json.decode(entry.task_inputs),
        empirical_policy=msgspec.json.decode(entry.policy, type=TaskRunPolicy) if entry.policy else TaskRunPolicy(),
        cache_key=entry.cache_key,
        run_count=progress.run_count,
        flow_run_run_count=entry.attempt,
        state_id=state.id,
        state_type=state.type,
        state_name=state.name,
        state=state,
        created=clock.to_datetime(entry.created),
        expected_start_time=clock.to_datetime(entry.created),
        start_time=_datetime(progress.start_time),
        end_time=_datetime(progress.end_time),
        total_run_time=seconds(progress.total_run_time),
    )


def _datetime(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else clock.to_datetime(microseconds)
