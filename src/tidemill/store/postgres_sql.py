"""The store's SQL, which is SQLite's, as PostgreSQL takes it.

Most statements are the same for both. What only PostgreSQL needs stands in the statement as `/*postgres: ... */`, a comment
to SQLite: row locks, mostly, since there writers do not queue.
"""

from __future__ import annotations

import re
from functools import lru_cache

_ONLY_HERE = re.compile(r"/\*postgres:(.*?)\*/", re.DOTALL)
# What holds no marks (strings, names in quotes, comments); lists that are empty, which only SQLite takes; marks.
_TOKEN = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|\bIN \(\)|\?(\d*)", re.DOTALL)


@lru_cache(maxsize=2048)
def translate(sql: str) -> bytes:
    """The statement with numbered marks ($1) for question marks, and with what is for PostgreSQL only."""
    last = 0

    def replace(token: re.Match[str]) -> str:
        nonlocal last
        text = token[0]
        if text == "IN ()":
            return "IN (NULL)"
        if not text.startswith("?"):
            return text
        number = int(token[1]) if token[1] else last + 1
        last = max(last, number)
        return f"${number}"

    return _TOKEN.sub(replace, _ONLY_HERE.sub(r"\1", sql)).encode()
