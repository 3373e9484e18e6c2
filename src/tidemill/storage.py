"""Where results that are files are kept: the local folder of the settings, another folder, or whatever fsspec opens.

The key of a file says where it is, for every process that has it: a bare name is in the folder of the settings, anything else
is a whole path or URL. A file begins with a line that tells how long it is and its checksum, so that half a file, or one
that has been tampered with, is never taken for a value. Where the user chooses the names of files, a later run may write
over an earlier one's; the key then ends with the checksum too, so that the earlier run does not answer with the later value.
"""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress
from hashlib import sha256
from typing import Any
from urllib.parse import unquote, urlsplit

from tidemill import settings
from tidemill.exceptions import DefinitionError, MissingResult, StoreError, StoreFull, StoreReadOnly, StoreUnreachable
from tidemill.ids import new_id

_MARK = "tidemill-result"
# Patterns are compiled when they are first used: few programs have results that are files.
_HEADER = rb"tidemill-result 1 (?P<length>\d{1,18}) (?P<checksum>[0-9a-f]{64})\n"
_LONGEST_HEADER = 128
_PINNED = r"#(?P<checksum>[0-9a-f]{16})$"
_LONGEST_NAME = 200  # bytes of a file's name: file systems take 255, and a name for the time of writing is longer
_OUT_OF_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UnusableKey(ValueError):
    """A name that no file in a result storage can have; says why."""


def place_of(storage: object) -> str | None:
    """A result storage as an option gives it: the absolute path of a folder, or a URL; None for the folder of the settings.

    Raises:
        DefinitionError: it is neither a path nor a URL.
    """
    if storage is None:
        return None
    try:
        text = os.fspath(storage)  # type: ignore[call-overload]
    except TypeError:
        text = ""
    if not isinstance(text, str) or not text:
        raise DefinitionError(f"A result storage is a folder or a URL such as 's3://bucket/folder', not {storage!r}.")
    if text.startswith("file://"):
        return os.path.abspath(unquote(urlsplit(text).path))
    return text if _is_url(text) else os.path.abspath(os.path.expanduser(text))


def key_of(storage: str | None, name: str) -> str:
    """The key of the file `name` in a storage.

    Raises:
        UnusableKey: the name is empty or too long, or leads out of the storage.
    """
    parts = name.split("/")
    if not name or any(part in ("", ".", "..") for part in parts) or "\0" in name:
        raise UnusableKey(f"{name!r} does not name a file inside the storage (no '..', no '/' at either end)")
    if any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts):
        raise UnusableKey(f"{name[:60]!r}... is too long for the name of a file ({_LONGEST_NAME} bytes)")
    return name if storage is None else f"{storage}{'' if storage.endswith('/') else '/'}{name}"


def write(key: str, data: bytes, *, pinned: bool = False) -> str:
    """Writes a file whole or not at all, and gives the key under which to read it.

    Args:
        pinned: the name is not this file's alone: make the key one that reads these bytes and no others.

    Raises:
        StoreFull, StoreReadOnly, StoreUnreachable: the storage does not take it.
    """
    checksum = sha256(data).hexdigest()
    header = f"{_MARK} 1 {len(data)} {checksum}\n".encode()
    if _is_url(key):
        _Remote.at(key).put(header + data)
    else:
        _write_local(_path_of(key), header, data)
    return f"{key}#{checksum[:16]}" if pinned else key


def read(key: str) -> bytes:
    """The bytes that were written.

    Raises:
        MissingResult: the file cannot be read, is not whole, or another run's value has taken its place.
    """
    place, checksum = _unpinned(key)
    if _is_url(place):
        try:
            content = _Remote.at(place).get()
        except StoreUnreachable as error:
            cause = error.__cause__
            reason = f"{error}" if cause is None else f"{type(cause).__name__}: {cause}. Run it again."
            raise MissingResult(f"The result file {place} cannot be read: {reason}") from error
    else:
        place = _path_of(place)
        try:
            with open(place, "rb") as file:
                content = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise MissingResult(f"The result file {place} cannot be read: {reason}. Run it again.") from None
    return _checked(place, content, checksum)


def exists(key: str) -> bool:
    """Whether a file seems to be there, whole and not written over, judging by its first line and its length."""
    place, checksum = _unpinned(key)
    try:
        start, size = _Remote.at(place).look() if _is_url(place) else _look_local(_path_of(place))
    except (OSError, ValueError, StoreUnreachable):
        return False
    header = re.match(_HEADER, start)
    return (
        header is not None and size == header.end() + int(header["length"]) and header["checksum"].decode().startswith(checksum)
    )


def may_exist(key: str) -> bool:
    """The same, but a file at a URL gets the benefit of the doubt: looking for it takes as long as reading it."""
    return _is_url(key) or exists(key)


def delete(key: str) -> None:
    """Removes a file, if it is there and has not been written over by another run."""
    place, checksum = _unpinned(key)
    if checksum and not exists(key):
        return
    with suppress(OSError, ValueError, StoreUnreachable):
        if _is_url(place):
            _Remote.at(place).remove()
        else:
            os.unlink(_path_of(place))


def whole_key(key: str) -> str:
    """The key as one with another result folder in its settings can use it."""
    return key if _is_url(key) else _path_of(key)


def _is_url(text: str) -> bool:
    return "://" in text


def _path_of(key: str) -> str:
    return os.path.join(settings.current().results_storage_path, key)


def _unpinned(key: str) -> tuple[str, str]:
    """The key of the file, and how its checksum begins where the key says so."""
    pinned = re.search(_PINNED, key)
    return (key, "") if pinned is None else (key[: pinned.start()], pinned["checksum"])


def _checked(place: str, content: bytes, checksum: str) -> bytes:
    header = re.match(_HEADER, content)
    if header is None:
        problem = "it does not begin as a result file does"
    elif not header["checksum"].decode().startswith(checksum):
        raise MissingResult(
            f"The result file {place} holds a later result: another run wrote over it, under the same result_storage_key. "
            "Run it again."
        )
    else:
        data = content[header.end() :]
        if len(data) != int(header["length"]):
            problem = f"it has {len(data):,} of {int(header['length']):,} bytes"
        elif sha256(data).hexdigest().encode() != header["checksum"]:
            problem = "its bytes are not those that were written"
        else:
            return data
    raise MissingResult(f"The result file {place} cannot be read back: {problem}. Run it again.")


def _write_local(path: str, header: bytes, data: bytes) -> None:
    unfinished = f"{path}.{new_id()}.part"
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            _write_whole(unfinished, path, header, data)
        except BaseException:
            with suppress(OSError):
                os.unlink(unfinished)
            raise
    except OSError as error:
        kind = StoreFull if error.errno in _OUT_OF_ROOM else StoreReadOnly
        raise kind(
            f"The result file {path} cannot be written: {error.strerror}. Make room or give this user permission, or keep "
            "results in another folder (TIDEMILL_RESULTS_STORAGE_PATH, or result_storage of the flow or task)."
        ) from None


def _write_whole(unfinished: str, path: str, header: bytes, data: bytes) -> None:
    durable = settings.current().durability == "power"
    with open(unfinished, "wb") as file:
        file.write(header)
        file.write(data)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(unfinished, path)
    if durable:  # the file's name is in the folder, which is another file
        folder = os.open(os.path.dirname(path), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _look_local(path: str) -> tuple[bytes, int]:
    with open(path, "rb") as file:
        return file.read(_LONGEST_HEADER), os.fstat(file.fileno()).st_size


class _Remote:
    """A file that fsspec reaches. Whatever goes wrong there, a missing package included, is a StoreUnreachable."""

    def __init__(self, url: str, file_system: Any, path: str) -> None:
        self.url = url
        self.file_system = file_system
        self.path = path

    @classmethod
    def at(cls, url: str) -> _Remote:
        try:
            from fsspec.core import url_to_fs  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
        except ImportError:
            raise StoreUnreachable(
                f"{url} is a URL, and reading and writing those needs fsspec, which is not installed. Install it: "
                'pip install "tidemill[fsspec]" (and what it needs for this kind of storage, such as s3fs).'
            ) from None
        try:
            file_system, path = url_to_fs(url)  # pyright: ignore[reportUnknownVariableType]
        except Exception as error:  # an unknown protocol, a missing package, credentials
            raise _unreachable(url, error) from error
        return cls(url, file_system, path)  # pyright: ignore[reportUnknownArgumentType]

    def put(self, content: bytes) -> None:
        try:
            try:
                self.file_system.pipe_file(self.path, content)
            except FileNotFoundError:  # a storage that has real folders
                self.file_system.makedirs(self.path.rpartition("/")[0], exist_ok=True)
                self.file_system.pipe_file(self.path, content)
        except Exception as error:  # each kind of storage has errors of its own
            raise _unreachable(self.url, error) from error

    def get(self) -> bytes:
        try:
            return self.file_system.cat_file(self.path)
        except Exception as error:
            raise _unreachable(self.url, error) from error

    def look(self) -> tuple[bytes, int]:
        try:
            size = self.file_system.size(self.path)
            return self.file_system.cat_file(self.path, start=0, end=min(_LONGEST_HEADER, size)), size
        except Exception as error:
            raise _unreachable(self.url, error) from error

    def remove(self) -> None:
        try:
            self.file_system.rm_file(self.path)
        except Exception as error:
            raise _unreachable(self.url, error) from error


def _unreachable(url: str, error: Exception) -> StoreError:
    return StoreUnreachable(f"{url} cannot be used: {type(error).__name__}: {error}. Run it again when it can.")
