"""Cache policies: what makes two calls the same, what their keys say, and what is told about them."""

import functools
import importlib.util
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from tidemill import Task, settings, task
from tidemill.cache_keys import KeyedRun
from tidemill.caching import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    NONE,
    RUN_ID,
    TASK_SOURCE,
    CacheContext,
    CacheKeyFnPolicy,
    CacheOptions,
    CachePolicy,
    IsolationLevel,
    cache_options,
    task_input_hash,
    why_hit_or_missed,
)
from tidemill.exceptions import DefinitionError, SerializationError
from tidemill.states import COMPLETED, FAILED, StateType


@task
def add(x: int, y: int) -> int:
    return x + y


@task
def multiply(x: int, y: int) -> int:
    return x * y


def call(
    called: Task[..., Any] = add, flow_run_id: str | None = "run-1", flow: dict[str, Any] | None = None, **inputs: Any
) -> CacheContext:
    return CacheContext(called, flow_run_id, "task-run-1", inputs, flow or {})


def key(policy: CachePolicy, context: CacheContext) -> str | None:
    made = policy.compute(context)
    return made and made.key


class TestKeys:
    @pytest.mark.parametrize(
        ("policy", "one", "other", "same"),
        [
            (INPUTS, call(x=1, y=2), call(y=2, x=1), True),
            (INPUTS, call(x=1, y=2), call(x=1, y=3), False),
            (INPUTS, call(x=1, y=2), call(x=1, y=2.0), False),
            (INPUTS, call(x=1, y=2), call(flow_run_id="run-2", x=1, y=2), True),
            (INPUTS, call(), call(), True),
            (INPUTS, call(x=1), call(multiply, x=1), False),
            (INPUTS - "y", call(x=1, y=2), call(x=1, y=3), True),
            (INPUTS - "y", call(x=1, y=2), call(x=2, y=2), False),
            (INPUTS - "y" - "x", call(x=1, y=2), call(x=2, y=3), True),
            (INPUTS - ["x", "y"], call(x=1, y=2), call(x=2, y=3), True),
            (TASK_SOURCE, call(x=1), call(x=2), True),
            (TASK_SOURCE, call(x=1), call(multiply, x=1), False),
            (RUN_ID, call(x=1), call(x=2), True),
            (RUN_ID, call(), call(flow_run_id="run-2"), False),
            (FLOW_PARAMETERS, call(flow={"a": 1}, x=1), call(flow={"a": 1}, x=2), True),
            (FLOW_PARAMETERS, call(flow={"a": 1}), call(flow={"a": 2}), False),
            (FLOW_PARAMETERS, call(flow={"a": 1}), call(multiply, flow={"a": 1}), False),
            (DEFAULT, call(x=1), call(x=1), True),
            (DEFAULT, call(x=1), call(x=1, flow_run_id="run-2"), False),
            (DEFAULT, call(x=1), call(x=2), False),
            (DEFAULT - "x", call(x=1), call(x=2), True),
            (RUN_ID + INPUTS - "x", call(x=1), call(x=2), True),
            (INPUTS + TASK_SOURCE, call(x=1), call(x=1, flow_run_id="run-2"), True),
        ],
    )
    def test_calls_are_the_same_by_what_the_policy_says(
        self, policy: CachePolicy, one: CacheContext, other: CacheContext, same: bool
    ) -> None:
        assert (key(policy, one) == key(policy, other)) is same
        assert key(policy, one) is not None

    @pytest.mark.parametrize("policy", [INPUTS, DEFAULT, RUN_ID, NO_CACHE, CacheKeyFnPolicy(task_input_hash)])
    def test_compute_key_gives_the_same(self, policy: CachePolicy) -> None:
        context = call(x=1)
        assert policy.compute_key(context, context.parameters, context.flow_parameters) == key(policy, context)

    @pytest.mark.parametrize("policy", [NO_CACHE, NONE, NO_CACHE + NONE, NO_CACHE - "x"])
    def test_without_caching_there_is_no_key(self, policy: CachePolicy) -> None:
        assert key(policy, call(x=1)) is None

    @pytest.mark.parametrize("policy", [RUN_ID, FLOW_PARAMETERS, DEFAULT, INPUTS + FLOW_PARAMETERS])
    def test_outside_a_flow_there_is_no_key_for_what_is_about_the_flow_run(self, policy: CachePolicy) -> None:
        assert key(policy, call(flow_run_id=None, x=1)) is None

    def test_a_policy_added_to_none_is_itself(self) -> None:
        assert INPUTS + NO_CACHE == INPUTS
        assert NO_CACHE + INPUTS == INPUTS

    def test_the_order_of_policies_does_not_matter(self) -> None:
        assert key(INPUTS + RUN_ID, call(x=1)) == key(RUN_ID + INPUTS, call(x=1))

    @pytest.mark.parametrize("policy", [INPUTS, RUN_ID, TASK_SOURCE, FLOW_PARAMETERS, DEFAULT])
    def test_each_policy_gives_another_key(self, policy: CachePolicy) -> None:
        every = [INPUTS, RUN_ID, TASK_SOURCE, FLOW_PARAMETERS, DEFAULT]
        keys = [key(one, call(x=1, flow={"x": 1})) for one in every]
        assert len(set(keys)) == len(every)

    def test_what_a_key_was_made_of_is_told(self) -> None:
        made = (DEFAULT + FLOW_PARAMETERS).compute(call(x=1, y="a", flow={"day": "monday"}))
        assert made is not None
        assert list(made.ingredients) == ["task", "inputs.x", "inputs.y", "task source", "run", "flow parameters.day"]
        assert all(len(short) == 12 for short in made.ingredients.values())

    @pytest.mark.parametrize(
        ("policy", "text"),
        [
            (DEFAULT, "INPUTS + TASK_SOURCE + RUN_ID"),
            (DEFAULT - "b" - "a", "INPUTS - 'a' - 'b' + TASK_SOURCE + RUN_ID"),
            (NO_CACHE, "NO_CACHE"),
            (CacheKeyFnPolicy(task_input_hash), "CacheKeyFnPolicy(task_input_hash)"),
            (FLOW_PARAMETERS, "FLOW_PARAMETERS"),
        ],
    )
    def test_a_policy_is_shown_as_it_is_written(self, policy: CachePolicy, text: str) -> None:
        assert repr(policy) == text

    @pytest.mark.parametrize("policy", [DEFAULT - "x", INPUTS.configure(isolation_level="SERIALIZABLE"), NO_CACHE])
    def test_a_policy_travels_to_other_processes(self, policy: CachePolicy) -> None:
        for back in (pickle.loads(pickle.dumps(policy)), cloudpickle.loads(cloudpickle.dumps(policy))):
            assert back == policy
            assert key(back, call(x=1)) == key(policy, call(x=1))

    def test_only_keys_with_the_run_in_them_hold_for_one_run(self) -> None:
        assert RUN_ID.holds_for_one_run
        assert DEFAULT.holds_for_one_run
        assert not (INPUTS + TASK_SOURCE).holds_for_one_run
        assert not CacheKeyFnPolicy(task_input_hash).holds_for_one_run


class TestUnhashableInputs:
    @pytest.mark.parametrize(
        ("policy", "advice"), [(INPUTS, r"INPUTS - 'conn'"), (DEFAULT - "x", r"INPUTS - 'x' \+ TASK_SOURCE \+ RUN_ID - 'conn'")]
    )
    def test_the_error_names_the_input_and_the_way_out(self, policy: CachePolicy, advice: str) -> None:
        with pytest.raises(
            SerializationError, match=rf"input 'conn' of task 'add' cannot be hashed.*lock.*cache_policy={advice}"
        ):
            policy.compute(call(x=1, conn=threading.Lock()))

    def test_the_way_out_works(self) -> None:
        assert key(DEFAULT - "conn", call(x=1, conn=threading.Lock()))

    def test_one_that_is_too_deep_is_named(self) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(SerializationError, match=r"input 'x' of task 'add' cannot be hashed.*too deep"):
            INPUTS.compute(call(x=deep))
        while deep:  # freed bit by bit, not by a recursion
            deep = deep.pop()

    def test_an_unhashable_parameter_of_the_flow_is_named(self) -> None:
        with pytest.raises(SerializationError, match=r"parameter 'conn' of the flow.*task 'add'.*Use INPUTS"):
            FLOW_PARAMETERS.compute(call(flow={"conn": threading.Lock()}))

    def test_the_error_can_be_kept(self) -> None:
        with pytest.raises(SerializationError) as caught:
            INPUTS.compute(call(conn=threading.Lock()))
        back = pickle.loads(pickle.dumps(caught.value))
        assert type(back) is SerializationError
        assert str(back) == str(caught.value)


class ByDay(CachePolicy):
    """A policy of one's own."""

    def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str | None:
        return inputs.get("day")


@dataclass
class ByName(CachePolicy):
    name: str

    def compute_key(self, task_ctx: Any, inputs: Any, flow_parameters: Any, **kwargs: Any) -> str | None:
        return inputs[self.name]


class TestOwnPolicies:
    def test_the_key_is_what_it_says(self) -> None:
        made = ByDay().compute(call(day="monday"))
        assert made is not None
        assert made.key == "monday"
        assert list(made.ingredients) == ["ByDay"]
        assert key(ByName("day"), call(day="monday")) == "monday"

    def test_its_key_is_shared_by_tasks_but_not_when_put_together_with_others(self) -> None:
        assert key(ByDay(), call(add, day="monday")) == key(ByDay(), call(multiply, day="monday"))
        together = ByDay() + INPUTS
        assert key(together, call(add, day="monday")) != key(together, call(multiply, day="monday"))

    @pytest.mark.parametrize("day", [None, ""])
    def test_no_key_is_no_key_also_in_company(self, day: Any) -> None:
        assert key(ByDay(), call(day=day)) is None
        assert key(ByDay() + INPUTS, call(day=day)) is None

    def test_two_of_a_class_both_count(self) -> None:
        both = ByName("a") + ByName("b")
        assert key(both, call(a="1", b="2")) != key(both, call(a="1", b="3"))
        assert key(both, call(a="1", b="2")) != key(both, call(a="0", b="2"))

    def test_a_key_that_is_no_text_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"cache key of task 'add' must be text or None; ByDay\(\) gave 42"):
            ByDay().compute(call(day=42))

    def test_one_without_compute_key_says_what_it_needs(self) -> None:
        class Empty(CachePolicy):
            pass

        with pytest.raises(NotImplementedError, match="Empty needs a method compute_key"):
            Empty().compute(call())

    @pytest.mark.parametrize("text", ["x" * 2_001, "\ud800"])
    def test_a_key_that_cannot_be_recorded_is_known_by_its_fingerprint(self, text: str) -> None:
        made = key(ByDay(), call(day=text))
        assert made is not None
        assert len(made) == 32
        assert made != key(ByDay(), call(day=text + "y"))

    def test_a_function_makes_keys(self) -> None:
        policy = CachePolicy.from_cache_key_fn(lambda context, parameters: f"{context.task.name}-{parameters['x']}")
        assert key(policy, call(x=1)) == "add-1"
        assert isinstance(policy, CacheKeyFnPolicy)

    def test_the_function_for_inputs_that_the_field_knows(self) -> None:
        policy = CacheKeyFnPolicy(task_input_hash)
        assert key(policy, call(x=1)) == key(policy, call(x=1, flow_run_id="run-2"))
        assert key(policy, call(x=1)) != key(policy, call(x=2))
        assert key(policy, call(x=1)) != key(policy, call(multiply, x=1))

    @pytest.mark.parametrize("wrong", [42, "key", None])
    def test_what_is_no_function_is_refused(self, wrong: Any) -> None:
        with pytest.raises(DefinitionError, match="cache_key_fn is a function"):
            CacheKeyFnPolicy(wrong)

    def test_an_async_function_is_refused(self) -> None:
        async def later(context: Any, parameters: Any) -> str:
            return "x"

        with pytest.raises(DefinitionError, match="plain function"):
            CacheKeyFnPolicy(later)  # type: ignore[arg-type]


class TestConfiguring:
    def test_a_policy_is_copied_not_changed(self, tmp_path: Path) -> None:
        changed = INPUTS.configure(key_storage=tmp_path, isolation_level=IsolationLevel.SERIALIZABLE)
        assert changed.key_storage == str(tmp_path)
        assert changed.isolation_level is IsolationLevel.SERIALIZABLE
        assert INPUTS.key_storage is None
        assert INPUTS.isolation_level is IsolationLevel.READ_COMMITTED
        assert key(changed, call(x=1)) == key(INPUTS, call(x=1))

    def test_what_is_put_together_keeps_how_it_was_configured(self, tmp_path: Path) -> None:
        stored = INPUTS.configure(key_storage=tmp_path)
        careful = RUN_ID.configure(isolation_level="SERIALIZABLE")
        for policy in (
            stored + careful,
            careful + TASK_SOURCE + stored,
            (stored + careful) - "x",
            (stored + careful) + TASK_SOURCE,
        ):
            assert policy.key_storage == str(tmp_path)
            assert policy.isolation_level is IsolationLevel.SERIALIZABLE

    def test_a_configured_compound_is_still_taken_apart(self) -> None:
        policy = (INPUTS + RUN_ID).configure(isolation_level="SERIALIZABLE") + TASK_SOURCE - "x"
        assert repr(policy) == "INPUTS - 'x' + RUN_ID + TASK_SOURCE"

    def test_a_frozen_policy_of_ones_own_can_be_configured(self, tmp_path: Path) -> None:
        @dataclass(frozen=True)
        class Frozen(CachePolicy):
            x: int

        assert Frozen(1).configure(key_storage=tmp_path).key_storage == str(tmp_path)

    def test_policies_that_differ_in_where_their_keys_are_do_not_go_together(self) -> None:
        with pytest.raises(DefinitionError, match="cannot differ in key_storage"):
            INPUTS.configure(key_storage="/a") + RUN_ID.configure(key_storage="/b")

    def test_an_unknown_isolation_level_is_refused(self) -> None:
        with pytest.raises(DefinitionError, match="READ_COMMITTED or SERIALIZABLE, not 'NONE'"):
            INPUTS.configure(isolation_level="NONE")

    @pytest.mark.parametrize("policy", [RUN_ID, TASK_SOURCE + RUN_ID, ByDay()])
    def test_inputs_are_left_out_only_where_there_are_inputs(self, policy: CachePolicy) -> None:
        with pytest.raises(TypeError, match="policies that have INPUTS in them"):
            policy - "x"

    @pytest.mark.parametrize("wrong", [42, None, [1]])
    def test_what_is_left_out_is_a_name(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="the name of a parameter"):
            INPUTS - wrong

    def test_only_policies_are_added(self) -> None:
        with pytest.raises(TypeError):
            INPUTS + "x"  # type: ignore[operator]


class TestOptions:
    def test_a_task_is_not_cached_unless_it_says_so(self) -> None:
        assert cache_options() is None
        assert cache_options(cache_policy=NO_CACHE) is None
        assert cache_options(refresh_cache=True) is None

    def test_what_is_asked_for(self) -> None:
        options = cache_options(cache_policy=INPUTS, cache_expiration=timedelta(minutes=1), refresh_cache=False)
        assert options == (INPUTS, 60_000_000, False)
        options = cache_options(cache_policy=INPUTS, cache_expiration=1.5)
        assert options == (INPUTS, 1_500_000, None)

    @pytest.mark.parametrize(("said", "setting", "refreshed"), [(None, False, False), (None, True, True), (False, True, False)])
    def test_the_setting_counts_where_the_task_does_not_say(self, said: Any, setting: bool, refreshed: bool) -> None:
        options = cache_options(cache_policy=INPUTS, refresh_cache=said)
        assert options is not None
        with settings.using(task_refresh_cache=setting):
            assert options.is_refreshed is refreshed

    def test_a_result_expires_so_long_after_it_was_kept(self) -> None:
        assert CacheOptions(INPUTS, 60).expires(1_000) == 1_060
        assert CacheOptions(INPUTS).expires(1_000) is None

    def test_a_function_wins_over_a_policy(self) -> None:
        options = cache_options(cache_policy=NO_CACHE, cache_key_fn=task_input_hash)
        assert options is not None
        assert options.policy == CacheKeyFnPolicy(task_input_hash)

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            ({"cache_policy": "INPUTS"}, "a policy such as INPUTS"),
            ({"cache_policy": ByDay}, r"Write ByDay\(\)"),
            ({"cache_key_fn": "x"}, "a function of the context"),
            ({"cache_policy": INPUTS, "cache_expiration": 0}, "above 0; not 0"),
            ({"cache_policy": INPUTS, "cache_expiration": timedelta(-1)}, "above 0"),
            ({"cache_policy": INPUTS, "cache_expiration": "1h"}, "not '1h'"),
            ({"cache_policy": INPUTS, "cache_expiration": float("inf")}, "not inf"),
            ({"cache_policy": INPUTS, "cache_expiration": True}, "not True"),
            ({"cache_expiration": 60}, "does nothing without a cache_policy"),
            ({"cache_policy": INPUTS, "refresh_cache": "yes"}, "refresh_cache is True, False or None"),
            ({"cache_policy": INPUTS, "persist_result": False}, "has to be kept"),
            ({"cache_policy": DEFAULT - "z", "function": add.fn}, r"leaves out 'z', which add\(\) does not take; it has: x, y"),
        ],
    )
    def test_what_cannot_be_is_refused_where_it_is_declared(self, given: dict[str, Any], reason: str) -> None:
        with pytest.raises(DefinitionError, match=reason):
            cache_options(**given)

    def test_every_kind_of_parameter_can_be_left_out(self) -> None:
        def one(a: int, /, b: int, *c: int, d: int) -> None: ...
        def other(**kwargs: int) -> None: ...

        assert cache_options(cache_policy=INPUTS - ["a", "b", "c", "d"], function=one)
        assert cache_options(cache_policy=INPUTS - "anything", function=other)


SOURCE = """
def outer(n):
    def work(x):
        return x + n{change}
    return work

def work(x):
    return x{change}

class Callable:
    def __call__(self, x):
        return x{change}
"""


class TestSources:
    """The source of a function, as the policy TASK_SOURCE sees it."""

    @pytest.fixture
    def load(self, tmp_path: Path) -> Callable[[str], ModuleType]:
        """Writes a module and executes it; always the same file."""

        def load(source: str) -> ModuleType:
            path = tmp_path / "written.py"
            path.write_text(source, encoding="utf-8")
            spec = importlib.util.spec_from_file_location("written", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            exec(compile(source, path, "exec"), module.__dict__)
            return module

        return load

    @staticmethod
    def digest(function: Any) -> str:
        made = TASK_SOURCE.compute(call(Task(function)))
        assert made is not None
        return made.ingredients["task source"]

    def test_the_same_text_is_the_same_source_elsewhere_in_the_file_and_indented(self, load: Any) -> None:
        one = self.digest(load(SOURCE.format(change="")).work)
        moved = self.digest(load("# a comment\n" + SOURCE.format(change="")).work)
        assert one == moved

    @pytest.mark.parametrize(
        "find",
        [lambda m: m.work, lambda m: m.outer(1), lambda m: m.Callable(), lambda m: functools.partial(m.work, 1)],
        ids=["function", "closure", "object", "partial"],
    )
    def test_a_changed_source_is_another(self, find: Any, load: Any) -> None:
        one = self.digest(find(load(SOURCE.format(change=""))))
        again = self.digest(find(load(SOURCE.format(change=""))))
        changed = self.digest(find(load(SOURCE.format(change=" + 1"))))
        assert one == again
        assert one != changed

    def test_a_file_edited_after_it_was_loaded_does_not_give_its_new_text_to_the_old_function(self, load: Any) -> None:
        old = load(SOURCE.format(change="")).work
        new = load(SOURCE.format(change=" + 1")).work
        assert self.digest(old) != self.digest(new)

    def test_functions_without_a_source_are_told_apart_by_their_bytecode(self) -> None:
        def made(text: str) -> Any:
            names: dict[str, Any] = {}
            exec(text, names)
            return names["f"]

        one, again, other = (made(f"def f(x): return x in {{'a', 'b', {n}}}") for n in (1, 1, 2))
        assert self.digest(one) == self.digest(again)
        assert self.digest(one) != self.digest(other)

    def test_what_is_not_written_in_python_has_its_name(self) -> None:
        assert self.digest(len) != self.digest(abs)

    def test_a_partial_function_counts_what_is_filled_in(self) -> None:
        assert self.digest(functools.partial(pow, 2)) != self.digest(functools.partial(pow, 3))


SCRIPT = """
import sys
from tidemill import task
from tidemill.caching import INPUTS, TASK_SOURCE, CacheContext

@task
def work(words):
    return {body}

call = CacheContext(work, "run", "task run", {{"words": set("abcdefgh")}}, {{}})
print(INPUTS.compute(call).key, (INPUTS + TASK_SOURCE).compute(call).key)
"""


def test_keys_are_the_same_in_every_process_and_differ_between_scripts(run_script: Any, tmp_path: Path) -> None:
    def keys(script: Path, seed: str) -> list[str]:
        done = run_script(
            "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", str(script), env={"PYTHONHASHSEED": seed}
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    one, other = tmp_path / "one.py", tmp_path / "other.py"
    for script in (one, other):
        script.write_text(SCRIPT.format(body="1"), encoding="utf-8")
    assert keys(one, "1") == keys(one, "2")
    assert not set(keys(one, "1")) & set(keys(other, "1"))
    before = keys(one, "1")
    one.write_text(SCRIPT.format(body="2"), encoding="utf-8")
    after = keys(one, "1")
    assert before[0] == after[0]
    assert before[1] != after[1]


NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shown(time: datetime) -> str:
    return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def run_of(
    name: str = "add-1",
    minute: int = 10,
    key: str | None = "k",
    state: str = "Completed",
    type: StateType = COMPLETED,
    **more: Any,
) -> KeyedRun:
    time = NOON + timedelta(minutes=minute)
    return KeyedRun(
        **{
            **{"id": name, "name": name, "time": time, "ended": time + timedelta(seconds=1), "state_name": state},
            **{"state_type": type, "cache_key": key},
            **more,
        }
    )


class TestWhy:
    FIRST = f"run 'add-0' of {shown(NOON)}"

    @pytest.mark.parametrize(
        ("run", "earlier", "why"),
        [
            (run_of(key=None), [], "It has no cache key, so it was executed"),
            (run_of(state="Cached"), [run_of("add-0", 0)], "It hit: {first} has the same key, and its result was used."),
            (
                run_of(state="Cached"),
                [run_of("add-0.5", 5, state="Cached"), run_of("add-0", 0)],
                "It hit: {first} has the same key",
            ),
            (run_of(state="Cached"), [], "The run that made it is no longer recorded here."),
            (run_of(refreshed=True), [run_of("add-0", 0)], "because refresh_cache is set"),
            (run_of(), [], "It missed: no earlier run has its key."),
            (
                run_of(),
                [run_of("add-0", 0, expires=NOON + timedelta(minutes=5))],
                f"It missed: {{first}} has the same key, but its result expired at {shown(NOON + timedelta(minutes=5))}.",
            ),
            (run_of(), [run_of("add-0", 0, ended=None)], "{first} has the same key and had not finished yet."),
            (run_of(), [run_of("add-0", 0, ended=NOON + timedelta(hours=1))], "had not finished yet. With isolation_level"),
            (run_of(), [run_of("add-0", 0, state="Failed", type=FAILED)], "{first} has the same key, but ended Failed"),
            (run_of(), [run_of("add-0", 0)], "but its result was not there"),
            (
                run_of(ingredients={"inputs.x": "1", "inputs.y": "2"}),
                [run_of("add-0", 0, "other", ingredients={"inputs.x": "0", "inputs.y": "2"})],
                "It missed: no earlier run has its key. The closest, {first}, differs in input 'x'.",
            ),
            (
                run_of(ingredients={"inputs.x": "1", "task source": "2", "run": "3"}),
                [
                    run_of("far", 5, "far", ingredients={"inputs.x": "0", "task source": "0", "run": "0"}),
                    run_of("add-0", 0, "near", ingredients={"inputs.x": "1", "task source": "0", "run": "0"}),
                ],
                "{first}, differs in the task's source and the flow run, which RUN_ID makes part of the key.",
            ),
            (
                run_of(ingredients={"flow parameters.a": "1", "ByDay": "2", "inputs.x": "3"}),
                [run_of("add-0", 0, "other", ingredients={"task": "1"})],
                "differs in the flow's parameter 'a', what ByDay gave, input 'x' and which task it is.",
            ),
            (run_of(), [run_of("add-0", 0, "other")], "It missed: no earlier run has its key."),
        ],
    )
    def test_it_says_so_in_a_sentence(self, run: KeyedRun, earlier: list[KeyedRun], why: str) -> None:
        assert why.format(first=self.FIRST) in why_hit_or_missed(run, earlier)

    def test_it_says_what_really_differed(self) -> None:
        runs: list[KeyedRun] = []
        for n, context in enumerate([call(x=1, y=2), call(x=1, y=3)]):
            made = INPUTS.compute(context)
            assert made is not None
            runs.append(run_of(f"add-{n}", n, made.key, ingredients=made.ingredients))
        assert why_hit_or_missed(runs[1], runs[:1]).endswith(f"The closest, {self.FIRST}, differs in input 'y'.")


def test_importing_tidemill_stays_cheap(run_script: Any) -> None:
    done = run_script("import sys, tidemill.caching; print([m for m in ('asyncio', 'pydantic', 'fsspec') if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr
    assert sys.modules["tidemill.caching"]
