"""Metrics for Prometheus: made here, counted in every process of a service, added up when asked.

Under gunicorn each worker counts in files of its own (prometheus_client's multiprocess mode), and
any of them can tell the sum; `shared/metrics_listener.py` sets that up. In a process that gunicorn
did not start, the numbers are that process's own.
"""

import os
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client looks for the folder of the workers' files."""

DURATION_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

EXTENSION = "metrics"
"""Where an application holds its metrics: `app.extensions["metrics"]`."""

OTHER = "other"

Reading = Callable[[], Iterable[tuple[Sequence[str], float]]]
"""Returns the values that a gauge has now, each with its labels."""


class Metrics:
    """The metrics of one application.

    A registry of their own, as the library's global one would refuse a second application.
    """

    def __init__(self) -> None:
        self._made = CollectorRegistry()
        self._shown = self._made
        if folder := os.environ.get(FOLDER_VARIABLE):
            self._shown = CollectorRegistry()
            MultiProcessCollector(self._shown, folder)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Counter:
        """Return a new counter, whose label values have to be few and none a caller's invention."""
        return Counter(name, text, labels, registry=self._made)

    def durations(
        self,
        name: str,
        text: str,
        labels: Sequence[str] = (),
        buckets: Sequence[float] = DURATION_BUCKETS_SECONDS,
    ) -> Histogram:
        """Return a new histogram of durations in seconds; ``buckets`` are their upper ends."""
        return Histogram(name, text, labels, buckets=buckets, registry=self._made)

    def read_when_asked(self, name: str, text: str, labels: Sequence[str], read: Reading) -> None:
        """Show a gauge whose values ``read`` returns whenever somebody asks.

        For what all processes read from the same database: nothing has to be added up.
        """
        self._shown.register(_ReadWhenAsked(name, text, labels, read))

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._shown)


class BoundedNames:
    """Lets the first ``limit`` names stand for themselves; any later one is `other`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def label(self, name: str) -> str:
        """Return what stands for ``name`` in a label."""
        if name in self._known:
            return name
        if len(self._known) >= self._limit:
            return OTHER
        self._known.add(name)
        return name


class _ReadWhenAsked(Collector):
    def __init__(self, name: str, text: str, labels: Sequence[str], read: Reading) -> None:
        self._new = lambda: GaugeMetricFamily(name, text, labels=labels)
        self._read = read

    def describe(self) -> list[GaugeMetricFamily]:
        """Name the gauge without reading it: a registry asks when it is registered."""
        return [self._new()]

    def collect(self) -> list[GaugeMetricFamily]:
        """Return the gauge with its values now."""
        gauge = self._new()
        for labels, value in self._read():
            gauge.add_metric(labels, value)
        return [gauge]
