"""What users write has exact types, in mypy and in pyright: `tests/typing` holds samples that are right and samples that are
wrong, each wrong line with the error it must get. An error that is lost fails as well as one that is new.
"""

import asyncio
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "tests" / "typing"

CHECKERS = {
    # What mypy thinks of Tidemill's own source is not asked here: pyright is its checker.
    "mypy": ["mypy", "--strict", "--follow-imports=silent", str(SAMPLES)],
    "pyright": ["pyright", "--project", str(SAMPLES), "--pythonpath", sys.executable],
}


@pytest.mark.program
@pytest.mark.parametrize("checker", CHECKERS)
def test_the_samples_are_typed_exactly(checker: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *CHECKERS[checker]],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / "src"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_checkers_refuse_by_mistake_works() -> None:
    gaps = runpy.run_path(str(SAMPLES / "gaps.py"))
    assert gaps["reached"]() == ["Store a", "Store b", 1.2, 2.4]
    assert gaps["counted"]() == [0, 1, 2]
    assert asyncio.run(gaps["streamed"]()) == [0, 1, 2]
    assert gaps["unpacked"]() == 42
