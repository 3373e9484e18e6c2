"""Prints, as JSON, the results of the completed task runs in a home: `{flow run id: [[n, n * n], ...]}`.

`read_back.py [FLOW_RUN_ID]`: of one flow run, or of all.
"""

import json
import sys

from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.filters import Filters, FlowRunFilter, IdFilter, Page, StateFilter, StateTypeFilter, TaskRunFilter, TaskRunSort
from tidemill.states import COMPLETED

completed = StateFilter(type=StateTypeFilter(any_=[COMPLETED]))
filters = Filters(
    flow_runs=FlowRunFilter(id=IdFilter(any_=sys.argv[1:])) if sys.argv[1:] else None,
    task_runs=TaskRunFilter(state=completed),
)
results = {}
for run in run_blocking(connect(BlockingIO()).task_runs(filters, TaskRunSort.ID_DESC, Page(limit=None))):
    results.setdefault(run.flow_run_id, []).append(run.state.result())
json.dump(results, sys.stdout)
