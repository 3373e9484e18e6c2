"""The tree of commands. A group's module is loaded when one of its commands is used, so every command starts fast."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from tidemill import settings
from tidemill.version import __version__

_GLOBAL = Group("Global options", sort_key=1)

_HELP = """Tidemill runs your flows and records them. These commands show what was recorded, and change settings.

Each command says more with --help. A run is named by its name, its id, or the beginning of its id.
"""

app = App(
    name="tidemill",
    help=_HELP,
    version=__version__,
    version_flags=["--version", "-v"],
    help_format="plaintext",
)
app["--version"].group = _GLOBAL
app["--help"].group = _GLOBAL
app.meta.group_parameters = _GLOBAL

_COMMANDS = {
    "version": ("version:version", "Show the version of Tidemill and of what it runs on.", ()),
    "flow": ("flow:app", "Show flows.", ("flows",)),
    "flow-run": ("flow_run:app", "Show, follow, continue, cancel and delete flow runs.", ("flow-runs",)),
    "task-run": ("task_run:app", "Show and repair task runs.", ("task-runs",)),
    "config": ("config:app", "Show and change settings.", ()),
    "profile": ("profile:app", "Choose between named sets of settings.", ("profiles",)),
    "journal": ("journal:app", "Show and send what waits here for a server.", ()),
    "db": ("db:app", "Look after the database.", ("database",)),
    "server": ("server:app", "Run a server for the runs of many.", ("orion",)),
}
for _name, (_path, _help, _aliases) in _COMMANDS.items():
    app.command(f"tidemill.cli.{_path}", name=_name, alias=_aliases, help=_help)
_completion = "Install completion of commands and options for the shell in use."
app.register_install_completion_command(help=_completion, group=_GLOBAL)  # pyright: ignore[reportUnknownMemberType]


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    profile: Annotated[str | None, Parameter(name=["--profile", "-p"])] = None,
) -> int | None:
    """Runs a command under the global options.

    Parameters
    ----------
    profile
        Profile whose settings apply to this command.
    """
    if profile is not None:
        settings.reload(profile=profile)
    return app(tokens, exit_on_error=False, print_error=False, result_action="return_value")


def run(arguments: list[str]) -> int:
    """Runs a command and returns its exit code: 2 when the command line cannot be understood."""
    try:
        code = app.meta(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"Error: {str(error).strip()}", file=sys.stderr)
        print(f"Try: {_path_of(error)} --help", file=sys.stderr)
        return 2
    return code if isinstance(code, int) else 0


def _path_of(error: CycloptsError) -> str:
    return " ".join(["tidemill", *(error.command_chain or ())])
