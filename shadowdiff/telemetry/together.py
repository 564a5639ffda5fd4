"""The figures of several processes as those of one.

In: what each living process counts, and what those that ended had counted.  Out: one scrape's figures.
Holds: a counter never falls when a process ends; what all read from the store is not added up.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from shadowdiff.telemetry.catalogue import METRICS
from shadowdiff.telemetry.histogram import BOUNDS_S, Histogram
from shadowdiff.telemetry.metrics import ReloadState, Series, Taken, WorkersState, own_series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

REMEMBERED_S: Final = 30.0
"""Longer than any process takes to read anew what another, that ended, had read from the store."""
_OWN: Final = frozenset({"process_start_time_seconds", "process_max_fds"})
_GROWS: Final = "process_cpu_seconds_total"

Labels = tuple[str, ...]


class Durations(msgspec.Struct):
    """One histogram, as it goes from process to process."""

    labels: Labels
    counts: list[int]
    sum_s: float
    traces: dict[int, tuple[str, float]]

    def add(self, other: Durations) -> None:
        """Add another's counts; of exemplars the other's are the newer ones."""
        self.counts = [mine + more for mine, more in zip(self.counts, other.counts, strict=True)]
        self.sum_s += other.sum_s
        self.traces = self.traces | other.traces

    def histogram(self) -> Histogram:
        """Return what the exposition writes."""
        made = Histogram()
        made.counts, made.sum_s, made.traces = self.counts, self.sum_s, self.traces
        return made


class Figures(msgspec.Struct):
    """All that one process counts. process: its `process_…` metrics by the name of the sample."""

    series: dict[str, list[Series]] = {}
    histograms: dict[str, list[Durations]] = {}
    process: dict[str, float] = {}


def figures_of(taken: Taken) -> Figures:
    """Return this process's figures, to be sent to another."""
    return Figures(
        {
            name: [(_sendable(labels), value) for labels, value in series]
            for name, series in taken.series.items()
            if METRICS[name].across != "own"
        },
        {
            name: [Durations(_sendable(labels), one.counts, one.sum_s, _traces(one)) for labels, one in histograms]
            for name, histograms in taken.histograms.items()
        },
        process_figures(),
    )


def process_figures() -> dict[str, float]:
    """Return what the system says of this process."""
    families = ProcessCollector(registry=None).collect()
    return {sample.name: sample.value for family in families for sample in family.samples}


def _sendable(labels: Iterable[str]) -> Labels:
    """Return labels that UTF-8 can hold, as they are written in the end."""
    return tuple(label.encode("utf-8", "backslashreplace").decode() for label in labels)


def _traces(histogram: Histogram) -> dict[int, tuple[str, float]]:
    return {
        bucket: (trace.encode("utf-8", "backslashreplace").decode(), seconds)
        for bucket, (trace, seconds) in histogram.traces.items()
    }


class Together:
    """What the processes of one pod counted, the ended ones too."""

    def __init__(self) -> None:
        self._past = Figures()
        self._ended: list[tuple[float, Figures]] = []

    def bury(self, figures: Figures, now_s: float) -> None:
        """Keep what a process had counted when it ended."""
        self._ended = [one for one in self._ended if now_s - one[0] < REMEMBERED_S]
        self._ended.append((now_s, figures))
        counted = _added_up([self._past, figures])
        self._past = Figures(
            {name: series for name, series in counted.series.items() if METRICS[name].kind == "counter"},
            counted.histograms,
            {_GROWS: counted.process.get(_GROWS, 0.0)},
        )

    def taken(self, living: Sequence[Figures], reload: ReloadState, workers: WorkersState, now_s: float) -> Collector:
        """Return one scrape's figures."""
        recent = [figures for at_s, figures in self._ended if now_s - at_s < REMEMBERED_S]
        counted = _added_up([self._past, *living])
        series: dict[str, list[Series]] = {}
        for name, spec in METRICS.items():
            each = [figures.series.get(name, []) for figures in living]
            match spec.across:
                case "sum":
                    series[name] = counted.series.get(name, [])
                case "most":
                    series[name] = _chosen(max, [*each, *(figures.series.get(name, []) for figures in recent)])
                case "least":
                    series[name] = _chosen(min, each)
                case "one":
                    series[name] = next((some for some in each if some), each[0] if each else [])
                case "own":
                    continue
        histograms = {
            name: [(one.labels, one.histogram()) for one in counted.histograms.get(name, [])]
            for name, spec in METRICS.items()
            if spec.kind == "histogram"
        }
        process = _processes([process_figures(), counted.process])
        return _Pod(Taken(series | own_series(reload, workers), histograms), process)


class _Pod(Collector):
    """The stages' figures and those of the system, of all processes."""

    def __init__(self, stages: Taken, process: Mapping[str, float]) -> None:
        self._stages = stages
        self._process = process

    def collect(self) -> Iterator[Metric]:
        yield from self._stages.collect()
        for family in ProcessCollector(registry=None).collect():
            for sample in family.samples:
                value = self._process.get(sample.name, sample.value)
                made = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
                yield made(family.name, family.documentation + " All processes of this pod.", value=value)


def _added_up(all_of: Iterable[Figures]) -> Figures:
    """Return sums; of what is no sum, whatever comes out is not used."""
    series: dict[str, dict[Labels, float]] = defaultdict(dict)
    histograms: dict[str, dict[Labels, Durations]] = defaultdict(dict)
    process: dict[str, float] = {}
    for figures in all_of:
        for name, each in figures.series.items():
            rows = series[name]
            for labels, value in each:
                rows[labels] = rows.get(labels, 0) + value
        for name, durations in figures.histograms.items():
            sums = histograms[name]
            for one in durations:
                sums.setdefault(one.labels, Durations(one.labels, [0] * (len(BOUNDS_S) + 1), 0.0, {})).add(one)
        for name, value in figures.process.items():
            process[name] = process.get(name, 0.0) + value
    return Figures(
        {name: list(rows.items()) for name, rows in series.items()},
        {name: list(sums.values()) for name, sums in histograms.items()},
        process,
    )


def _chosen(choose: Callable[[float, float], float], each: Iterable[Sequence[Series]]) -> list[Series]:
    found: dict[Labels, float] = {}
    for series in each:
        for labels, value in series:
            found[labels] = choose(value, found.get(labels, value))
    return list(found.items())


def _processes(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the pod's: what can be added up is; start and limit are the supervisor's own."""
    own = each[0]
    return {name: value if name in _OWN else sum(one.get(name, 0.0) for one in each) for name, value in own.items()}
