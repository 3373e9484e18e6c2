"""Cache keys in a folder instead of the database, so that several databases share them: one file a key.

Who computes the result of a key holds a kernel lock on a file beside it, which goes with its process.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress
from hashlib import sha256

import msgspec

from tidemill import storage
from tidemill.exceptions import MissingResult, StoreReadOnly
from tidemill.states import ResultReference
from tidemill.store.caching import CachedResult


class _Record(msgspec.Struct):
    """What the file of a key holds."""

    key: str
    task_run_id: str
    created: int
    expires: int | None
    serializer: str
    inline: bytes | None
    storage_key: str | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Record).decode

# The locks that this process holds, by the key's file and owner.
_held: dict[tuple[str, str], int] = {}
_lock = threading.Lock()


class KeyFolder:
    """The keys in one folder; the verbs are those of `store.caching`."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def find(self, key: str, now: int) -> CachedResult | None:
        try:
            record = _decode(storage.read(self._path(key)))
        except (MissingResult, msgspec.DecodeError):
            return None
        if record.key != key or (record.expires is not None and record.expires <= now):
            return None
        reference = ResultReference(record.serializer, record.inline, record.storage_key)
        return CachedResult(record.task_run_id, record.created, record.expires, reference)

    def fill(self, key: str, result: CachedResult) -> None:
        serializer, inline, storage_key = result.reference
        if storage_key is not None:
            storage_key = storage.whole_key(storage_key)
        record = _Record(key, result.task_run_id, result.created, result.expires, serializer, inline, storage_key)
        storage.write(self._path(key), _encode(record))

    def forget(self, key: str, task_run_id: str) -> None:
        found = self.find(key, -(2**63))
        if found is not None and found.task_run_id == task_run_id:
            storage.delete(self._path(key))

    def claim(self, key: str, owner: str) -> bool:
        path = self._path(key) + ".lock"
        with _lock:
            if (path, owner) in _held:
                return True
            descriptor = self._locked(path)
            if descriptor is None:
                return False
            _held[path, owner] = descriptor
            return True

    def release(self, key: str, owner: str) -> None:
        path = self._path(key) + ".lock"
        with _lock:
            descriptor = _held.pop((path, owner), None)
            if descriptor is not None:
                with suppress(OSError):
                    os.unlink(path)
                os.close(descriptor)

    def _locked(self, path: str) -> int | None:
        """A descriptor that holds the lock on a file; None if another process or run holds it."""
        while True:
            try:
                os.makedirs(self.folder, exist_ok=True)
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            except OSError as error:
                raise StoreReadOnly(
                    f"The folder {self.folder}, key_storage of a cache policy, cannot be written: {error.strerror}. Give this "
                    "user permission, or configure another key_storage."
                ) from None
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.stat(path).st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            except FileNotFoundError:  # its last holder has removed it meanwhile: lock the one that takes its place
                pass
            os.close(descriptor)

    def _path(self, key: str) -> str:
        return os.path.join(self.folder, sha256(key.encode()).hexdigest())


def _drop_in_child() -> None:
    """The parent's locks are the parent's, and end with it."""
    for descriptor in _held.values():
        os.close(descriptor)
    _held.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_drop_in_child)
