"""Limits on the task runs with a tag, over the API."""

import pytest

from tidemill import ids

TASK_RUN, OTHER_RUN = ids.new_id(), ids.new_id()
LIMITS = "concurrency_limits"


def limit(served, tag="db", slots=1, code=201):
    return served.post(f"{LIMITS}/", {"tag": tag, "concurrency_limit": slots}, code=code)


def take(served, *tags, of=TASK_RUN, code=200):
    return served.post(f"{LIMITS}/increment", {"names": tags, "task_run_id": of}, code=code)


def active(served, tag="db"):
    return served.get(f"{LIMITS}/tag/{tag}")["active_slots"]


def test_a_limit_on_a_tag_has_the_shape_of_the_api(served):
    made = limit(served)
    assert made == {
        **{"id": made["id"], "tag": "db", "concurrency_limit": 1, "active_slots": []},
        **{"created": made["created"], "updated": made["created"]},
    }
    assert served.get(f"{LIMITS}/tag/db") == served.get(f"{LIMITS}/{made['id']}") == made


def test_a_limit_is_replaced(served):
    made = limit(served)
    again = limit(served, slots=3, code=200)
    assert (again["id"], again["concurrency_limit"]) == (made["id"], 3)


def test_it_is_a_limit_of_the_second_kind_too(served):
    made = limit(served)
    named = served.get("v2/concurrency_limits/tag:db")
    assert (named["id"], named["limit"]) == (made["id"], 1)
    served.post("v2/concurrency_limits/", {"name": "tag:other", "limit": 2}, code=201)
    served.post("v2/concurrency_limits/", {"name": "general", "limit": 2}, code=201)
    assert [each["tag"] for each in served.post(f"{LIMITS}/filter")] == ["db", "other"]
    general = served.get("v2/concurrency_limits/general")["id"]
    served.get(f"{LIMITS}/{general}", code=404)
    served.answer("DELETE", f"{LIMITS}/{general}", 404)


@pytest.mark.parametrize("body", [{"tag": "db"}, {"tag": "", "concurrency_limit": 1}, {"tag": "db", "concurrency_limit": -1}])
def test_a_wrong_limit_is_refused(served, body):
    served.post(f"{LIMITS}/", body, code=422)


def test_task_runs_take_slots_and_give_them_back(served):
    made = limit(served)
    assert take(served, "db", "nothing") == [{"id": made["id"], "name": "db", "limit": 1}]
    take(served, "db")
    assert active(served) == [TASK_RUN]
    response = served.api.post(f"{LIMITS}/increment", json={"names": ["db"], "task_run_id": OTHER_RUN})
    assert response.status_code == 423
    assert float(response.headers["Retry-After"]) > 0
    served.post(f"{LIMITS}/decrement", {"names": ["db"], "task_run_id": TASK_RUN}, code=200)
    take(served, "db", of=OTHER_RUN)
    assert active(served) == [OTHER_RUN]


def test_who_waits_for_a_limit_of_0_waits_for_ever_and_is_told(served):
    limit(served, slots=0)
    response = served.api.post(f"{LIMITS}/increment", json={"names": ["db"], "task_run_id": TASK_RUN})
    assert (response.status_code, "Retry-After" in response.headers) == (423, False)
    assert "0" in response.json()["detail"]


def test_a_reset_gives_the_slots_to_others(served):
    limit(served)
    take(served, "db")
    assert served.post(f"{LIMITS}/tag/db/reset", {"slot_override": [OTHER_RUN]}, code=200) is None
    assert active(served) == [OTHER_RUN]
    served.answer("POST", f"{LIMITS}/tag/db/reset", 200)
    assert active(served) == []
    assert served.get("v2/concurrency_limits/tag:db")["active_slots"] == 0
    served.post(f"{LIMITS}/tag/nothing/reset", code=404)


def test_a_limit_is_removed(served):
    limit(served)
    other = limit(served, "other")
    served.answer("DELETE", f"{LIMITS}/tag/db", 200)
    served.answer("DELETE", f"{LIMITS}/{other['id']}", 200)
    assert served.post(f"{LIMITS}/filter") == []
    served.answer("DELETE", f"{LIMITS}/tag/db", 404)
    served.get(f"{LIMITS}/tag/db", code=404)
    assert take(served, "db") == []
