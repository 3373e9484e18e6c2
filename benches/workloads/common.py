"""What the workloads share: `ENGINE COUNT` on the command line, and one line of JSON at the end."""

from __future__ import annotations

import json
import resource
import sys
import time
from importlib import import_module
from typing import Any


def engine() -> Any:
    """The package under measurement, by the first argument: `tidemill` or `prefect`."""
    return import_module(sys.argv[1])


def count() -> int:
    """How many, by the second argument."""
    return int(sys.argv[2])


def task_runner(name: str) -> Any:
    """A kind of task runner of the package under measurement."""
    return getattr(import_module({"prefect": "prefect.task_runners"}.get(sys.argv[1], sys.argv[1])), name)


def by_inputs() -> Any:
    """The cache policy of the package under measurement whose key is the inputs."""
    return import_module({"prefect": "prefect.cache_policies", "tidemill": "tidemill.caching"}[sys.argv[1]]).INPUTS


def report(**figures: float) -> None:
    """Prints the figures, with the most memory that the process ever held and the moment at which its work ended."""
    figures["peak_mib"] = _peak_bytes() / 2**20
    figures["ended_at"] = time.monotonic()
    print(json.dumps(figures), flush=True)


def _peak_bytes() -> int:
    # Not from getrusage where that can be avoided: on Linux it begins with the size of the process that started this one.
    try:
        with open("/proc/self/status", encoding="ascii") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
