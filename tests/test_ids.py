"""Ids: UUID version 7 as RFC 9562 lays it out, in the order of their making."""

import threading
import time
import uuid
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from tidemill import ids

ID = "01920000-abcd-7000-8000-0123456789ab"
NUMBERS = [0, 1, 2, 255, 256, 65_535, 65_536, 2**31, 2**32 - 1]


def test_an_id_is_a_uuid_of_version_7_in_canonical_form() -> None:
    made = ids.new_id()
    read = uuid.UUID(made)
    assert (read.version, read.variant, str(read)) == (7, uuid.RFC_4122, made)
    assert ids.is_id(made)


def test_the_first_48_bits_are_milliseconds() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid.UUID(ids.new_id()).int >> 80
    assert before <= made <= time.time_ns() // 1_000_000


def test_the_next_12_bits_are_the_fraction_of_the_millisecond() -> None:
    for _ in range(100):
        before = time.time_ns()
        number = uuid.UUID(ids.new_id()).int
        after = time.time_ns()
        nanoseconds = (number >> 80) * 1_000_000 + (number >> 64 & 0xFFF) * 1_000_000 // 4096
        assert before - 300 <= nanoseconds <= after  # a fraction is 244 ns wide, and rounded down


def test_the_last_62_bits_are_random() -> None:
    tails = [uuid.UUID(ids.new_id()).int & (2**62 - 1) for _ in range(2_000)]
    for bit in range(62):
        assert 0.4 < sum(tail >> bit & 1 for tail in tails) / len(tails) < 0.6


def test_a_hundred_thousand_are_unique_and_in_the_order_of_their_making() -> None:
    made = [ids.new_id() for _ in range(100_000)]
    assert len(set(made)) == len(made)
    assert all(earlier < later for earlier, later in pairwise(made))


def test_the_order_of_texts_is_the_order_of_bytes() -> None:
    made = [ids.new_id() for _ in range(100)]
    assert [ids.from_bytes(raw) for raw in sorted(map(ids.to_bytes, made))] == made


def test_threads_do_not_make_the_same_id() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend([ids.new_id() for _ in range(2_000)])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 16_000


def test_a_forked_child_does_not_make_its_parents_ids(run_script: Callable[..., Any]) -> None:
    done = run_script(
        """
        import os
        from tidemill import ids
        ids.new_id()
        children = []
        for n in range(3):
            child = os.fork()
            if not child:
                print(ids.new_id()[19:], flush=True)
                os._exit(0)
            os.waitpid(child, 0)
        print(ids.new_id()[19:])
        """
    )
    assert len(set(done.stdout.split())) == 4, done.stdout + done.stderr


def test_the_nth_id_of_a_base_is_always_the_same() -> None:
    assert [ids.nth_id(ID, n) for n in NUMBERS] == [ids.nth_id(ID, n) for n in NUMBERS]


def test_the_nth_ids_of_a_base_differ_from_each_other_and_from_it() -> None:
    made = {ids.nth_id(ID, n) for n in (*NUMBERS, *range(3, 200))}
    assert len(made) == len({*NUMBERS, *range(3, 200)})
    assert ID not in made


def test_the_nth_ids_of_two_bases_differ() -> None:
    bases = [ids.new_id() for _ in range(200)]
    assert len({ids.nth_id(base, n) for base in bases for n in range(50)}) == 10_000


@pytest.mark.parametrize("n", NUMBERS)
def test_the_nth_id_keeps_the_time_version_and_variant_of_its_base(n: int) -> None:
    made = ids.nth_id(ID, n)
    assert made[:19] == ID[:19]
    assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)


@pytest.mark.parametrize(
    "text",
    ["", "adept-capuchin", ID.upper(), ID.replace("-", ""), f"{{{ID}}}", f"{ID}\n", f" {ID}", ID[:-1], ID + "0", ID[:-1] + "g"],
)
def test_what_is_no_id_in_canonical_form_is_told(text: str) -> None:
    assert not ids.is_id(text)


@pytest.mark.parametrize("text", [ID, "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
def test_an_id_is_16_bytes_and_back(text: str) -> None:
    raw = ids.to_bytes(text)
    assert raw == uuid.UUID(text).bytes
    assert ids.from_bytes(raw) == text


@pytest.mark.parametrize("text", ["", "ab", "adept-capuchin", ID[:-2], ID + "00", ID[:-1] + "g"])
def test_bytes_of_what_is_no_id_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        ids.to_bytes(text)
