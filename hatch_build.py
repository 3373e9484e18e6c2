"""Puts the commit and the time of the build into the wheel, for `tidemill version`."""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildInfoHook(BuildHookInterface):
    """Adds `tidemill/_build.json`; an editable install needs none, since the checkout itself can be asked."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        commit = self._commit()
        if version == "editable" or commit is None:
            return
        with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
            json.dump({"commit": commit, "built": int(time.time())}, file)
        build_data["force_include"][file.name] = "tidemill/_build.json"

    def _commit(self) -> str | None:
        if not (Path(self.root) / ".git").exists():
            return None
        try:
            asked = subprocess.run(["git", "rev-parse", "HEAD"], cwd=self.root, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return asked.stdout.strip() or None
