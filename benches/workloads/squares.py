"""Runs COUNT tasks and prints, as soon as each has ended, its number and result: `squares.py COUNT`.

The first line is the flow run's id. `crash.py` kills this script and asks whether what it printed is true.
"""

import os
import sys

from tidemill import flow, runtime, task


@task
def square(n):
    return [n, n * n]


@flow
def squares(count):
    os.write(1, f"{runtime.flow_run.id}\n".encode())
    for n in range(count):
        number, result = square(n)
        os.write(1, b"%d %d\n" % (number, result))


squares(int(sys.argv[1]))
