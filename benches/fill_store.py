"""Fills the store that the settings name with flow runs of the past: `python fill_store.py 100000`."""

from __future__ import annotations

import random
import sys
from datetime import timedelta

from tidemill import clock, ids, orchestration, settings
from tidemill.records import NewFlowRun
from tidemill.states import Completed, Crashed, Failed, Pending, Running, State
from tidemill.store import Store, open_store

_A_TRANSACTION = 500
_ENDS = (Completed, Completed, Completed, Completed, Completed, Completed, Completed, Completed, Failed, Crashed)


def main(count: int) -> None:
    current = settings.current()
    store = open_store(current.database_address, durability=current.durability)
    chance = random.Random(1)
    began = clock.to_datetime(clock.now()) - timedelta(seconds=count)
    for start in range(0, count, _A_TRANSACTION):
        with store.database.group():
            for number in range(start, min(start + _A_TRANSACTION, count)):
                _one(store, number, began + timedelta(seconds=number), chance)
    store.database.close()


def _one(store: Store, number: int, time: object, chance: random.Random) -> None:
    run = NewFlowRun(
        id=ids.new_id(),
        name=f"run-{number}",
        flow_name=f"flow-{number % 20}",
        parameters=b'{"x": 1, "name": "a parameter"}',
        tags=[f"team-{number % 7}", "filled"],
    )
    end = chance.choice(_ENDS)()
    states: list[State[object]] = [Pending(), Running(), end]
    for later, state in enumerate(states):
        state.timestamp = time + timedelta(milliseconds=later * chance.randrange(1, 5000))  # type: ignore[operator]
    orchestration.create_flow_run(store, run, states, None)


if __name__ == "__main__":
    main(int(sys.argv[1]))
