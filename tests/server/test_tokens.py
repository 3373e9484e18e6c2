"""Tokens over the API, for admins. What they protect is in test_security.py."""

from datetime import UTC, datetime, timedelta


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


def make(served, name, role, *, by=None, code=201, **more):
    headers = {} if by is None else bearer(by)
    return served.answer("POST", "admin/tokens", code, json={"name": name, "role": role, **more}, headers=headers)


def listed(served, secret):
    return served.answer("GET", "admin/tokens", 200, headers=bearer(secret))


def test_a_token_is_made_and_shown_once(served):
    told = make(served, "laptop", "admin")
    assert told["secret"].startswith("tidemill_")
    found = listed(served, told["secret"])
    assert [(token["name"], token["role"], token["revoked"]) for token in found] == [("laptop", "admin", None)]
    assert told["secret"] not in str(found)


def test_a_name_is_taken_once(served):
    secret = make(served, "laptop", "admin")["secret"]
    assert "laptop" in make(served, "laptop", "viewer", by=secret, code=409)["detail"]


def test_a_token_can_end_by_itself(served):
    until = datetime.now(UTC) + timedelta(days=1)
    told = make(served, "guest", "viewer", expires=until.isoformat())
    assert datetime.fromisoformat(told["token"]["expires"]) == until


def test_a_revoked_token_stays_in_the_list(served):
    secret = make(served, "laptop", "admin")["secret"]
    make(served, "old", "operator", by=secret)
    served.answer("POST", "admin/tokens/old/revoke", 204, headers=bearer(secret))
    assert {token["name"]: token["revoked"] is not None for token in listed(served, secret)} == {"laptop": False, "old": True}


def test_what_is_not_there_cannot_be_revoked(served):
    served.post("admin/tokens/nobody/revoke", code=404)


def test_only_admins_see_and_make_them(served):
    admin = make(served, "admin", "admin")["secret"]
    operator = make(served, "op", "operator", by=admin)["secret"]
    served.answer("GET", "admin/tokens", 403, headers=bearer(operator))
    make(served, "more", "admin", by=operator, code=403)


def test_a_name_that_says_nothing_is_refused(served):
    for name in ("", "   ", "a\nb"):
        make(served, name, "viewer", code=422)
