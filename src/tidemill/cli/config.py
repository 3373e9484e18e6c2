"""`tidemill config`."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from typing import Annotated

from cyclopts import App, Parameter

from tidemill import profiles, settings
from tidemill.cli.options import AS_TEXT, BARE, Format, UsageError
from tidemill.cli.output import note, show_json
from tidemill.exceptions import SettingsError
from tidemill.settings import OUTSIDE_PROFILES, PREFIX, Origin, concealed, setting_of, variable_of

app = App(name="config", help="Show and change settings.", help_format="plaintext", default_parameter=BARE)


@app.command
def view(
    *,
    show_defaults: Annotated[bool, Parameter(negative="--hide-defaults", help="Also settings that nobody has set.")] = False,
    show_sources: Annotated[bool, Parameter(negative="--hide-sources", help="Where each value comes from.")] = True,
    format: Format = AS_TEXT,
) -> None:
    """Show the settings in effect."""
    origins = settings.origins()
    shown = {
        name: origin._replace(value=concealed(name, origin.value))
        for name, origin in origins.items()
        if show_defaults or origin.source != "default" or name in OUTSIDE_PROFILES
    }
    if format.json:
        show_json({variable_of(name): origin._asdict() for name, origin in shown.items()})
    else:
        for name, origin in shown.items():
            print(_line(name, origin, show_sources))
    for variable, meant in _unknown_variables().items():
        note(f"{variable} is no setting" + (f"; did you mean {meant}?" if meant else "."))


@app.command(name="set")
def set_(assignments: Annotated[Sequence[str], Parameter(help="SETTING=VALUE, once or several times.")], /) -> None:
    """Set settings in the active profile.

    For example:
        tidemill config set TIDEMILL_LOGGING_LEVEL=DEBUG
    """
    place = settings.place()
    table = dict(place.profiles.table(place.profile.value))
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise UsageError(f"{assignment!r} is no assignment; write SETTING=VALUE.")
        name = _setting(key.strip())
        settings.check(name, value, "the command line")
        _remove(table, name)
        table[variable_of(name)] = value
    _save(place, table)
    for assignment in assignments:
        name = _setting(assignment.partition("=")[0].strip())
        value = concealed(name, table[variable_of(name)])
        print(f"Set {variable_of(name)} to {value!r} in profile {place.profile.value!r}.")
        if os.environ.get(variable_of(name)):
            note(f"The environment sets {variable_of(name)} too, and wins.")


@app.command
def unset(names: Annotated[Sequence[str], Parameter(help="Settings to take out.")], /) -> int:
    """Take settings out of the active profile, so that their defaults apply again."""
    place = settings.place()
    table = dict(place.profiles.table(place.profile.value))
    missing = 0
    for key in names:
        name = setting_of(key)
        if key not in table and (name is None or not _remove(table, name)):
            note(f"{key} is not set in profile {place.profile.value!r}.")
            missing += 1
            continue
        table.pop(key, None)
        print(f"Unset {key} in profile {place.profile.value!r}.")
    _save(place, table)
    return min(missing, 1)


def _setting(key: str) -> str:
    name = setting_of(key)
    if name is None:
        meant = difflib.get_close_matches(key.upper(), _variables(), n=1)
        advice = f"did you mean {meant[0]}?" if meant else "see `tidemill config view --show-defaults`."
        raise SettingsError(f"{key} is no setting; {advice}")
    if name in OUTSIDE_PROFILES:
        advice = "choose a profile with `tidemill profile use`" if name == "profile" else "set it in the environment"
        raise SettingsError(f"{variable_of(name)} cannot be set in a profile; {advice}.")
    return name


def _remove(table: dict[str, profiles.Value], name: str) -> bool:
    """Takes a setting out, by whichever name it is there."""
    keys = [key for key in table if setting_of(key) == name]
    for key in keys:
        del table[key]
    return bool(keys)


def _save(place: settings.Place, table: dict[str, profiles.Value]) -> None:
    place.profiles.tables[place.profile.value] = table
    profiles.write(place.profiles)


def _line(name: str, origin: Origin, show_source: bool) -> str:
    value = "" if origin.value is None else repr(origin.value)
    return f"{variable_of(name)}={value}" + (f" (from {origin.source})" if show_source else "")


def _unknown_variables() -> dict[str, str | None]:
    """What is in the environment and looks like a setting but is none, with the setting that was probably meant."""
    unknown: dict[str, str | None] = {}
    for variable in sorted(os.environ):
        if variable.startswith(PREFIX) and setting_of(variable) is None:
            meant = difflib.get_close_matches(variable, _variables(), n=1, cutoff=0.8)
            unknown[variable] = meant[0] if meant else None
    return unknown


def _variables() -> list[str]:
    return [variable_of(name) for name in settings.NAMES]
