"""Nothing that is shipped twice is there twice, and nothing is left out, wherever journal or server have been meanwhile."""

import shutil

import pytest

from tidemill import clock, flow, get_run_logger, task
from tidemill.client.http import ServerConnection
from tidemill.client.shipping import Shipping
from tidemill.settings import load
from tidemill.store import reading


@task
def say(n):
    get_run_logger().info("said %s", n)


@flow
def saying(begin, end):
    for n in range(begin, end):
        say(n)


def said(served):
    lines = [line.message for line in reading.logs(served.store.database.fetch, page=reading.Page(10_000))]
    return [int(line.split()[1]) for line in lines if line.startswith("said")]


def everything(shipping):
    while shipping.ship() is not None:
        pass


@pytest.fixture
def unplugged(be_machine, serve, monkeypatch):
    """Records runs in a machine's journal, which nobody ships."""

    def record(url, begin, end, name="machine"):
        monkeypatch.setattr("tidemill.client.shipper.Shipper._ship", lambda shipper: None)
        with be_machine(url, name, remote_acknowledge_seconds=0):
            saying(begin, end)
        monkeypatch.undo()

    return record


def test_a_shipment_whose_answer_was_lost_is_not_recorded_twice(served, unplugged, open_journal):
    unplugged(served.url, 0, 5)
    store, shipping = open_journal(served.url)
    sent = []

    class Deaf(ServerConnection):
        def ask(self, question, answer, *arguments, **options):
            sent.append(super().ask(question, answer, *arguments, **options))
            raise ConnectionResetError

    deaf = Deaf(load({"home": "/", "api_url": served.url}))
    with pytest.raises(ConnectionResetError):
        Shipping(store, deaf, 30.0).ship()
    deaf.close()
    assert [receipt.taken for receipt in sent] == [True]
    assert shipping.progress().shipped.change == 0
    unplugged(served.url, 5, 8)
    everything(shipping)
    assert said(served) == list(range(8))
    assert shipping.progress().shipped.change == shipping.latest()


def test_the_same_shipment_again_changes_nothing(served, unplugged, open_journal):
    unplugged(served.url, 0, 3)
    store, shipping = open_journal(served.url)
    everything(shipping)
    before = served.store.database.fetch("SELECT * FROM task_run ORDER BY id")
    with store.transaction() as execute:
        execute("UPDATE shipment SET shipped = 0, shipped_time = 0", ())
    everything(shipping)
    assert served.store.database.fetch("SELECT * FROM task_run ORDER BY id") == before
    assert said(served) == [0, 1, 2]


def test_copies_of_a_journal_that_go_on_apart_are_told_from_each_other(served, unplugged, open_journal, tmp_path):
    unplugged(served.url, 0, 3, "first")
    store, shipping = open_journal(served.url, "first")
    everything(shipping)
    store.database.close()
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    unplugged(served.url, 10, 13, "first")
    unplugged(served.url, 20, 24, "second")
    for name in ("second", "first", "second"):
        everything(open_journal(served.url, name)[1])
    assert sorted(said(served)) == [0, 1, 2, 10, 11, 12, 20, 21, 22, 23]
    assert reading.count_flow_runs(served.store.database.fetch) == 3


def moved_to(store, url):
    """The journal of a machine whose server is now elsewhere, though it is the same."""
    with store.transaction() as execute:
        execute("UPDATE shipment SET server = ?", (f"{url}/api",))


def test_a_server_that_was_restored_from_a_backup_gets_again_what_it_has_lost(serve, unplugged, open_journal, tmp_path):
    first = serve()
    unplugged(first.url, 0, 3)
    store, shipping = open_journal(first.url)
    everything(shipping)
    (tmp_path / "restored").mkdir()
    first.store.database.backup(str(tmp_path / "restored" / "tidemill.db"))
    unplugged(first.url, 3, 6)
    everything(shipping)
    restored = serve(home=str(tmp_path / "restored"))
    assert said(restored) == [0, 1, 2]
    unplugged(first.url, 6, 7)
    moved_to(store, restored.url)
    everything(open_journal(restored.url, file=store.database.path)[1])
    assert said(restored) == list(range(7))
    assert reading.count_flow_runs(restored.store.database.fetch) == 3


def test_a_new_server_at_the_same_address_gets_all_that_the_journal_has(serve, unplugged, open_journal, tmp_path):
    first = serve()
    unplugged(first.url, 0, 3)
    store, shipping = open_journal(first.url)
    everything(shipping)
    new = serve(home=str(tmp_path / "new"))
    unplugged(first.url, 3, 5)
    moved_to(store, new.url)
    everything(open_journal(new.url, file=store.database.path)[1])
    assert said(new) == list(range(5))


def test_what_ended_long_ago_goes_from_the_journal_once_it_is_shipped(served, unplugged, open_journal):
    unplugged(served.url, 0, 3)
    store, shipping = open_journal(served.url)
    with clock.travel(2 * 3600):
        shipping.forget_ended()
        assert store.database.fetch("SELECT count(*) FROM flow_run") == [(1,)]  # not shipped yet
        unplugged(served.url, 3, 4)
        everything(shipping)
        shipping.forget_ended()
        assert store.database.fetch("SELECT count(*) FROM flow_run") == [(1,)]
        assert store.database.fetch("SELECT count(*) FROM task_run") == [(1,)]
        unplugged(served.url, 4, 6)
        everything(shipping)
    assert said(served) == list(range(6))
    assert reading.count_flow_runs(served.store.database.fetch) == 3


def test_a_row_that_is_none_is_refused_whole(served, unplugged, open_journal):
    unplugged(served.url, 0, 2)
    store, shipping = open_journal(served.url)
    with store.transaction() as execute:
        execute("UPDATE task_run SET history = 'nonsense'", ())
    with pytest.raises(Exception, match="not understood"):
        shipping.ship()
    assert served.store.database.fetch("SELECT count(*) FROM flow_run") == [(0,)]
