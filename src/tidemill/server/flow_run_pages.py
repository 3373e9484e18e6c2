"""Pages of flow runs, ready to be sent: a run is read and encoded once, and then kept for the next page.

People look at the same pages again and again. So it is first asked which runs a page has and in which version each is; only
those are read whose version is not known. What is told of a run that goes on (how long it runs, how late it is) also depends
on the time, and is told anew after a second.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from tidemill import clock, ids
from tidemill.filters import ALL, Filters, FlowRunFilter, FlowRunSort, IdFilter, Page
from tidemill.server.shown import shown
from tidemill.store import reading
from tidemill.store.reading import Fetch, FlowRunVersion

# With the usual size of a run these are some thousands.
_MOST_BYTES = 8 * 1024 * 1024
_MOST_BYTES_A_RUN = 16 * 1024
_A_SECOND = 1_000_000

_encode = msgspec.json.Encoder().encode


class _Kept(NamedTuple):
    """A run as JSON, and until when (microseconds) that is true; None: as long as its version is."""

    encoded: bytes
    until: int | None


class FlowRunPages:
    """Gives pages, from any thread.

    Attributes:
        kept_bytes: how much is kept.
    """

    def __init__(self) -> None:
        self._kept: dict[FlowRunVersion, _Kept] = {}
        self.kept_bytes = 0

    def page(self, fetch: Fetch, filters: Filters, sort: FlowRunSort, page: Page) -> list[msgspec.Raw]:
        """A page of the flow runs that filters ask for, each as JSON."""
        versions = reading.flow_run_versions(fetch, filters, sort, page)
        found = self._known(versions)
        missing = {version.id: version for version in versions if version.id not in found}
        if missing:
            found.update(self._read(fetch, missing))
        # One that was deleted meanwhile is not there.
        return [msgspec.Raw(found[version.id]) for version in versions if version.id in found]

    def _known(self, versions: list[FlowRunVersion]) -> dict[bytes, bytes]:
        now = clock.now()
        known: dict[bytes, bytes] = {}
        for version in versions:
            kept = self._kept.get(version)
            if kept is not None and (kept.until is None or now <= kept.until):
                known[version.id] = kept.encoded
        return known

    def _read(self, fetch: Fetch, wanted: dict[bytes, FlowRunVersion]) -> dict[bytes, bytes]:
        chosen = Filters(flow_runs=FlowRunFilter(id=IdFilter(any_=[ids.from_bytes(id) for id in wanted])))
        read: dict[bytes, bytes] = {}
        for run in reading.flow_runs(fetch, chosen, FlowRunSort.ID_DESC, ALL):
            id = ids.to_bytes(run.id)
            state_id = run.state_id
            read[id] = encoded = _encode(shown(run))
            # One that has changed since it was chosen is told as it is now, and not kept.
            if state_id is not None and ids.to_bytes(state_id) == wanted[id].state_id:
                self._keep(wanted[id], encoded)
        return read

    def _keep(self, version: FlowRunVersion, encoded: bytes) -> None:
        if len(encoded) > _MOST_BYTES_A_RUN:
            return
        if self.kept_bytes > _MOST_BYTES:
            self._kept, self.kept_bytes = {}, 0
        self._kept[version] = _Kept(encoded, clock.now() + _A_SECOND if version.end_time is None else None)
        self.kept_bytes += len(encoded)
