"""`tidemill profile`."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from tidemill import profiles, settings
from tidemill.cli.options import AS_TEXT, BARE, WHOLE, Format, WholeListing
from tidemill.cli.output import confirmed, note, paint, show_json
from tidemill.exceptions import SettingsError
from tidemill.profiles import DEFAULT_PROFILE, Profiles

app = App(name="profile", help="Choose between named sets of settings.", help_format="plaintext", default_parameter=BARE)

ProfileName = Annotated[str, Parameter(help="Name of the profile.")]


@app.command
def ls(*, listing: WholeListing = WHOLE) -> None:
    """List profiles; a star marks the active one."""
    place = settings.place()
    limit, offset = listing.page
    names = place.profiles.names()[offset : None if limit is None else offset + limit]
    if listing.json:
        show_json([{"name": name, "active": name == place.profile.value} for name in names])
        return
    for name in names:
        active = name == place.profile.value
        print(paint(f"* {name}", "green") if active else f"  {name}")


@app.command
def create(
    name: ProfileName,
    /,
    *,
    source: Annotated[str | None, Parameter(name="--from", help="A profile whose settings to copy.")] = None,
) -> None:
    """Create a profile.

    For example:
        tidemill profile create work
        tidemill profile use work
    """
    known = _profiles()
    if name in known.tables or name == DEFAULT_PROFILE:
        raise SettingsError(f"There is a profile {name!r} already; see it with `tidemill profile inspect {name}`.")
    if not name.strip() or not name.isprintable():
        raise SettingsError(f"{name!r} cannot be the name of a profile; use letters, digits, - and _.")
    known.tables[name] = dict(known.table(source)) if source is not None else {}
    profiles.write(known)
    print(f"Created profile {name!r}. To make it the active one: tidemill profile use {name}")


@app.command
def use(name: ProfileName, /) -> None:
    """Make a profile the active one, for every command and script from now on."""
    known = _profiles()
    known.table(name)
    known.active = name
    profiles.write(known)
    print(f"Profile {name!r} is active.")
    chosen = settings.place().profile
    if chosen.value != name:
        note(f"The {chosen.source} says profile {chosen.value!r}, and wins.")


@app.command
def delete(
    name: ProfileName,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], help="Do not ask.")] = False,
) -> int:
    """Delete a profile."""
    known = _profiles()
    table = known.table(name)
    if name not in known.tables:
        raise SettingsError(f"Profile {name!r} has no settings of its own; there is nothing to delete.")
    if not confirmed(f"Delete profile {name!r} with {len(table)} settings?", yes):
        note("Nothing was deleted.")
        return 1
    del known.tables[name]
    if known.active == name:
        known.active = None
        note(f"It was the active profile; {DEFAULT_PROFILE!r} is now.")
    profiles.write(known)
    print(f"Deleted profile {name!r}.")
    return 0


@app.command
def inspect(
    name: Annotated[str | None, Parameter(help="By default the active one.")] = None, /, *, format: Format = AS_TEXT
) -> None:
    """Show what a profile sets."""
    given = _profiles().table(name or settings.place().profile.value)
    table = {key: settings.concealed(key, value) for key, value in given.items()}
    if format.json:
        show_json(table)
        return
    for key, value in table.items():
        print(f"{key}={value!r}")
    if not table:
        print("This profile sets nothing.", file=sys.stderr)


def _profiles() -> Profiles:
    """The profile file, whatever profile is active, so that a wrong choice can be mended."""
    return settings.place().profiles
