"""Promise 3, for inputs of all kinds: in another process they are recognised as the same."""

import pytest

VALUES = {
    "set of texts": "{'a', 'b', 'c', 'd', 'e'}",
    "frozenset in a dict": "{'x': frozenset('abcdef'), 'y': {1: {('q', n) for n in 'qwert'}}}",
    "instance with a set": "Bag({'a', 'b', 'c'})",
    "dataclass": "Point(1, {'a', 'b', 'c'})",
    "enum": "Kind.GOOD",
    "path": "pathlib.Path('a/b')",
    "pattern": "re.compile('a+')",
    "zoned time": "datetime.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC'))",
    "function": "double",
    "class": "Bag",
    "built-in": "len",
    "partial": "functools.partial(double, 3)",
    "large": "list(range(100_000))",
    "array": "array.array('d', range(1000))",
    "cycle": "cycle()",
    "lock": "threading.Lock()",
    "shared parts": "[shared, shared, list(shared)]",
    "texts of equal value": "[''.join(['a', 'b']), 'ab', str('ab')]",
    "nan": "[float('nan'), -0.0, 0.0, True, 1, 1.0]",
}


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_inputs_are_recognised_in_another_process(say, two_of, value):
    source = """
        import array, dataclasses, datetime, enum, functools, pathlib, re, threading, zoneinfo

        class Kind(enum.Enum):
            GOOD = 1

        class Bag:
            def __init__(self, things):
                self.things = things

        @dataclasses.dataclass
        class Point:
            x: int
            names: set

        def double(n):
            return 2 * n

        def cycle():
            found = [1]
            found.append(found)
            return found

        shared = ["one", "two"]

        @task
        def use(value):
            say("use")
            return type(value).__name__

        @flow(idempotency_key="nightly")
        def nightly():
            names = [use(VALUE), use(VALUE)]
            MOMENT
            return names

        nightly()
        say("end")
    """
    before, after = two_of(source.replace("VALUE", value), "die()", "pass")
    assert say(before, killed=True) == ["use", "use"]
    assert say(after) == ["end"]


BESIDE_A_FUNCTION = """
    class Point:
        pass

    @task
    def make():
        return Point(), lambda n: n + 1

    @flow(idempotency_key="nightly")
    def nightly(key=None):
        point, add = make()
        MOMENT
        return isinstance(point, Point), add(1)

    say(*nightly())
"""


def test_an_object_beside_a_function_is_still_one_of_its_class(say, two_of):
    before, after = two_of(BESIDE_A_FUNCTION, "die()", "pass")
    say(before, killed=True)
    assert say(after) == ["True 2"]
