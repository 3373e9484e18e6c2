"""The `tidemill` command."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper

from tidemill.exceptions import TidemillError
from tidemill.version import __version__

# What a shell reports for a command that was stopped by SIGINT or that wrote into a closed pipe.
_INTERRUPTED = 128 + 2
_PIPE_CLOSED = 128 + 13


def main() -> int:
    """Runs the command line in `sys.argv` and returns the exit code.

    Errors of ours are one line on stderr, without a traceback; what is none of ours keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except TidemillError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough. Python would complain at exit about what it cannot flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    return code


def _run(arguments: list[str]) -> int:
    if arguments in (["--version"], ["-v"]):
        print(__version__)
        return 0
    from tidemill.cli.app import run

    return run(arguments)


__all__ = ["main"]
