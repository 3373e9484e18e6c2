"""How long to wait before a failed run is tried again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidemill.exceptions import DefinitionError
from tidemill.records import RunPolicy

MOST_DELAYS = 50

Delays = float | int | Sequence[float] | Callable[[int], Sequence[float]]


def exponential_backoff(backoff_factor: float) -> Callable[[int], list[float]]:
    """Delays that double: `backoff_factor` seconds before the first retry, then twice, four times as long and so on.

    Example:
        `@task(retries=4, retry_delay_seconds=exponential_backoff(2))` waits 2, 4, 8 and 16 seconds.
    """

    def delays(retries: int) -> list[float]:
        return [backoff_factor * 2**n for n in range(min(retries, MOST_DELAYS))]

    return delays


def policy_of(retries: int, delays: Delays, jitter_factor: float | None) -> RunPolicy:
    """The options of a flow or task as a policy.

    Raises:
        DefinitionError: an option has a value that makes no sense.
    """
    if not isinstance(retries, int) or retries < 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"retries must be a whole number of at least 0, not {retries!r}.")
    if callable(delays):
        delays = delays(retries)
    listed = isinstance(delays, Sequence) and not isinstance(delays, str)
    try:
        each: float | list[float] = [float(delay) for delay in delays] if listed else float(delays)  # type: ignore[arg-type, union-attr]
    except (TypeError, ValueError):
        raise DefinitionError(
            f"retry_delay_seconds takes seconds: a number, a list of them, or a function; not {delays!r}."
        ) from None
    numbers = each if isinstance(each, list) else [each]
    if len(numbers) > MOST_DELAYS:
        raise DefinitionError(f"retry_delay_seconds may list at most {MOST_DELAYS} delays, not {len(numbers)}.")
    if not all(0 <= number < float("inf") for number in numbers):
        raise DefinitionError(f"retry_delay_seconds must be numbers of at least 0, not {delays!r}.")
    if jitter_factor is not None and not (isinstance(jitter_factor, int | float) and 0 <= jitter_factor < float("inf")):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise DefinitionError(f"retry_jitter_factor must be a number of at least 0, not {jitter_factor!r}.")
    return RunPolicy(retries=retries, retry_delay=each, retry_jitter_factor=jitter_factor)
