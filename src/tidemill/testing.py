"""For tests of flows: a home of their own, and nothing left behind."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from tidemill import client, clock, settings

travel = clock.travel


@contextmanager
def temporary_home(path: str | os.PathLike[str]) -> Generator[str]:
    """Records all runs inside the block in the home folder `path`, and closes its database at the end.

    Example:
        ```python
        @pytest.fixture(autouse=True)
        def home(tmp_path):
            with temporary_home(tmp_path):
                yield
        ```
    """
    folder = os.fspath(path)
    client.close_sessions()
    elsewhere = {"database_url": None, "results_storage_path": os.path.join(folder, "results")}
    configured = {name: place for name, place in elsewhere.items() if settings.origins()[name].source != "default"}
    with settings.using(home=folder, **configured):
        try:
            yield folder
        finally:
            client.close_sessions()
