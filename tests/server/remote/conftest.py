"""Machines whose runs are recorded by a server: each with a home of its own, in this process one after the other."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tidemill import client, settings
from tidemill.client.http import ServerConnection
from tidemill.client.journal import JournalSession
from tidemill.client.session import session_of_kind
from tidemill.client.shipping import Shipping, journal_path
from tidemill.store import Store, open_store


class Machine(NamedTuple):
    """The place of this process while it is that machine."""

    home: Path

    @property
    def session(self) -> JournalSession:
        return session_of_kind(JournalSession, settings.current())

    @property
    def journal(self) -> Store:
        return self.session.store

    def count(self, table: str) -> int:
        """How many rows of a table the journal has."""
        return self.journal.database.fetch(f"SELECT count(*) FROM {table}")[0][0]


BeMachine = Callable[..., contextlib.AbstractContextManager[Machine]]


@pytest.fixture
def be_machine(tmp_path: Path) -> BeMachine:
    """Makes this process, for a block, one whose runs are recorded by the server at a URL. At the end of the block the
    server has everything, or it is left in the journal."""

    @contextlib.contextmanager
    def be(url: str, name: str = "machine", **more: Any) -> Iterator[Machine]:
        home = tmp_path / name
        client.close_sessions()
        chosen = {"home": home, "api_url": url, "results_storage_path": home / "results", **more}
        with settings.using(**chosen):
            try:
                yield Machine(home)
            finally:
                client.close_sessions()

    return be


@pytest.fixture
def open_journal(tmp_path: Path) -> Iterator[Callable[..., tuple[Store, Shipping]]]:
    """The journal of a machine, and what ships it, without a process."""
    with contextlib.ExitStack() as opened:

        def open_it(url: str, name: str = "machine", file: str | None = None) -> tuple[Store, Shipping]:
            with settings.using(home=tmp_path / name, api_url=url):
                current = settings.current()
            store = open_store(file or journal_path(current), durability="process")
            server = ServerConnection(current)
            opened.callback(server.close)
            opened.callback(store.database.close)
            return store, Shipping(store, server, 30.0)

        yield open_it
