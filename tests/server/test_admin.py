"""What a server tells of itself to those who look after it."""

import json

from tidemill import ids, settings
from tidemill.store import sizes

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"


def test_every_setting_is_told(served):
    told = served.get("admin/settings")
    assert list(told) == list(settings.NAMES)
    assert told["home"] == served.settings.home
    assert told["lease_seconds"] == 30


def test_no_secret_is_told(serve):
    secret = "s3cretWord"
    served = serve(
        api_key=secret,
        api_auth_string=f"me:{secret}",
        api_url=f"https://me:{secret}@example.com/api",
    )
    text = json.dumps(served.get("admin/settings"))
    assert secret not in text
    assert "example.com" in text


def test_the_password_of_a_database_is_not_told():
    shown = settings.concealed("database_url", "postgresql://me:s3cretWord@db.example.com/tidemill")
    assert "s3cretWord" not in shown
    assert "db.example.com" in shown


def test_a_client_is_told_that_results_have_no_default_place(served):
    assert served.get("admin/storage") == {"default_result_storage_block_id": None}
    body = {"default_result_storage_block_id": UNKNOWN}
    assert "no default" in served.answer("PUT", "admin/storage", 404, json=body)["detail"]
    served.answer("DELETE", "admin/storage", 404)


def test_the_database_is_told(served):
    for name in ("a", "b"):
        served.post("artifacts/", {"key": name}, code=201)
    told = served.get("admin/database")
    assert (told["kind"], told["place"]) == ("sqlite", served.settings.database_path)
    assert told["schema"] >= 5
    assert told["size_bytes"] > 10_000
    assert told["version"].startswith("3.")
    assert told["rows"]["artifact"] == {"rows": 2, "exact": True}
    assert {"flow_run", "task_run", "log", "event"} <= set(told["rows"])


def test_what_is_too_much_to_count_is_not(served):
    for _ in range(3):
        served.post("artifacts/", {"key": ids.new_id()}, code=201)
    counts = sizes.row_counts(served.store.database.fetch, most_counted=2)
    assert counts["artifact"] == sizes.RowCount(2, exact=False)
