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

"""
"""What the scripts share. What they say is out before the next instruction, whatever happens then."""


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


@pytest.fixture(scope="session")
def two_of():
    """Two editions of a script, with other words in the place of MOMENT."""
    return lambda source, first, second: tuple(re.sub(r"\bMOMENT\b", words, source) for words in (first, second))
