"""Names for runs that nobody has named."""

from __future__ import annotations

import os
import threading

# Held over a fork: a child forked while another thread imports would wait for that import for ever.
_importing = threading.Lock()
os.register_at_fork(before=_importing.acquire, after_in_parent=_importing.release, after_in_child=_importing.release)


def two_words() -> str:
    """A fresh name such as `adept-capuchin`."""
    with _importing:
        from coolname import generate_slug

    return generate_slug(2)
