"""Puts the web page into the wheel, and the commit and time of the build for `tidemill version`."""

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# With this set to 1, no page means no wheel.
REQUIRED = "TIDEMILL_REQUIRE_PAGE"
# Where the server looks for it: server/page.py.
IN_THE_WHEEL = "tidemill/server/page_files"

_COMMANDS = (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"])
# A registry that does not answer is given up soon: without a page the installation is of use all the same.
_ENVIRONMENT = {"npm_config_fetch_timeout": "30000", "npm_config_fetch_retries": "1", "NO_COLOR": "1"}
_SECONDS = 600
# What is made from the sources, and is none of them.
_MADE = ("node_modules", "dist", "schema.d.ts")
_LINES_SHOWN = 20


class NoPage(Exception):
    """The page cannot be built."""


class TidemillBuildHook(BuildHookInterface):
    """Builds the page into `ui/dist`, where the server of a checkout finds it, and adds it to a wheel as
    `tidemill/server/page_files`; adds `tidemill/_build.json`, which an editable install does without, since the checkout
    itself can be asked."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        included = build_data["force_include"]
        page = self._page()
        if version == "editable":
            return
        if page is not None:
            included |= {str(file): f"{IN_THE_WHEEL}/{file.relative_to(page).as_posix()}" for file in _served(page)}
        commit = self._commit()
        if commit is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
                json.dump({"commit": commit, "built": int(time.time())}, file)
            included[file.name] = "tidemill/_build.json"

    def _page(self) -> Path | None:
        """The folder of the built page; None, with a warning, if there is none."""
        try:
            return build_page(Path(self.root) / "ui")
        except NoPage as reason:
            if os.environ.get(REQUIRED) == "1":
                raise
            self.app.display_warning(f"The web page is left out; everything else works. {reason}")
            return None

    def _commit(self) -> str | None:
        if not (Path(self.root) / ".git").exists():
            return None
        try:
            asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=self.root, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return asked.stdout.strip() or None


def build_page(ui: Path) -> Path:
    """Builds the page from the sources in `ui`, unless that has been done since they changed.

    Raises:
        NoPage: Node.js is not there or too old, or what it runs fails.
    """
    built = ui / "dist"
    if not (ui / "package.json").is_file():
        raise NoPage(f"Its sources are not in {ui}.")
    if is_fresh(ui):
        return built
    _check_node(ui)
    for command in _COMMANDS:
        _run(command, ui)
    if not (built / "index.html").is_file():
        raise NoPage(f"{' '.join(_COMMANDS[-1])} has left no {built / 'index.html'}.")
    return built


def is_fresh(ui: Path) -> bool:
    """Whether the page has been built since its sources changed."""
    index = ui / "dist" / "index.html"
    return index.is_file() and all(path.stat().st_mtime <= index.stat().st_mtime for path in _sources(ui))


def _sources(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in _MADE or entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _sources(entry)
        else:
            yield entry


def _served(page: Path) -> Iterator[Path]:
    """The files for browsers: without those that the build makes for itself, and for developers."""
    for file in page.rglob("*"):
        hidden = any(part.startswith(".") for part in file.relative_to(page).parts)
        if file.is_file() and not hidden and file.suffix != ".map":
            yield file


def _check_node(ui: Path) -> None:
    needed = json.loads((ui / "package.json").read_text(encoding="utf-8"))["engines"]["node"].removeprefix(">=")
    advice = f"It is built with Node.js {needed} or newer, and npm"
    if shutil.which("node") is None or shutil.which("npm") is None:
        raise NoPage(f"{advice}, which are not here.")
    told = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if _numbers(told) < _numbers(needed):
        raise NoPage(f"{advice}; here is {told or 'a node that does not run'}.")


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]


def _run(command: list[str], folder: Path) -> None:
    program = shutil.which(command[0]) or command[0]
    # A file, since what npm leaves behind would keep a pipe open.
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said:
        process = subprocess.Popen(
            [program, *command[1:]],
            cwd=folder,
            env=_ENVIRONMENT | os.environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(_SECONDS)
        except BaseException as ended:
            _end(process)
            if isinstance(ended, subprocess.TimeoutExpired):
                raise NoPage(f"{' '.join(command)} in {folder} has not ended within {_SECONDS} seconds.") from None
            raise
        said.seek(0)
        if code:
            last = "".join(said.readlines()[-_LINES_SHOWN:])
            raise NoPage(f"{' '.join(command)} in {folder} has failed (exit code {code}):\n{last}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a program with those that it has started."""
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
