"""What a wrong decorator gets: an error at once, which names what is wrong and what was probably meant."""

import re

import pytest

from tidemill import flow, task
from tidemill.exceptions import DefinitionError, InvalidNameError, ReservedArgumentError


@pytest.fixture(params=[flow, task], ids=["flow", "task"])
def decorator(request):
    return request.param


@pytest.mark.parametrize(
    ("option", "meant"),
    [("retry", "retries"), ("timeout_secs", "timeout_seconds"), ("nmae", "name"), ("on_complete", "on_completion")],
)
def test_an_unknown_option_is_named_with_what_was_probably_meant(decorator, option, meant):
    with pytest.raises(TypeError, match=option) as caught:
        decorator(**{option: 3})(lambda: 1)
    assert meant in str(caught.value)


def test_an_unknown_option_like_no_other_is_named_too(decorator):
    with pytest.raises(TypeError, match="zzzzzz"):
        decorator(zzzzzz=3)(lambda: 1)


def test_an_unknown_option_to_with_options_is_named_too(decorator):
    with pytest.raises(TypeError, match="retry_delay") as caught:
        decorator(lambda: 1).with_options(retry_delay=3)
    assert "retry_delay_seconds" in str(caught.value)


@pytest.mark.parametrize("thing", [42, "name", ["a"]], ids=repr)
def test_something_that_cannot_be_called_is_refused(decorator, thing):
    with pytest.raises(TypeError, match=r"function|callable"):
        decorator(thing)


@pytest.mark.parametrize("character", "/%&><")
def test_a_name_with_a_forbidden_character_is_refused_and_the_character_told(decorator, character):
    name = f"this{character}that"
    with pytest.raises(InvalidNameError) as caught:
        decorator(name=name)(lambda: 1)
    assert name in str(caught.value)
    assert character in str(caught.value)
    with pytest.raises(InvalidNameError):
        decorator(lambda: 1).with_options(name=name)


@pytest.mark.parametrize("name", [42, b"bytes", ["a"]], ids=repr)
def test_a_name_that_is_no_text_is_refused(decorator, name):
    with pytest.raises((TypeError, DefinitionError), match="name"):
        decorator(name=name)(lambda: 1)


def test_an_empty_name_is_refused(decorator):
    with pytest.raises((ValueError, DefinitionError), match="name"):
        decorator(name="")(lambda: 1)


@pytest.mark.parametrize("reserved", ["return_state", "wait_for"])
def test_a_reserved_parameter_name_is_told_with_the_function(decorator, reserved):
    namespace = {}
    exec(f"def my_function({reserved}=None): pass", namespace)
    with pytest.raises(ReservedArgumentError, match=re.escape(reserved)) as caught:
        decorator(namespace["my_function"])
    assert "my_function" in str(caught.value)


def test_definition_errors_are_one_family():
    assert issubclass(InvalidNameError, DefinitionError)
    assert issubclass(ReservedArgumentError, DefinitionError)
