"""How often and after which waits a failed run is tried again."""

import math

import pytest

from tidemill.engine.retries import MOST_DELAYS, exponential_backoff, policy_of
from tidemill.exceptions import DefinitionError
from tidemill.records import RunPolicy


@pytest.mark.parametrize(
    ("retries", "delays", "policy"),
    [
        (0, 0, RunPolicy()),
        (3, 1, RunPolicy(retries=3, retry_delay=1.0)),
        (3, 0.5, RunPolicy(retries=3, retry_delay=0.5)),
        (2, [1, 2], RunPolicy(retries=2, retry_delay=[1.0, 2.0])),
        (2, (1, 2), RunPolicy(retries=2, retry_delay=[1.0, 2.0])),
        (2, range(3), RunPolicy(retries=2, retry_delay=[0.0, 1.0, 2.0])),
        (2, [], RunPolicy(retries=2, retry_delay=[])),
        (3, lambda retries: [retries] * retries, RunPolicy(retries=3, retry_delay=[3.0, 3.0, 3.0])),
        (3, lambda retries: 7, RunPolicy(retries=3, retry_delay=7.0)),
        (3, exponential_backoff(2), RunPolicy(retries=3, retry_delay=[2.0, 4.0, 8.0])),
        (1, [1] * MOST_DELAYS, RunPolicy(retries=1, retry_delay=[1.0] * MOST_DELAYS)),
    ],
)
def test_options_become_a_policy(retries, delays, policy):
    assert policy_of(retries, delays, None) == policy


def test_the_jitter_is_part_of_the_policy():
    assert policy_of(1, 2, 0.5) == RunPolicy(retries=1, retry_delay=2.0, retry_jitter_factor=0.5)


@pytest.mark.parametrize(
    ("retries", "delays", "jitter", "named"),
    [
        (-1, 0, None, "retries"),
        (1.0, 0, None, "retries"),
        (None, 0, None, "retries"),
        ("3", 0, None, "retries"),
        (1, -0.1, None, "retry_delay_seconds"),
        (1, [1, -1], None, "retry_delay_seconds"),
        (1, math.nan, None, "retry_delay_seconds"),
        (1, [1, math.nan], None, "retry_delay_seconds"),
        (1, math.inf, None, "retry_delay_seconds"),
        (1, "soon", None, "retry_delay_seconds"),
        (1, [None], None, "retry_delay_seconds"),
        (1, None, None, "retry_delay_seconds"),
        (1, lambda retries: None, None, "retry_delay_seconds"),
        (1, [1] * (MOST_DELAYS + 1), None, "retry_delay_seconds"),
        (1, 1, -0.1, "retry_jitter_factor"),
        (1, 1, math.nan, "retry_jitter_factor"),
        (1, 1, "much", "retry_jitter_factor"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_by_name(retries, delays, jitter, named):
    with pytest.raises(DefinitionError, match=named):
        policy_of(retries, delays, jitter)


@pytest.mark.parametrize(
    ("factor", "retries", "delays"), [(1, 4, [1, 2, 4, 8]), (0.5, 2, [0.5, 1]), (10, 0, []), (0, 2, [0, 0])]
)
def test_exponential_backoff_doubles_from_its_factor(factor, retries, delays):
    assert exponential_backoff(factor)(retries) == delays


def test_exponential_backoff_never_lists_more_delays_than_allowed():
    assert policy_of(1_000, exponential_backoff(1), None).retries == 1_000


def test_without_jitter_the_delay_is_the_policys():
    policy = RunPolicy(retries=3, retry_delay=[1.0, 5.0])
    assert [policy.jittered_delay(retry) for retry in (1, 2, 3)] == [1.0, 5.0, 5.0]


@pytest.mark.parametrize(("factor", "least", "most"), [(0.5, 5.0, 15.0), (1.0, 0.0, 20.0), (3.0, 0.0, 40.0), (0.01, 9.9, 10.1)])
def test_jitter_keeps_the_delay_within_its_factor(factor, least, most):
    policy = RunPolicy(retries=1, retry_delay=10.0, retry_jitter_factor=factor)
    drawn = [policy.jittered_delay(1) for _ in range(1_000)]
    assert min(drawn) >= least
    assert max(drawn) <= most
    assert len(set(drawn)) > 1


def test_jitter_of_no_delay_is_no_delay():
    assert RunPolicy(retries=1, retry_delay=0.0, retry_jitter_factor=1.0).jittered_delay(1) == 0.0
