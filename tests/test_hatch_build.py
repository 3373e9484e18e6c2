"""How the web page gets into a wheel, with a stand-in for npm: a script that notes what it is asked to do."""

import importlib.util
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
BUILDS = "mkdir -p dist/assets dist/.vite; echo '<p>' > dist/index.html; echo 1 > dist/assets/a.js; echo 1 > dist/.vite/m.json"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")


@pytest.fixture(scope="module")
def hatch_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose page has two sources."""
    root = tmp_path / "project"
    (root / "ui" / "src").mkdir(parents=True)
    (root / "ui" / "package.json").write_text('{"engines": {"node": ">=20.19"}}')
    (root / "ui" / "src" / "main.ts").write_text("")
    return root


@pytest.fixture
def install_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Makes `node` and `npm` of this kind the only ones; gives the file that notes what npm is asked to do."""

    def install(version: str = "v20.19.0", *, build: str = BUILDS, ci: str = "mkdir -p node_modules") -> Path:
        folder, noted = tmp_path / "bin", tmp_path / "noted"
        folder.mkdir(exist_ok=True)
        noted.write_text("")
        for name, script in {
            "node": f"echo {version}",
            "npm": f'echo "$@" >> {noted}\nif [ "$1" = ci ]; then {ci}; else {build}; fi',
        }.items():
            (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return noted

    return install


class Application:
    """What hatchling gives a hook to speak through."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def display_warning(self, message: str) -> None:
        self.warnings.append(message)


@pytest.fixture
def wheel(hatch_build: ModuleType, project: Path) -> Callable[..., Any]:
    """Runs the hook: gives what is put into the wheel, and what is said."""

    def build(version: str = "standard") -> tuple[dict[str, str], list[str]]:
        application, data = Application(), {"force_include": {}}
        hook = hatch_build.TidemillBuildHook(str(project), {}, None, None, "", "wheel", application)
        hook.initialize(version, data)
        included = {target: source for source, target in data["force_include"].items()}
        return included, application.warnings

    return build


def test_the_page_is_built_and_put_into_the_wheel(wheel, project, install_node):
    noted = install_node()
    included, warnings = wheel()
    assert included == {
        "tidemill/server/page_files/index.html": str(project / "ui" / "dist" / "index.html"),
        "tidemill/server/page_files/assets/a.js": str(project / "ui" / "dist" / "assets" / "a.js"),
    }
    assert noted.read_text().splitlines() == ["ci --no-audit --no-fund", "run build"]
    assert not warnings


def test_for_an_editable_install_it_is_built_where_it_is(wheel, project, install_node):
    install_node()
    assert wheel("editable") == ({}, [])
    assert (project / "ui" / "dist" / "index.html").exists()


def test_it_is_built_again_only_when_its_sources_have_changed(wheel, project, install_node):
    noted = install_node()
    wheel()
    made = project / "ui" / "src" / "schema.d.ts"
    made.write_text("")
    os.utime(made, (time.time() + 60,) * 2)
    assert len(wheel()[0]) == 2
    assert len(noted.read_text().splitlines()) == 2
    os.utime(project / "ui" / "src" / "main.ts", (time.time() + 60,) * 2)
    wheel()
    assert len(noted.read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (None, "Node.js 20.19 or newer, and npm, which are not here."),
        ({"version": "v18.20.4"}, "Node.js 20.19 or newer, and npm; here is v18.20.4."),
        ({"version": "v20.9.0"}, "here is v20.9.0."),
        ({"ci": "echo no registry; exit 7"}, "has failed (exit code 7):\nno registry\n"),
        ({"build": "echo no such module >&2; exit 1"}, "npm run build in {ui} has failed (exit code 1):\nno such module\n"),
        ({"build": "true"}, "npm run build has left no {ui}/dist/index.html."),
    ],
)
def test_where_it_cannot_be_built_the_wheel_is_without_it_unless_it_must_be_there(
    wheel, project, hatch_build, install_node, monkeypatch, tmp_path, node, said
):
    if node is None:
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        install_node(**node)
    included, (warning,) = wheel()
    assert included == {}
    assert warning.startswith("The web page is left out; everything else works. ")
    assert said.format(ui=project / "ui") in warning
    monkeypatch.setenv("TIDEMILL_REQUIRE_PAGE", "1")
    with pytest.raises(hatch_build.NoPage):
        wheel()


def test_what_was_built_from_older_sources_is_not_taken_for_the_page(wheel, project, install_node):
    install_node()
    wheel()
    os.utime(project / "ui" / "src" / "main.ts", (time.time() + 60,) * 2)
    install_node(build="exit 1")
    included, warnings = wheel()
    assert included == {}
    assert warnings


def test_newer_versions_of_node_are_good_enough(wheel, install_node):
    for version in ("v20.19.1", "v22.0.0", "v100.0.0"):
        install_node(version)
        assert wheel()[1] == []


def test_the_sources_say_which_node_they_need():
    assert json.loads((ROOT / "ui" / "package.json").read_text())["engines"]["node"].startswith(">=")
