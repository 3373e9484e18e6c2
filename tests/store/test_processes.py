"""Whether a process is gone, tried on real ones."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tidemill import clock
from tidemill.orchestration import processes
from tidemill.orchestration.processes import is_gone
from tidemill.records import Lease

HOUR = 3600.0


def lease_of(pid: int, *, overdue: bool = False) -> Lease:
    return processes.new_lease(pid, -HOUR if overdue else HOUR)


def both(pid: int) -> list[bool]:
    """Whether it is gone before its deadline, and after."""
    return [is_gone(lease_of(pid, overdue=overdue), clock.now()) for overdue in (False, True)]


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield started
    started.kill()
    started.communicate()


def test_a_process_that_lives_is_not_gone_however_late_it_is(process: subprocess.Popen[bytes]) -> None:
    assert both(process.pid) == both(os.getpid()) == [False, False]


def test_one_that_was_killed_is_gone_at_once(process: subprocess.Popen[bytes], wait_until: Callable[..., None]) -> None:
    lease = lease_of(process.pid)
    process.kill()
    wait_until(lambda: is_gone(lease, clock.now()))  # a zombie, nobody has waited for it
    process.wait()
    assert is_gone(lease, clock.now())


def test_one_that_is_stopped_is_gone_after_its_deadline(
    process: subprocess.Popen[bytes], wait_until: Callable[..., None]
) -> None:
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: both(process.pid) == [False, True])
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: both(process.pid) == [False, False])


def test_another_process_of_the_same_id_is_not_the_one(process: subprocess.Popen[bytes]) -> None:
    lease = lease_of(process.pid)
    assert lease.process_start is not None
    assert is_gone(msgspec.structs.replace(lease, process_start=lease.process_start - 1), clock.now())
    assert not is_gone(msgspec.structs.replace(lease, process_start=None), clock.now())


@pytest.mark.parametrize("place", ["another-boot/1", "another-machine"])
def test_of_a_process_elsewhere_only_the_deadline_tells(place: str) -> None:
    for overdue in (False, True):
        lease = msgspec.structs.replace(lease_of(os.getpid(), overdue=overdue), boot_id=place)
        assert is_gone(lease, clock.now()) is overdue


def test_the_names_of_programs_may_hold_anything() -> None:
    named = subprocess.Popen(
        [sys.executable, "-c", "open('/proc/self/comm', 'w').write('a) Z 1 (b'); print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert named.stdout is not None
        named.stdout.readline()
        assert "a) Z 1 (b" in Path(f"/proc/{named.pid}/stat").read_text()
        assert both(named.pid) == [False, False]
        start = processes.start_time(named.pid)
        assert start is not None
        assert abs(start - (processes.start_time(os.getpid()) or 0)) < 100 * 3600
    finally:
        named.kill()
        named.communicate()


def test_a_place_names_the_boot_and_the_container() -> None:
    boot_id, namespace = processes.place().split("/")
    assert boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert int(namespace) == os.stat("/proc/self/ns/pid").st_ino
