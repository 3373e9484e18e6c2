"""Writes the description of the API, from which the page's types are made: run it after the API has changed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tidemill.server.app import create_app
from tidemill.server.openapi import document
from tidemill.server.serving import open_services
from tidemill.settings import Settings

DOCUMENT = Path(__file__).resolve().parent.parent / "openapi.json"


def described() -> str:
    """The document as it is kept: one line a value, so that a change of the API is a small change of the file."""
    with tempfile.TemporaryDirectory() as home:
        services = open_services(Settings(home=home))
        try:
            made = document(create_app(services))
        finally:
            services.access.close()
    made["info"]["version"] = ""  # it changes with every commit
    return json.dumps(made, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(described())
    print(f"{DOCUMENT} is up to date.")
