"""Which city is the warmest? Fetch, parse and compare, with a task that is retried when the service fails.

The weather service is a small web server that this script starts for itself, so the example works without a network.
Its first answer for Bergen is an error: watch `fetch` fail and try again.
"""

import json
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar, TypedDict
from urllib.request import ProxyHandler, build_opener

from tidemill import flow, get_run_logger, task

TEMPERATURES = {
    "bergen": [8.5, 10.0, 11.5, 9.0],
    "lisbon": [17.0, 21.5, 24.5, 20.0],
    "nairobi": [14.5, 19.0, 23.5, 18.0],
}


class Reading(TypedDict):
    city: str
    celsius: float


@task(retries=2, retry_delay_seconds=0.2)
def fetch(url: str) -> bytes:
    direct = build_opener(ProxyHandler({}))  # the service is on this machine: never ask a proxy for it
    with direct.open(url, timeout=10) as answer:
        return answer.read()


@task
def parse(page: bytes) -> Reading:
    document = json.loads(page)
    return {"city": document["city"].title(), "celsius": max(document["hourly"])}


@task
def warmest(readings: list[Reading]) -> Reading:
    return max(readings, key=lambda reading: reading["celsius"])


@flow
def weather(cities: list[str]) -> str:
    logger = get_run_logger()
    readings: list[Reading] = []
    with weather_service() as address:
        for city in cities:
            reading = parse(fetch(f"{address}/{city}"))
            logger.info("%s reaches %.1f degrees", reading["city"], reading["celsius"])
            readings.append(reading)
    best = warmest(readings)
    return f"{best['city']} is the warmest with {best['celsius']} degrees"


class WeatherPage(BaseHTTPRequestHandler):
    asked: ClassVar[set[str]] = set()

    def do_GET(self) -> None:
        city = self.path.strip("/")
        if city == "bergen" and city not in self.asked:
            self.asked.add(city)
            self.send_error(503)
            return
        page = json.dumps({"city": city, "hourly": TEMPERATURES[city]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing, so that the log shows the flow alone."""


@contextmanager
def weather_service() -> Generator[str]:
    """Serves the weather on a free port of this machine for as long as the `with` block lasts; yields the address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), WeatherPage) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


if __name__ == "__main__":
    print(weather(list(TEMPERATURES)))
