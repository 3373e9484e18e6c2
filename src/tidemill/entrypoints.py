"""Where a flow is defined, as its runs record it: `path/to/file.py:name`, or `module:name` where there is no file."""

from __future__ import annotations

PROGRAMS = ("__main__", "__mp_main__")  # the second is what multiprocessing calls the first in its children
_CALL_AGAIN = "To continue such a run, call the flow again, in the same way, with the same idempotency_key."


def why_not_loadable(entrypoint: str) -> str | None:
    """Why no other process finds a flow by its entry point, and what to do instead; None where one may find it."""
    place, _, qualname = entrypoint.rpartition(":")
    if not place or not qualname:
        return f"{place or qualname!r} is no entry point; write FILE:NAME or MODULE:NAME."
    if place in PROGRAMS or place.startswith("<") or "ipykernel" in place:
        return f"Flow {qualname!r} was defined in a notebook or typed in, not in a file. {_CALL_AGAIN}"
    if "<locals>" in qualname:
        return f"Flow {qualname!r} is made inside a function, where its name does not lead. {_CALL_AGAIN}"
    return None
