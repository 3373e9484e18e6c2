"""Child processes: they execute what they are given, say how they end, and are never left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tidemill.exceptions import SerializationError
from tidemill.runners.children import Child, RaisedInChild
from tidemill.serializers import dump_by_value

pytestmark = pytest.mark.program


# What it executes


def test_a_child_executes_one_call_after_the_other(child, call):
    def double(n):
        return n * 2

    assert [call(child, double, n) for n in range(5)] == [0, 2, 4, 6, 8]
    assert call(child, lambda _: os.getpid()) == child.pid


def test_the_function_runs_on_the_main_thread(child, call):
    assert call(child, lambda _: threading.current_thread() is threading.main_thread())


def test_no_thread_runs_beside_it(child, call):
    assert call(child, lambda _: threading.active_count()) == 1


def test_it_has_the_surroundings_of_this_process(child, tmp_path, monkeypatch, call):
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


def test_a_folder_that_is_gone_is_no_hindrance(child, tmp_path, monkeypatch, call):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert call(child, lambda n: n, 1) == 1
    other = Child.start()
    assert call(other, lambda n: n, 1) == 1
    other.kill()


def test_an_exception_arrives_as_it_was_with_the_traceback_of_the_child(child, call):
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


def test_an_exception_that_cannot_be_brought_is_told(child, call):
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
def test_leaving_by_an_exception_leaves_the_call_only(child, error, call):
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


def test_a_module_that_is_missing_there_is_named(child, tmp_path, monkeypatch, call):
    (tmp_path / "only_here.py").write_text("def work(n): return b''")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(tmp_path))
        import only_here  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]
    payload = dump_by_value((only_here.work, 1))
    with pytest.raises(SerializationError, match=r"No module named 'only_here'. It looked in sys.path = \[") as caught:
        child.call(payload)
    assert repr(sys.path) in str(caught.value)
    assert call(child, lambda n: n, 1) == 1


def test_a_payload_that_is_no_pickle_is_an_error(child, call):
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


def test_a_copy_that_the_function_forked_ends_there(child, call):
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


def test_dead_ones_are_replaced(children, wait_until, call, lives):
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


def test_they_are_started_before_they_are_needed(children, call):
    children.warm(5)
    taken = [children.take() for _ in range(2)]
    assert [call(child, lambda n: n, 1) for child in taken] == [1, 1]
    for child in taken:
        children.give_back(child)


def test_after_close_none_is_kept(children, lives):
    child, other = children.take(), children.take()
    children.give_back(child)
    children.close()
    assert not lives(child.pid)
    children.give_back(other)
    assert not lives(other.pid)


def test_many_threads_share_them(children, call):
    def work(n):
        child = children.take()
        try:
            return call(child, lambda n: n + 1, n)
        finally:
            children.give_back(child)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(200))) == list(range(1, 201))
