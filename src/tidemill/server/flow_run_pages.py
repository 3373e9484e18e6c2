"""Pages of flow runs, ready to be sent: a run that has ended is read and encoded once, and then kept for the next page.

People look at the same pages again and again, and most of what these show has ended. So it is first asked which runs a page
has and in which version each is; only those are read whose version is not known.
"""

from __future__ import annotations

import msgspec

from tidemill import ids
from tidemill.filters import ALL, Filters, FlowRunFilter, FlowRunSort, IdFilter, Page
from tidemill.server.shown import shown
from tidemill.store import reading
from tidemill.store.reading import Fetch, FlowRunVersion

# With the usual size of a run these are some thousands.
_MOST_BYTES = 8 * 1024 * 1024
_MOST_BYTES_A_RUN = 16 * 1024

_encode = msgspec.json.Encoder().encode


class FlowRunPages:
    """Gives pages, from any thread.

    Attributes:
        kept_bytes: how much is kept.
    """

    def __init__(self) -> None:
        self._kept: dict[FlowRunVersion, bytes] = {}
        self.kept_bytes = 0

    def page(self, fetch: Fetch, filters: Filters, sort: FlowRunSort, page: Page) -> list[msgspec.Raw]:
        """A page of the flow runs that filters ask for, each as JSON."""
        versions = reading.flow_run_versions(fetch, filters, sort, page)
        found = {version.id: kept for version in versions if (kept := self._kept.get(version)) is not None}
        missing = {version.id: version for version in versions if version.id not in found}
        if missing:
            found.update(self._read(fetch, missing))
        # One that was deleted meanwhile is not there.
        return [msgspec.Raw(found[version.id]) for version in versions if version.id in found]

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
        # What is told of a run that goes on depends on the time.
        if version.end_time is None or len(encoded) > _MOST_BYTES_A_RUN:
            return
        if self.kept_bytes > _MOST_BYTES:
            self._kept, self.kept_bytes = {}, 0
        self._kept[version] = encoded
        self.kept_bytes += len(encoded)
