"""The front desk: each operation fetches the facts, decides by the rules and writes, in one transaction."""

from tidemill.orchestration.attempts import Started, begin_next_attempt, create_flow_run
from tidemill.orchestration.cancelling import cancel_flow_run
from tidemill.orchestration.corrections import rerun_from, set_task_run_state
from tidemill.orchestration.flow_runs import (
    delete_flow_run,
    holds_lease,
    propose_flow_run_state,
    release_lease,
    renew_lease,
    take_lease,
)
from tidemill.orchestration.lost_runs import LostRun, end_open_task_runs, reclaim_lost_runs
from tidemill.orchestration.old_changes import forget_old_changes
from tidemill.orchestration.proposing import Verdict

__all__ = [
    "LostRun",
    "Started",
    "Verdict",
    "begin_next_attempt",
    "cancel_flow_run",
    "create_flow_run",
    "delete_flow_run",
    "end_open_task_runs",
    "forget_old_changes",
    "holds_lease",
    "propose_flow_run_state",
    "reclaim_lost_runs",
    "release_lease",
    "renew_lease",
    "rerun_from",
    "set_task_run_state",
    "take_lease",
]
