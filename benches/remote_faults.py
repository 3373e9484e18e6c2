"""What a server costs the processes that record on it, and what becomes of their runs while it is killed again and again.

    python benches/remote_faults.py                 # ten kills, 8 processes of 500 tasks; then what a task costs
    python benches/remote_faults.py --kills 3 --processes 4 --tasks 200
    python benches/remote_faults.py --database postgres   # not the server is killed, but its PostgreSQL restarted
    python benches/remote_faults.py --only cost

It ends with 1 when a task ran twice or not at all, or is not recorded once, with its line of log.
"""

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from server_sides import postgres

SOURCE = Path(__file__).resolve().parent.parent / "src"

# So that all failures meet processes at work.
_SECONDS_A_TASK = 0.02

SCRIPT = """\
import os, sys, time
from tidemill import flow, get_run_logger, task

@task
def step(n):
    if said is not None:
        os.write(said, f"{os.getpid()}-{n}\\n".encode())
        get_run_logger().info("step %s", n)
        time.sleep(float(sys.argv[3]))
    return n

@flow
def steps(count):
    began, cpu = time.perf_counter(), time.process_time()
    for n in range(count):
        step(n)
    print((time.perf_counter() - began) / max(count, 1) * 1e6, (time.process_time() - cpu) / max(count, 1) * 1e6, flush=True)

said = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT) if len(sys.argv) > 2 else None
began = time.perf_counter()
steps(int(sys.argv[1]))
print(time.perf_counter() - began, flush=True)
"""


class Server:
    """A server that is killed and started again at the same address."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self._environment = environment(folder / "server", **settings)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/api"

    def start(self) -> None:
        command = [sys.executable, "-m", "tidemill", "server", "start", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait(self) -> None:
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            except OSError:
                time.sleep(0.02)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def fail(self) -> None:
        """Is killed, and comes back a moment later."""
        self.kill()
        time.sleep(random.uniform(0.0, 0.5))
        self.start()


def environment(home: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(SOURCE), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "TIDEMILL_HOME": str(home), **more}


def tidemill(env: dict[str, str], *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "tidemill", *arguments], env=env, check=True, capture_output=True, text=True
    ).stdout


def faults(folder: Path, database: str, times: int, processes: int, tasks: int) -> bool:
    """Whether every task ran once and is recorded once, though the server, or its PostgreSQL, went down so often meanwhile."""
    if database == "sqlite":
        server = Server(folder)
        return endured(folder, server, server.fail, "kills of the server", times, processes, tasks)
    with postgres(folder / "postgres") as there:
        server = Server(folder, TIDEMILL_DATABASE_URL=there.url)
        ways = cycle(["fast", "immediate"])
        return endured(folder, server, lambda: there.restart(next(ways)), "restarts of PostgreSQL", times, processes, tasks)


def endured(folder: Path, server: Server, fail: Callable[[], None], told: str, times: int, processes: int, tasks: int) -> bool:
    """Whether that is so, of failures as `fail` makes them."""
    script, said = folder / "steps.py", folder / "said"
    script.write_text(SCRIPT)
    server.start()
    server.wait()
    env = environment(folder / "machine", TIDEMILL_API_URL=server.url, TIDEMILL_LOGGING_LEVEL="INFO")
    subprocess.run([sys.executable, str(script), "0"], env=env, check=True, capture_output=True)  # now the server is known
    with (folder / "stderr").open("w") as errors:
        command = [sys.executable, str(script), str(tasks), str(said), str(_SECONDS_A_TASK)]
        began = time.perf_counter()
        running = [subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=errors) for _ in range(processes)]
        under_way = 0
        for _ in range(times):
            time.sleep(random.uniform(0.2, 1.5))
            under_way += any(process.poll() is None for process in running)
            fail()
        codes = [process.wait() for process in running]
    server.wait()
    tidemill(env, "journal", "ship")
    seconds = time.perf_counter() - began
    executed = said.read_text().split()
    recorded = json.loads(tidemill(env, "task-run", "ls", "--json", "--limit", "0"))
    runs = json.loads(tidemill(env, "flow-run", "ls", "--state", "completed", "--json", "--limit", "0"))
    lines = 0
    for run in runs:
        logs = json.loads(tidemill(env, "flow-run", "logs", run["id"], "--json"))
        lines += len([line for line in logs if line["message"].startswith("step ")])
    server.kill()
    expected = processes * tasks
    print(f"{times} {told} ({under_way} while processes ran) under {processes} processes of {tasks} tasks, {seconds:.1f} s:")
    print(f"  exit codes {sorted(set(codes))}; of {expected} tasks, {len(executed)} executed, {len(set(executed))} different;")
    print(
        f"  {len(recorded)} recorded, {len({run['id'] for run in recorded})} different, "
        f"{sum(run['state_name'] == 'Completed' for run in recorded)} completed; {lines} lines of log; "
        f"{len(runs)} flow runs completed"
    )
    counts = {len(executed), len(set(executed)), len(recorded), len({run["id"] for run in recorded}), lines}
    return codes == [0] * processes and counts == {expected}


def cost(folder: Path, tasks: int, repeats: int) -> None:
    """What a task costs, on a database here and through a server on this machine; and how fast a journal is shipped."""
    script = folder / "cost.py"
    script.write_text(SCRIPT)
    server = Server(folder / "cost")
    server.start()
    server.wait()
    here: list[list[float]] = []
    there: list[list[float]] = []
    for n in range(repeats):
        for found, more in ((here, {}), (there, {"TIDEMILL_API_URL": server.url})):
            env = environment(folder / f"cost-{len(more)}-{n}", TIDEMILL_LOGGING_LEVEL="WARNING", **more)
            done = subprocess.run(
                [sys.executable, str(script), str(tasks)], env=env, check=True, capture_output=True, text=True
            )
            found.append([float(word) for word in done.stdout.split()])
    for name, found in (("database here", here), ("through a server", there)):
        wall, cpu, whole = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{name}: {wall:.0f} us a task, {cpu:.0f} us of it CPU of the process; flow of {tasks} tasks {whole:.2f} s")
    server.kill()
    env = environment(folder / "shipping", TIDEMILL_API_URL=server.url, TIDEMILL_LOGGING_LEVEL="WARNING")
    server.start()
    server.wait()
    subprocess.run([sys.executable, str(script), "1"], env=env, check=True, capture_output=True)
    server.kill()
    count = 50_000
    down = {**env, "TIDEMILL_REMOTE_ACKNOWLEDGE_SECONDS": "0"}
    subprocess.run([sys.executable, str(script), str(count)], env=down, check=True, capture_output=True)
    server.start()
    server.wait()
    began = time.perf_counter()
    tidemill(env, "journal", "ship")
    seconds = time.perf_counter() - began
    print(f"shipping: {count} task runs in {seconds:.1f} s, the command's start included: {count / seconds:,.0f} a second")
    server.kill()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10, help="of the server, or restarts of its PostgreSQL")
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite", help="of the server")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=["faults", "cost"])
    chosen = parser.parse_args()
    sound = True
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        (Path(folder) / "cost").mkdir()
        if chosen.only != "cost":
            sound = faults(Path(folder), chosen.database, chosen.kills, chosen.processes, chosen.tasks)
        if chosen.only != "faults":
            cost(Path(folder), 5000, chosen.repeats)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
