"""The front desk: each operation fetches the facts, decides by the rules and writes, in one transaction."""

from tidemill.orchestration.flow_runs import (
    Started,
    Verdict,
    create_flow_run,
    delete_flow_run,
    propose_flow_run_state,
    release_lease,
    renew_lease,
)

__all__ = [
    "Started",
    "Verdict",
    "create_flow_run",
    "delete_flow_run",
    "propose_flow_run_state",
    "release_lease",
    "renew_lease",
]
