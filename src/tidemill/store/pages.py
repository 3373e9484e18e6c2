"""Which flow runs a page of a list has: found in indexes, so that only these are then looked at.

What limits a list may match a few runs or nearly all. A few are looked up and sorted; of many, the first are found sooner by
reading on in their order. By its state a run is found in its order in any case.
"""

from __future__ import annotations

from tidemill.filters import Filters, FlowRunSort, Page
from tidemill.store.filtering import Condition, flow_run_condition, indexed_conditions, on_each_state
from tidemill.store.ordering import FLOW_RUN_BEGAN, FLOW_RUN_ORDER
from tidemill.store.rows import Fetch, limits

# So many are looked up and sorted before the first page is given; of more, it is looked for in their order.
_FEW = 1000

_DIRECTION = {FlowRunSort.START_TIME_ASC: "ASC", FlowRunSort.START_TIME_DESC: "DESC"}


def chosen_flow_runs(fetch: Fetch, filters: Filters, sort: FlowRunSort, page: Page) -> Condition:
    """A query for the ids (`run_id`) of the flow runs of a page, and its values."""
    states = on_each_state(filters) if sort in _DIRECTION and page.limit is not None else None
    if states and _are_common(fetch, indexed_conditions(filters, beside_state=True)):
        return _in_order_of_states(states, sort, page.limit or 0, page.offset)
    common = _are_common(fetch, indexed_conditions(filters))
    return in_one_order(flow_run_condition(filters, in_order=common), sort, page)


def in_one_order(condition: Condition, sort: FlowRunSort, page: Page) -> Condition:
    """The same for a condition as it is."""
    sql = f"(SELECT flow_run.id AS run_id FROM flow_run WHERE {condition.sql} ORDER BY {FLOW_RUN_ORDER[sort]} LIMIT ? OFFSET ?)"
    return Condition(sql, (*condition.bindings, *limits(page)))


def _in_order_of_states(states: list[Filters], sort: FlowRunSort, limit: int, offset: int) -> Condition:
    """The first runs in each state, and of these the first."""
    conditions = [flow_run_condition(each, in_order_of_state=True) for each in states]
    columns = f"flow_run.id AS run_id, {FLOW_RUN_BEGAN} AS began"
    order = FLOW_RUN_ORDER[sort]
    firsts = [
        f"SELECT run_id, began FROM (SELECT {columns} FROM flow_run WHERE {condition.sql} ORDER BY {order} LIMIT ?) AS firsts"
        for condition in conditions
    ]
    ways = f"began {_DIRECTION[sort]}, run_id {_DIRECTION[sort]}"
    sql = f"(SELECT run_id FROM ({' UNION ALL '.join(firsts)}) AS candidates ORDER BY {ways} LIMIT ? OFFSET ?)"
    values = [value for condition in conditions for value in (*condition.bindings, limit + offset)]
    return Condition(sql, (*values, limit, offset))


def _are_common(fetch: Fetch, conditions: list[Condition] | None) -> bool:
    """Whether each of the conditions, by which an index could find flow runs, is true for many. Of what is sure to be true for
    few only, it is not."""
    return conditions is not None and all(
        fetch(f"SELECT 1 FROM flow_run WHERE {condition.sql} LIMIT 1 OFFSET ?", (*condition.bindings, _FEW))
        for condition in conditions
    )
