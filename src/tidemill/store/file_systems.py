"""Which file systems can hold a database."""

from __future__ import annotations

import os

from tidemill.exceptions import StoreUnreachable

_NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "fuse.s3fs"})


def refuse_network_file_system(folder: str) -> None:
    """SQLite's shared memory does not work between machines, and two writers would destroy the file.

    Raises:
        StoreUnreachable: the folder is on a network file system.
    """
    kind = file_system_of(folder)
    if kind in _NETWORK_FILE_SYSTEMS:
        raise StoreUnreachable(
            f"{folder} is on a network file system ({kind}), where SQLite can lose data. Set TIDEMILL_HOME to a folder on "
            "a local disk."
        )


def file_system_of(folder: str) -> str | None:
    """The type of the file system that holds a folder, from Linux's table of mounts; None where there is no such table."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as table:
            for line in table:
                fields = line.split(" ")
                if fields[2] == wanted:
                    return fields[fields.index("-") + 1]
    except (OSError, ValueError, IndexError):
        pass
    return None
