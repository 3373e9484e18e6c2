"""The result files of runs that are gone. Those in the server's own folder it removes; none of them does it ever read."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence


async def remove_files(folder: str, keys: Sequence[str]) -> None:
    """Removes result files from our folder. Those at other places, or with names of the user's, are left to their owners."""
    own = [key for key in keys if key == os.path.basename(key) and not key.startswith(".") and "#" not in key]
    if own:
        await asyncio.to_thread(_remove, folder, own)


def _remove(folder: str, names: Sequence[str]) -> None:
    for name in names:
        try:
            os.unlink(os.path.join(folder, name))
        except OSError:  # it is on the machine that has executed the task
            pass
