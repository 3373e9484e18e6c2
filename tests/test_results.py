"""How a run's value is kept: small ones beside the run, larger ones in files, unkeepable ones not at all."""

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import ids, settings, storage
from tidemill.exceptions import DefinitionError, FailedRun, MissingResult, StoreError
from tidemill.results import AS_USUAL, NOT_WANTED, ResultOptions, keep, keep_error, load, result_options
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


class Reversed:
    """A serializer of one's own."""

    name = "reversed"

    def dumps(self, value: Any) -> bytes:
        return pickle.dumps(value)[::-1]

    def loads(self, data: bytes) -> Any:
        return pickle.loads(data[::-1])


def kept_under(value: Any, options: ResultOptions, **names: Any) -> ResultReference:
    """Keeps a value that can be kept."""
    kept = keep(value, options, lambda: names)
    assert isinstance(kept, ResultReference), kept
    return kept


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

    def test_one_whose_class_takes_other_arguments_is_kept_as_it_is(self) -> None:
        back = load(keep_error(Demanding("this", "that")))
        assert type(back) is Demanding
        assert str(back) == "this and that"

    def test_one_that_does_not_survive_pickling_is_kept_as_what_it_said(self) -> None:
        back = load(keep_error(Holder("this and that")))
        assert type(back) is FailedRun
        assert str(back) == "Holder: this and that"

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

        monkeypatch.setattr(storage.os, "replace", look)
        kept = keep("x" * 2_000)
        assert isinstance(kept, ResultReference)
        ((name,),) = seen
        assert name.startswith(f"{kept.storage_key}.")
        assert name.endswith(".part")
        assert files(folder) == [kept.storage_key]


class TestOptions:
    def test_without_options_everything_is_as_usual(self) -> None:
        assert result_options() is AS_USUAL
        assert AS_USUAL.within(AS_USUAL) is AS_USUAL

    def test_what_a_task_leaves_open_is_as_in_its_flow_but_for_the_names_of_files(self, tmp_path: Path) -> None:
        flow = result_options(
            persist_result=True, result_storage=tmp_path, result_serializer="json", result_storage_key="flow.json"
        )
        assert AS_USUAL.within(flow) == ResultOptions(True, str(tmp_path), "json", None)
        task = result_options(persist_result=False, result_storage="s3://bucket", result_storage_key="task")
        assert task.within(flow) == ResultOptions(False, "s3://bucket", "json", "task")

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"persist_result": "yes"}, "persist_result is True, False or None"),
            ({"result_storage": 42}, "a folder or a URL"),
            ({"result_storage": ""}, "a folder or a URL"),
            ({"result_serializer": "yaml"}, "no serializer 'yaml'"),
            ({"result_storage_key": 42}, "a template such as"),
        ],
    )
    def test_what_cannot_be_is_refused_where_it_is_declared(self, options: dict[str, Any], reason: str) -> None:
        with pytest.raises(DefinitionError, match=reason):
            result_options(**options)

    def test_what_is_not_to_be_kept_is_not(self, folder: Path) -> None:
        never = result_options(persist_result=False)
        assert keep("x" * 2_000, never) is NOT_WANTED
        assert keep(None, never) is NOT_WANTED
        assert files(folder) == []

    def test_what_must_be_kept_and_cannot_be_is_told_as_usual(self) -> None:
        kept = keep((x for x in "abc"), result_options(persist_result=True))
        assert isinstance(kept, Unkept)

    @pytest.mark.parametrize("value", ["small", "x" * 2_000, None, [1, {"a": 2.5}]])
    @pytest.mark.parametrize("serializer", ["pickle", "json", "compressed/pickle", "compressed/json", Reversed()])
    def test_a_value_is_written_as_it_was_asked_for(self, serializer: Any, value: Any) -> None:
        kept = kept_under(value, result_options(result_serializer=serializer))
        assert kept.serializer == (serializer if isinstance(serializer, str) else f"reversed@{__name__}:Reversed")
        assert load(kept) == value

    def test_what_the_serializer_refuses_is_not_kept_and_the_reason_is_told(self) -> None:
        assert keep((1, 2), result_options(result_serializer="json")) == Unkept(
            "JSON would not give it back as it is: it is of type tuple"
        )

    def test_the_limit_counts_what_is_written(self) -> None:
        assert isinstance(keep("x" * 100_000), Unkept)
        kept = kept_under("x" * 100_000, result_options(result_serializer="compressed/pickle"))
        assert kept.inline is not None


class TestStorage:
    def test_small_values_become_files_too_where_a_folder_is_given(self, tmp_path: Path, folder: Path) -> None:
        kept = kept_under(42, result_options(result_storage=tmp_path / "mine"))
        assert files(folder) == []
        (name,) = files(tmp_path / "mine")
        assert kept.storage_key == str(tmp_path / "mine" / name)
        assert load(kept) == 42

    def test_a_folder_is_found_again_from_another_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        kept = kept_under(42, result_options(result_storage="mine"))
        monkeypatch.chdir("/")
        assert load(kept) == 42

    def test_another_process_needs_nothing_but_the_reference(self, tmp_path: Path, run_script: Any) -> None:
        kept = kept_under({"a": 1}, result_options(result_storage=tmp_path / "mine", result_serializer="compressed/json"))
        done = run_script(
            f"""
            from tidemill.results import load
            from tidemill.states import ResultReference
            print(load(ResultReference({kept.serializer!r}, None, {kept.storage_key!r})))
            """
        )
        assert done.stdout == "{'a': 1}\n", done.stderr

    @pytest.mark.parametrize("value", [42, "x" * 2_000])
    def test_a_value_can_be_kept_wherever_fsspec_opens_a_file(self, value: Any) -> None:
        kept = kept_under(value, result_options(result_storage="memory://results/here"))
        assert str(kept.storage_key).startswith("memory://results/here/")
        assert load(kept) == value
        storage.delete(str(kept.storage_key))
        with pytest.raises(MissingResult, match=r"memory://results/here/.*cannot be read.*Run it again"):
            load(kept)


class Names:
    id = "1234"


class TestNamesOfFiles:
    def test_a_template_names_the_file(self, folder: Path) -> None:
        options = result_options(result_storage_key="{flow_run.id}/{parameters[day]}-{parameters[n]:03}.json")
        kept = kept_under(42, options, flow_run=Names(), parameters={"day": "monday", "n": 7})
        assert (folder / "1234" / "monday-007.json").exists()
        assert str(kept.storage_key).startswith("1234/monday-007.json#")
        assert load(kept) == 42

    def test_a_function_names_the_file_in_a_storage_of_its_own(self, tmp_path: Path) -> None:
        kept = kept_under(42, result_options(result_storage=tmp_path, result_storage_key=lambda: "latest"))
        assert (tmp_path / "latest").exists()
        assert load(kept) == 42

    def test_a_url_can_have_names_too(self) -> None:
        kept = kept_under([1], result_options(result_storage="memory://named", result_storage_key="latest"))
        assert load(kept) == [1]

    def test_a_run_whose_file_was_written_over_never_answers_with_the_later_value(self) -> None:
        options = result_options(result_storage_key="latest")
        first, second = kept_under(1, options), kept_under(2, options)
        assert load(second) == 2
        with pytest.raises(MissingResult, match=r"latest holds a later result.*result_storage_key. Run it again"):
            load(first)

    def test_an_equal_value_written_over_is_still_the_value(self) -> None:
        options = result_options(result_storage_key="latest")
        first, _ = kept_under(1, options), kept_under(1, options)
        assert load(first) == 1

    @pytest.mark.parametrize(
        ("key", "reason"),
        [
            ("{parameters[y]}", "cannot be filled in: KeyError 'y'"),
            ("{nothing}", "cannot be filled in: KeyError 'nothing'"),
            ("../../etc/passwd", "inside the storage"),
            ("{parameters[x]}", "inside the storage"),
            ("/absolute", "inside the storage"),
            ("", "inside the storage"),
            ("a\0b", "inside the storage"),
            ("long" * 100, "too long"),
            (lambda: 42, "gave 42; it must give text"),
            (lambda: 1 / 0, "cannot be filled in: ZeroDivisionError"),
        ],
    )
    def test_a_name_that_no_file_can_have_means_that_the_value_is_not_kept(self, key: Any, reason: str, folder: Path) -> None:
        kept = keep(42, result_options(result_storage_key=key), lambda: {"parameters": {"x": "../x"}})
        assert isinstance(kept, Unkept)
        assert reason in kept.reason
        assert files(folder) == []
