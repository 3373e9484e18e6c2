"""What flows, tasks and their runs may be called."""

import re

import pytest

from tidemill.engine.names import check_name, from_template, short_hash
from tidemill.exceptions import InvalidNameError
from tidemill.names import two_words


@pytest.mark.parametrize("name", ["x", "my-flow", "my flow", "Ümläut 🌊", "a.b:c", "{x}", "x" * 10_000, "[1]", "#"])
def test_almost_any_text_is_a_name(name):
    assert check_name(name, "flow") == name


@pytest.mark.parametrize("character", "/%&><")
def test_a_forbidden_character_is_named(character):
    with pytest.raises(InvalidNameError, match=rf"contains {re.escape(character)}; .*@task\(name=...\)"):
        check_name(f"a{character}b", "task")


def test_every_forbidden_character_is_named_once():
    with pytest.raises(InvalidNameError, match="contains % & /;"):
        check_name("a/b/c & 100%", "flow")


@pytest.mark.parametrize("name", ["", None, 42, b"x", ["x"]], ids=repr)
def test_what_is_no_text_is_no_name(name):
    with pytest.raises(InvalidNameError, match=f"name of a flow .* not {re.escape(repr(name))}"):
        check_name(name, "flow")


def test_what_cannot_be_stored_in_a_name_is_shown_as_an_escape():
    assert check_name("a\ud800", "flow") == "a\\ud800"


def test_a_run_is_named_by_two_words():
    names = {two_words() for _ in range(50)}
    assert all(re.fullmatch(r"[a-z]+-[a-z]+(-[a-z]+)?", name) for name in names)
    assert len(names) > 40


def test_the_hash_of_a_task_is_the_beginning_of_the_md5_of_its_key():
    assert short_hash("module.add_one") == "0d30622a"
    assert short_hash("module.ümläut") != short_hash("module.umlaut")


class Town:
    name = "ulm"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("plain", "plain"),
        ("{x}", "1"),
        ("{x:03d}-{town.name}", "001-ulm"),
        ("{many[0]}", "a"),
        ("{{x}}", "{x}"),
        (lambda: "called", "called"),
    ],
)
def test_a_template_is_filled_in_from_the_parameters(template, name):
    assert from_template(template, {"x": 1, "town": Town, "many": ["a"]}, "flow") == name


@pytest.mark.parametrize(
    "template",
    ["{y}", "{}", "{0}", "{x", "x}", "{x.nothing}", "{many[7]}", "{many[a]}", "{x!z}", "{x:q}", "{none:>3}", "{many:d}"],
)
def test_a_template_that_cannot_be_filled_in_names_what_it_may_use(template):
    with pytest.raises(InvalidNameError, match="x, many, none") as caught:
        from_template(template, {"x": 1, "many": ["a"], "none": None}, "flow")
    assert "flow_run_name" in str(caught.value)
    assert repr(template) in str(caught.value)


@pytest.mark.parametrize("name", ["", None, 42])
def test_a_function_that_gives_no_text_is_told(name):
    with pytest.raises(InvalidNameError, match=f"task_run_name gave {name!r}"):
        from_template(lambda: name, {}, "task")


def test_an_error_of_the_users_function_is_the_users():
    with pytest.raises(ZeroDivisionError):
        from_template(lambda: 1 // 0, {}, "task")


def test_a_filled_in_name_can_be_stored():
    assert from_template("{x}", {"x": "\ud800"}, "flow") == "\\ud800"
