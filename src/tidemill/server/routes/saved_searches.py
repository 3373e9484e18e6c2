"""Saved searches: conditions that somebody wants to search by again, under a name."""

from __future__ import annotations

from litestar import Response, delete, get, post, put
from litestar.params import JSONBody

from tidemill import clock
from tidemill.server.answers import existing
from tidemill.server.listing import Piece, page_of
from tidemill.server.parameters import PathId
from tidemill.server.services import TheServices, TheStore
from tidemill.side_records import NewSavedSearch, SavedSearch
from tidemill.store import saved_searches

_NO_SEARCH = "There is no such saved search; POST /api/saved_searches/filter lists them."


@put("/saved_searches")
async def keep_saved_search(store: TheStore, data: JSONBody[NewSavedSearch]) -> Response[SavedSearch]:
    """Keeps a search (201), instead of the one of its name if there is one (200)."""
    search, is_new = await store.transact(saved_searches.keep, data, clock.now())
    return Response(search, status_code=201 if is_new else 200)


@get("/saved_searches/{search_id:str}")
async def read_saved_search(store: TheStore, search_id: PathId) -> SavedSearch:
    """The search of this id."""
    return existing(await store.read(saved_searches.saved_search, search_id), _NO_SEARCH)


@post("/saved_searches/filter", status_code=200)
async def read_saved_searches(store: TheStore, services: TheServices, data: JSONBody[Piece | None] = None) -> list[SavedSearch]:
    """A page of the searches, by name."""
    asked = data or Piece()
    return await store.read(saved_searches.saved_searches, page_of(services, asked.limit, asked.offset))


@delete("/saved_searches/{search_id:str}")
async def delete_saved_search(store: TheStore, search_id: PathId) -> None:
    """Removes a search."""
    existing(await store.transact(saved_searches.delete, search_id), _NO_SEARCH)


HANDLERS = [keep_saved_search, read_saved_search, read_saved_searches, delete_saved_search]
