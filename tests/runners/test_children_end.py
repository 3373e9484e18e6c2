"""Child processes: how they end, that they say so, and that none is left behind."""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidemill.runners.children import Child, ChildDied

pytestmark = pytest.mark.program


# How it ends


@pytest.mark.parametrize(
    ("function", "code", "number", "told"),
    [
        (lambda _: os._exit(3), 3, None, "exited with code 3"),
        (lambda _: os._exit(137), 137, None, r"exited with code 137, which stands for signal SIGKILL \(9\)"),
        (lambda _: os.kill(os.getpid(), 9), None, 9, r"was killed by signal SIGKILL \(9\), perhaps by the system for lack of"),
        (lambda _: os.kill(os.getpid(), 15), None, 15, r"was killed by signal SIGTERM \(15\), somebody asked"),
        (lambda _: ctypes.string_at(0), None, 11, r"was killed by signal SIGSEGV \(11\), a crash in C code"),
    ],
)
def test_how_it_died_is_told(child, function, code, number, told, call):
    with pytest.raises(ChildDied, match=f"The child process {child.pid} {told}") as caught:
        call(child, function)
    error = caught.value
    assert (error.exit_code, error.signal, error.stopped, error.begun) == (code, number, False, True)
    assert not child.is_idle
    with pytest.raises(ChildDied, match=told) as again:
        call(child, lambda _: None)
    assert not again.value.begun


def test_it_is_noticed_although_a_copy_holds_the_connection(child, call):
    def leaves_a_copy(_):
        if ctypes.PyDLL(None).fork() == 0:  # not Python's own fork, which lets go of the connection
            time.sleep(600)
        os._exit(4)

    with pytest.raises(ChildDied, match="exited with code 4"):
        call(child, leaves_a_copy)


def test_what_a_dead_child_has_started_is_gone_too(child, tmp_path, wait_until, call, lives):
    def starts_others(place):
        started = [subprocess.Popen(["sleep", "600"]).pid, os.fork() or time.sleep(600)]
        Path(place).write_text(json.dumps(started))
        os._exit(0)

    with pytest.raises(ChildDied, match="exited with code 0 before it replied"):
        call(child, starts_others, str(tmp_path / "started"))
    wait_until(lambda: not any(map(lives, json.loads((tmp_path / "started").read_text()))))


def test_a_function_that_closes_all_files_ends_the_child(child, call):
    def closes(_):
        os.closerange(0, 100)
        time.sleep(600)

    with pytest.raises(ChildDied, match="closed its connection to this process") as caught:
        call(child, closes)
    assert caught.value.signal == signal.SIGKILL


C_CALL = "ctypes.PyDLL(None).sleep(600)"  # holds the interpreter's lock, so that no Python code runs beside it
PYTHON = "time.sleep(600)"


@pytest.mark.parametrize("inside", [C_CALL, PYTHON], ids=["C call", "Python"])
def test_kill_ends_whatever_it_does_and_what_it_started(child, inside, tmp_path, wait_until, call, lives):
    place = tmp_path / "started"

    def stuck(given):
        place, inside = given
        others = [subprocess.Popen(["sleep", "600"]).pid, os.fork() or time.sleep(600)]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(f"{place}.new").write_text(json.dumps(others))
        Path(f"{place}.new").rename(place)
        exec(f"import ctypes; {inside}")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, child, stuck, [str(place), inside])
        wait_until(place.exists)
        child.kill()
        with pytest.raises(ChildDied, match=f"The child process {child.pid} was stopped") as caught:
            future.result(60)
    assert caught.value.stopped
    assert not lives(child.pid)
    wait_until(lambda: not any(map(lives, json.loads(place.read_text()))))
    child.kill()


def test_an_exception_while_waiting_kills_the_child(child, call, lives):
    """Nobody waits for the reply any more, and the next call must not get it."""

    class Stop(Exception): ...

    def stop(number, frame):
        raise Stop

    previous = signal.signal(signal.SIGUSR1, stop)
    try:
        parent = os.getpid()

        def stuck(parent):
            os.kill(parent, signal.SIGUSR1)
            time.sleep(600)

        with pytest.raises(Stop):
            call(child, stuck, parent)
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert not lives(child.pid)
    assert not child.is_idle


def test_a_child_executes_one_call_at_a_time(child, tmp_path, wait_until, call):
    def waits(place):
        Path(place, "begun").touch()
        while not Path(place, "go").exists():
            time.sleep(0.01)
        return "done"

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(call, child, waits, str(tmp_path))
        wait_until((tmp_path / "begun").exists)
        with pytest.raises(RuntimeError, match="executes another call"):
            call(child, lambda _: None)
        assert not child.is_idle
        (tmp_path / "go").touch()
        assert future.result(60) == "done"
    assert child.is_idle


def test_close_lets_it_end_as_a_program_does(child, tmp_path, call, lives):
    def registers(place):
        import atexit

        atexit.register(Path(place).write_text, "said goodbye")

    call(child, registers, str(tmp_path / "word"))
    child.close()
    assert (tmp_path / "word").read_text() == "said goodbye"
    assert not lives(child.pid)


def test_close_does_not_wait_for_ever(child, call, lives):
    call(child, lambda _: threading.Thread(target=time.sleep, args=(600,)).start())
    child.close(patience=0.1)
    assert not lives(child.pid)


def test_kill_does_not_wait_for_who_closes(child, wait_until, call, lives):
    call(child, lambda _: threading.Thread(target=time.sleep, args=(600,)).start())
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(child.close, patience=600)
        wait_until(closing.running)
        child.kill()
        closing.result(60)
    assert not lives(child.pid)


def test_what_is_told_of_a_death_can_be_kept(child, call):
    with pytest.raises(ChildDied) as caught:
        call(child, lambda _: os._exit(3))
    kept = pickle.loads(pickle.dumps(caught.value))
    assert (str(kept), vars(kept)) == (str(caught.value), vars(caught.value))


def test_where_no_interpreter_is_known(monkeypatch):
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(ChildDied, match=r"Set sys\.executable"):
        Child.start()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChildDied, match=r"No child process can be started: .*No such file"):
        Child.start()


# Never left behind

PARENT = """
    import json, os, subprocess, sys, threading, time
    from tidemill.runners.children import Children
    from tidemill.serializers import dump_by_value

    def pids(_):
        other = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return json.dumps([os.getpid(), other.pid]).encode()

    def stuck(place):
        import ctypes
        open(place, "w").close()
        ctypes.PyDLL(None).sleep(600)

    place = os.environ["TIDEMILL_HOME"] + ".busy"
    children = Children()
    busy, idle = children.take(), children.take()
    started = [pid for child in (busy, idle) for pid in json.loads(child.call(dump_by_value((pids, None))))]
    children.give_back(idle)

    def keep_busy():
        try:
            busy.call(dump_by_value((stuck, place)))
        except BaseException:
            pass

    threading.Thread(target=keep_busy, daemon=True).start()
    while not os.path.exists(place):
        time.sleep(0.01)
    print(json.dumps(started), flush=True)
"""


@pytest.mark.parametrize(
    "ending",
    ["", "sys.exit(1)", "raise ValueError", "os._exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 15)", "os.abort()"],
    ids=["end", "sys.exit", "exception", "os._exit", "SIGKILL", "SIGTERM", "abort"],
)
def test_none_is_left_however_the_program_ends(ending, start_script, wait_until, lives):
    process = start_script(textwrap.dedent(PARENT) + ending)
    started = json.loads(process.end())
    assert len(started) == 4
    wait_until(lambda: not any(map(lives, started)))


def test_a_fork_of_the_program_neither_keeps_nor_ends_nor_uses_them(start_script, wait_until, lives):
    process = start_script(
        textwrap.dedent(PARENT)
        + textwrap.dedent(
            """
            if not (fork := os.fork()):
                mine = children.take()
                print(json.dumps(mine.pid not in started), flush=True)
                mine.call(dump_by_value((pids, None)))
                sys.exit()
            os.waitpid(fork, 0)
            print(json.dumps(idle.is_idle and json.loads(idle.call(dump_by_value((pids, None))))[0] == idle.pid), flush=True)
            if not (fork := os.fork()):
                os.closerange(0, 3)
                time.sleep(600)
            print(json.dumps(fork), flush=True)
            os.kill(os.getpid(), 9)
            """
        )
    )
    lines = [json.loads(line) for line in process.end().splitlines()]
    started, others, answers, fork = lines
    assert (others, answers) == (True, True)
    try:
        wait_until(lambda: not any(map(lives, started)))
        assert lives(fork)
    finally:
        os.kill(fork, signal.SIGKILL)


def test_no_child_holds_the_files_of_another(children, call):
    """Else it would keep the other alive after the end of this process."""

    def pipes(_):
        import stat

        found = []
        for fd in range(3, 200):
            try:
                status = os.fstat(fd)
            except OSError:
                continue
            if stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
                found.append(status.st_ino)
        return found

    taken = [children.take() for _ in range(4)]
    found = [call(child, pipes) for child in taken]
    for child in taken:
        children.give_back(child)
    assert [len(each) for each in found] == [2, 2, 2, 2]
    assert len({each for files in found for each in files}) == 8


def test_interrupting_from_the_terminal_reaches_the_program_only(start_script, wait_until, lives):
    process = start_script(
        textwrap.dedent(PARENT)
        + textwrap.dedent(
            """
            try:
                print(json.dumps("ready"), flush=True)
                time.sleep(600)
            except KeyboardInterrupt:
                print(json.dumps(idle.is_idle), flush=True)
            """
        ),
        start_new_session=True,
    )
    started, ready = map(json.loads, process.lines(2))
    assert ready == "ready"
    os.killpg(process.pid, signal.SIGINT)
    assert json.loads(process.end()) is True
    assert process.returncode == 0
    wait_until(lambda: not any(map(lives, started)))


def test_the_fall_back_where_the_kernel_sends_no_signal(run_script):
    """As on other systems: a thread watches the life line."""
    done = run_script(
        """
        import fcntl, os, sys
        del fcntl.F_SETSIG
        from tidemill.runners import child

        watched, life_line = os.pipe()
        if not (pid := os.fork()):
            os.setsid()
            os.close(life_line)
            child._end_with_parent(watched)
            import time
            time.sleep(600)
        os.close(life_line)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """
    )
    assert done.stdout == "-9\n", done.stderr


def test_importing_the_engine_loads_none_of_it(run_script):
    done = run_script(
        """
        import sys
        import tidemill, tidemill.runners.children
        print([name for name in ("subprocess", "socket", "multiprocessing", "cloudpickle") if name in sys.modules])
        """
    )
    assert done.stdout == "[]\n"
