"""While the server is away: what goes on, what waits, and what has to wait."""

import logging

import pytest

from tidemill import flow, task
from tidemill.client import connect
from tidemill.colour import BlockingIO, run_blocking
from tidemill.exceptions import StoreUnreachable
from tidemill.store import reading


@task
def twice(n):
    return 2 * n


@flow
def each_twice(n):
    return [twice(i) for i in range(n)]


@flow(idempotency_key="once-{n}")
def once(n):
    return n


@task(cache_key_fn=lambda context, parameters: f"key-{parameters['n']}")
def costly(n):
    return n + 1


@flow
def cached():
    return [costly(1), costly(1), costly(2)]


@pytest.fixture
def away(served, be_machine):
    """A server that is known, and then is away."""
    with be_machine(served.url):
        each_twice(1)
    served.stop()
    return served


@pytest.fixture
def warnings(caplog):
    """What was warned of."""
    return lambda: [record.message for record in caplog.records if record.levelno == logging.WARNING]


def test_runs_go_on_and_wait_in_the_journal(away, be_machine, warnings):
    with be_machine(away.url, remote_acknowledge_seconds=0.2) as machine:
        assert each_twice(2) == [0, 2]
        assert each_twice(3) == [0, 2, 4]
        assert machine.count("task_run") == 6
        waiting = [line for line in warnings() if "changes wait in the journal" in line]
        assert len(waiting) == 1
        assert "cannot be reached" in machine.session.shipping.progress().last_error
    assert reading.count_task_runs(away.store.database.fetch) == 1


def test_what_others_have_a_say_in_is_an_error(away, be_machine, monkeypatch):
    monkeypatch.setattr("tidemill.client.remote._PATIENCE_SECONDS", 0.2)
    with be_machine(away.url, remote_acknowledge_seconds=0):
        with pytest.raises(StoreUnreachable, match="cannot be reached"):
            once(1)
        client = connect(BlockingIO())
        run_id = reading.flow_runs(away.store.database.fetch)[0].id
        for asked in (
            client.cancel_flow_run(run_id),
            client.delete_flow_run(run_id),
            client.flow_runs(),
            client.begin_next_attempt(run_id),
        ):
            with pytest.raises(StoreUnreachable):
                run_blocking(asked)


def test_cached_tasks_are_executed_and_one_warning_says_why(away, be_machine, warnings):
    with be_machine(away.url, remote_acknowledge_seconds=0):
        assert cached() == [2, 2, 3]
    assert len([line for line in warnings() if "Cached results are out of reach" in line]) == 1
