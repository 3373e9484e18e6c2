"""The web page: where its built files are, and how browsers get them.

It is small, so it is read whole when the server starts: what is served then fits together whatever is built meanwhile, and a
request can name no other file.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from litestar.types import HTTPScope, Receive, Send

Header = tuple[bytes, bytes]

# What the page may load, and from where: its own files, and nothing else.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
# Not those of the machine, which differ.
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
_COMPRESSED_ALREADY = frozenset({".png", ".woff2"})
# For developers, and larger than all the rest.
_NOT_SERVED = frozenset({".map"})
# The names of the files below it change with what they hold.
_HASHED = "/assets/"
_FOR_A_YEAR = b"public, max-age=31536000, immutable"
_ASK_AGAIN = b"no-cache"

# As the build writes it.
_BASE = '<base href="/" />'
_NOT_BUILT = f"""\
<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    {_BASE}
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <title>Tidemill</title>
  </head>
  <body>
    <h1>Tidemill</h1>
    <p>This server works, but its web page has not been built. That takes Node.js with npm when Tidemill is installed, and
    there was none, or it failed.</p>
    <p>To get the page, install Node.js, and then Tidemill again from its checkout; this says what is wrong if it fails:</p>
    <pre>TIDEMILL_REQUIRE_PAGE=1 pip install --force-reinstall --no-deps .</pre>
    <p>Then start the server anew: <code>tidemill server stop</code>, <code>tidemill server start</code>.</p>
    <p>Everything else is there: the <a href="docs">API</a>, and the command line (<code>tidemill --help</code>).</p>
  </body>
</html>
"""
_NO_SUCH_FILE = b"The page has no such file. If it was renewed meanwhile, load it again.\n"


def find() -> Path | None:
    """The folder of the built page: that of the checkout which this package is in, else the one beside this module; None if
    the page was not built."""
    here = Path(__file__).resolve().parent
    folders = [here / "page_files"]
    if here.parents[1].name == "src":
        folders.insert(0, here.parents[2] / "ui" / "dist")
    return next((folder for folder in folders if (folder / "index.html").is_file()), None)


class Page:
    """Answers requests for the page's files; any other address gives the page itself, which knows what to show there.

    Args:
        folder: of its files; None if it was not built.
        base: the path below which browsers find it.
    """

    def __init__(self, folder: Path | None, base: str) -> None:
        self._is_built = folder is not None
        self._files = {} if folder is None else {f"/{name}": _File(f"/{name}", body) for name, body in _read(folder)}
        index = _NOT_BUILT if folder is None else self._files["/index.html"].body.decode()
        self._index = _File("/index.html", index.replace(_BASE, f'<base href="{base.rstrip("/")}/" />', 1).encode())
        self._files["/index.html"] = self._index

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        file = self._files.get(path) or (None if path.startswith(_HASHED) else self._index)
        if file is None:
            about = [(b"content-type", _KINDS[".txt"].encode()), (b"cache-control", b"no-store")]
            await _send(scope, send, 404, about, _NO_SUCH_FILE)
            return
        # Among the metrics all files are one, and all addresses of the page another.
        cast("dict[str, Any]", scope)["path_template"] = "/" if file is self._index else "/{file}"
        if _has(scope["headers"], file.tag):
            await _send(scope, send, 304, file.on_each_answer, None)
            return
        compressed = file.compressed if _takes_gzip(scope["headers"]) else None
        about = [*file.on_each_answer, (b"content-type", file.kind)]
        if compressed is not None:
            about.append((b"content-encoding", b"gzip"))
        status = 200 if self._is_built or path == "/" else 404
        await _send(scope, send, status, about, file.body if compressed is None else compressed)


class _File:
    """A file of the page, as it is and compressed."""

    def __init__(self, path: str, body: bytes) -> None:
        self.body = body
        self._suffix = Path(path).suffix
        self.kind = _KINDS.get(self._suffix, "application/octet-stream").encode()
        # A weak one: compressed or not, it is the same file.
        self.tag = b'W/"%s"' % hashlib.sha256(body).hexdigest()[:20].encode()
        self.on_each_answer: list[Header] = [
            (b"cache-control", _FOR_A_YEAR if path.startswith(_HASHED) else _ASK_AGAIN),
            (b"content-security-policy", _POLICY.encode()),
            (b"etag", self.tag),
            (b"vary", b"Accept-Encoding"),
        ]

    @cached_property
    def compressed(self) -> bytes | None:
        """Made when somebody first asks for it; None if it gains nothing."""
        if self._suffix in _COMPRESSED_ALREADY:
            return None
        made = gzip.compress(self.body, mtime=0)
        return made if len(made) < len(self.body) else None


def _read(folder: Path) -> Iterable[tuple[str, bytes]]:
    """The files with their paths below the folder; without hidden ones, which the build makes for itself."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and path.suffix not in _NOT_SERVED and not any(part.startswith(".") for part in name.parts):
            yield name.as_posix(), path.read_bytes()


async def _send(scope: HTTPScope, send: Send, status: Any, about: list[Header], body: bytes | None) -> None:
    if body is not None:
        about = [*about, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": about})
    shown = b"" if body is None or scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown, "more_body": False})


def _listed(headers: Iterable[Header], name: bytes) -> list[bytes]:
    return [part.strip() for key, value in headers if key == name for part in value.split(b",")]


def _has(headers: Iterable[Header], tag: bytes) -> bool:
    """Whether the browser has the file with this tag already."""
    return any(
        each == b"*" or each.removeprefix(b"W/") == tag.removeprefix(b"W/") for each in _listed(headers, b"if-none-match")
    )


def _takes_gzip(headers: Iterable[Header]) -> bool:
    for part in _listed(headers, b"accept-encoding"):
        name, _, quality = part.replace(b" ", b"").lower().partition(b";q=")
        if name in (b"gzip", b"*"):
            return quality.strip(b"0.") != b"" or not quality
    return False
