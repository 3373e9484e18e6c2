"""Whether the server is there, and which it is."""


def test_the_server_answers(served):
    assert served.get("health") is True
    assert served.get("ready") == {"message": "OK"}
    assert served.get("hello") == "👋"


def test_it_says_which_version_of_the_fields_api_it_speaks(served):
    assert served.get("admin/version") == served.get("version") == "3.9.1"


def test_what_is_not_there_is_not_found(served):
    assert served.get("no-such-thing", code=404) == {"detail": "Not Found"}


def test_a_slash_at_the_end_makes_no_difference(served):
    assert served.get("health/") is True
