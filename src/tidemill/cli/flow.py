"""`tidemill flow`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from tidemill.cli.finding import open_client
from tidemill.cli.options import BARE, FIRST_PAGE, Listing
from tidemill.cli.output import Column, show_list, when
from tidemill.colour import run_blocking
from tidemill.filters import Filters, FlowFilter, FlowSort, NameFilter, TagsFilter
from tidemill.records import Flow

app = App(name="flow", help="Show flows.", help_format="plaintext", default_parameter=BARE)


_COLUMNS: tuple[Column[Flow], ...] = (
    Column("Name", lambda flow: flow.name),
    Column("Created", lambda flow: when(flow.created)),
    Column("Tags", lambda flow: ", ".join(flow.tags)),
    Column("ID", lambda flow: flow.id, only_if_wide=True),
)


@app.command
def ls(
    *,
    name: Annotated[str | None, Parameter(help="Only if the name contains this.")] = None,
    tag: Annotated[Sequence[str], Parameter(help="Only with this tag. Repeatable: with all of them.")] = (),
    listing: Listing = FIRST_PAGE,
) -> None:
    """List flows, the newest first."""
    client = open_client()
    chosen = FlowFilter(
        name=NameFilter(like_=name) if name else None,
        tags=TagsFilter(all_=list(tag)) if tag else None,
    )
    filters = Filters(flows=chosen)
    flows = run_blocking(client.flows(filters, FlowSort.CREATED_DESC, listing.page))
    show_list(flows, _COLUMNS, listing, "flows", lambda: run_blocking(client.count_flows(filters)))
