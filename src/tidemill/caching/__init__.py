"""When a task's earlier result may be used again: cache policies, and the keys they make.

A policy turns a call into a key; a later call with the same key gets the result of the earlier one. Beside the key it says
what it was made of, ingredient by ingredient, so that `tidemill task-run why` can tell which of them differed.
"""

from tidemill.cache_keys import why_hit_or_missed
from tidemill.caching.options import CacheOptions, cache_options, task_input_hash
from tidemill.caching.policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheContext,
    CacheKey,
    CacheKeyFnPolicy,
    CachePolicy,
    IsolationLevel,
)

__all__ = [
    "DEFAULT",
    "FLOW_PARAMETERS",
    "INPUTS",
    "NONE",
    "NO_CACHE",
    "RUN_ID",
    "TASK_SOURCE",
    "CacheContext",
    "CacheKey",
    "CacheKeyFnPolicy",
    "CacheOptions",
    "CachePolicy",
    "IsolationLevel",
    "cache_options",
    "task_input_hash",
    "why_hit_or_missed",
]
