"""Flows and tasks in another process: found there by name, or brought along whole, and the same either way."""

import copy
import importlib.util
import pickle
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tidemill import Task, flow, task
from tidemill.serializers import dump_by_value

READER = """
import pickle, sys

function, argument = pickle.load(open(sys.argv[1], "rb"))
function(argument)
"""

TOOLS = """
import pickle, subprocess, sys
from tidemill import flow, task
from tidemill.serializers import dump_by_value

def elsewhere(function, argument):
    "Calls the function in a process that knows nothing of this program."
    with open("payload", "wb") as file:
        file.write(dump_by_value((function, argument)))
    subprocess.run([sys.executable, "reader.py", "payload"], check=True)
"""

LIBRARY = """
import threading
from tidemill import flow, task

not_to_be_pickled = threading.Lock()
pickled_by = []

@task
def locked(n):
    with not_to_be_pickled:
        return n + 1

quick = locked.with_options(name="quick", tags=["fast"], retries=2)

def slow(n):
    return n * 2

fast = task(slow)

class Account:
    def __init__(self, rest): self.rest = rest

    @task
    def spend(self, n): return self.rest - n

    @task
    @classmethod
    def kind(cls): return cls.__name__

    @task
    @staticmethod
    def currency(): return "EUR"

@flow
def bound():
    return locked(1)
"""


@pytest.fixture
def elsewhere(run_script, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a program, which can call functions in a process that knows nothing of it; gives all they printed."""

    def run(program: str) -> list[str]:
        (tmp_path / "reader.py").write_text(READER)
        (tmp_path / "library.py").write_text(LIBRARY)
        done = run_script(TOOLS + textwrap.dedent(program), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def test_tasks_of_the_program_itself_that_call_each_other(elsewhere):
    assert elsewhere(
        """
        @task
        def factorial(n):
            return n * factorial(n - 1) if n else 1

        @task
        def even(n):
            return odd(n - 1) if n else True

        @task
        def odd(n):
            return even(n - 1) if n else False

        def show(tasks):
            import sys
            factorial, even = tasks
            print(factorial(5), even(7), factorial.fn.__globals__["factorial"] is factorial)

        elsewhere(show, (factorial, even))
        elsewhere(lambda _: print(factorial(5)), None)
        """
    ) == ["120 False True", "120"]


def test_all_that_is_known_of_it_is_the_same(elsewhere):
    known = """
        def known(thing):
            key = thing.task_key if thing.kind == "task" else thing.flow_key
            print(key, thing.name, thing.version, thing.entrypoint, thing.tags, thing.retries, thing.retry_delay_seconds)
            print(thing.__name__, thing.__qualname__, thing.__module__, thing.__doc__, thing.is_async, thing.timeout_seconds)
            print(thing.policy, thing.description, thing.log_prints, {name: len(hooks) for name, hooks in thing.hooks.items()})
    """
    lines = elsewhere(
        known
        + """
        @task(name="other", version="1.5", tags=["a", "b"], retries=2, retry_delay_seconds=[1, 2], timeout_seconds=5)
        def work(n: int = 3) -> int:
            "Works."
            return n

        @flow(on_failure=[lambda flow, run, state: None])
        async def main(): ...

        for thing in (work, main, work.with_options(retries=1)):
            known(thing)
            sys.stdout.flush()
            elsewhere(known, thing)
        """
    )
    assert len(lines) == 18
    for at in range(0, 18, 6):
        assert lines[at : at + 3] == lines[at + 3 : at + 6]


def test_closures_hooks_methods_and_subclasses(elsewhere):
    assert elsewhere(
        """
        from tidemill import Task

        def adder(by):
            @task
            def add(n):
                return n + by
            return add

        class Loud(Task):
            def shout(self):
                return self.name.upper()

        def called(task, run, state):
            print("hook", task.name, state.type.value)

        @task(on_completion=[called])
        def hooked():
            return 1

        class Account:
            limit = 10

            def __init__(self, rest):
                self.rest = rest

            @task
            def spend(self, n):
                return self.rest - n

            @task
            @classmethod
            def most(cls):
                return cls.limit

            @task
            @staticmethod
            def currency():
                return "EUR"

        def each(calls):
            print([call() if len(c) == 0 else call(*c) for call, *c in calls])

        def shout(loud):
            print(loud.shout(), loud(2))

        elsewhere(each, [(adder(2), 3), (hooked,)])
        elsewhere(each, [(Account(7).spend, 3), (Account.spend, Account(8), 3), (Account.most,), (Account.currency,)])
        elsewhere(each, [(Account(9).spend.with_options(name="x"), 3), (Account(7).most,), (Account(7).currency,)])
        elsewhere(shout, Loud(lambda n: n + 1, name="quiet"))
        """
    ) == ["hook hooked COMPLETED", "[5, 1]", "[4, 5, 10, 'EUR']", "[6, 10, 'EUR']", "QUIET 3"]


def test_what_is_found_by_name_is_the_very_same_there(elsewhere):
    """Of a module that both can import, nothing but names travels: the lock in it could not."""
    assert elsewhere(
        """
        import library

        def check(things):
            import library
            (locked, quick, fast, spend, kind, currency, bound) = things
            print(locked is library.locked, bound is library.bound, currency is library.Account.currency)
            print(quick is library.quick, quick.fn is library.locked.fn, fast.fn is library.slow)
            print(locked(1), quick(1), quick.name, quick.tags, quick.retries, fast(4), spend(2), kind(), currency(), bound())

        account = library.Account(5)
        elsewhere(check, (library.locked, library.quick, library.fast, account.spend, library.Account.kind,
                          library.Account.currency, library.bound))
        """
    ) == ["True True True", "False True True", "2 2 quick ('fast',) 2 8 3 Account EUR 2"]


def test_a_flow_checks_its_parameters_there_too(elsewhere):
    assert elsewhere(
        """
        import datetime
        from datetime import date

        @flow
        def report(day: "date", n: "int" = 1):
            return [type(day).__name__, type(n).__name__]

        elsewhere(lambda report: print(report("2026-01-02", "3")), report)
        """
    ) == ["['date', 'int']"]


def test_a_module_that_is_not_found_by_its_name_travels_whole(elsewhere, tmp_path: Path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "flows.py").write_text(
        textwrap.dedent("""
        from tidemill import task

        class Own:
            def value(self): return 41

        def helped(own): return own.value() + 1

        @task
        def work():
            return helped(Own())
        """)
    )
    assert elsewhere(
        """
        import importlib.util
        spec = importlib.util.spec_from_file_location("loaded_by_hand", "odd/flows.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["loaded_by_hand"] = module
        spec.loader.exec_module(module)
        elsewhere(lambda work: print(work(), work.task_key), module.work)
        """
    ) == ["42 loaded_by_hand.work"]


def test_what_a_child_returns_is_of_the_class_the_program_knows(elsewhere):
    """Classes of the program that went there by value come back as themselves."""
    assert elsewhere(
        """
        from tidemill.runners.children import Children

        class Point:
            def __init__(self, x): self.x = x

        @task
        def moved(point):
            return Point(point.x + 1)

        def send(pair):
            from tidemill.serializers import dump_pickle
            return dump_pickle(pair[0](pair[1]))

        child = Children().take()
        point = pickle.loads(child.call(dump_by_value((send, (moved, Point(1))))))
        print(type(point) is Point, point.x)
        """
    ) == ["True 2"]


@task
def here(n: int) -> int:
    return n + 1


@flow
def around() -> int:
    return here(1)


def test_in_the_same_process_pickling_and_copying_give_the_very_object():
    for thing in (here, around):
        assert copy.copy(thing) is thing
        assert copy.deepcopy([thing])[0] is thing
    if importlib.util.find_spec(__name__) is not None:
        assert pickle.loads(dump_by_value(here)) is pickle.loads(dump_by_value(here))


def test_a_copy_is_pickled_with_what_was_computed_for_the_original():
    original = task(lambda n: n, name="copied")
    original.signature.bind((1,), {})
    again: Task = pickle.loads(dump_by_value(original))
    assert "signature" not in vars(again)
    assert again(3) == 3
    assert again.signature.bind((1,), {}) == ({"n": 1}, None)
    assert pickle.loads(dump_by_value(again))(4) == 4


def test_a_named_variant_needs_only_plain_pickle(elsewhere):
    assert elsewhere("import library; print(pickle.loads(pickle.dumps(library.quick)).name)") == ["quick"]


def test_plain_pickle_goes_by_name_in_the_program_itself(elsewhere):
    """As a multiprocessing pool does, whose workers have run the program too."""
    assert elsewhere(
        """
        @task
        def work(n):
            return n

        other = work.with_options(name="other")
        print(pickle.loads(pickle.dumps(work)) is work, len(pickle.dumps(work)) < 60)
        print(pickle.loads(pickle.dumps(other)).fn is work.fn, pickle.loads(pickle.dumps(other)).name)
        print(pickle._loads(pickle._dumps(work)) is work, pickle.loads(dump_by_value(work)) is work)
        """
    ) == ["True True", "True other", "True False"]
