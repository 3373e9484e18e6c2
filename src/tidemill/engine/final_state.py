"""What state a flow run ends in, by what its function returned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from tidemill.futures import TaskRunFuture
from tidemill.states import Completed, State, aggregate, states_in


def state_from_return(value: Any, children: list[State[Any]]) -> State[Any]:
    """The final state of a flow run.

    A final state made by hand is used as it is; states of runs, alone or in a list, tuple, set or dict, are aggregated; None is
    judged by all the runs that were made; any other value completes the run.
    """
    if isinstance(value, State):
        state = cast("State[Any]", value)
        if made_by_hand(state) and state.is_final():
            return State(type=state.type, name=state.name, message=state.message, data=state.data)
        return aggregate([state], state)
    states = states_in(value)
    if states:
        return aggregate(states, value)
    if value is None and children:
        return aggregate(children, children)
    return Completed(data=value)


def states_for_futures(value: Any) -> Any:
    """The value with futures, alone or as all that a list, tuple, set or dict holds, replaced by their states."""
    if isinstance(value, TaskRunFuture):
        return cast("TaskRunFuture[Any]", value).state
    if isinstance(value, dict):
        named = cast("dict[Any, Any]", value)
        if named and all(isinstance(member, TaskRunFuture | State) for member in named.values()):
            return {key: states_for_futures(member) for key, member in named.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            members = list(cast("Iterable[Any]", value))
            if members and all(isinstance(member, TaskRunFuture | State) for member in members):
                return cast(Any, kind(map(states_for_futures, members)))
    return cast(Any, value)


def made_by_hand(state: State[Any]) -> bool:
    """Whether a state is the user's own, and not that of a run."""
    return state.state_details.flow_run_id is None and state.state_details.task_run_id is None
