"""Files of results: whole or not at all, and never taken for what they are not."""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill import settings, storage
from tidemill.exceptions import DefinitionError, MissingResult, StoreFull, StoreReadOnly, StoreUnreachable

DATA = b"tide" * 1_000


@pytest.fixture(params=["settings", "folder", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """A result storage of each kind."""
    if request.param == "memory":
        yield "memory://tests"
        from fsspec import filesystem

        filesystem("memory").store.clear()
    else:
        yield None if request.param == "settings" else str(tmp_path / "folder")


def content_of(key: str) -> bytes:
    """The bytes of the file itself."""
    if "://" in key:
        from fsspec import open as open_url

        with open_url(key) as file:
            return file.read()
    return Path(storage.whole_key(key)).read_bytes()


def replace(key: str, content: bytes) -> None:
    if "://" in key:
        from fsspec.core import url_to_fs

        file_system, path = url_to_fs(key)
        file_system.pipe_file(path, content)
    else:
        Path(storage.whole_key(key)).write_bytes(content)


@pytest.mark.parametrize("data", [b"", b"x", DATA, b"tidemill-result 1 3 " + b"0" * 64 + b"\nabc"])
def test_what_was_written_is_read(place: str | None, data: bytes) -> None:
    key = storage.write(storage.key_of(place, "a/b"), data)
    assert storage.exists(key)
    assert storage.read(key) == data


def test_the_first_line_says_what_the_file_is(place: str | None) -> None:
    key = storage.write(storage.key_of(place, "a"), DATA)
    assert content_of(key).startswith(b"tidemill-result 1 4000 ")
    assert content_of(key).endswith(b"\n" + DATA)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-1], "it has 3,999 of 4,000 bytes"),
        (lambda content: content + b"x", "it has 4,001 of 4,000 bytes"),
        (lambda content: content[:-1] + b"x", "its bytes are not those that were written"),
        (lambda content: content[:10], "it does not begin as a result file does"),
        (lambda content: b"", "it does not begin as a result file does"),
        (lambda content: DATA, "it does not begin as a result file does"),
    ],
)
def test_a_damaged_file_is_a_missing_result(place: str | None, damage: Any, reason: str) -> None:
    key = storage.write(storage.key_of(place, "a"), DATA)
    replace(key, damage(content_of(key)))
    with pytest.raises(MissingResult, match=rf"a cannot be read back: {reason}. Run it again"):
        storage.read(key)
    assert storage.exists(key) is ("not those that were written" in reason)


def test_a_file_that_is_gone_is_a_missing_result(place: str | None) -> None:
    key = storage.write(storage.key_of(place, "a"), DATA)
    storage.delete(key)
    assert not storage.exists(key)
    with pytest.raises(MissingResult, match=r"cannot be read: .*Run it again"):
        storage.read(key)
    storage.delete(key)


def test_a_pinned_key_reads_its_own_bytes_only(place: str | None) -> None:
    first = storage.write(storage.key_of(place, "a"), b"1", pinned=True)
    second = storage.write(storage.key_of(place, "a"), b"2", pinned=True)
    assert storage.read(second) == b"2"
    assert not storage.exists(first)
    with pytest.raises(MissingResult, match="holds a later result"):
        storage.read(first)


def test_deleting_by_a_pinned_key_leaves_the_file_that_took_its_place(place: str | None) -> None:
    first = storage.write(storage.key_of(place, "a"), b"1", pinned=True)
    second = storage.write(storage.key_of(place, "a"), b"2", pinned=True)
    storage.delete(first)
    assert storage.read(second) == b"2"
    storage.delete(second)
    assert not storage.exists(second)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (None, None),
        ("/a/b/", "/a/b"),
        (Path("/a/b"), "/a/b"),
        ("~", os.path.expanduser("~")),
        ("file:///a%20b", "/a b"),
        ("s3://bucket/folder", "s3://bucket/folder"),
        ("memory://", "memory://"),
    ],
)
def test_a_storage_is_a_folder_or_a_url(given: Any, place: str | None) -> None:
    assert storage.place_of(given) == place


@pytest.mark.parametrize("given", ["", 42, b"folder", ["folder"]])
def test_what_is_neither_is_refused(given: Any) -> None:
    with pytest.raises(DefinitionError, match="a folder or a URL"):
        storage.place_of(given)


@pytest.mark.parametrize(
    ("place", "key"),
    [(None, "a/b"), ("/x", "/x/a/b"), ("s3://x", "s3://x/a/b"), ("s3://x/", "s3://x/a/b"), ("memory://", "memory://a/b")],
)
def test_a_key_says_where_the_file_is(place: str | None, key: str) -> None:
    assert storage.key_of(place, "a/b") == key


def test_the_folder_of_the_settings_may_move_and_its_keys_stay(home: Path, tmp_path: Path) -> None:
    key = storage.write("a", DATA)
    assert storage.whole_key(key) == str(home / "results" / "a")
    os.rename(home / "results", tmp_path / "moved")
    with settings.using(results_storage_path=str(tmp_path / "moved")):
        assert storage.read(key) == DATA


def test_what_cannot_be_written_leaves_nothing_and_says_what_to_do(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(source: str, target: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "replace", no_room)
    with pytest.raises(StoreFull, match=r"results/a cannot be written: No space left.*TIDEMILL_RESULTS_STORAGE_PATH"):
        storage.write("a", DATA)
    assert os.listdir(home / "results") == []


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        storage.write(str(tmp_path / "file" / "a"), DATA)


def test_a_url_of_an_unknown_kind_is_told() -> None:
    with pytest.raises(StoreUnreachable, match="zzz://a/b cannot be used: ValueError: Protocol not known: zzz"):
        storage.write("zzz://a/b", DATA)
    with pytest.raises(MissingResult, match=r"cannot be read: ValueError: Protocol not known: zzz. Run it again"):
        storage.read("zzz://a/b")
    assert not storage.exists("zzz://a/b")


def test_without_fsspec_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(StoreUnreachable, match=r'pip install "tidemill\[fsspec\]"'):
        storage.write("memory://a", DATA)
    with pytest.raises(MissingResult, match=r'pip install "tidemill\[fsspec\]"'):
        storage.read("memory://a")


def test_writers_of_one_name_never_mix(home: Path) -> None:
    written: list[str] = []

    def write(letter: str) -> None:
        written.extend(storage.write("a", letter.encode() * 100_000, pinned=True) for _ in range(20))

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(storage.read("a"))) == 1
    assert len(set(written)) == 4
    assert os.listdir(home / "results") == ["a"]


def test_power_durability_writes_the_same(home: Path) -> None:
    with settings.using(durability="power"):
        assert storage.read(storage.write("a", DATA)) == DATA
