"""A flow is found again from its recorded entry point, in another process, as what it was in the first."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.engine.loading import FlowNotLoaded, load_flow, module_that_ran

Load = Callable[..., str]

LOADER = """
import sys
from tidemill.engine.loading import load_flow

def load(entrypoint, **more):
    flow = load_flow(entrypoint, **more)
    print(flow.flow_key, *sys.argv)
    return flow

"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    path = tmp_path / "project"
    path.mkdir()
    return path


def write(path: Path, source: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return path


@pytest.fixture
def load(child_environment: Callable[..., dict[str, str]], tmp_path: Path) -> Load:
    """Runs a program that loads a flow, in another folder than the flow's; gives what it printed."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(program: str, *args: object) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", LOADER + textwrap.dedent(program), *map(str, args)],
            env=child_environment(None),
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def refusal(load: Load, entrypoint: str, **more: Any) -> str:
    return load(
        """
        from tidemill.engine.loading import FlowNotLoaded
        try:
            load_flow(sys.argv[1], **eval(sys.argv[2]))
        except FlowNotLoaded as error:
            print(error)
        """,
        entrypoint,
        more,
    )


GUARDED = """
import sys
from dataclasses import dataclass
from neighbour import SIZE
from tidemill import flow, task

@dataclass
class Point:
    x: int

@task
def make(x):
    return Point(x)

@flow
def my_flow(x: int = 3):
    return make(x).x * SIZE

class Group:
    @flow
    def method(self): return "method"

    @flow
    @classmethod
    def of_class(cls): return cls.__name__

    @flow
    @staticmethod
    def static(): return "static"

running = __name__ == "__main__"

if __name__ == "__main__":
    raise SystemExit("the guarded block was executed")
if "__main__" != __name__:
    loaded = True
def is_main():
    return __name__ == "__main__"
"""


@pytest.fixture
def guarded(project: Path) -> Path:
    write(project / "neighbour.py", "SIZE = 10")
    return write(project / "script.py", GUARDED)


class TestScripts:
    def test_its_guarded_blocks_do_not_run_and_its_keys_are_as_they_were(self, load: Load, guarded: Path) -> None:
        printed = load(
            """
            load(sys.argv[1])
            import __main__
            print(__main__.make.task_key, __main__.running, __main__.loaded, __main__.is_main(), __main__.__file__)
            print(sys.path[0])
            """,
            f"{guarded}:my_flow",
        )
        assert printed.splitlines() == [
            f"__main__.my_flow {guarded}",
            f"__main__.make False True True {guarded}",
            str(guarded.parent),
        ]

    def test_it_runs(self, load: Load, guarded: Path) -> None:
        assert load("print(load_flow(sys.argv[1])(4))", f"{guarded}:my_flow") == "40\n"

    def test_what_the_script_pickled_by_reference_can_be_read_and_the_other_way_round(self, load: Load, guarded: Path) -> None:
        program = """
        import pickle
        class Point: ...
        written = pickle.dumps(Point())
        load_flow(sys.argv[1])
        import __main__
        assert type(pickle.loads(written)) is __main__.Point is not Point
        assert b"__main__" in pickle.dumps(__main__.Point(1))
        sys.modules.pop("__mp_main__").Point
        """
        load(program, f"{guarded}:my_flow")

    @pytest.mark.parametrize(
        ("name", "call"), [("of_class", "flow()"), ("static", "flow()"), ("method", "flow(__main__.Group())")]
    )
    def test_methods(self, load: Load, guarded: Path, name: str, call: str) -> None:
        program = f"flow = load_flow(sys.argv[1])\nimport __main__\nprint({call})"
        assert load(program, f"{guarded}:Group.{name}").strip() == {"of_class": "Group"}.get(name, name)

    def test_a_file_without_the_ending_of_python_in_a_path_relative_to_the_folder(self, load: Load, tmp_path: Path) -> None:
        write(tmp_path / "elsewhere" / "program", "from tidemill import flow\n@flow\ndef one(): return 1\n")
        assert load("print(load(sys.argv[1])())", "program:one").splitlines()[1] == "1"

    def test_its_own_future_statements_and_encoding_count(self, load: Load, project: Path) -> None:
        script = project / "latin.py"
        source = """# coding: latin-1
from tidemill import flow
def f(x: 1 + 1): ...
@flow
def one(): return ['é', f.__annotations__]
"""
        script.write_bytes(source.encode("latin-1"))
        program = "print(ascii(load_flow(sys.argv[1])()))"
        assert load(program, f"{script}:one") == "['\\xe9', {'x': 2}]\n"


class TestScriptsWithoutAGuard:
    def test_the_first_call_of_a_flow_ends_the_loading(self, load: Load, project: Path, recorded: Any) -> None:
        script = write(
            project / "script.py",
            """
            from tidemill import flow

            @flow
            def first(): return 1

            try:
                first()
            except Exception:
                pass
            raise AssertionError("it went on")
            """,
        )
        assert load("print(load(sys.argv[1])())", f"{script}:first").splitlines() == [f"__main__.first {script}", "1"]
        assert len(recorded.flow_runs()) == 1

    @pytest.mark.parametrize(
        "call",
        ["step()", "step(return_state=True)", "step.submit()", "step.map([1])", "asyncio.run(async_step())", "list(values())"],
    )
    def test_so_does_the_first_call_of_a_task(self, load: Load, project: Path, recorded: Any, call: str) -> None:
        script = write(
            project / "script.py",
            f"""
            import asyncio
            from tidemill import flow, task

            @task
            def step(x=1): raise AssertionError("it was executed")

            @task
            async def async_step(): raise AssertionError("it was executed")

            @task
            def values(): yield

            @flow
            def first(): return 1

            {call}
            raise AssertionError("it went on")
            """,
        )
        assert load("load(sys.argv[1])", f"{script}:first").splitlines() == [f"__main__.first {script}"]
        assert recorded.task_runs() == []

    def test_what_is_not_defined_by_then_cannot_be_had(self, load: Load, project: Path) -> None:
        script = write(
            project / "script.py",
            """
            from tidemill import flow

            @flow
            def first(): ...

            first()

            @flow
            def second(): ...
            """,
        )
        said = refusal(load, f"{script}:second")
        assert f"{script} calls a flow or task, or ends the program, before it defines 'second'" in said
        assert 'Put the call under `if __name__ == "__main__":`' in said

    def test_a_script_that_ends_the_program_after_the_definition(self, load: Load, project: Path) -> None:
        script = write(project / "s.py", "import sys\nfrom tidemill import flow\n@flow\ndef one(): return 1\nsys.exit(2)\n")
        assert load("print(load_flow(sys.argv[1])())", f"{script}:one") == "1\n"

    def test_nothing_is_stopped_when_nothing_is_loaded(self, load: Load, guarded: Path) -> None:
        program = """
        from tidemill.engine.loading import stop_if_loading
        stop_if_loading(load_flow(sys.argv[1]))
        try:
            load_flow("/nowhere/to/be/found.py:my_flow")
        except Exception:
            stop_if_loading(None)
        print("went on")
        """
        assert load(program, f"{guarded}:my_flow") == "went on\n"


PACKAGED = """
from . import sizes
from tidemill import flow

@flow
def my_flow():
    return sizes.SIZE
"""


class TestModules:
    @pytest.fixture
    def packaged(self, project: Path) -> Path:
        write(project / "outer" / "__init__.py")
        write(project / "outer" / "inner" / "__init__.py")
        write(project / "outer" / "inner" / "sizes.py", "SIZE = 7")
        return write(project / "outer" / "inner" / "flows.py", PACKAGED)

    def test_a_file_in_a_package_is_imported_as_that_module(self, load: Load, packaged: Path) -> None:
        printed = load("print(load(sys.argv[1])(), sys.path[0])", f"{packaged}:my_flow")
        assert printed.splitlines() == [f"outer.inner.flows.my_flow -c {packaged}:my_flow", f"7 {packaged.parents[2]}"]

    def test_a_package_itself(self, load: Load, packaged: Path) -> None:
        write(packaged.with_name("__init__.py"), PACKAGED)
        assert load("load(sys.argv[1])", f"{packaged.with_name('__init__.py')}:my_flow").startswith("outer.inner.my_flow ")

    @pytest.mark.parametrize("source", [PACKAGED, PACKAGED.replace("from . ", "")], ids=["by python -m", "by its path"])
    def test_a_file_in_a_package_that_ran_as_a_script(self, load: Load, packaged: Path, source: str) -> None:
        write(packaged, source)
        printed = load("print(load(sys.argv[1], module='__main__')())", f"{packaged}:my_flow")
        assert printed.splitlines() == [f"__main__.my_flow {packaged}", "7"]

    def test_a_file_in_no_package_that_ran_as_a_module(self, load: Load, guarded: Path) -> None:
        printed = load("print(load(sys.argv[1], module='script')())", f"{guarded}:my_flow")
        assert printed.splitlines() == [f"script.my_flow -c {guarded}:my_flow", "30"]

    def test_a_namespace_package(self, load: Load, project: Path) -> None:
        file = write(project / "spaces" / "flows.py", PACKAGED.replace("from . import sizes", "class sizes: SIZE = 1"))
        assert load("load(sys.argv[1], module='spaces.flows')", f"{file}:my_flow").startswith("spaces.flows.my_flow ")

    def test_a_module_by_its_name(self, load: Load, packaged: Path) -> None:
        program = "sys.path.insert(0, sys.argv[1])\nload('outer.inner.flows:my_flow')"
        assert load(program, packaged.parents[2]).startswith("outer.inner.flows.my_flow ")

    def test_one_that_calls_a_flow_while_it_is_imported(self, load: Load, packaged: Path) -> None:
        write(packaged, PACKAGED + "\nmy_flow()\n")
        said = refusal(load, f"{packaged}:my_flow")
        assert "Module outer.inner.flows calls a flow or task, or ends the program, while it is imported" in said
        assert "__name__" in said


class TestSeveralOfOneFunction:
    @pytest.fixture
    def script(self, project: Path) -> Path:
        return write(
            project / "script.py",
            """
            from tidemill import flow

            def body(): ...

            red = flow(name="red")(body)
            blue = flow(name="blue")(body)

            @flow
            def plain(): ...

            slow = plain.with_options(name="slow")
            nameless = flow(lambda: 1)
            """,
        )

    @pytest.mark.parametrize(
        ("qualname", "name", "found"),
        [
            ("body", "blue", "blue"),
            ("body", "red", "red"),
            ("plain", "slow", "slow"),
            ("plain", None, "plain"),
            ("plain", "as it was called before", "plain"),
            ("<lambda>", None, "anonymous"),
        ],
    )
    def test_the_name_decides(self, load: Load, script: Path, qualname: str, name: str | None, found: str) -> None:
        program = f"print(load_flow(sys.argv[1], name={name!r}).name)"
        assert load(program, f"{script}:{qualname}").strip() == found

    def test_without_a_name_there_is_no_telling(self, load: Load, script: Path) -> None:
        assert "has no flow 'body' any more" in refusal(load, f"{script}:body")


class TestErrors:
    def test_a_file_that_is_gone(self) -> None:
        with pytest.raises(FlowNotLoaded, match=r"There is no file /gone/away\.py any more\. Put it back, or say where"):
            load_flow("/gone/away.py:my_flow")

    def test_a_name_that_is_gone(self, load: Load, guarded: Path) -> None:
        said = refusal(load, f"{guarded}:your_flow")
        assert f"{guarded} has no flow 'your_flow' any more. Its flows are my_flow." in said
        assert f"tidemill flow-run resume RUN --entrypoint {guarded}:NAME" in said

    @pytest.mark.parametrize("name", ["Point", "make", "Group.gone", "my_flow.gone"])
    def test_a_name_of_something_else(self, load: Load, guarded: Path, name: str) -> None:
        assert f"has no flow '{name}' any more" in refusal(load, f"{guarded}:{name}")

    def test_a_file_without_flows(self, load: Load, project: Path) -> None:
        assert "It has no flow." in refusal(load, f"{write(project / 'empty.py')}:my_flow")

    @pytest.mark.parametrize(
        "entrypoint",
        ["__main__:my_flow", "<stdin>:my_flow", "<ipython-input-1-5e3>:my_flow", "/tmp/ipykernel_12/3456.py:my_flow"],
    )
    def test_what_was_never_in_a_file(self, entrypoint: str) -> None:
        with pytest.raises(FlowNotLoaded, match=r"'my_flow' was defined in a notebook or typed in.*same idempotency_key"):
            load_flow(entrypoint)

    def test_a_flow_made_inside_a_function(self) -> None:
        with pytest.raises(FlowNotLoaded, match=r"made inside a function.*same idempotency_key"):
            load_flow("/some/file.py:make.<locals>.my_flow")

    @pytest.mark.parametrize("entrypoint", ["my_flow", "file.py:", ":my_flow", ""])
    def test_what_is_no_entry_point(self, entrypoint: str) -> None:
        with pytest.raises(FlowNotLoaded, match="write FILE:NAME or MODULE:NAME"):
            load_flow(entrypoint)

    @pytest.mark.parametrize(
        ("source", "told"),
        [
            ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
            ("def broken(:", "SyntaxError"),
            ("x = 1 / 0", "ZeroDivisionError"),
        ],
    )
    def test_an_error_in_the_file_is_shown_where_it_is(self, load: Load, project: Path, source: str, told: str) -> None:
        script = write(project / "script.py", source)
        said = refusal(load, f"{script}:my_flow")
        assert said.startswith(f"{script} cannot be loaded:\n")
        assert told in said
        assert f'File "{script}", line 1' in said
        assert "loading.py" not in said

    def test_a_module_that_is_gone(self) -> None:
        with pytest.raises(FlowNotLoaded, match="Module nowhere_at_all cannot be loaded"):
            load_flow("nowhere_at_all:my_flow")


@pytest.mark.parametrize(
    ("path", "keys", "module"),
    [
        ("/srv/etl.py", ["__main__.add"], "__main__"),
        ("/srv/etl.py", ["lib.add", "__main__.add"], "__main__"),
        ("/srv/etl.py", ["etl.add", "__main__.add"], "etl"),
        ("/srv/flows/etl.py", ["flows.etl.Class.add"], "flows.etl"),
        ("/srv/flows/__init__.py", ["flows.add"], "flows"),
        ("/srv/etl.py", ["lib.add", "etl2.add"], None),
        ("/srv/etl.py", [], None),
        ("flows.etl", [], None),
    ],
)
def test_the_keys_of_task_runs_tell_how_the_file_ran(path: str, keys: list[str], module: str | None) -> None:
    assert module_that_ran(f"{path}:my_flow", keys) == module
