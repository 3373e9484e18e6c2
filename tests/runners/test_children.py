"""Child processes: they execute what they are given, say how they end, and are never left behind."""

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tidemill.exceptions import SerializationError
from tidemill.runners.children import Child, ChildDied, Children, RaisedInChild
from tidemill.serializers import dump_by_value

pytestmark = pytest.mark.program


def call(child: Child, function: Callable[[Any], Any], argument: Any = None) -> Any:
    """Calls a function in a child. It and the modules it imports travel; its value comes back as JSON."""

    def executed(argument: Any) -> bytes:
        return json.dumps(function(argument)).encode()

    executed.__module__ = "__main__"  # by value, whatever the name of this file is there
    function.__module__ = "__main__"
    return json.loads(child.call(dump_by_value((executed, argument))))


def lives(pid: int) -> bool:
    """Whether a process exists and is not dead yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.fixture
def child() -> Iterator[Child]:
    child = Child.start()
    yield child
    child.kill()


@pytest.fixture
def children() -> Iterator[Children]:
    children = Children(most_idle=2)
    yield children
    children.close()


# What it executes


def test_a_child_executes_one_call_after_the_other(child):
    def double(n):
        return n * 2

    assert [call(child, double, n) for n in range(5)] == [0, 2, 4, 6, 8]
    assert call(child, lambda _: os.getpid()) == child.pid


def test_the_function_runs_on_the_main_thread(child):
    assert call(child, lambda _: threading.current_thread() is threading.main_thread())


def test_no_thread_runs_beside_it(child):
    assert call(child, lambda _: threading.active_count()) == 1


def test_it_has_the_surroundings_of_this_process(child, tmp_path, monkeypatch):
    def surroundings(_):
        return [os.getcwd(), sys.path, sys.argv, os.environ.get("COLOUR")]

    before = [os.getcwd(), sys.path, sys.argv, None]
    assert call(child, surroundings) == before
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLOUR", "blue")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["prog", "--fast"])
    assert call(child, surroundings) == [str(tmp_path), sys.path, ["prog", "--fast"], "blue"]
    monkeypatch.undo()
    assert call(child, surroundings) == before


def test_a_folder_that_is_gone_is_no_hindrance(child, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert call(child, lambda n: n, 1) == 1
    other = Child.start()
    assert call(other, lambda n: n, 1) == 1
    other.kill()


def test_an_exception_arrives_as_it_was_with_the_traceback_of_the_child(child):
    def fails(message):
        raise KeyError(message)

    with pytest.raises(KeyError) as caught:
        call(child, fails, "missing")
    assert caught.value.args == ("missing",)
    (note,) = caught.value.__notes__
    assert note.startswith("In the child process:\nTraceback")
    assert "raise KeyError(message)" in note
    assert "child.py" not in note
    assert call(child, lambda n: n, 1) == 1


class Own(Exception):
    def __init__(self, code: int, *, reason: str = "") -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code


def test_an_exception_of_a_class_that_travelled_is_of_that_class(run_script):
    done = run_script(
        """
        from tidemill.runners.children import Child
        from tidemill.serializers import dump_by_value

        class Own(Exception): ...

        def fails(n):
            raise Own(n)

        try:
            Child.start().call(dump_by_value((fails, 5)))
        except Own as error:
            print(error.args)
        """
    )
    assert (done.stdout, done.returncode) == ("(5,)\n", 0), done.stderr


def test_an_exception_that_cannot_be_brought_is_told(child):
    def cannot_be_pickled(_):
        error = ValueError("with a lock")
        error.lock = threading.Lock()  # type: ignore[attr-defined]
        raise error

    def cannot_be_unpickled(_):
        class Stubborn(Exception):
            def __init__(self, code, *, reason):
                super().__init__(code)

        raise Stubborn(5, reason="why")

    for function, told in ((cannot_be_pickled, "ValueError: with a lock"), (cannot_be_unpickled, "Stubborn: 5")):
        with pytest.raises(RaisedInChild, match=told) as caught:
            call(child, function)
        assert function.__name__ in caught.value.__notes__[0]
    assert call(child, lambda n: n, 1) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt("x")], ids=repr)
def test_leaving_by_an_exception_leaves_the_call_only(child, error):
    def leaves(error):
        raise error

    with pytest.raises(type(error)) as caught:
        call(child, leaves, error)
    assert caught.value.args == error.args
    assert call(child, lambda n: n, 1) == 1


def test_a_function_that_does_not_return_bytes_is_an_error(child):
    def wrong(_):
        return 5

    wrong.__module__ = "__main__"
    with pytest.raises(TypeError, match="returns bytes, not int"):
        child.call(dump_by_value((wrong, None)))


def test_a_module_that_is_missing_there_is_named(child, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def work(n): return b''")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        import only_here  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]
    payload = dump_by_value((only_here.work, 1))
    with pytest.raises(SerializationError, match=r"No module named 'only_here'. It looked in sys.path = \[") as caught:
        child.call(payload)
    assert repr(sys.path) in str(caught.value)
    assert call(child, lambda n: n, 1) == 1


def test_a_payload_that_is_no_pickle_is_an_error(child):
    with pytest.raises(SerializationError, match="cannot unpickle what it was given"):
        child.call(b"garbage")
    with pytest.raises(SerializationError, match="cannot unpickle what it was given"):
        child.call(b"")
    assert call(child, lambda n: n, 1) == 1


def test_large_payloads_and_replies(child):
    def same(data):
        return data

    same.__module__ = "__main__"
    data = os.urandom(1_000_000) * 60
    assert child.call(dump_by_value((same, data))) == data


def test_what_it_prints_appears_and_is_no_reply(run_script):
    done = run_script(
        """
        import os, sys
        from tidemill.runners.children import Child
        from tidemill.serializers import dump_by_value

        def loud(_):
            os.write(1, b"\\xff\\x00 raw\\n")
            print("printed", file=sys.stderr)
            print("printed")
            return b"reply"

        print(Child.start().call(dump_by_value((loud, None))), flush=True)
        """,
        env={"PYTHONUNBUFFERED": "1"},
    )
    assert (done.stdout, done.stderr) == ("\\xff\x00 raw\nprinted\nb'reply'\n", "printed\n")


def test_a_copy_that_the_function_forked_ends_there(child):
    def forks(_):
        if not os.fork():
            return "from the copy"
        return ["original", os.waitstatus_to_exitcode(os.wait()[1])]

    def forks_and_exits(_):
        if not os.fork():
            sys.exit(7)
        return os.waitstatus_to_exitcode(os.wait()[1])

    assert call(child, forks) == ["original", 0]
    assert call(child, forks_and_exits) == 7
    assert call(child, lambda n: n, 1) == 1


@pytest.mark.parametrize(
    "how",
    [
        ["-c", "{program}"],
        ["-", "{stdin}"],
        ["{file}"],
        ["-O", "-X", "utf8", "-c", "{program}"],
    ],
    ids=["-c", "stdin", "file", "options"],
)
def test_programs_of_all_kinds_need_no_guard(how, tmp_path, child_environment):
    program = textwrap.dedent(
        """
        import sys
        from tidemill import task
        from tidemill.runners.children import Children
        from tidemill.serializers import dump_by_value

        print("top", __debug__, sys.flags.utf8_mode)
        factor = 3

        class Times:
            def __init__(self, n): self.n = n

        def work(times):
            return f"{times.n * factor} {__debug__} {sys.flags.utf8_mode}".encode()

        print(Children().take().call(dump_by_value((work, Times(14)))).decode())
        """
    )
    (tmp_path / "program.py").write_text(program)
    stdin = program if how[0] == "-" else None
    words = [word.format(program=program, file=tmp_path / "program.py", stdin="x") for word in how]
    done = subprocess.run(
        [sys.executable, *words], input=stdin, env=child_environment(None), capture_output=True, text=True, timeout=120
    )
    debug, utf8 = ("False", "1") if how[0] == "-O" else ("True", "0")
    assert done.stdout == f"top {debug} {utf8}\n42 {debug} {utf8}\n", done.stderr


def test_a_program_without_standard_streams(run_script, tmp_path):
    done = run_script(
        f"""
        import os
        os.closerange(0, 3)
        from tidemill.runners.children import Child
        from tidemill.serializers import dump_by_value

        def work(_):
            print("into the void")
            return b"reply"

        open({str(tmp_path / "result")!r}, "wb").write(Child.start().call(dump_by_value((work, None))))
        """
    )
    assert done.returncode == 0
    assert (tmp_path / "result").read_bytes() == b"reply"


def test_a_program_with_unusual_settings(run_script):
    done = run_script(
        """
        import signal, socket
        socket.setdefaulttimeout(0.001)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
        from tidemill.runners.children import Child, ChildDied
        from tidemill.serializers import dump_by_value

        def work(_):
            import time, signal
            return repr(signal.pthread_sigmask(signal.SIG_BLOCK, ())).encode()

        child = Child.start()
        print(child.call(dump_by_value((work, None))))
        child._process.kill()
        child._process.wait()
        try:
            child.call(b"x" * 1_000_000)
        except ChildDied as error:
            print(error.begun, error.signal)
        """
    )
    assert done.stdout == "b'set()'\nFalse 9\n", done.stderr


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
def test_how_it_died_is_told(child, function, code, number, told):
    with pytest.raises(ChildDied, match=f"The child process {child.pid} {told}") as caught:
        call(child, function)
    error = caught.value
    assert (error.exit_code, error.signal, error.stopped, error.begun) == (code, number, False, True)
    assert not child.is_idle
    with pytest.raises(ChildDied, match=told) as again:
        call(child, lambda _: None)
    assert not again.value.begun


def test_it_is_noticed_although_a_copy_holds_the_connection(child):
    def leaves_a_copy(_):
        if ctypes.PyDLL(None).fork() == 0:  # not Python's own fork, which lets go of the connection
            time.sleep(600)
        os._exit(4)

    with pytest.raises(ChildDied, match="exited with code 4"):
        call(child, leaves_a_copy)


def test_what_a_dead_child_has_started_is_gone_too(child, tmp_path, wait_until):
    def starts_others(place):
        started = [subprocess.Popen(["sleep", "600"]).pid, os.fork() or time.sleep(600)]
        Path(place).write_text(json.dumps(started))
        os._exit(0)

    with pytest.raises(ChildDied, match="exited with code 0 before it replied"):
        call(child, starts_others, str(tmp_path / "started"))
    wait_until(lambda: not any(map(lives, json.loads((tmp_path / "started").read_text()))))


def test_a_function_that_closes_all_files_ends_the_child(child):
    def closes(_):
        os.closerange(0, 100)
        time.sleep(600)

    with pytest.raises(ChildDied, match="closed its connection to this process") as caught:
        call(child, closes)
    assert caught.value.signal == signal.SIGKILL


C_CALL = "ctypes.PyDLL(None).sleep(600)"  # holds the interpreter's lock, so that no Python code runs beside it
PYTHON = "time.sleep(600)"


@pytest.mark.parametrize("inside", [C_CALL, PYTHON], ids=["C call", "Python"])
def test_kill_ends_whatever_it_does_and_what_it_started(child, inside, tmp_path, wait_until):
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


def test_an_exception_while_waiting_kills_the_child(child):
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


def test_a_child_executes_one_call_at_a_time(child, tmp_path, wait_until):
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


def test_close_lets_it_end_as_a_program_does(child, tmp_path):
    def registers(place):
        import atexit

        atexit.register(Path(place).write_text, "said goodbye")

    call(child, registers, str(tmp_path / "word"))
    child.close()
    assert (tmp_path / "word").read_text() == "said goodbye"
    assert not lives(child.pid)


def test_close_does_not_wait_for_ever(child):
    call(child, lambda _: threading.Thread(target=time.sleep, args=(600,)).start())
    child.close(patience=0.1)
    assert not lives(child.pid)


def test_kill_does_not_wait_for_who_closes(child, wait_until):
    call(child, lambda _: threading.Thread(target=time.sleep, args=(600,)).start())
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(child.close, patience=600)
        wait_until(closing.running)
        child.kill()
        closing.result(60)
    assert not lives(child.pid)


def test_what_is_told_of_a_death_can_be_kept(child):
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


# Many of them


def test_children_are_used_again(children):
    first = children.take()
    second = children.take()
    assert first.pid != second.pid
    children.give_back(first)
    assert children.take() is first
    children.give_back(first)
    children.give_back(second)


def test_only_so_many_are_kept(children):
    taken = [children.take() for _ in range(4)]
    for child in taken:
        children.give_back(child)
    assert [child.is_idle for child in taken] == [True, True, False, False]


def test_dead_ones_are_replaced(children, wait_until):
    child = children.take()
    children.give_back(child)
    os.kill(child.pid, signal.SIGKILL)
    wait_until(lambda: not lives(child.pid))
    other = children.take()
    assert other is not child
    assert call(other, lambda n: n, 1) == 1
    other.kill()
    children.give_back(other)
    assert children.take() is not other


def test_they_are_started_before_they_are_needed(children):
    children.warm(5)
    taken = [children.take() for _ in range(2)]
    assert [call(child, lambda n: n, 1) for child in taken] == [1, 1]
    for child in taken:
        children.give_back(child)


def test_after_close_none_is_kept(children):
    child, other = children.take(), children.take()
    children.give_back(child)
    children.close()
    assert not lives(child.pid)
    children.give_back(other)
    assert not lives(other.pid)


def test_many_threads_share_them(children):
    def work(n):
        child = children.take()
        try:
            return call(child, lambda n: n + 1, n)
        finally:
            children.give_back(child)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(200))) == list(range(1, 201))


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
def test_none_is_left_however_the_program_ends(ending, start_script, wait_until):
    process = start_script(textwrap.dedent(PARENT) + ending)
    started = json.loads(process.end())
    assert len(started) == 4
    wait_until(lambda: not any(map(lives, started)))


def test_a_fork_of_the_program_neither_keeps_nor_ends_nor_uses_them(start_script, wait_until):
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


def test_no_child_holds_the_files_of_another(children):
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


def test_interrupting_from_the_terminal_reaches_the_program_only(start_script, wait_until):
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
    started, ready = (json.loads(process.stdout.readline()) for _ in range(2))
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
