"""Task runs on a Dask cluster: one of this program's own, or one that exists already. Needs the extra `tidemill[dask]`."""

from __future__ import annotations

from tidemill.runners.dask.runner import DaskTaskRunner

__all__ = ["DaskTaskRunner"]
