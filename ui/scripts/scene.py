"""A home with something to look at: `python ui/scripts/scene.py HOME` runs flows of every kind, and fails some on purpose."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
import time
from datetime import timedelta
from pathlib import Path

os.environ.update(TIDEMILL_HOME=str(Path(sys.argv[1]).resolve()), TIDEMILL_LOGGING_LEVEL="ERROR")

from tidemill import flow, get_run_logger, task, unmapped
from tidemill.caching import INPUTS

CITIES = ["Bergen", "Lisbon", "Nairobi", "Osaka", "Quito", "Tromsø"]


class StationSilent(Exception):
    """The station has sent nothing for an hour."""


@task(retries=2, retry_delay_seconds=0.05, tags=["network"])
def fetch(city: str, tries: dict[str, int]) -> dict[str, object]:
    tries[city] = tries.get(city, 0) + 1
    time.sleep(random.uniform(0.02, 0.12))
    if city == "Quito" and tries[city] == 1:
        raise TimeoutError("the station did not answer in 50 ms")
    return {"city": city, "celsius": round(random.uniform(-4, 31), 1)}


@task(cache_policy=INPUTS, cache_expiration=timedelta(hours=1))
def climate(city: str) -> float:
    time.sleep(0.03)
    return {"Bergen": 7.7, "Lisbon": 17.4}.get(city, 15.0)


@task
def compare(reading: dict[str, object], usual: float) -> str:
    logger = get_run_logger()
    difference = float(str(reading["celsius"])) - usual
    logger.info("%s is %+.1f degrees off", reading["city"], difference)
    if difference > 12:
        logger.warning("%s is unusually warm", reading["city"])
    return f"{reading['city']}: {difference:+.1f}"


@flow
def publish(lines: list[str], channel: str = "board") -> int:
    return sum(write.map(lines, channel=unmapped(channel))[i].result() is not None for i in range(len(lines)))


@task
def write(line: str, channel: str) -> str:
    time.sleep(0.01)
    print(f"[{channel}] {line}")
    return line


@flow(log_prints=True)
def weather(cities: list[str], channel: str = "board", strict: bool = False) -> int:
    """Compares today's temperatures with what is usual."""
    tries: dict[str, int] = {}
    readings = [fetch.submit(city, tries) for city in cities]
    usual = climate.map(cities)
    lines = [compare.submit(reading, value) for reading, value in zip(readings, usual, strict=True)]
    return publish([line.result() for line in lines], channel)


@task
def load(table: str, rows: int) -> int:
    logger = get_run_logger()
    for part in range(0, rows, 250):
        logger.debug("rows %d to %d of %s", part, part + 250, table)
    logger.info("loaded %d rows of %s", rows, table)
    return rows


@task
def check(counts: list[int]) -> None:
    if sum(counts) < 5000:
        raise StationSilent(f"only {sum(counts)} rows since midnight, at least 5000 were expected")


@flow(name="nightly-load", flow_run_name="load {day}")
def nightly_load(day: str, tables: list[str]) -> None:
    """Loads last night's tables, and complains when they are short."""
    counts = load.map(tables, rows=[900 + 100 * n for n in range(len(tables))])
    check([count.result() for count in counts])


@task
async def score(batch: int) -> float:
    await asyncio.sleep(random.uniform(0.001, 0.03))
    return batch * 0.5


@flow(name="train-model")
async def train(batches: int, learning_rate: float = 0.01) -> float:
    """Scores many batches at once."""
    return sum(await asyncio.gather(*[score(n) for n in range(batches)]))


@flow(name="hourly-ping")
def ping(host: str = "example.org") -> bool:
    return True


def main() -> None:
    random.seed(7)
    for _ in range(4):
        weather(CITIES)
    with contextlib.suppress(Exception):
        weather.with_options(name="weather")([*CITIES, "Atlantis"], channel="mail")
    for day in ("2026-11-20", "2026-11-21", "2026-11-22"):
        with contextlib.suppress(StationSilent):
            nightly_load(day, ["orders", "payments", "stock"])
    nightly_load("2026-11-23", ["orders", "payments", "stock", "returns", "visits", "mails"])
    for batches in (40, 300, 1000):
        asyncio.run(train(batches))
    for _ in range(40):
        ping()


if __name__ == "__main__":
    main()
