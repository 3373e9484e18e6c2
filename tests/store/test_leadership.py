"""One of several servers on a database leads, and another takes over when that one is gone."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tidemill.settings import DatabaseLimits
from tidemill.store.leadership import Leadership, leadership_of

HOLD = """
    import sys
    from tidemill.settings import DatabaseLimits
    from tidemill.store.leadership import leadership_of
    mine = leadership_of(sys.argv[1], DatabaseLimits())
    print(mine.hold(), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def stand(desk: Any, address: str) -> Iterator[Callable[[], Leadership]]:
    """A process more that stands for the lead on the test's database, which is there."""
    desk.count("lease")
    standing: list[Leadership] = []

    def one_more() -> Leadership:
        standing.append(leadership_of(address, DatabaseLimits()))
        return standing[-1]

    yield one_more
    for each in standing:
        each.release()


def test_one_leads(stand: Callable[[], Leadership]) -> None:
    first, second = stand(), stand()
    assert [first.hold(), second.hold(), first.hold(), second.hold()] == [True, False, True, False]


def test_who_gives_the_lead_up_can_have_it_again(stand: Callable[[], Leadership]) -> None:
    first, second = stand(), stand()
    assert first.hold()
    first.release()
    assert second.hold()
    assert not first.hold()
    second.release()
    second.release()
    assert first.hold()


def test_the_lead_of_a_killed_process_is_free(
    stand: Callable[[], Leadership], address: str, start_script: Any, wait_until: Any
) -> None:
    leader = start_script(HOLD, address)
    assert leader.stdout.readline() == "True\n"
    mine = stand()
    assert not mine.hold()
    leader.kill()
    wait_until(mine.hold)
