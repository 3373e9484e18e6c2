"""What a server is set to, and how large its database is."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import delete, get, put

from tidemill import settings
from tidemill.exceptions import ObjectNotFound
from tidemill.server.services import TheServices, TheStore
from tidemill.store import sizes
from tidemill.store.sizes import RowCount

_NO_DEFAULT_STORAGE = (
    "This server has no default for where results are kept: each process knows that by its own settings "
    "(TIDEMILL_RESULTS_STORAGE_PATH)."
)


class DefaultResultStorage(msgspec.Struct):
    """Where results are kept if nobody says; here that is always None, and clients go by their own settings."""

    default_result_storage_block_id: str | None = None


class DatabaseTold(msgspec.Struct, kw_only=True):
    """The database as it is now. `place` is its file, or its address without the password; `schema` the number of its last
    migration; `rows` those of the tables that may become large."""

    kind: str
    version: str
    place: str
    schema: int
    size_bytes: int
    rows: dict[str, RowCount]


@get("/admin/settings")
async def read_settings(services: TheServices) -> dict[str, Any]:
    """Every setting of this server by its name; of passwords and tokens only that there are some."""
    return {name: settings.concealed(name, getattr(services.settings, name)) for name in settings.NAMES}


@get("/admin/database")
async def read_database(store: TheStore) -> DatabaseTold:
    """What the database is, and how large."""
    database = store.store.database
    size = await store.read(sizes.database_bytes, database)
    return DatabaseTold(
        kind=database.kind,
        version=database.version,
        place=database.path,
        schema=await store.read(lambda fetch: database.schema()),
        size_bytes=size,
        rows=await store.read(sizes.row_counts),
    )


@get("/admin/storage")
async def read_default_storage() -> DefaultResultStorage:
    """What the field's clients ask before they keep a result: there is no default, so that they go by their own."""
    return DefaultResultStorage()


@put("/admin/storage")
async def set_default_storage() -> None:
    """Nothing can be set: 404."""
    raise ObjectNotFound(_NO_DEFAULT_STORAGE)


@delete("/admin/storage")
async def clear_default_storage() -> None:
    """There is nothing to clear: 404."""
    raise ObjectNotFound(_NO_DEFAULT_STORAGE)


HANDLERS = [read_settings, read_database, read_default_storage, set_default_storage, clear_default_storage]
