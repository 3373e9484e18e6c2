"""What cannot be true cannot be stored: every constraint of the schema, broken once."""

import re
from collections import Counter
from typing import Any

import pytest

from tidemill.exceptions import StoreError

FLOW, LEASE, RUN, STATE, TASK_RUN = (bytes([n]) * 16 for n in range(1, 6))
EVENT, INPUT, VARIABLE, ARTIFACT, SEARCH, LIMIT, SLOT_LEASE, TOKEN, JOURNAL = (bytes([n]) * 16 for n in range(6, 15))
OTHER = b"\xff" * 16
SHORT = b"\x01" * 15

# A row of each table that may be stored.
SOUND: dict[str, dict[str, Any]] = {
    "flow": {"id": FLOW, "name": "etl", "created": 1, "updated": 1},
    "lease": {"id": LEASE, "pid": 1, "boot_id": "b", "hostname": "h", "acquired": 1, "deadline": 2},
    "flow_run": {
        "id": RUN,
        "flow_id": FLOW,
        "name": "adept-capuchin",
        "lease_id": LEASE,
        "state_id": STATE,
        "state_type": "RUNNING",
        "state_name": "Running",
        "state_timestamp": 1,
        "idempotency_key": "key",
        "created": 1,
        "updated": 1,
    },
    "flow_run_state": {"flow_run_id": RUN, "seq": 0, "id": STATE, "type": "RUNNING", "name": "Running", "timestamp": 1},
    "task_run": {
        "id": TASK_RUN,
        "flow_run_id": RUN,
        "attempt": 1,
        "name": "step-0",
        "task_key": "module.step",
        "dynamic_key": "0",
        "run_count": 0,
        "state_type": "PENDING",
        "state_name": "Pending",
        "history": "[]",
        "tags": "[]",
        "task_inputs": "{}",
        "created": 1,
        "total_run_time": 0,
    },
    "log": {"seq": 1, "flow_run_id": RUN, "level": 20, "timestamp": 1, "name": "tidemill", "message": "said"},
    "cache": {
        "key": "k",
        "task_run_id": TASK_RUN,
        "flow_run_id": RUN,
        "created": 1,
        "result_serializer": "json",
        "result": b"1",
    },
    "cache_claim": {"key": "k", "owner": TASK_RUN, "lease_id": LEASE, "acquired": 1},
    "change": {"seq": 1, "time": 1},
    "event": {
        "seq": 1,
        "id": EVENT,
        "occurred": 1,
        "received": 1,
        "name": "run.ended",
        "resource_id": "run",
        "document": "{}",
    },
    "flow_run_input": {"flow_run_id": RUN, "key": "k", "id": INPUT, "value": "1", "created": 1},
    "variable": {"id": VARIABLE, "name": "v", "value": "1", "created": 1, "updated": 1},
    "artifact": {"id": ARTIFACT, "flow_run_id": RUN, "created": 1, "updated": 1},
    "saved_search": {"id": SEARCH, "name": "s", "created": 1, "updated": 1},
    "concurrency_limit": {"id": LIMIT, "name": "l", "slots": 1, "created": 1, "updated": 1},
    "concurrency_lease": {"id": SLOT_LEASE, "limit_id": LIMIT, "slots": 1, "created": 1, "expires": 2},
    "token": {"id": TOKEN, "name": "t", "role": "viewer", "hash": b"h" * 32, "created": 1},
    "loop": {"name": "retention", "server": "s", "interval_seconds": 1.5, "started": 1},
    "shipment": {"server": "s", "updated": 1},
    "journal": {"id": JOURNAL, "applied": 1, "applied_time": 1, "updated": 1},
    "shipped_flow_run": {"flow_run_id": RUN},
}

# What a row has by itself if nothing is said, or may do without.
NOT_ASKED_FOR = {"flow_run_id", "lease_id", "idempotency_key", "result", "seq"}
PARTS_OF_KEYS = {("flow_run_state", "flow_run_id"), ("flow_run_state", "seq"), ("flow_run_input", "flow_run_id")}

ENDED = {"state_type": "COMPLETED", "lease_id": None}

# Table, kind of constraint, what it is about, and a row's columns that break it. Several rows may break the same one.
BROKEN: list[tuple[str, str, str, dict[str, Any]]] = [
    ("flow", "PRIMARY KEY", "id", {"name": "other"}),
    ("flow", "CHECK", "id", {"id": SHORT, "name": "other"}),
    ("flow", "UNIQUE", "name", {"id": OTHER}),
    ("flow", "CHECK", "name", {"id": OTHER, "name": ""}),
    ("flow", "CHECK", "tags", {"id": OTHER, "name": "other", "tags": "{}"}),
    ("lease", "PRIMARY KEY", "id", {}),
    ("lease", "CHECK", "id", {"id": SHORT}),
    ("flow_run", "PRIMARY KEY", "id", {"idempotency_key": None}),
    ("flow_run", "CHECK", "id", {"id": SHORT, "idempotency_key": None}),
    ("flow_run", "FOREIGN KEY", "flow_id", {"id": OTHER, "flow_id": OTHER}),
    ("flow_run", "CHECK", "name", {"id": OTHER, "name": "", "idempotency_key": None}),
    ("flow_run", "CHECK", "attempt", {"id": OTHER, "attempt": -1, "idempotency_key": None}),
    ("flow_run", "FOREIGN KEY", "lease_id", {"id": OTHER, "lease_id": OTHER, "idempotency_key": None}),
    ("flow_run", "CHECK", "state_id", {"id": OTHER, "state_id": SHORT, "idempotency_key": None}),
    ("flow_run", "CHECK", "state_type", {"id": OTHER, "state_type": "DONE", "idempotency_key": None}),
    ("flow_run", "CHECK", "parameters", {"id": OTHER, "parameters": "[]", "idempotency_key": None}),
    ("flow_run", "CHECK", "tags", {"id": OTHER, "tags": "{}", "idempotency_key": None}),
    ("flow_run", "CHECK", "policy", {"id": OTHER, "empirical_policy": "[]", "idempotency_key": None}),
    ("flow_run", "CHECK", "total_run_time", {"id": OTHER, "total_run_time": -1, "idempotency_key": None}),
    ("flow_run", "UNIQUE", "idempotency_key", {"id": OTHER}),
    ("flow_run", "CHECK", "end_time", {"id": OTHER, "idempotency_key": None, **ENDED}),
    ("flow_run", "CHECK", "end_time", {"id": OTHER, "idempotency_key": None, "end_time": 1}),
    ("flow_run", "CHECK", "held", {"id": OTHER, "idempotency_key": None, "state_type": "COMPLETED", "end_time": 1}),
    ("flow_run", "CHECK", "call", {"id": OTHER, "idempotency_key": None, "call": b"1"}),
    ("flow_run", "CHECK", "call", {"id": OTHER, "idempotency_key": None, "call_serializer": "json"}),
    ("flow_run", "CHECK", "held", {"id": OTHER, "idempotency_key": None, "state_type": "PAUSED"}),
    ("flow_run_state", "FOREIGN KEY", "flow_run_id", {"flow_run_id": OTHER, "id": OTHER}),
    ("flow_run_state", "PRIMARY KEY", "seq", {"id": OTHER}),
    ("flow_run_state", "CHECK", "seq", {"seq": -1, "id": OTHER}),
    ("flow_run_state", "UNIQUE", "id", {"seq": 1}),
    ("flow_run_state", "CHECK", "id", {"seq": 1, "id": SHORT}),
    ("flow_run_state", "CHECK", "details", {"seq": 1, "id": OTHER, "details": "[]"}),
    ("flow_run_state", "CHECK", "serializer", {"seq": 1, "id": OTHER, "result": b"1"}),
    ("flow_run_state", "CHECK", "serializer", {"seq": 1, "id": OTHER, "result_key": "key"}),
    ("flow_run_state", "CHECK", "result", {"seq": 1, "id": OTHER, "result_serializer": "x", "result": b"", "result_key": "k"}),
    ("task_run", "PRIMARY KEY", "id", {"dynamic_key": "1"}),
    ("task_run", "CHECK", "id", {"id": SHORT, "dynamic_key": "1"}),
    ("task_run", "FOREIGN KEY", "flow_run_id", {"id": OTHER, "flow_run_id": OTHER}),
    ("task_run", "CHECK", "run_count", {"id": OTHER, "dynamic_key": "1", "run_count": -1}),
    ("task_run", "CHECK", "state_type", {"id": OTHER, "dynamic_key": "1", "state_type": "pending"}),
    ("task_run", "UNIQUE", "keys", {"id": OTHER}),
    ("task_run", "CHECK", "end_time", {"id": OTHER, "dynamic_key": "1", "state_type": "FAILED"}),
    ("task_run", "CHECK", "end_time", {"id": OTHER, "dynamic_key": "1", "end_time": 1}),
    ("task_run", "CHECK", "serializer", {"id": OTHER, "dynamic_key": "1", "result": b"1"}),
    ("task_run", "CHECK", "serializer", {"id": OTHER, "dynamic_key": "1", "result_key": "key"}),
    (
        *("task_run", "CHECK", "result"),
        {"id": OTHER, "dynamic_key": "1", "result_serializer": "json", "result": b"1", "result_key": "key"},
    ),
    ("task_run", "FOREIGN KEY", "lease_id", {"id": OTHER, "flow_run_id": None, "lease_id": OTHER}),
    ("task_run", "CHECK", "lease_id", {"id": OTHER, "dynamic_key": "1", "lease_id": LEASE}),
    (
        *("task_run", "CHECK", "lease_id"),
        {"id": OTHER, "flow_run_id": None, "lease_id": LEASE, "state_type": "FAILED", "end_time": 1},
    ),
    ("log", "FOREIGN KEY", "flow_run_id", {"seq": 2, "flow_run_id": OTHER}),
    ("log", "PRIMARY KEY", "seq", {}),
    ("cache", "PRIMARY KEY", "key", {}),
    ("cache", "CHECK", "key", {"key": ""}),
    ("cache", "CHECK", "task_run_id", {"key": "other", "task_run_id": SHORT}),
    ("cache", "FOREIGN KEY", "flow_run_id", {"key": "other", "flow_run_id": OTHER}),
    ("cache", "CHECK", "result", {"key": "other", "result": None}),
    ("cache", "CHECK", "result", {"key": "other", "result_key": "file"}),
    ("cache_claim", "PRIMARY KEY", "key", {}),
    ("cache_claim", "CHECK", "key", {"key": ""}),
    ("cache_claim", "CHECK", "owner", {"key": "other", "owner": SHORT}),
    ("cache_claim", "FOREIGN KEY", "lease_id", {"key": "other", "lease_id": OTHER}),
    ("flow", "CHECK", "labels", {"id": OTHER, "name": "other", "labels": "[]"}),
    ("flow_run", "CHECK", "labels", {"id": OTHER, "labels": "[]", "idempotency_key": None}),
    ("flow_run", "CHECK", "context", {"id": OTHER, "context": "[]", "idempotency_key": None}),
    ("flow_run", "CHECK", "job_variables", {"id": OTHER, "job_variables": "[]", "idempotency_key": None}),
    ("task_run", "CHECK", "labels", {"id": OTHER, "dynamic_key": "1", "labels": "[]"}),
    ("change", "PRIMARY KEY", "seq", {}),
    ("change", "CHECK", "logs", {"seq": 2, "first_log": 1}),
    ("change", "CHECK", "logs", {"seq": 2, "last_log": 1}),
    ("change", "CHECK", "ids", {"seq": 2, "flow_runs": SHORT}),
    ("change", "CHECK", "ids", {"seq": 2, "task_runs": SHORT}),
    ("event", "PRIMARY KEY", "seq", {"id": OTHER}),
    ("event", "UNIQUE", "id", {"seq": 2}),
    ("event", "CHECK", "id", {"seq": 2, "id": SHORT}),
    ("event", "CHECK", "document", {"seq": 2, "id": OTHER, "document": "[]"}),
    ("flow_run_input", "FOREIGN KEY", "flow_run_id", {"id": OTHER, "flow_run_id": OTHER}),
    ("flow_run_input", "PRIMARY KEY", "key", {"id": OTHER}),
    ("flow_run_input", "CHECK", "key", {"id": OTHER, "key": ""}),
    ("flow_run_input", "UNIQUE", "id", {"key": "other"}),
    ("flow_run_input", "CHECK", "id", {"id": SHORT, "key": "other"}),
    ("variable", "PRIMARY KEY", "id", {"name": "other"}),
    ("variable", "CHECK", "id", {"id": SHORT, "name": "other"}),
    ("variable", "UNIQUE", "name", {"id": OTHER}),
    ("variable", "CHECK", "name", {"id": OTHER, "name": ""}),
    ("variable", "CHECK", "value", {"id": OTHER, "name": "other", "value": "no JSON"}),
    ("variable", "CHECK", "tags", {"id": OTHER, "name": "other", "tags": "{}"}),
    ("artifact", "PRIMARY KEY", "id", {}),
    ("artifact", "CHECK", "id", {"id": SHORT}),
    ("artifact", "CHECK", "data", {"id": OTHER, "data": "no JSON"}),
    ("artifact", "CHECK", "metadata", {"id": OTHER, "metadata": "[]"}),
    ("artifact", "FOREIGN KEY", "flow_run_id", {"id": OTHER, "flow_run_id": OTHER}),
    ("saved_search", "PRIMARY KEY", "id", {"name": "other"}),
    ("saved_search", "CHECK", "id", {"id": SHORT, "name": "other"}),
    ("saved_search", "UNIQUE", "name", {"id": OTHER}),
    ("saved_search", "CHECK", "name", {"id": OTHER, "name": ""}),
    ("saved_search", "CHECK", "filters", {"id": OTHER, "name": "other", "filters": "{}"}),
    ("concurrency_limit", "PRIMARY KEY", "id", {"name": "other"}),
    ("concurrency_limit", "CHECK", "id", {"id": SHORT, "name": "other"}),
    ("concurrency_limit", "UNIQUE", "name", {"id": OTHER}),
    ("concurrency_limit", "CHECK", "name", {"id": OTHER, "name": ""}),
    ("concurrency_limit", "CHECK", "slots", {"id": OTHER, "name": "other", "slots": -1}),
    ("concurrency_limit", "CHECK", "active", {"id": OTHER, "name": "other", "active": 2}),
    ("concurrency_limit", "CHECK", "taken", {"id": OTHER, "name": "other", "taken": -0.5}),
    ("concurrency_limit", "CHECK", "decay", {"id": OTHER, "name": "other", "slot_decay_per_second": -0.5}),
    ("concurrency_limit", "CHECK", "denied", {"id": OTHER, "name": "other", "denied_slots": -1}),
    ("concurrency_lease", "PRIMARY KEY", "id", {}),
    ("concurrency_lease", "CHECK", "id", {"id": SHORT}),
    ("concurrency_lease", "FOREIGN KEY", "limit_id", {"limit_id": OTHER}),
    ("concurrency_lease", "CHECK", "slots", {"id": OTHER, "slots": 0}),
    ("concurrency_lease", "CHECK", "holder", {"id": OTHER, "holder": "[]"}),
    ("token", "PRIMARY KEY", "id", {"name": "other", "hash": b"o" * 32}),
    ("token", "CHECK", "id", {"id": SHORT, "name": "other", "hash": b"o" * 32}),
    ("token", "UNIQUE", "name", {"id": OTHER, "hash": b"o" * 32}),
    ("token", "CHECK", "name", {"id": OTHER, "name": "", "hash": b"o" * 32}),
    ("token", "CHECK", "role", {"id": OTHER, "name": "other", "hash": b"o" * 32, "role": "owner"}),
    ("token", "UNIQUE", "hash", {"id": OTHER, "name": "other"}),
    ("token", "CHECK", "hash", {"id": OTHER, "name": "other", "hash": b"short"}),
    ("loop", "PRIMARY KEY", "name", {}),
    ("loop", "CHECK", "name", {"name": ""}),
    ("shipment", "PRIMARY KEY", "server", {}),
    ("shipment", "CHECK", "server", {"server": ""}),
    ("shipment", "CHECK", "shipped", {"server": "other", "shipped": -1}),
    ("shipment", "CHECK", "journal_id", {"server": "other", "journal_id": SHORT}),
    ("journal", "PRIMARY KEY", "id", {}),
    ("journal", "CHECK", "id", {"id": SHORT}),
    ("journal", "CHECK", "applied", {"id": OTHER, "applied": -1}),
    ("shipped_flow_run", "PRIMARY KEY", "flow_run_id", {}),
    ("shipped_flow_run", "FOREIGN KEY", "flow_run_id", {"flow_run_id": OTHER}),
]

MESSAGES = {"PRIMARY KEY": "UNIQUE", "UNIQUE": "UNIQUE", "CHECK": "CHECK", "FOREIGN KEY": "FOREIGN KEY"}


def insert(desk: Any, table: str, **changes: Any) -> None:
    row = {**SOUND[table], **changes}
    if row.get("seq", 0) is None:  # the database gives it a number itself
        del row["seq"]
    marks = ", ".join("?" * len(row))
    desk.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", *row.values())


def fill(desk: Any) -> Any:
    """Puts one sound row into each table."""
    for table in SOUND:
        insert(desk, table)
    return desk


@pytest.fixture
def filled(desk: Any) -> Any:
    """A store with one sound row in each table."""
    return fill(desk)


@pytest.fixture(scope="module")
def unchanging(lasting_desk: Any) -> Any:
    """The same, for tests that add nothing and take nothing away."""
    return fill(lasting_desk)


@pytest.mark.parametrize(
    ("table", "kind", "about", "changes"), BROKEN, ids=[f"{b[0]}-{b[1]}-{b[2]}-{n}" for n, b in enumerate(BROKEN)]
)
def test_a_row_that_breaks_a_constraint_is_refused(
    unchanging: Any, table: str, kind: str, about: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(StoreError, match=MESSAGES[kind]):
        insert(unchanging, table, **changes)
    assert unchanging.count(table) == 1


@pytest.mark.parametrize(
    ("table", "column"),
    [
        (table, column)
        for table, row in SOUND.items()
        for column in row
        if column not in NOT_ASKED_FOR or (table, column) in PARTS_OF_KEYS
    ],
)
def test_what_every_row_has_cannot_be_left_out(unchanging: Any, table: str, column: str) -> None:
    with pytest.raises(StoreError, match="NOT NULL"):
        insert(unchanging, table, **{column: None})


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("flow", {"id": OTHER, "name": "other", "created": "yesterday"}),
        ("flow_run", {"id": OTHER, "idempotency_key": None, "created": 1.5}),
        ("log", {"seq": 2, "level": "INFO"}),
        ("task_run", {"id": "text that is no blob", "dynamic_key": "1"}),
    ],
)
def test_a_value_of_another_type_is_refused(unchanging: Any, table: str, changes: dict[str, Any]) -> None:
    with pytest.raises(StoreError):
        insert(unchanging, table, **changes)


@pytest.mark.parametrize(
    ("table", "changes"),
    [
        ("flow_run", {"id": OTHER, "idempotency_key": None}),
        ("flow_run", {"id": OTHER, "idempotency_key": None, "end_time": 1, **ENDED}),
        ("flow_run", {"id": OTHER, "idempotency_key": None, "state_type": "CANCELLING"}),
        ("flow_run", {"id": OTHER, "idempotency_key": None, "state_type": "SCHEDULED"}),
        ("flow_run", {"id": OTHER, "idempotency_key": None, "call": b"1", "call_serializer": "json"}),
        ("flow_run_state", {"seq": 1, "id": OTHER, "result_serializer": "json"}),
        ("task_run", {"id": OTHER, "flow_run_id": None}),
        ("task_run", {"id": OTHER, "flow_run_id": None, "lease_id": LEASE}),
        ("task_run", {"id": OTHER, "dynamic_key": "1", "state_type": "CRASHED", "end_time": 1}),
        ("log", {"seq": None, "flow_run_id": None}),
        ("task_run", {"id": OTHER, "dynamic_key": "1", "labels": '{"team": "data"}'}),
        ("change", {"seq": 2, "flow_runs": RUN + OTHER, "task_runs": TASK_RUN, "first_log": 1, "last_log": 1}),
        ("change", {"seq": None}),
        ("event", {"seq": None, "id": OTHER}),
        ("variable", {"id": OTHER, "name": "other", "value": "null"}),
        ("artifact", {"id": OTHER, "flow_run_id": None, "data": "1", "metadata": "{}"}),
        ("concurrency_lease", {"id": OTHER, "holder": "{}"}),
        ("concurrency_limit", {"id": OTHER, "name": "other", "slots": 0, "active": 0}),
    ],
)
def test_a_row_that_breaks_none_is_taken(filled: Any, table: str, changes: dict[str, Any]) -> None:
    insert(filled, table, **changes)
    assert filled.count(table) == 2


def test_every_constraint_of_the_schema_is_broken_by_a_test(desk: Any) -> None:
    tested = Counter((table, kind) for table, kind, _ in {broken[:3] for broken in BROKEN})
    assert +(_in_sqlite(desk) if desk.store.database.kind == "sqlite" else _in_postgres(desk)) == tested


def _in_postgres(desk: Any) -> Counter[tuple[str, str]]:
    kinds = {"c": "CHECK", "u": "UNIQUE", "f": "FOREIGN KEY", "p": "PRIMARY KEY"}
    rows = desk.fetch(
        "SELECT conrelid::regclass::text, contype::text FROM pg_constraint "
        "WHERE connamespace = current_schema()::regnamespace AND conrelid <> 'migration'::regclass"
    )
    return Counter((table, kinds[kind]) for table, kind in rows if kind in kinds)


def _in_sqlite(desk: Any) -> Counter[tuple[str, str]]:
    written: Counter[tuple[str, str]] = Counter()
    for table, sql in desk.fetch("SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"):
        body = re.sub(r"--.*", "", sql)
        for kind, pattern in (
            ("CHECK", "CHECK "),
            ("UNIQUE", "UNIQUE"),
            ("FOREIGN KEY", "REFERENCES"),
            ("PRIMARY KEY", "PRIMARY KEY"),
        ):
            written[table, kind] += body.count(pattern)
    return written


def test_deleting_a_lease_lets_its_runs_go(filled: Any) -> None:
    insert(filled, "task_run", id=OTHER, flow_run_id=None, lease_id=LEASE)
    filled.execute("DELETE FROM lease")
    assert filled.rows("flow_run", "lease_id") == [(None,)]
    assert filled.rows("task_run", "lease_id") == [(None,), (None,)]


def test_a_flow_with_runs_cannot_be_deleted(filled: Any) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        filled.execute("DELETE FROM flow")


def test_deleting_a_flow_run_deletes_what_belongs_to_it(filled: Any) -> None:
    filled.execute("DELETE FROM flow_run")
    assert [filled.count(table) for table in ("flow_run_state", "task_run", "log", "flow", "lease")] == [0, 0, 0, 1, 1]
    assert [filled.count(table) for table in ("flow_run_input", "artifact", "change")] == [0, 0, 1]


def test_deleting_a_limit_deletes_what_is_held_of_it(filled: Any) -> None:
    filled.execute("DELETE FROM concurrency_limit")
    assert filled.count("concurrency_lease") == 0
