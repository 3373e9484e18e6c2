"""Every example runs as a user would run it: a script, in a process of its own, with an empty home."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"

LAST_LINE = {
    "async_flow.py": "The longest word is millstone",
    "hello.py": "1 + 1 = 2",
    "parallel.py": "The commonest word is 'the', 6 times",
    "resume_after_crash.py": "5 payments for 5 orders, 5 of them different",
    "subflows.py": "harbour 49, market 43, station 36",
    "weather.py": "Lisbon is the warmest with 24.5 degrees",
}


def test_every_example_is_listed() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(LAST_LINE)


@pytest.mark.program
@pytest.mark.parametrize("name", LAST_LINE)
def test_example(
    name: str,
    home: Path,
    tmp_path: Path,
    child_environment: Callable[[Mapping[str, str] | None], dict[str, str]],
) -> None:
    run = subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=child_environment(None),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1:] == [LAST_LINE[name]], run.stderr
    assert (home / "tidemill.db").is_file(), f"{name} recorded nothing in its home"
