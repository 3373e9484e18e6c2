"""What several commands take: how a list is shown, and how runs are chosen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from cyclopts import Parameter

from tidemill import clock
from tidemill.exceptions import SettingsError, TidemillError
from tidemill.filters import NameFilter, Page, StateFilter, StateTypeFilter, TagsFilter, TimeFilter
from tidemill.setting_kinds import LEVELS
from tidemill.settings import check
from tidemill.states import DEFAULT_NAMES, StateType

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?\s*[a-z]+\s*)+", re.IGNORECASE)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.IGNORECASE)
_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}

StateTypeName = Literal[
    "SCHEDULED", "PENDING", "RUNNING", "COMPLETED", "FAILED", "CANCELLED", "CRASHED", "PAUSED", "CANCELLING"
]


# Options say what they do without `--no-...` twins and without the defaults that go without saying.
BARE = Parameter(negative=(), show_default=False)


RunName = Annotated[str, Parameter(help="Name, id, or beginning of an id.")]
RunNames = Annotated[Sequence[str], Parameter(help="Names, ids, or beginnings of ids.")]
OfFlowRun = Annotated[str | None, Parameter(help="The flow run that it is of, when several have a task run of this name.")]


class UsageError(TidemillError):
    """The command line asks for something that makes no sense."""


@Parameter(name="*")
@dataclass(frozen=True)
class Format:
    """How one thing is shown."""

    as_json: Annotated[bool, Parameter(name="--json", help="Print JSON.")] = False
    output: Annotated[Literal["json"] | None, Parameter(name=["--output", "-o"], show=False)] = None

    @property
    def json(self) -> bool:
        return self.as_json or self.output == "json"


@Parameter(name="*")
@dataclass(frozen=True)
class Listing(Format):
    """How a list is shown."""

    limit: Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="How many to show at most; 0 for all.")] = (
        20
    )
    offset: Annotated[int, Parameter(help="How many to leave out at the beginning.")] = 0

    @property
    def page(self) -> Page:
        """Raises UsageError for a negative number."""
        for name, number in (("--limit", self.limit), ("--offset", self.offset)):
            if number < 0:
                raise UsageError(f"{name} must be 0 or more, not {number}.")
        return Page(self.limit or None, self.offset)


@Parameter(name="*")
@dataclass(frozen=True)
class WholeListing(Listing):
    """How a list is shown that is shown whole unless something else is asked for."""

    limit: Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="How many to show at most; 0 for all.")] = 0


@Parameter(name="*")
@dataclass(frozen=True)
class Chosen:
    """Which runs."""

    state: Annotated[Sequence[str], Parameter(help="Only in this state, by name (Completed, TimedOut ...). Repeatable.")] = ()
    state_type: Annotated[Sequence[StateTypeName], Parameter(help="Only in a state of this type. Repeatable.")] = ()
    name: Annotated[str | None, Parameter(help="Only if the name contains this.")] = None
    tag: Annotated[Sequence[str], Parameter(help="Only with this tag. Repeatable: with all of them.")] = ()
    since: Annotated[
        str | None, Parameter(help="Only from then on: an age (30m, 2h, 3d) or a time (2024-05-01, 2024-05-01T12:30).")
    ] = None
    before: Annotated[str | None, Parameter(help="Only up to then: an age or a time.")] = None

    @property
    def state_filter(self) -> StateFilter | None:
        if not self.state and not self.state_type:
            return None
        return StateFilter(
            name=NameFilter(any_=[_state_name(name) for name in self.state]) if self.state else None,
            type=StateTypeFilter(any_=[StateType(type) for type in self.state_type]) if self.state_type else None,
        )

    @property
    def name_filter(self) -> NameFilter | None:
        return NameFilter(like_=self.name) if self.name else None

    @property
    def tags_filter(self) -> TagsFilter | None:
        return TagsFilter(all_=list(self.tag)) if self.tag else None

    @property
    def time_filter(self) -> TimeFilter | None:
        """Raises UsageError for what is no time."""
        if self.since is None and self.before is None:
            return None
        return TimeFilter(after_=_moment("--since", self.since), before_=_moment("--before", self.before))


# What commands take when they are told nothing.
AS_TEXT = Format()
FIRST_PAGE = Listing()
WHOLE = WholeListing()
ANY = Chosen()


def read_level(text: str) -> int:
    """A log level by name or number.

    Raises:
        UsageError: it is neither.
    """
    try:
        name = check("logging_level", text, "--level")
    except SettingsError:
        raise UsageError(f"--level is one of {', '.join(LEVELS)}, or a number, not {text!r}.") from None
    return LEVELS[name] if name in LEVELS else int(name)


# Names people may write in any case; others are taken as they are written.
_STATE_NAMES = {*DEFAULT_NAMES.values(), "AwaitingRetry", "Cached", "Late", "NotReady", "Retrying", "TimedOut"}
_BY_LOWER_NAME = {name.lower(): name for name in _STATE_NAMES}


def _state_name(text: str) -> str:
    return _BY_LOWER_NAME.get(text.lower(), text)


def _moment(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    if _DURATION.fullmatch(text.strip()):
        parts = _PART.findall(text)
        if all(unit.lower() in _UNITS for _, unit in parts):
            age = sum(float(number) * _UNITS[unit.lower()] for number, unit in parts)
            return clock.to_datetime(clock.now()) - timedelta(seconds=age)
    try:
        return datetime.fromisoformat(text.strip()).astimezone()
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} takes an age (30m, 2h, 3d, 1w) or a time (2024-05-01, 2024-05-01T12:30), not {text!r}."
        ) from None
