"""What a task is called. Task runs have names of their own, so it is told from these and from the key of the task."""

from __future__ import annotations

import hashlib
import re

# As the field's clients make keys: name and digits.
_FOREIGN_KEY = re.compile(r"(.+)-[0-9a-f]{8}")


def task_name(task_key: str, run_name: str, dynamic_key: str) -> str:
    """The name of a task, or of the flow whose runs a task run stands for.

    Args:
        run_name, dynamic_key: of any of its runs.
    """
    digits = hashlib.md5(task_key.encode(), usedforsecurity=False).hexdigest()[:8]
    name, found, _ = run_name.rpartition(f"-{digits}-")
    if found:
        return name
    foreign = _FOREIGN_KEY.fullmatch(task_key)
    if foreign is not None:
        return foreign[1]
    name, found, _ = run_name.rpartition(f"-{dynamic_key}")
    # Else somebody has named the run; the key ends with what the function is called.
    return name if found and name else task_key.rpartition(".")[2]
