"""The front desk: each operation fetches the facts, decides by the rules and writes, in one transaction."""

from tidemill.orchestration.attempts import Started, begin_next_attempt, create_flow_run
from tidemill.orchestration.flow_runs import delete_flow_run, propose_flow_run_state, release_lease, renew_lease
from tidemill.orchestration.lost_runs import LostRun, reclaim_lost_runs
from tidemill.orchestration.proposing import Verdict

__all__ = [
    "LostRun",
    "Started",
    "Verdict",
    "begin_next_attempt",
    "create_flow_run",
    "delete_flow_run",
    "propose_flow_run_state",
    "reclaim_lost_runs",
    "release_lease",
    "renew_lease",
]
