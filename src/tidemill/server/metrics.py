"""Metrics for Prometheus. Each has few labels with few values, however many flows, runs and clients there are."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

_REQUEST_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_STORE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
# Where several processes serve one address, each writes its numbers into files of this folder, so that any can tell all.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"

disable_created_metrics()  # when each number was first counted: as many series again, for nobody


class Metrics:
    """What one server process counts and measures."""

    def __init__(self) -> None:
        own = self._own = CollectorRegistry()
        self._requests = Counter("tidemill_requests", "Requests answered.", ["method", "route", "status"], registry=own)
        self._latency = Histogram(
            "tidemill_request_seconds", "Time to answer a request.", ["method", "route"], buckets=_REQUEST_BUCKETS, registry=own
        )
        self._store = Histogram(
            "tidemill_store_seconds",
            "Time for a query or an operation of the store, waiting included.",
            ["kind"],
            buckets=_STORE_BUCKETS,
            registry=own,
        )
        self._listeners = Gauge(
            "tidemill_live_listeners", "Who listens live at present.", ["kind"], registry=own, multiprocess_mode="livesum"
        )
        self._lost = Counter("tidemill_lost_flow_runs", "Flow runs that were taken from processes that are gone.", registry=own)

    def observe_request(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Notes a request: `route` is its path with names in the place of what varies, None if there is no such path."""
        route = route or "none"
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def observe_store(self, kind: str, seconds: float) -> None:
        """Notes a `read` or `write`."""
        self._store.labels(kind).observe(seconds)

    def lost_flow_runs(self, number: int) -> None:
        """Notes that so many flow runs were taken from processes that are gone."""
        self._lost.inc(number)

    @contextmanager
    def listening(self, kind: str) -> Generator[None]:
        """For as long as somebody listens live: to a `stream` or a `websocket`."""
        gauge = self._listeners.labels(kind)
        gauge.inc()
        try:
            yield
        finally:
            gauge.dec()

    def exposed(self, more: list[Metric], accept: str) -> tuple[bytes, str]:
        """All of it, and `more`, in the format that the reader accepts: the body and its content type."""
        registry = CollectorRegistry()
        registry.register(_Given(more))
        if os.environ.get(SHARED_FOLDER):
            MultiProcessCollector(registry)  # pyright: ignore[reportUnknownMemberType]
        else:
            registry.register(_Given(list(self._own.collect())))
        encode, content_type = choose_encoder(accept)
        return encode(registry), content_type


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics
