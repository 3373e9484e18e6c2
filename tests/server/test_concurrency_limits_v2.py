"""Limits on concurrency and rates, over the API."""

import pytest

from tidemill import clock

UNKNOWN = "01a20228-08a1-71b7-83e3-616c46d61474"
LIMITS = "v2/concurrency_limits"


def create(served, name="lim", limit=2, **more):
    return served.post(f"{LIMITS}/", {"name": name, "limit": limit, **more}, code=201)


def increment(served, *names, code=200, slots=1, **more):
    return served.post(f"{LIMITS}/increment", {"names": names or ["lim"], "slots": slots, **more}, code=code)


def lease(served, *names, code=200, slots=1, **more):
    return served.post(f"{LIMITS}/increment-with-lease", {"names": names or ["lim"], "slots": slots, **more}, code=code)


def active(served, name="lim"):
    return served.get(f"{LIMITS}/{name}")["active_slots"]


def test_a_limit_has_the_shape_of_the_api(served):
    made = create(served)
    assert made == {
        **{"id": made["id"], "name": "lim", "limit": 2, "active": True, "active_slots": 0, "denied_slots": 0},
        **{"slot_decay_per_second": 0.0, "avg_slot_occupancy_seconds": 2.0},
        **{"created": made["created"], "updated": made["created"]},
    }
    assert served.get(f"{LIMITS}/lim") == served.get(f"{LIMITS}/{made['id']}") == made


def test_a_limit_may_begin_with_slots_in_use(served):
    create(served, active_slots=5, denied_slots=3, slot_decay_per_second=0.5)
    assert served.get(f"{LIMITS}/lim")["active_slots"] == 5
    increment(served, code=423)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "", "limit": 1},
        {"name": "a/b", "limit": 1},
        {"name": "x", "limit": -1},
        {"name": "x", "limit": 2**40},
        {"name": "x", "limit": 1, "colour": 1},
        {"name": "x", "limit": 1, "slot_decay_per_second": -1},
    ],
)
def test_a_wrong_limit_is_refused(served, body):
    served.post(f"{LIMITS}/", body, code=422)
    assert served.post(f"{LIMITS}/filter") == []


def test_a_name_is_given_once(served):
    create(served)
    create(served, "other")
    assert "'lim'" in served.post(f"{LIMITS}/", {"name": "lim", "limit": 3}, code=409)["detail"]
    served.answer("PATCH", f"{LIMITS}/other", 409, json={"name": "lim"})
    served.answer("PATCH", f"{LIMITS}/other", 204, json={"name": "other", "limit": 7})
    assert [(each["name"], each["limit"]) for each in served.post(f"{LIMITS}/filter")] == [("lim", 2), ("other", 7)]


def test_a_name_that_looks_like_an_id_is_found(served):
    made = create(served, UNKNOWN)
    assert served.get(f"{LIMITS}/{UNKNOWN}") == served.get(f"{LIMITS}/{made['id']}") == made


def test_what_is_not_there_is_not_found(served):
    for which in ("nothing", UNKNOWN):
        assert "no such" in served.get(f"{LIMITS}/{which}", code=404)["detail"]
        served.answer("PATCH", f"{LIMITS}/{which}", 404, json={"limit": 1})
        served.answer("DELETE", f"{LIMITS}/{which}", 404)


def test_limits_are_listed_by_name_in_pages(served):
    for name in "cab":
        create(served, name)
    assert [each["name"] for each in served.post(f"{LIMITS}/filter", {"limit": 2, "offset": 1})] == ["b", "c"]
    served.post(f"{LIMITS}/filter", {"limit": 201}, code=422)
    assert len(served.answer("POST", f"{LIMITS}/filter", 200)) == 3


def test_a_change_and_a_removal(served):
    made = create(served)
    served.answer("PATCH", f"{LIMITS}/lim", 204, json={"limit": 5, "active_slots": 4, "name": "new"})
    after = served.get(f"{LIMITS}/new")
    assert (after["id"], after["limit"], after["active_slots"]) == (made["id"], 5, 4)
    served.answer("PATCH", f"{LIMITS}/{made['id']}", 204, json={"active": False})
    increment(served, "new", slots=10)
    assert active(served, "new") == 4
    served.answer("DELETE", f"{LIMITS}/new", 204)
    served.get(f"{LIMITS}/{made['id']}", code=404)


def test_slots_are_taken_and_given_back(served):
    made = create(served)
    in_short = {"id": made["id"], "name": "lim", "limit": 2}
    assert increment(served, "lim", "nothing", slots=2) == [in_short]
    assert served.post(f"{LIMITS}/decrement", {"names": ["lim"], "slots": 1, "occupancy_seconds": 10}) == [in_short]
    assert active(served) == 1
    assert increment(served, "nothing") == []
    assert served.post(f"{LIMITS}/decrement", {"names": ["nothing"], "slots": 1}) == []


def test_who_gets_no_slot_is_told_when_to_ask_again(served):
    create(served)
    increment(served, slots=2)
    for how in ("increment", "increment-with-lease"):
        response = served.api.post(f"{LIMITS}/{how}", json={"names": ["lim"], "slots": 1})
        assert response.status_code == 423
        assert float(response.headers["Retry-After"]) > 0
        assert "'lim'" in response.json()["detail"]


def test_what_can_never_be_is_refused(served):
    create(served)
    increment(served, slots=3, code=422)
    lease(served, slots=3, code=422)
    increment(served, mode="rate_limit", code=422)
    increment(served, mode="colour", code=422)
    increment(served, slots=0, code=422)
    served.post(f"{LIMITS}/increment", {"names": [], "slots": 1}, code=422)
    for wrong in ({"lease_duration": 59}, {"lease_duration": 86401}, {"holder": {"type": "x", "id": UNKNOWN}}):
        lease(served, code=422, **wrong)


def test_a_rate(served):
    create(served, "rl", 5, slot_decay_per_second=1.0)
    for _ in range(5):
        increment(served, "rl", mode="rate_limit")
    with clock.travel(60):
        assert active(served, "rl") == 0


def test_a_lease_is_renewed_and_given_back(served):
    made = create(served)
    held = lease(served, slots=2, lease_duration=60, holder={"type": "task_run", "id": UNKNOWN})
    assert held == {"lease_id": held["lease_id"], "limits": [{"id": made["id"], "name": "lim", "limit": 2}]}
    assert active(served) == 2
    renew = f"{LIMITS}/leases/{held['lease_id']}/renew"
    assert served.post(renew, {"lease_duration": 300}, code=204) is None
    served.answer("POST", renew, 204)
    served.post(renew, {"lease_duration": 59}, code=422)
    for _ in range(2):
        assert served.post(f"{LIMITS}/decrement-with-lease", {"lease_id": held["lease_id"]}, code=204) is None
    assert active(served) == 0
    assert "Ask for slots again" in served.post(renew, code=410)["detail"]
    served.post(f"{LIMITS}/leases/{UNKNOWN}/renew", code=410)
    served.post(f"{LIMITS}/decrement-with-lease", {"lease_id": UNKNOWN}, code=204)


def test_a_lease_that_expires_frees_its_slots_at_once(served):
    create(served)
    held = lease(served, slots=2, lease_duration=60)
    lease(served, code=423)
    with clock.travel(61):
        assert active(served) == 0
        lease(served, slots=2)
        served.post(f"{LIMITS}/leases/{held['lease_id']}/renew", code=410)


def test_a_lease_on_names_without_a_limit_is_as_good_as_any(served):
    held = lease(served, "nothing")
    assert held["limits"] == []
    served.post(f"{LIMITS}/leases/{held['lease_id']}/renew", code=204)
    served.post(f"{LIMITS}/decrement-with-lease", {"lease_id": held["lease_id"]}, code=204)
