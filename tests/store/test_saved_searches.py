"""Saved searches in the store."""

from tidemill import ids
from tidemill.filters import Page
from tidemill.side_records import NewSavedSearch, SavedSearchFilter
from tidemill.store import saved_searches

START = 1_700_000_000_000_000


def keep(desk, name, *filters, now=START):
    with desk.store.transaction() as execute:
        return saved_searches.keep(execute, NewSavedSearch(name=name, filters=list(filters)), now)


def test_a_search_takes_the_place_of_the_one_of_its_name(desk):
    condition = SavedSearchFilter(object="flow", property="name", type="string", operation="is", value={"a": [None, 1.5]})
    first, is_new = keep(desk, "mine", condition)
    assert is_new
    assert saved_searches.saved_search(desk.fetch, first.id) == first
    assert first.filters == [condition]
    again, is_new = keep(desk, "mine", now=START + 1)
    assert not is_new
    assert (again.id, again.created, again.filters) == (first.id, first.created, [])
    assert again.updated > first.updated


def test_searches_are_listed_by_name_and_deleted(desk):
    made = {name: keep(desk, name)[0] for name in "cab"}
    assert [each.name for each in saved_searches.saved_searches(desk.fetch)] == ["a", "b", "c"]
    assert [each.name for each in saved_searches.saved_searches(desk.fetch, Page(1, 1))] == ["b"]
    with desk.store.transaction() as execute:
        assert saved_searches.delete(execute, made["b"].id)
        assert not saved_searches.delete(execute, made["b"].id)
        assert not saved_searches.delete(execute, ids.new_id())
    assert saved_searches.saved_search(desk.fetch, made["b"].id) is None
