"""Promise 3. A run resumes where it stopped: killed at any moment, again and again, it does nothing twice."""

import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = Path(__file__).parents[2] / "benches" / "crash_resume.py"
"""What has to hold is said there. By hand: `python benches/crash_resume.py --runner threads --kills 200`."""


@pytest.mark.slow
@pytest.mark.program
@pytest.mark.parametrize("runner", ["sequential", "threads", "processes", "dask"])
def test_a_flow_killed_at_random_moments_is_resumed_until_it_is_done(pytestconfig, tmp_path, runner):
    rounds = pytestconfig.getoption("rounds")
    kills = rounds if runner != "dask" else max(2, rounds // 2)  # a story takes several times as long there
    options = ["--runner", runner, "--kills", str(kills), "--folder", str(tmp_path)]
    done = subprocess.run([sys.executable, str(HARNESS), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
