"""Scripts that are killed, and what they said until then."""

import re
import signal
import textwrap

import pytest

PRELUDE = """\
import os, signal, sys, threading, time
from tidemill import flow, task, runtime, get_run_logger

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def hold():
    import ctypes
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.valid_signals()))
    say("held", os.getpid())
    ctypes.PyDLL(None).sleep(600)

"""
"""What the scripts share. What they say is out before the next instruction, in one piece and whatever happens then. `hold` gets
stuck inside C code that keeps the interpreter lock and lets no signal through."""


def with_prelude(source):
    return PRELUDE + textwrap.dedent(source)


@pytest.fixture
def say(run_script):
    """Runs a script and gives the lines that it said. `code` is how it is to end; `killed`, that it kills itself."""

    def run(source, *args, killed=False, code=0, **options):
        done = run_script(with_prelude(source), *args, **options)
        assert done.returncode == (-signal.SIGKILL if killed else code), done.stdout + done.stderr
        return done.stdout.splitlines()

    return run


@pytest.fixture
def start_saying(start_script):
    """Starts such a script and hands over its process."""
    return lambda source, *args, **options: start_script(with_prelude(source), *args, **options)


@pytest.fixture
def start_held(start_saying):
    """Starts such a script, which calls `hold` in whatever process; gives its process and the number of that one."""

    def start(source, *args, **options):
        process = start_saying(source, *args, **options)
        (line,) = process.lines(1)
        assert line.startswith("held "), process.told
        return process, int(line.removeprefix("held "))

    return start


@pytest.fixture(scope="session")
def two_of():
    """Two editions of a script, with other words in the place of MOMENT."""
    return lambda source, first, second: tuple(re.sub(r"\bMOMENT\b", words, source) for words in (first, second))
