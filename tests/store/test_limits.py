"""Slots of limits in the store: never more are given out than there are, whoever asks at the same time."""

import threading

import pytest

from tidemill import clock, ids
from tidemill.orchestration import limits as slots_of
from tidemill.orchestration.limits import Denied, Granted, LeaseTerms
from tidemill.side_records import ConcurrencyLimitChange, LeaseHolder, NewConcurrencyLimit
from tidemill.store import limits

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
TASK_RUN, OTHER_RUN = ids.new_id(), ids.new_id()


class Slots:
    """Asks for slots, each time in a transaction of its own."""

    def __init__(self, store):
        self.store = store
        self.fetch = store.database.fetch
        self.now = START

    def ask(self, what, *args, **more):
        with self.store.transaction() as execute:
            return what(execute, *args, **more)

    def create(self, name="db", limit=2, **more):
        return self.ask(limits.create, NewConcurrencyLimit(name=name, limit=limit, **more), self.now)

    def take(self, *names, slots=1, **more):
        return self.ask(slots_of.take_slots, names or ["db"], slots, self.now, **more)

    def lease(self, *names, slots=1, seconds=60, **more):
        return self.take(*names, slots=slots, terms=LeaseTerms(seconds, **more))

    def release(self, granted):
        self.ask(slots_of.release_lease, granted.lease_id, self.now)

    def renew(self, granted, seconds=60):
        return self.ask(slots_of.renew_lease, granted.lease_id, seconds, self.now)

    def back(self, *names, slots=1, **more):
        return self.ask(slots_of.give_slots_back, names or ["db"], slots, self.now, **more)

    def limit(self, name="db"):
        return limits.limit(self.fetch, limits.of_name(name), self.now)

    def in_use(self, name="db"):
        return self.limit(name).active_slots


@pytest.fixture
def slots(desk):
    return Slots(desk.store)


def test_slots_are_given_out_up_to_the_limit(slots):
    made = slots.create()
    assert slots.take() == Granted([slots_of.LimitInShort(id=made.id, name="db", limit=2)])
    assert isinstance(slots.take(), Granted)
    denied = slots.take()
    assert isinstance(denied, Denied)
    assert "'db'" in denied.reason
    assert 0.1 <= denied.retry_after <= 10
    assert slots.in_use() == 2
    slots.back()
    assert isinstance(slots.take(), Granted)


def test_more_than_were_taken_are_not_given_back(slots):
    slots.create()
    slots.take()
    assert [each.name for each in slots.back("db", "nothing", slots=5)] == ["db"]
    assert slots.in_use() == 0


def test_slots_of_several_limits_are_taken_all_or_none(slots):
    slots.create("a", 1)
    slots.create("b", 2)
    assert [each.name for each in slots.lease("b", "a", "nothing", "a").limits] == ["a", "b"]
    assert isinstance(slots.lease("a", "b"), Denied)
    assert (slots.in_use("a"), slots.in_use("b")) == (1, 1)
    assert (slots.limit("a").denied_slots, slots.limit("b").denied_slots) == (1, 0)


def test_more_slots_than_there_are_are_never_given(slots):
    slots.create()
    slots.create("none", 0)
    for names, wanted in (("db", 3), ("none", 1)):
        for answer in (slots.take(names, slots=wanted), slots.lease(names, slots=wanted)):
            assert isinstance(answer, Denied)
            assert answer.retry_after is None


def test_a_limit_that_is_not_active_limits_nothing(slots):
    slots.create(active=False)
    for _ in range(3):
        granted = slots.lease(slots=10)
        assert len(granted.limits) == 1
        assert slots.renew(granted)
    assert slots.in_use() == 0


def test_names_without_a_limit_get_a_lease_of_nothing(slots):
    granted = slots.lease("nothing")
    assert granted.limits == []
    assert slots.renew(granted)
    slots.release(granted)
    assert slots.fetch("SELECT count(*) FROM concurrency_lease", ()) == [(0,)]


def test_a_lease_holds_slots_until_it_is_released(slots):
    slots.create()
    granted = slots.lease(slots=2)
    assert slots.in_use() == 2
    assert isinstance(slots.lease(), Denied)
    slots.now += 30 * SECOND
    slots.release(granted)
    slots.release(granted)
    assert slots.in_use() == 0
    assert not slots.renew(granted)


def test_a_lease_that_is_renewed_does_not_expire(slots):
    slots.create(limit=1)
    granted = slots.lease(seconds=60)
    for _ in range(3):
        slots.now += 50 * SECOND
        assert slots.renew(granted, 60)
    assert isinstance(slots.lease(), Denied)


def test_the_slots_of_an_expired_lease_are_free_at_once(slots):
    slots.create(limit=1)
    first = slots.lease(seconds=60)
    slots.now += 60 * SECOND
    assert slots.in_use() == 0
    assert isinstance(slots.lease(), Granted)
    assert not slots.renew(first), "somebody else has its slot"
    slots.release(first)
    assert slots.in_use() == 1


def test_an_expired_lease_is_not_renewed_though_nobody_has_its_slot(slots):
    slots.create()
    granted = slots.lease(seconds=60)
    slots.now += 60 * SECOND
    assert not slots.renew(granted)


def test_expired_leases_are_ended_by_whoever_cleans_up(slots):
    slots.create("a", 5)
    slots.create("b", 5)
    slots.lease("a", "b", slots=2, seconds=60)
    kept = slots.lease("a", seconds=120)
    slots.take("a")
    assert slots.ask(limits.free_expired, slots.now) == 0
    slots.now += 90 * SECOND
    assert slots.ask(limits.free_expired, slots.now) == 4
    assert slots.ask(limits.free_expired, slots.now) == 0
    assert slots.in_use("a") == 2
    assert slots.renew(kept)


def test_a_rate_gives_slots_back_bit_by_bit(slots):
    slots.create(limit=2, slot_decay_per_second=0.5)
    assert isinstance(slots.take(slots=2, at_a_rate=True), Granted)
    denied = slots.take(at_a_rate=True)
    assert 1.5 <= denied.retry_after <= 2.5
    slots.now += int(1.9 * SECOND)
    assert slots.in_use() == 2
    assert isinstance(slots.take(at_a_rate=True), Denied)
    slots.now += int(0.1 * SECOND)
    assert isinstance(slots.take(at_a_rate=True), Granted)
    assert isinstance(slots.take(at_a_rate=True), Denied)
    slots.now += 100 * SECOND
    assert slots.in_use() == 0


def test_a_clock_that_is_behind_gives_no_more_slots(slots):
    slots.create(limit=1, slot_decay_per_second=1)
    slots.take(at_a_rate=True)
    slots.now -= 10 * SECOND
    assert isinstance(slots.take(at_a_rate=True), Denied)
    slots.back(slots=0)
    slots.now += 10 * SECOND
    assert isinstance(slots.take(at_a_rate=True), Denied)


def test_a_rate_needs_slots_that_come_back(slots):
    slots.create()
    answer = slots.take(at_a_rate=True)
    assert isinstance(answer, Denied)
    assert answer.retry_after is None
    assert "slot_decay_per_second" in answer.reason


def test_a_lease_at_a_rate_holds_nothing(slots):
    slots.create(limit=1, slot_decay_per_second=1)
    granted = slots.take(terms=LeaseTerms(60), at_a_rate=True)
    assert slots.renew(granted)
    slots.release(granted)
    assert slots.in_use() == 1
    slots.now += SECOND
    assert slots.in_use() == 0


def test_who_waits_asks_less_often_the_more_they_are(slots):
    slots.create(limit=1)
    slots.take()
    waits = [slots.take().retry_after for _ in range(30)]
    assert max(waits[:2]) <= 2.5
    assert waits[-1] == 10
    slots.back()
    for _ in range(6):
        slots.take()
        slots.back()
    assert slots.limit().denied_slots == 0


def test_the_wait_follows_how_long_slots_are_held(slots):
    slots.create(limit=1)
    for _ in range(20):
        granted = slots.lease()
        slots.now += SECOND // 2
        slots.release(granted)
    assert slots.limit().avg_slot_occupancy_seconds == pytest.approx(0.5, abs=0.05)
    slots.back(occupancy_seconds=100.0)
    assert slots.limit().avg_slot_occupancy_seconds > 10


def test_active_slots_can_be_set(slots):
    slots.create(limit=5)
    granted = slots.lease(slots=2)

    def change(**changed):
        assert slots.ask(limits.change, limits.of_name("db"), ConcurrencyLimitChange(**changed), slots.now)

    change(active_slots=3)
    assert slots.in_use() == 3
    assert slots.renew(granted)
    change(active_slots=0)
    assert slots.in_use() == 0
    assert not slots.renew(granted)
    change(active_slots=4, slot_decay_per_second=1.0, limit=9)
    slots.now += SECOND
    assert (slots.in_use(), slots.limit().limit) == (3, 9)
    change(slot_decay_per_second=0.0)
    slots.now += SECOND
    assert slots.in_use() == 3, "what came back before the change stays so"


def test_a_deleted_limit_ends_its_leases(slots):
    slots.create()
    granted = slots.lease()
    assert slots.ask(limits.delete, limits.of_name("db"))
    assert not slots.renew(granted)
    slots.release(granted)


def test_a_task_run_has_one_slot_of_a_tag(slots):
    kept, is_new = slots.ask(limits.keep_tag_limit, "db", 1, slots.now)
    assert (kept.tag, kept.concurrency_limit, kept.active_slots, is_new) == ("db", 1, [], True)

    def take(task_run_id):
        return slots.ask(slots_of.take_tag_slots, ["db", "nothing"], task_run_id, slots.now)

    assert [each.name for each in take(TASK_RUN).limits] == ["db"]
    assert isinstance(take(TASK_RUN), Granted), "asked twice, taken once"
    assert isinstance(take(OTHER_RUN), Denied)
    slots.now += 10**9 * SECOND
    assert limits.tag_limit(slots.fetch, limits.of_name("tag:db"), slots.now).active_slots == [TASK_RUN]
    assert slots.in_use("tag:db") == 1
    slots.ask(slots_of.give_tag_slots_back, ["db"], OTHER_RUN, slots.now)
    assert slots.in_use("tag:db") == 1
    slots.ask(slots_of.give_tag_slots_back, ["db"], TASK_RUN, slots.now)
    assert isinstance(take(OTHER_RUN), Granted)


def test_the_holders_of_leases_are_shown_for_a_tag(slots):
    slots.ask(limits.keep_tag_limit, "db", 3, slots.now)
    slots.lease("tag:db", holder=LeaseHolder(type="task_run", id=TASK_RUN))
    slots.lease("tag:db", holder=LeaseHolder(type="task_run", id=OTHER_RUN), seconds=120)
    slots.lease("tag:db")
    [shown] = limits.tag_limits(slots.fetch, slots.now)
    assert shown.active_slots == [TASK_RUN, OTHER_RUN]
    slots.now += 60 * SECOND
    assert limits.tag_limits(slots.fetch, slots.now)[0].active_slots == [OTHER_RUN]


def test_a_tag_is_reset(slots):
    slots.ask(limits.keep_tag_limit, "db", 2, slots.now)
    granted = slots.lease("tag:db")
    slots.take("tag:db")
    assert slots.ask(slots_of.reset_tag, "db", [TASK_RUN, OTHER_RUN, TASK_RUN], slots.now)
    assert limits.tag_limits(slots.fetch, slots.now)[0].active_slots == [TASK_RUN, OTHER_RUN]
    assert not slots.renew(granted)
    assert slots.ask(slots_of.reset_tag, "db", [], slots.now)
    assert slots.in_use("tag:db") == 0
    assert not slots.ask(slots_of.reset_tag, "nothing", [], slots.now)


@pytest.mark.parametrize("how", ["lease", "taken", "expiring"])
def test_many_who_fight_for_three_slots_never_have_more(how, open_same_store):
    Slots(open_same_store()).create(limit=3)
    having, most, won, errors = 0, 0, 0, []
    lock = threading.Lock()

    def fight():
        nonlocal having, most, won
        try:
            mine = Slots(open_same_store())
            while True:
                mine.now = clock.now()
                answer = mine.take() if how == "taken" else mine.lease(seconds=0.001 if how == "expiring" else 60)
                if how == "expiring":  # it is free again as soon as it has ended, whoever counts
                    with lock:
                        won += isinstance(answer, Granted)
                        most = max(most, sum(row[0] for row in mine.fetch("SELECT slots FROM concurrency_lease", ())))
                elif isinstance(answer, Granted):
                    with lock:
                        having += 1
                        won += 1
                        most = max(most, having)
                    assert mine.in_use() <= 3
                    with lock:
                        having -= 1
                    mine.back() if how == "taken" else mine.release(answer)
                with lock:
                    if won >= 200:
                        return
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=fight) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert 1 <= most <= 3
    if how != "expiring":
        assert Slots(open_same_store()).in_use() == 0
