"""Records what the field's own server makes of the flows: `python record_expected.py`, by an interpreter that has it.

It is the measure for ours. Its own server is slow to start and not always well, so the tests compare with this record.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
RECORD = HERE.parent / "expected.json"
PORT = 4399
API = f"http://127.0.0.1:{PORT}/api"


def said_by(script, environment):
    return subprocess.run(
        [sys.executable, str(HERE / script)], env=environment, stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def await_server():
    while True:
        try:
            with urllib.request.urlopen(f"{API}/health", timeout=10):
                return
        except OSError:
            time.sleep(0.5)


def main():
    with tempfile.TemporaryDirectory() as home:
        environment = {
            **os.environ,
            "PREFECT_HOME": home,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        }
        server = subprocess.Popen([sys.executable, "-m", "prefect", "server", "start", "--port", str(PORT)], env=environment)
        try:
            await_server()
            environment["PREFECT_API_URL"] = API
            said = said_by("field_flows.py", environment).splitlines()
            shown = json.loads(said_by("field_report.py", environment))
        finally:
            server.terminate()
            server.wait()
    RECORD.write_text(json.dumps({"said": said, "shown": shown}, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
