"""Many clients at once against one HTTP API: each keeps a connection and sends one request after the other.

Run as a program it is one process of such clients: it reads what to do from stdin and prints what it saw, both as JSON.
The client is raw on purpose: a library's would cost more than the server that is measured.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

# Two cores: more processes of clients than this only take time from the server.
_PROCESSES = 2
_PATIENCE = 120.0


@dataclass
class Seen:
    """What clients saw: how long each answer took, which were no success, and what the successes said."""

    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    answers: list[str] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Successes a second."""
        return (len(self.milliseconds) - self.errors.total()) / self.seconds

    def percentile(self, percent: float) -> float:
        """Milliseconds within which so many of the answers came."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, math.ceil(len(ordered) * percent / 100) - 1)]

    def told(self) -> str:
        errors = ", ".join(f"{count} x {error}" for error, count in self.errors.items()) or "no error"
        return f"{self.rate:,.0f}/s, p50 {self.percentile(50):.1f} ms, p99 {self.percentile(99):.1f} ms, {errors}"


Request = tuple[str, str, Any]


def hammer(url: str, requests: Sequence[Request], clients: int, *, keep: str | None = None) -> Seen:
    """Sends the requests (method, path, body), shared out among `clients`, and gives what they saw.

    Args:
        url: of the API, e.g. `http://127.0.0.1:4200/api`.
        keep: the field of each answer to give back.
    """
    processes = min(_PROCESSES, clients)
    shares = [list(requests[number::processes]) for number in range(processes)]
    started = [
        subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in shares
    ]
    for process, share in zip(started, shares, strict=True):
        json.dump({"url": url, "requests": share, "clients": clients // processes, "keep": keep}, process.stdin)
        process.stdin.write("\n")
        process.stdin.flush()
    for process in started:
        process.stdout.readline()  # it has read everything
    begin = time.perf_counter()
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    seen = Seen()
    for process in started:
        said = json.loads(process.stdout.readline())
        seen.milliseconds += said["milliseconds"]
        seen.errors.update(said["errors"])
        seen.answers += said["answers"]
    seen.seconds = time.perf_counter() - begin
    for process in started:
        process.communicate()
    return seen


class Connection:
    """One client's connection, which is made anew when the server closes it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._base = parts.path
        self._socket: socket.socket | None = None
        self._rest = b""

    def ask(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        content = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {self._base}{path} HTTP/1.1\r\nHost: {self._address[0]}:{self._address[1]}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        if self._socket is None:
            self._socket = socket.create_connection(self._address, _PATIENCE)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._rest = b""
        try:
            self._socket.sendall(head.encode() + content)
            return self._answer()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _answer(self) -> tuple[int, bytes]:
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        self._rest = rest
        while len(self._rest) < length:
            self._more()
        content, self._rest = self._rest[:length], self._rest[length:]
        if headers.get("connection", "").lower() == "close":
            self.close()
        return int(status.split()[1]), content

    def _more(self) -> None:
        piece = self._socket.recv(1 << 18) if self._socket else b""
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        self._rest += piece


def _client(url: str, requests: Iterator[Request], keep: str | None, seen: Seen) -> None:
    connection = Connection(url)
    for method, path, body in requests:
        begin = time.perf_counter()
        try:
            status, content = connection.ask(method, path, body)
        except OSError as error:
            seen.errors[type(error).__name__] += 1
            status, content = 0, b""
        seen.milliseconds.append((time.perf_counter() - begin) * 1000)
        if status >= 300:
            seen.errors[str(status)] += 1
        elif keep is not None and content:
            seen.answers.append(json.loads(content)[keep])
    connection.close()


def main() -> None:
    job = json.loads(sys.stdin.readline())
    shares = [iter(job["requests"][number :: job["clients"]]) for number in range(job["clients"])]
    seen = [Seen() for _ in shares]
    threads = [
        threading.Thread(target=_client, args=(job["url"], share, job["keep"], mine))
        for share, mine in zip(shares, seen, strict=True)
    ]
    print("ready", flush=True)
    sys.stdin.readline()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    errors: Counter[str] = Counter()
    for mine in seen:
        errors.update(mine.errors)
    answers = [answer for mine in seen for answer in mine.answers]
    print(
        json.dumps({"milliseconds": [one for mine in seen for one in mine.milliseconds], "errors": errors, "answers": answers})
    )


if __name__ == "__main__":
    main()
