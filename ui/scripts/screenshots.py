"""Pictures of every page, in both themes: `python ui/scripts/screenshots.py [FOLDER] [--home HOME]`.

Without a home it makes one with runs of every kind (scene.py). It drives the chromium of this machine. With `--readme` it makes
the few that the README shows: `python ui/scripts/screenshots.py --readme docs/images`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2
from playwright.sync_api import Browser, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SIZES = {"": (1440, 900), "-narrow": (380, 800)}
THEMES = ("light", "dark")
# What the README shows: the size, and the page.
README = {
    "runs": ((1200, 640), "runs-oldest-first"),
    "run": ((1200, 640), "run-weather"),
    "failed-run": ((1200, 560), "run-failed"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "screenshots")
    parser.add_argument("--home", type=Path, help="Folder of the runs to show.")
    parser.add_argument("--readme", action="store_true", help="Only the pictures of the README, light.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        home = given.home or Path(made)
        if given.home is None:
            subprocess.run([sys.executable, HERE / "scene.py", home], check=True, cwd=made)
        with subprocess.Popen(
            [sys.executable, "-m", "tidemill", "server", "start", "--port", "0"],
            env=os.environ | {"TIDEMILL_HOME": str(home)},
            stdout=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                assert server.stdout
                said = server.stdout.readline()
                if ", no page," in said or not said:
                    sys.exit("The page has not been built (just ui), or the server did not start.")
                take_all(said.split()[4], given.folder, given.readme)
            finally:
                server.terminate()


def take_all(url: str, folder: Path, for_readme: bool) -> None:
    pages = addresses(url)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        if for_readme:
            for name, ((width, height), page) in README.items():
                take(browser, url, {name: pages[page]}, folder, "", "light", width, height)
            return
        for theme in THEMES:
            for suffix, (width, height) in SIZES.items():
                take(browser, url, pages, folder, f"{suffix}-{theme}", theme, width, height)
        browser.close()
    print(f"{len(pages) * len(THEMES) * len(SIZES)} pictures are in {folder}.")


def take(
    browser: Browser, url: str, pages: dict[str, str], folder: Path, suffix: str, theme: str, width: int, height: int
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light", timezone_id="UTC"
    )
    for name, path in pages.items():
        page = context.new_page()
        page.on("console", lambda message, name=name: message.type == "error" and print(f"{name}: {message.text}"))
        page.on("pageerror", lambda error, name=name: print(f"{name}: {error}"))
        page.goto(f"{url}{path}")
        page.wait_for_timeout(1500)  # the live stream never ends, so the network is never idle
        page.screenshot(path=folder / f"{name}{suffix}.png")
        page.close()
    context.close()


def addresses(url: str) -> dict[str, str]:
    """The pages by name. Runs are shown as they are: one that failed, and the one with the most task runs."""
    api = httpx2.Client(base_url=f"{url}/api")

    def found(kind: str, **body: object) -> list[str]:
        return [record["id"] for record in api.post(f"{kind}/filter", json=body).raise_for_status().json()]

    pages = {
        name: f"/{name}"
        for name in ("runs", "flows", "compare", "concurrency-limits", "variables", "artifacts", "settings", "no-such-page")
    }
    pages["dashboard"] = "/"
    pages["runs-oldest-first"] = "/runs?sort=START_TIME_ASC"
    runs = found("flow_runs")
    sizes = api.post("ui/flow_runs/count-task-runs", json={"flow_run_ids": runs}).raise_for_status().json()
    largest = max(runs, key=lambda run: sizes.get(run, 0), default=None)
    failed = found("flow_runs", flow_runs={"state": {"type": {"any_": ["FAILED"]}}})
    of_kinds = {
        "run": [largest] if largest else [],
        "run-weather": found(
            "flow_runs", flows={"name": {"any_": ["weather"]}}, flow_runs={"state": {"type": {"any_": ["COMPLETED"]}}}
        ),
        "run-failed": failed,
        "task-run": found("task_runs", limit=1),
        "task-run-failed": found("task_runs", task_runs={"state": {"type": {"any_": ["FAILED"]}}}, limit=1),
        "flow": found("flows"),
    }
    parents = {"run": "runs", "task": "task-runs", "flow": "flows"}
    return pages | {name: f"/{parents[name.split('-')[0]]}/{ids[0]}" for name, ids in of_kinds.items() if ids}


if __name__ == "__main__":
    main()
