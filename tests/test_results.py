"""How a run's value is kept: small ones beside the run, larger ones in files, unkeepable ones not at all."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, results, settings
from tidemill.exceptions import FailedRun, MissingResult, StoreError
from tidemill.results import keep, keep_error, load
from tidemill.states import Completed, ResultReference, Unkept

INLINE = 1_000
LIMIT = 5_000


@pytest.fixture(autouse=True)
def folder(home: Path) -> Iterator[Path]:
    """Where this test's files are, with limits that are easily reached."""
    with settings.using(results_inline_limit=INLINE, results_size_limit=LIMIT):
        yield home / "results"


class Demanding(Exception):
    """Can be pickled, and not be unpickled: it takes two arguments, and gives pickle one."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


class Holder(Exception):
    """Holds something that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.held = (x for x in "abc")


class Mute(Holder):
    def __str__(self) -> str:
        raise RuntimeError("not a word")


class Explosive:
    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    raise KeyError("while it is read")


def files(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.exists() else []


class TestKeep:
    @pytest.mark.parametrize("value", [None, 0, "text", [1, 2], {"a": None}, (1, 2), {1}, b"x", b"x" * 900])
    def test_a_small_value_is_kept_in_the_reference_and_no_file_is_made(self, value: Any, folder: Path) -> None:
        kept = keep(value)
        assert isinstance(kept, ResultReference)
        assert kept.inline is not None
        assert kept.storage_key is None
        assert load(kept) == value
        assert files(folder) == []

    @pytest.mark.parametrize(("length", "inline"), [(INLINE - 2, True), (INLINE - 1, False)])
    def test_the_limit_for_small_values_counts_bytes_when_serialized(self, length: int, inline: bool) -> None:
        kept = keep("x" * length)  # two more bytes for the quotes
        assert isinstance(kept, ResultReference)
        assert (kept.inline is not None) is inline

    @pytest.mark.parametrize("value", ["x" * 2_000, b"x" * 2_000, [{"a": list(range(500))}]])
    def test_a_larger_value_is_kept_in_a_file(self, value: Any, folder: Path) -> None:
        kept = keep(value)
        assert isinstance(kept, ResultReference)
        assert kept.inline is None
        assert kept.storage_key is not None
        assert ids.is_id(kept.storage_key)
        assert load(kept) == value
        assert files(folder) == [kept.storage_key]

    def test_each_value_has_a_file_of_its_own(self, folder: Path) -> None:
        kept = [keep("x" * 2_000) for _ in range(3)]
        assert len(files(folder)) == 3
        assert [load(one) for one in kept if isinstance(one, ResultReference)] == ["x" * 2_000] * 3

    def test_a_value_changed_later_was_kept_as_it_was(self) -> None:
        value = [1]
        kept = keep(value)
        value.append(2)
        assert isinstance(kept, ResultReference)
        assert load(kept) == [1]

    def test_a_value_above_the_limit_is_not_kept_and_the_setting_is_named(self, folder: Path) -> None:
        kept = keep("x" * LIMIT)
        assert kept == Unkept("it has 5,002 bytes when serialized; the limit is 5,000 (TIDEMILL_RESULTS_SIZE_LIMIT)")
        assert files(folder) == []

    def test_a_value_that_cannot_be_pickled_is_not_kept_and_the_reason_is_told(self) -> None:
        kept = keep(x for x in "abc")
        assert isinstance(kept, Unkept)
        assert "type generator cannot be pickled" in kept.reason

    def test_a_folder_that_cannot_be_written_is_an_error_of_ours_or_the_value_is_not_kept(self, home: Path) -> None:
        home.mkdir(exist_ok=True)
        (home / "results").write_text("in the way")
        answer: object
        try:
            answer = keep("x" * 2_000)
        except StoreError as error:
            answer = error
        assert isinstance(answer, Unkept | StoreError)
        assert str(home) in str(answer)


class TestKeepError:
    @pytest.mark.parametrize(
        "error", [ValueError("x"), KeyError("a", 1), ExceptionGroup("two", [ValueError("x"), OSError(2, "gone")])]
    )
    def test_an_exception_is_kept_as_it_is(self, error: Exception) -> None:
        back = load(keep_error(error))
        assert type(back) is type(error)
        assert str(back) == str(error)

    @pytest.mark.parametrize("error", [Demanding("this", "that"), Holder("this and that")])
    def test_one_that_does_not_survive_pickling_is_kept_as_what_it_said(self, error: Exception) -> None:
        back = load(keep_error(error))
        assert type(back) is FailedRun
        assert str(back) == f"{type(error).__name__}: this and that"

    def test_one_that_cannot_even_be_shown_is_kept_by_its_type(self) -> None:
        back = load(keep_error(Mute("x")))
        assert str(back) == "Mute: (the exception has no readable message)"

    def test_one_with_a_long_message_is_kept_with_its_beginning(self, folder: Path) -> None:
        kept = keep_error(ValueError("x" * 100_000))
        back = load(kept)
        assert str(back) == "ValueError: " + "x" * 1_000
        assert files(folder) == []

    def test_what_is_kept_is_always_small(self) -> None:
        for error in (ValueError("\ud800" * 5_000), Holder("x" * 5_000), ValueError(b"x" * 5_000)):
            kept = keep_error(error)
            assert kept.inline is not None
            assert len(kept.inline) < 5_000


class TestLoad:
    def test_a_file_that_is_gone_is_told_with_its_path(self, folder: Path) -> None:
        kept = keep("x" * 2_000)
        assert isinstance(kept, ResultReference)
        path = folder / str(kept.storage_key)
        path.unlink()
        with pytest.raises(MissingResult, match=rf"{path} cannot be read: No such file or directory. Run it again."):
            load(kept)

    def test_a_file_that_is_cut_is_told(self, folder: Path) -> None:
        kept = keep(b"x" * 2_000)
        assert isinstance(kept, ResultReference)
        path = folder / str(kept.storage_key)
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(MissingResult, match=r"cannot be read back.*Run it again"):
            load(kept)

    @pytest.mark.parametrize(
        "reference",
        [
            ResultReference("pickle", b""),
            ResultReference("json", b"{"),
            ResultReference("unheard of", b"1"),
            ResultReference("pickle", pickle.dumps(Explosive())),
            ResultReference("json"),
        ],
    )
    def test_whatever_gives_no_value_is_a_missing_result(self, reference: ResultReference) -> None:
        with pytest.raises(MissingResult, match="Run it again"):
            load(reference)

    def test_a_state_reads_its_value_through_it(self) -> None:
        assert Completed(data=keep("x" * 2_000)).result() == "x" * 2_000

    def test_half_a_file_is_never_under_its_final_name(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[list[str]] = []
        replace = os.replace

        def look(source: str, target: str) -> None:
            seen.append(files(folder))
            replace(source, target)

        monkeypatch.setattr(results.os, "replace", look)
        kept = keep("x" * 2_000)
        assert isinstance(kept, ResultReference)
        assert seen == [[f"{kept.storage_key}.part"]]
        assert files(folder) == [kept.storage_key]
