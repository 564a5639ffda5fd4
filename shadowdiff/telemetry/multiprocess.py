"""Combine the metrics of a pod's processes into one scrape.

A counter never decreases when a process ends. Values that every process reads from the store are not summed.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import msgspec
from prometheus_client import ProcessCollector, core

from shadowdiff.telemetry.exposition import Snapshot, SnapshotCollector, utf8
from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import METRICS, Labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.registry import Collector

    from shadowdiff.telemetry.metrics import PodSources, Sources

REMEMBERED_S: Final = 30.0
"""How long the supervisor uses the store's values from a process that exited. By then another process has read them."""
_OF_SUPERVISOR: Final = frozenset({"process_start_time_seconds", "process_max_fds"})
_CPU: Final = "process_cpu_seconds_total"

Key = TypeVar("Key")
Value = TypeVar("Value")


class ProcessMetrics(msgspec.Struct):
    """The metrics of one process by name. process: its `process_…` samples."""

    series: dict[str, dict[Labels, float | Histogram]] = {}
    process: dict[str, float] = {}


def process_metrics(snapshot: Snapshot) -> ProcessMetrics:
    """Return this process's metrics for the supervisor."""
    series = {
        name: {utf8(labels): value for labels, value in readings}
        for name, readings in snapshot.items()
        if METRICS[name].combine != "supervisor"
    }
    families = ProcessCollector(registry=None).collect()
    return ProcessMetrics(series, {sample.name: sample.value for family in families for sample in family.samples})


class PodMetrics:
    """The metrics of all processes of one pod, including processes that have ended."""

    def __init__(self) -> None:
        self._past = ProcessMetrics()
        self._ended: list[tuple[float, ProcessMetrics]] = []

    def process_ended(self, metrics: ProcessMetrics, now_s: float) -> None:
        """Store the counts of a process that has ended."""
        self._ended = [*self._recent(now_s), (now_s, metrics)]
        both = (self._past, metrics)
        self._past = ProcessMetrics(
            {
                name: _merged(operator.add, (each.series.get(name, {}) for each in both))
                for name, metric in METRICS.items()
                if metric.kind in {"counter", "histogram"}
            },
            {_CPU: sum(each.process.get(_CPU, 0.0) for each in both)},
        )

    def take(self, living: Sequence[ProcessMetrics], pod: PodSources, now_s: float) -> Collector:
        """Return the metrics of one scrape."""
        recent = [metrics for _, metrics in self._recent(now_s)]
        snapshot = Snapshot()
        for name, metric in METRICS.items():
            found: dict[Labels, float | Histogram] = {}
            each = [metrics.series.get(name, {}) for metrics in living]
            match metric.combine:
                case "sum":
                    found = _merged(operator.add, (self._past.series.get(name, {}), *each))
                case "store max":
                    found = _merged(max, (*each, *(metrics.series.get(name, {}) for metrics in recent)))
                case "min":
                    found = _merged(min, each)
                case "any" | "store":
                    found = next(filter(None, each), found)
                case "supervisor":
                    found = dict(metric.read(cast("Sources", pod)))
            snapshot[name] = list(found.items())
        process = _merged(operator.add, (metrics.process for metrics in (self._past, *living)))
        return SnapshotCollector(snapshot, lambda: _process_families(process))

    def _recent(self, now_s: float) -> list[tuple[float, ProcessMetrics]]:
        return [(at_s, metrics) for at_s, metrics in self._ended if now_s - at_s < REMEMBERED_S]


def _process_families(children: Mapping[str, float]) -> Iterator[core.Metric]:
    """Yield `process_*` summed over all processes; start time and file limit are the supervisor's values."""
    for family in ProcessCollector(registry=None).collect():
        for sample in family.samples:
            others = 0.0 if sample.name in _OF_SUPERVISOR else children.get(sample.name, 0.0)
            make = core.CounterMetricFamily if family.type == "counter" else core.GaugeMetricFamily
            help_text = family.documentation + " All processes of this pod."
            yield make(family.name, help_text, value=sample.value + others)


def _merged(combine: Callable[[Any, Any], Any], parts: Iterable[Mapping[Key, Value]]) -> dict[Key, Value]:
    """Return the values of all parts; combine the values of equal keys."""
    found: dict[Key, Value] = {}
    for part in parts:
        for key, value in part.items():
            found[key] = combine(found[key], value) if key in found else value
    return found
