"""A flow run in a process that executes only a part of it: a stand-in, made from what travels with that part."""

from __future__ import annotations

import msgspec

from tidemill import serializers
from tidemill.client import Client
from tidemill.engine.context import FlowRunContext
from tidemill.engine.earlier import EarlierRuns
from tidemill.engine.parameters import stand_in
from tidemill.exceptions import SerializationError
from tidemill.ids import new_id
from tidemill.logs import flow_run_log
from tidemill.records import FlowRun
from tidemill.results import ResultOptions


class FlowRunFacts(msgspec.Struct):
    """What travels of a flow run."""

    run: FlowRun
    parameters: bytes
    flow_name: str
    flow_version: str | None
    attempt: int
    tags: tuple[str, ...]
    log_prints: bool
    results: ResultOptions
    parent: FlowRunFacts | None


def facts_of(context: FlowRunContext) -> FlowRunFacts:
    """What travels of a flow run that executes here."""
    run = msgspec.structs.replace(context.describe(), parameters={}, state=None)
    parent = facts_of(context.parent) if context.parent is not None else None
    return FlowRunFacts(
        run=run,
        parameters=_packed_parameters(context),
        flow_name=context.flow_name,
        flow_version=context.flow_version,
        attempt=context.attempt,
        tags=context.tags,
        log_prints=context.log_prints,
        results=context.results,
        parent=parent,
    )


def context_from(facts: FlowRunFacts, client: Client, earlier: EarlierRuns | None = None) -> FlowRunContext:
    """The stand-in, in the process that the facts have come to."""
    run = facts.run
    context = FlowRunContext(
        flow_name=facts.flow_name,
        flow_version=facts.flow_version,
        parameters=serializers.load("pickle", facts.parameters),
        log=flow_run_log(client.recorder, run.id, run.name, facts.flow_name),
        parent=context_from(facts.parent, client) if facts.parent is not None else None,
        tags=facts.tags,
        log_prints=facts.log_prints,
        describe=lambda: run,
        results=facts.results,
    )
    context.begin_attempt(facts.attempt, earlier)
    context.mark = f".{new_id()[-8:]}"
    return context


def _packed_parameters(context: FlowRunContext) -> bytes:
    """The parameters; those that cannot be pickled as a readable text, since the part that travels may not need them."""
    try:
        return serializers.dump_by_value(context.parameters)
    except SerializationError:
        return serializers.dump_by_value({name: _or_text(value) for name, value in context.parameters.items()})


def _or_text(value: object) -> object:
    try:
        serializers.dump_by_value(value)
    except SerializationError:
        return stand_in(value)
    return value
