"""A flow whose process is killed in the middle, and that goes on where it stopped: nobody is paid twice.

This script starts itself twice. The first process is killed by SIGKILL (as by a lack of memory, or `kill -9`) in its third
payment. The second one calls the same flow for the same day, and so continues the same run: the payments that were made give
their kept receipts, the others are made. Every payment really made is a line in `ledger.txt`.

Instead of calling the flow again one may write `tidemill flow-run resume NAME`.
"""

import os
import signal
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from tidemill import flow, task

LEDGER = "ledger.txt"


@task
def pay(order: int) -> str:
    if order == 3 and "--crash" in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    with open(LEDGER, "a") as ledger:
        print(f"paid order {order}", file=ledger)
    return f"receipt {order}"


@flow(idempotency_key="payments of {day} in {folder}")
def payments(day: date, folder: str, orders: list[int]) -> list[str]:
    return [pay(order) for order in orders]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        killed = subprocess.run([sys.executable, __file__, folder, "--crash"], check=False)
        print(f"The first process was ended by signal {-killed.returncode}")
        subprocess.run([sys.executable, __file__, folder], check=True)
        lines = Path(folder, LEDGER).read_text().splitlines()
    print(f"{len(lines)} payments for 5 orders, {len(set(lines))} of them different")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        os.chdir(sys.argv[1])
        print(payments(date(2024, 5, 1), sys.argv[1], [1, 2, 3, 4, 5]), flush=True)
    else:
        main()
