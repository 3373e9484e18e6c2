"""Variables in the store: one for each name, whoever writes at the same time."""

import threading

from tidemill import clock
from tidemill.filters import TagsFilter, VariableFilter, VariableSort
from tidemill.side_records import NewVariable, VariableChange
from tidemill.store import variables

START = 1_700_000_000_000_000


def create(store, name, value=None, tags=(), now=START):
    with store.transaction() as execute:
        return variables.create(execute, NewVariable(name=name, value=value, tags=list(tags)), now)


def test_values_come_back_as_they_were(desk):
    for number, value in enumerate([None, False, 2**70, 1.0, "é\0\n", {"b": [1, {"a": None}], "a": ""}]):
        made = create(desk.store, f"v{number}", value)
        found = variables.variable(desk.fetch, variables.of_id(made.id))
        assert found == made == variables.variable(desk.fetch, variables.of_name(f"v{number}"))
        assert (found.value, type(found.value)) == (value, type(value))


def test_a_change_leaves_what_it_does_not_name(desk):
    made = create(desk.store, "a", 1, ["x"])
    create(desk.store, "b")
    which = variables.of_name("a")
    with desk.store.transaction() as execute:
        assert variables.is_taken(execute, "b", which)
        assert not variables.is_taken(execute, "a", which)
        assert not variables.is_taken(execute, "c", which)
        assert variables.change(execute, which, VariableChange(name="c", value=None), START + 5)
        assert not variables.change(execute, which, VariableChange(), START)
    after = variables.variable(desk.fetch, variables.of_id(made.id))
    assert (after.name, after.value, after.tags) == ("c", None, ["x"])
    assert (after.created, after.updated) == (made.created, clock.to_datetime(START + 5))


def test_tags_are_found(desk):
    for name, tags in (("a", ["x", "y"]), ("b", ["y"]), ("c", [])):
        create(desk.store, name, tags=tags)

    def found(**conditions):
        chosen = VariableFilter(tags=TagsFilter(**conditions))
        names = [each.name for each in variables.variables(desk.fetch, chosen, VariableSort.NAME_ASC)]
        assert variables.count_variables(desk.fetch, chosen) == len(names)
        return names

    assert found(all_=["y"]) == ["a", "b"]
    assert found(all_=["x", "y"]) == ["a"]
    assert found(any_=["x", "z"]) == ["a"]
    assert found(is_null_=True) == ["c"]


def test_one_of_many_who_create_a_variable_does(open_same_store):
    create(open_same_store(), "first")
    made = []

    def attempt(number):
        made.append(create(open_same_store(), "wanted", number))

    threads = [threading.Thread(target=attempt, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = [each for each in made if each is not None]
    assert len(made) == 8
    assert variables.variable(open_same_store().database.fetch, variables.of_name("wanted")) == winner
