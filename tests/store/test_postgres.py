"""What is PostgreSQL's alone: its spelling, writers side by side, lost connections, errors, forks."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import errors

from tidemill import ids, orchestration
from tidemill.exceptions import (
    FlowRunIsLive,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreTooNew,
    StoreUnreachable,
)
from tidemill.records import Batch, NewFlowRun, RunPolicy
from tidemill.settings import DEFAULT_LIMITS, DatabaseLimits
from tidemill.states import COMPLETED, RUNNING, Failed, Pending, Running
from tidemill.store import Store, changes, leases, migrate, open_store, retried, writing
from tidemill.store.postgres_connections import Connections, connect
from tidemill.store.postgres_errors import explained
from tidemill.store.postgres_sql import translate

PATIENCE = 60.0
LINE = "INSERT INTO log (level, timestamp, name, message) VALUES (20, 0, 'x', ?)"


@pytest.fixture
def address(postgres_url: str) -> str:
    return postgres_url


def with_options(url: str, options: str) -> str:
    before, _, path = url.rpartition("options=")
    return f"{before}options={options.replace(' ', '%20').replace('=', '%3D')}%20{path}"


@pytest.fixture
def open_with(postgres_url: str) -> Iterator[Callable[..., Store]]:
    """Opens the test's database with other limits, or by another URL."""
    opened: list[Store] = []

    def open_it(url: str = postgres_url, **limits: float) -> Store:
        opened.append(open_store(url, durability="process", limits=DatabaseLimits()._replace(**limits)))
        return opened[-1]

    yield open_it
    for store in opened:
        store.database.close()


@pytest.mark.parametrize(
    ("sql", "translated"),
    [
        ("SELECT ? , ?", "SELECT $1 , $2"),
        ("SELECT ?1, ?1, ?2", "SELECT $1, $1, $2"),
        ("SELECT ?2, ?", "SELECT $2, $3"),
        ("SELECT '?', \"a?\", ? -- ?\n, ?", "SELECT '?', \"a?\", $1 -- ?\n, $2"),
        ("SELECT 'it''s ?', ? /* ? */", "SELECT 'it''s ?', $1 /* ? */"),
        ("x LIKE '%?%' AND y % 16 = ?", "x LIKE '%?%' AND y % 16 = $1"),
        ("SELECT 1 WHERE a = ? /*postgres: FOR UPDATE */", "SELECT 1 WHERE a = $1  FOR UPDATE "),
        ("a > ? /*postgres: AND b = ? */ LIMIT ?", "a > $1  AND b = $2  LIMIT $3"),
        ("a IN ()", "a IN (NULL)"),
    ],
)
def test_statements_are_translated(sql: str, translated: str) -> None:
    assert translate(sql).decode() == translated


class TestSideBySide:
    """Where SQLite's writers queue, these meet."""

    def test_transactions_of_two_threads_are_open_at_once(self, desk: Any) -> None:
        with desk.store.transaction() as execute:
            execute(LINE, ("mine",))
            with ThreadPoolExecutor(1) as pool:
                pool.submit(desk.execute, LINE, "theirs").result(PATIENCE)
            assert [row[0] for row in execute("SELECT message FROM log ORDER BY message", ()).fetchall()] == ["mine", "theirs"]

    def test_who_records_waits_for_who_takes_the_run_over(self, desk: Any, open_same_store: Any) -> None:
        run = desk.flow_run()
        entry = desk.advance(desk.entry(run), RUNNING, COMPLETED)
        other = open_same_store()
        with ThreadPoolExecutor(1) as pool:
            with other.transaction() as execute:
                facts = writing.flow_run_facts(execute, run)
                assert facts is not None
                recorded = pool.submit(desk.record, [entry])
                writing.write_flow_run_state(execute, run, Failed(), facts, None)
                facts = writing.flow_run_facts(execute, run)
                assert facts is not None
                writing.write_flow_run_state(execute, run, Running(), facts, None)
            assert recorded.result(PATIENCE) == {run: (1, "attempt 2 of the flow run has taken over from attempt 1")}
        assert desk.count("task_run") == 0

    def test_flows_of_one_name_are_made_once(self, desk: Any) -> None:
        together = threading.Barrier(8)

        def make() -> bytes:
            together.wait()
            with desk.store.transaction() as execute:
                return writing.ensure_flow(execute, "etl", 1)

        with ThreadPoolExecutor(8) as pool:
            made = [future.result(PATIENCE) for future in [pool.submit(make) for _ in range(8)]]
        assert len(set(made)) == desk.count("flow") == 1

    def test_of_runs_with_one_key_one_is_created(self, desk: Any) -> None:
        together = threading.Barrier(8)

        def create() -> str:
            run = NewFlowRun(id=ids.new_id(), name="x", flow_name="etl", policy=RunPolicy(), idempotency_key="key")
            lease = orchestration.processes.new_lease(os.getpid(), 30)
            together.wait()
            try:
                return orchestration.create_flow_run(desk.store, run, [Pending(), Running()], lease).flow_run_id
            except FlowRunIsLive:
                return "live"

        with ThreadPoolExecutor(8) as pool:
            answers = [future.result(PATIENCE) for future in [pool.submit(create) for _ in range(8)]]
        assert answers.count("live") == 7
        assert desk.count("flow_run") == 1

    def test_operations_that_lock_each_other_out_are_both_done(self, desk: Any) -> None:
        first, second = desk.another_lease(), desk.another_lease()
        for lease in (first, second):
            orchestration.take_lease(desk.store, lease)
        together = threading.Barrier(2)
        met: list[int] = []

        @retried
        def renew(store: Store, one: str, other: str) -> None:
            with store.transaction() as execute:
                assert leases.renew_lease(execute, one, 1)
                if not together.broken and not met:
                    together.wait(PATIENCE)
                met.append(1)
                assert leases.renew_lease(execute, other, 1)

        with ThreadPoolExecutor(2) as pool:
            for future in [pool.submit(renew, desk.store, *pair) for pair in ((first.id, second.id), (second.id, first.id))]:
                future.result(PATIENCE)
        assert desk.rows("lease", "deadline") == [(1,), (1,)]
        assert len(met) > 2  # one of them was given up, and done again

    def test_who_follows_changes_misses_none_and_sees_none_twice(self, desk: Any, open_same_store: Any) -> None:
        """Transactions end in another order than they began, and those that began last are seen last."""
        writers, each = 6, 40
        done = threading.Event()
        found: list[changes.Change] = []

        def write(number: int) -> None:
            for n in range(each):
                run = ids.new_id()
                with desk.store.transaction() as execute:
                    changes.note(execute, flow_runs=[run])
                    if n % 3 == 0:
                        execute("SELECT pg_sleep(0.005)", ())

        def follow() -> None:
            fetch, place = open_same_store().database.fetch, "0"
            while True:
                last_look = done.is_set()
                new = changes.after(fetch, place, 7, kind="postgres")
                found.extend(new)
                place = new[-1].place if new else place
                if last_look and not new:
                    return

        with ThreadPoolExecutor(writers + 1) as pool:
            follower = pool.submit(follow)
            for future in [pool.submit(write, number) for number in range(writers)]:
                future.result(PATIENCE)
            done.set()
            follower.result(PATIENCE)
        written = [row[0] for row in desk.rows("change", "flow_runs", "seq")]
        assert [ids.to_bytes(run) for change in found for run in change.flow_runs] == written
        assert len(written) == writers * each

    def test_lines_of_one_transaction_have_numbers_without_a_gap(self, desk: Any) -> None:
        def write(number: int) -> None:
            for _ in range(5):
                desk.store.record(Batch([], [desk.line(None, str(number))] * 30, ()))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(write, range(4)))
        for first, last in desk.rows("change", "first_log, last_log"):
            assert last - first == 29
            lines = desk.fetch("SELECT message FROM log WHERE seq BETWEEN ? AND ?", (first, last))
            assert len(lines) == 30
            assert len(set(lines)) == 1

    def test_more_threads_than_connections_take_turns(self, open_with: Any) -> None:
        store = open_with(connections=2)
        with ThreadPoolExecutor(8) as pool:
            for _ in pool.map(lambda n: store.record(Batch([], [(None, None, 20, 1, "x", str(n))], ())), range(40)):
                pass
        assert store.database.fetch("SELECT count(*) FROM log") == [(40,)]
        assert len(store.database._connections._idle) <= 2


class Cutter:
    """Stands between us and the server, and cuts the connection at the next commit: before the server hears of it, or after
    it was made and before we do; or without a word to the server, as a network does that is gone."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut: str | None = None
        self.cuts = 0
        self._sockets: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._sockets += [client, server]
            threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()
            threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # an end that the other side, or the test, has closed
            while data := self._read(client):
                if b"COMMIT" in data and self.cut:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    client.shutdown(socket.SHUT_RDWR)
                    if how == "without a word":
                        return
                    if how == "after":
                        server.sendall(data)
                    break
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := self._read(server):
                client.sendall(data)

    @staticmethod
    def _read(source: socket.socket) -> bytes:
        try:
            return source.recv(65536)
        except OSError:
            return b""

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for side in (self._listener, *self._sockets):
            side.close()


@pytest.fixture
def cutter(postgres_url: str) -> Iterator[Cutter]:
    folder = psycopg.conninfo.conninfo_to_dict(postgres_url).get("host")
    if not folder or not Path(str(folder)).is_dir():
        pytest.fail("TIDEMILL_TEST_POSTGRES_URL has to name the folder of the server's socket: ?host=/FOLDER")
    cutter = Cutter(f"{folder}/.s.PGSQL.5432")
    yield cutter
    cutter.close()


@pytest.fixture
def cut_off(cutter: Cutter, postgres_url: str, open_with: Any) -> Store:
    """The test's database, beyond the cutter."""
    before, _, options = postgres_url.rpartition("options=")
    database = psycopg.conninfo.conninfo_to_dict(before.rstrip("&?")).get("dbname", "postgres")
    store: Store = open_with(f"postgresql://postgres@127.0.0.1:{cutter.port}/{database}?sslmode=disable&options={options}")
    store.database.fetch("SELECT 1")
    return store


class TestLostConnections:
    @pytest.mark.parametrize("when", ["before", "after", "without a word"])
    def test_a_transaction_cut_off_at_its_commit_is_made_once(
        self, desk: Any, cutter: Cutter, cut_off: Store, when: str
    ) -> None:
        run = desk.flow_run()
        cutter.cut = when
        cut_off.record(Batch([desk.advance(desk.entry(run), RUNNING, COMPLETED)], [desk.line(run, "once")], (desk.lease.id,)))
        assert cutter.cuts == 1
        assert (desk.count("task_run"), desk.count("log")) == (1, 1)
        cutter.cut = when
        verdict = orchestration.propose_flow_run_state(cut_off, run, Failed(), lease_id=desk.lease.id, attempt=1)
        assert (cutter.cuts, verdict.status) == (2, "ACCEPT")
        assert desk.rows("flow_run_state", "name", "seq") == [("Pending",), ("Running",), ("Failed",)]

    def test_sessions_that_the_server_ends_are_replaced(self, desk: Any, open_same_store: Any) -> None:
        other = open_same_store()
        for _ in range(3):
            desk.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND application_name = 'tidemill'"
            )
            other.record(Batch([], [(None, None, 20, 1, "x", "line")], ()))
            assert other.database.fetch("SELECT 1") == [(1,)]
        assert desk.count("log") == 3

    def test_a_server_that_does_not_come_back_is_waited_for_only_so_long(self, start_postgres: Any, open_with: Any) -> None:
        with start_postgres() as server:
            store = open_with(server.url, reconnect_timeout=0.3)
            store.record(Batch([], [(None, None, 20, 1, "x", "line")], ()))
            server.stop()
            with pytest.raises(StoreUnreachable, match="cannot be reached"):
                store.record(Batch([], [(None, None, 20, 1, "x", "line")], ()))
            with pytest.raises(StoreUnreachable, match="cannot be reached"):
                store.database.fetch("SELECT 1")
            server.start()
            assert store.database.fetch("SELECT count(*) FROM log") == [(1,)]

    def test_waiting_for_it_can_be_cut_short(self, start_postgres: Any, open_with: Any) -> None:
        with start_postgres() as server:
            store = open_with(server.url, reconnect_timeout=600)
            store.database.fetch("SELECT 1")
            server.stop()
            with store.database.waiting_at_most(0.1), pytest.raises(StoreUnreachable):
                store.database.fetch("SELECT 1")
            server.start()


class TestErrors:
    def test_after_a_statement_that_failed_the_others_are_prepared_anew(self, desk: Any) -> None:
        """They are skipped by the server, while the driver takes those for prepared that it was just about to prepare."""
        other = "INSERT INTO log (level, timestamp, name, message) VALUES (30, 0, 'x', ?)"
        for _ in range(8):
            with pytest.raises(StoreError, match="CHECK"), desk.store.transaction() as execute:
                execute("SELECT pg_sleep(0.05)", ())  # the error is not to come before all have been sent
                execute("INSERT INTO flow (id, name, created, updated) VALUES (?, '', 1, 1)", (bytes(16),))
                execute(other, ("skipped",))
            desk.execute(LINE, "kept")
        desk.execute(other, "kept")
        assert desk.rows("log", "message") == [("kept",)] * 9

    def test_a_server_that_is_not_there(self, open_with: Any) -> None:
        store = open_with("postgresql://me:open%20sesame@127.0.0.1:1/runs?password=open%20sesame")
        with pytest.raises(StoreUnreachable, match=r"postgresql://me@127\.0\.0\.1:1/runs cannot be reached.*refused") as caught:
            store.database.fetch("SELECT 1")
        assert "sesame" not in str(caught.value)

    def test_a_wrong_password_and_a_missing_database(self, start_postgres: Any, open_with: Any) -> None:
        with start_postgres() as server:
            rules = server.folder / "data" / "pg_hba.conf"
            rules.write_text("local all guarded scram-sha-256\n" + rules.read_text())
            with psycopg.connect(server.url, autocommit=True) as connection:
                connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
                connection.execute("SELECT pg_reload_conf()")
            guarded = server.url.replace("postgres:@", "guarded:sesame@")
            with pytest.raises(StoreUnreachable, match=r"does not let this user in.*password authentication failed") as caught:
                open_with(guarded).database.fetch("SELECT 1")
            assert "sesame" not in str(caught.value)
            with pytest.raises(StoreUnreachable, match=r"There is no such database as .*createdb"):
                open_with(server.url.replace("/postgres?", "/nowhere?")).database.fetch("SELECT 1")
            right = open_with(server.url.replace("postgres:@", "guarded:right@"))
            with pytest.raises(StoreReadOnly, match=r"does not allow this user to do it.*GRANT CREATE"):
                right.database.fetch("SELECT 1")

    def test_no_connection_free(self, start_postgres: Any, open_with: Any) -> None:
        with start_postgres("max_connections = 4\nsuperuser_reserved_connections = 0\nreserved_connections = 0") as server:
            held = [psycopg.connect(server.url) for _ in range(4)]
            with pytest.raises(StoreUnreachable, match=r"has no connection free.*max_connections"):
                open_with(server.url).database.fetch("SELECT 1")
            for connection in held:
                connection.close()

    def test_a_replica(self, desk: Any, postgres_url: str, open_with: Any) -> None:
        desk.flow_run()
        store = open_with(with_options(postgres_url, "-c default_transaction_read_only=on"))
        assert store.database.fetch("SELECT count(*) FROM flow_run") == [(1,)]
        with pytest.raises(StoreReadOnly, match=r"cannot be written.*target_session_attrs"):
            store.record(Batch([], [(None, None, 20, 1, "x", "line")], ()))

    def test_a_newer_schema(self, desk: Any, open_same_store: Any) -> None:
        desk.execute("INSERT INTO migration (number) VALUES (9999)")
        with pytest.raises(StoreTooNew, match=f"has schema 9999.*up to {migrate.latest()}.*pip install --upgrade"):
            open_same_store().database.fetch("SELECT 1")

    def test_a_lock_that_others_keep(self, desk: Any, open_with: Any) -> None:
        store = open_with(lock_timeout=0.1)
        store.database.fetch("SELECT 1")
        with desk.store.transaction() as execute:
            execute("LOCK TABLE log", ())
            execute("SELECT 1", ()).fetchall()
            with ThreadPoolExecutor(1) as pool:
                waiting = pool.submit(store.record, Batch([], [(None, None, 20, 1, "x", "line")], ()))
                with pytest.raises(StoreBusy, match=r"lock timeout.*TIDEMILL_DATABASE_LOCK_TIMEOUT"):
                    waiting.result(PATIENCE)

    def test_a_statement_that_takes_too_long(self, open_with: Any, postgres_url: str) -> None:
        with pytest.raises(StoreBusy, match=r"statement timeout.*TIDEMILL_DATABASE_STATEMENT_TIMEOUT"):
            open_with(statement_timeout=0.1).database.fetch("SELECT pg_sleep(60)")
        patient = open_with(with_options(postgres_url, "-c statement_timeout=5555"), statement_timeout=0.1)
        assert patient.database.fetch("SHOW statement_timeout") == [("5555ms",)]

    def test_a_full_disk(self) -> None:
        error = explained(errors.DiskFull("could not extend file: No space left on device"), "postgresql://here/x")
        assert isinstance(error, StoreFull)
        assert "postgresql://here/x cannot grow: could not extend file: No space left on device. Free some space" in str(error)

    def test_a_url_that_cannot_be_read(self, open_with: Any) -> None:
        with pytest.raises(StoreUnreachable, match=r"TIDEMILL_DATABASE_URL is wrong: .*colour") as caught:
            open_with("postgresql://me:sesame@here/x?colour=red").database.fetch("SELECT 1")
        assert "sesame" not in str(caught.value)

    def test_without_the_extra(self, run_script: Any) -> None:
        done = run_script("""
            import sys
            sys.modules["psycopg"] = None
            from tidemill import flow
            flow(lambda: None, name="nothing")()
        """, env={"TIDEMILL_DATABASE_URL": "postgresql://here/x"})  # fmt: skip
        assert done.returncode == 1
        assert "pip install 'tidemill[postgres]'" in done.stderr

    def test_a_transaction_within_another_of_the_same_thread(self, desk: Any) -> None:
        with pytest.raises(StoreError, match="signal handler"):
            with desk.store.transaction():
                assert desk.store.database.busy
                with desk.store.transaction():
                    pass
        assert not desk.store.database.busy
        desk.execute(LINE, "x")


def test_a_connection_made_while_all_are_closed_is_closed_when_it_is_given_back(postgres_url: str) -> None:
    def make() -> Any:
        connections.close()
        return connect(postgres_url, DEFAULT_LIMITS, durability="process")

    connections = Connections(make, 1)
    first = connections.take(1)
    connections.give(first)
    assert first.closed
    connections.give(connections.take(1))


def test_a_forked_child_leaves_its_parents_connections_alone(desk: Any) -> None:
    desk.execute(LINE, "before")
    child = os.fork()
    if child == 0:
        try:
            desk.execute(LINE, "in the child")
            desk.store.database.close()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    desk.execute(LINE, "after")
    assert desk.rows("log", "message", "seq") == [("before",), ("in the child",), ("after",)]


def test_a_killed_parent_leaves_no_locks_though_its_child_lives(run_script: Any, desk: Any, postgres_url: str) -> None:
    """The child has the parent's sockets, as every child; if it kept them, the server would go on waiting for the parent."""
    orchestration.take_lease(desk.store, desk.lease)
    done = run_script(f"""
        import os, signal, sys
        from tidemill.store import open_store, leases
        store = open_store({postgres_url!r}, durability="process")
        with store.transaction() as execute:
            leases.lease(execute, {desk.lease.id!r})
            child = os.fork()
            if child == 0:
                os.close(1), os.close(2)
                signal.pause()
            print(child, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    """)  # fmt: skip
    assert done.returncode == -9, done.stderr
    try:
        assert orchestration.renew_lease(desk.store, desk.lease, 30)
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


def test_a_database_that_was_moved_to_another_cluster_goes_on_where_it_was(desk: Any, open_same_store: Any) -> None:
    """Its numbers are made of the ids of transactions, of which the other cluster may have had fewer."""
    far = 1 << 55
    with desk.store.transaction() as execute:
        changes.note(execute, flow_runs=[ids.new_id()])
        execute("UPDATE change SET seq = ?", (far,))
        execute("CREATE OR REPLACE FUNCTION cluster() RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$ SELECT 'elsewhere' $$", ())
    moved = open_same_store()
    assert changes.latest_place(moved.database.fetch, kind="postgres") == str(far)
    with moved.transaction() as execute:
        changes.note(execute, flow_runs=[ids.new_id()])
    (change,) = changes.after(moved.database.fetch, str(far), 10, kind="postgres")
    assert int(change.place) > far


def test_processes_that_start_at_once_migrate_once(start_script: Any, postgres_url: str, desk: Any) -> None:
    desk.store.database.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DO $$ BEGIN EXECUTE 'DROP SCHEMA ' || current_schema() || ' CASCADE'; END $$")
        schema = postgres_url.rpartition("search_path%3D")[2]
        connection.execute(f"CREATE SCHEMA {schema}".encode())
    source = f"""
        import sys
        from tidemill.store import open_store
        print("ready", flush=True)
        sys.stdin.readline()
        print(open_store({postgres_url!r}, durability="process").database.fetch("SELECT count(*) FROM migration")[0][0])
    """
    processes = [start_script(source) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.end() for process in processes] == [f"{migrate.latest()}\n"] * 4


def test_sums_are_numbers_and_floats_are_refused_where_whole_numbers_belong(desk: Any) -> None:
    assert desk.fetch("SELECT sum(n), avg(n) FROM (VALUES (1::bigint), (2)) AS x (n)") == [(3, 1.5)]
    with pytest.raises(StoreError):
        desk.execute("INSERT INTO log (level, timestamp, name, message) VALUES (?, 0, 'x', 'y')", 1.5)
