"""Text that can be kept: whatever UTF-8 cannot hold is shown as escapes, and the rest stays as it is."""

import pytest

from tidemill.texts import storable


@pytest.mark.parametrize("text", ["", "plain", "two\nlines", "\x00\x7f", "ü 日本 🌊", "\ufffe", "back\\slash", "\\ud800"])
def test_text_that_is_unicode_stays_as_it_is(text: str) -> None:
    assert storable(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [("\udcff", "\\udcff"), ("a\ud800b", "a\\ud800b"), ("ü \udfff 🌊", "ü \\udfff 🌊"), ("\ud83d\ud83d", "\\ud83d\\ud83d")],
)
def test_lone_surrogates_are_shown_as_escapes(text: str, kept: str) -> None:
    assert storable(text) == kept
    assert storable(text).encode() == kept.encode()
