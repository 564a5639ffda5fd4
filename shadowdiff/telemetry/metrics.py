"""The stages' counters as Prometheus metrics.

In: plain mappings that the stages keep, and callables that read them.  Out: the text of one scrape.
Holds: stages never import this; no read changes a number; a scrape takes all figures at one moment on the
event loop and writes its text in a thread, so that a thousand series do not hold up a request.
"""

from __future__ import annotations

import asyncio
import platform
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from shadowdiff import __version__
from shadowdiff.model import Result
from shadowdiff.telemetry.catalogue import METRICS, VERDICTS, Spec
from shadowdiff.telemetry.histogram import BOUNDS_S, Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_NO_END: Final = frozenset({"received", "in_flight"})
_TRACE_MOST: Final = 100
"""OpenMetrics allows 128 characters for an exemplar's labels, names included."""


@dataclass(frozen=True, slots=True)
class StoreState:
    """What the store is, and whether it answers."""

    up: bool
    backend: str
    version: str
    durable: bool


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """What the store's ledger says of one target, cached by whoever reads it.

    orphans: by the side that was missing. buffered: by the side that waits.
    coverage_ratio: None where nothing was eligible yet. mismatch_ratio: by bound (`point`, `lower`, `upper`),
    empty where nothing was compared yet: a ratio of nothing is no sample, and never 0.
    verdict: of now; None where it was not read yet. top: (route, path, kind) → n.
    """

    orphans: Mapping[str, int]
    buffered: Mapping[str, int]
    coverage_ratio: float | None
    mismatch_ratio: Mapping[str, float]
    verdict: str | None = None
    top: Mapping[tuple[str, str, str], int] = field(default_factory=dict[tuple[str, str, str], int])


@dataclass(frozen=True, slots=True)
class ReloadState:
    """How the last attempt to load the configuration went, and when (Unix time)."""

    successful: bool
    at_s: float


@dataclass(frozen=True, slots=True)
class WorkersState:
    """How many processes of this pod take requests, and how many crashed. One process is its own only worker."""

    ready: int = 1
    crashes: int = 0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from. Mappings are read as they are at a scrape; callables are called on the loop.

    mirrored: target → disposition → n. recorded: (target, side) → disposition → n. comparisons: (target, route,
    result) → n. differences: (target, route, kind) → n. candidate_failures: (target, reason) → n. shed: (target,
    reason) → n. response_seconds: (target, route, side). pairing_delay_seconds: target. ledgers: target.
    thresholds: (target, threshold). spans: outcome → n, empty where none are made.
    A ledger's `received` and `in_flight` may stand in a row of dispositions: they are left out, being a sum and a
    gauge.
    """

    mirrored: Callable[[], Mapping[str, Mapping[str, int]]]
    recorded: Callable[[], Mapping[tuple[str, str], Mapping[str, int]]]
    comparisons: Mapping[tuple[str, str, str], int]
    differences: Mapping[tuple[str, str, str], int]
    candidate_failures: Mapping[tuple[str, str], int]
    shed: Callable[[], Mapping[tuple[str, str], int]]
    response_seconds: Mapping[tuple[str, str, str], Histogram]
    pairing_delay_seconds: Mapping[str, Histogram]
    store: Callable[[], StoreState]
    ledgers: Callable[[], Mapping[str, LedgerFigures]]
    thresholds: Callable[[], Mapping[tuple[str, str], float]]
    config_reload: Callable[[], ReloadState]
    spans: Callable[[], Mapping[str, int]] = dict


Series = tuple[tuple[str, ...], float]


@dataclass(frozen=True, slots=True)
class Taken:
    """All figures at one moment, by metric."""

    series: dict[str, list[Series]]
    histograms: dict[str, list[tuple[tuple[str, ...], Histogram]]]

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its series."""
        for spec in METRICS.values():
            if spec.kind == "histogram":
                yield _histogram(spec, self.histograms[spec.name])
            else:
                yield _plain(spec, self.series[spec.name])


def own_series(reload: ReloadState, workers: WorkersState) -> dict[str, list[Series]]:
    """Return what is said of the pod as a whole."""
    return {
        "shadowdiff_config_last_reload_successful": [((), float(reload.successful))],
        "shadowdiff_config_last_reload_timestamp_seconds": [((), reload.at_s)],
        "shadowdiff_workers": [((), workers.ready)],
        "shadowdiff_worker_crashes_total": [((), workers.crashes)],
        "shadowdiff_build_info": [((__version__, platform.python_version()), 1)],
    }


class StageCollector(Collector):
    """Reads the stages' counters each time it is asked."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Yield every metric with the figures of now."""
        return self.take().collect()

    def take(self) -> Taken:
        """Copy all figures of this moment."""
        s = self._sources
        store, reload, ledgers = s.store(), s.config_reload(), s.ledgers()
        return Taken(
            {
                "shadowdiff_mirrored_requests_total": _by_disposition({(t,): n for t, n in s.mirrored().items()}),
                "shadowdiff_records_total": _by_disposition(s.recorded()),
                "shadowdiff_comparisons_total": _with_every_result(s.comparisons),
                "shadowdiff_differences_total": list(s.differences.items()),
                "shadowdiff_orphans_total": [
                    ((t, side), n) for t, f in ledgers.items() for side, n in f.orphans.items()
                ],
                "shadowdiff_shed_total": list(s.shed().items()),
                "shadowdiff_mismatch_ratio": [
                    ((t, bound), ratio) for t, f in ledgers.items() for bound, ratio in f.mismatch_ratio.items()
                ],
                "shadowdiff_coverage_ratio": [
                    ((t,), f.coverage_ratio) for t, f in ledgers.items() if f.coverage_ratio is not None
                ],
                "shadowdiff_verdict": [
                    ((t, verdict), float(verdict == f.verdict))
                    for t, f in ledgers.items()
                    if f.verdict is not None
                    for verdict in VERDICTS
                ],
                "shadowdiff_top_differences": [
                    ((t, *place), n) for t, f in ledgers.items() for place, n in f.top.items()
                ],
                "shadowdiff_gate_threshold": list(s.thresholds().items()),
                "shadowdiff_candidate_failures_total": list(s.candidate_failures.items()),
                "shadowdiff_buffer_observations": [
                    ((t, side), n) for t, f in ledgers.items() for side, n in f.buffered.items()
                ],
                "shadowdiff_store_up": [((), float(store.up))],
                "shadowdiff_store_info": [((store.backend, store.version, str(store.durable).lower()), 1)],
                "shadowdiff_otlp_spans_total": [((outcome,), n) for outcome, n in s.spans().items()],
                **own_series(reload, WorkersState()),
            },
            {
                "shadowdiff_response_seconds": [(labels, h.copy()) for labels, h in s.response_seconds.items()],
                "shadowdiff_pairing_delay_seconds": [((t,), h.copy()) for t, h in s.pairing_delay_seconds.items()],
            },
        )


class Rendering(Protocol):
    """What answers a scrape."""

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of one scrape and its content type."""
        ...


class Exposition:
    """What a scrape is answered from: the stages' metrics and `process_*`, in a registry of their own."""

    def __init__(self, sources: Sources) -> None:
        self._stages = StageCollector(sources)
        self._process = ProcessCollector(registry=None)
        self.registry = CollectorRegistry()
        self.registry.register(self._stages)
        self.registry.register(self._process)

    def take(self) -> Collector:
        """Copy all figures of this moment; call it on the event loop, and read it anywhere."""
        return _Together((self._stages.take(), self._process))

    async def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of one scrape and its content type: OpenMetrics where `accept` asks for it."""
        taken = self.take()
        return await written(taken, accept)

    def stages(self) -> Taken:
        """Copy the stages' figures of this moment."""
        return self._stages.take()


async def written(taken: Collector, accept: str) -> tuple[bytes, str]:
    """Return figures as text, written in a thread, and its content type."""
    encode, content_type = _encoder(accept)
    return await asyncio.to_thread(encode, taken), content_type


class _Together(Collector):
    """Several collectors as one."""

    def __init__(self, parts: Iterable[Taken | Collector]) -> None:
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        for part in self._parts:
            yield from part.collect()


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")


def _by_disposition(counts: Mapping[tuple[str, ...], Mapping[str, int]]) -> list[Series]:
    """Name what became of each; a row's own sum would count all twice, and what is in flight falls again."""
    return [((*labels, what), n) for labels, row in counts.items() for what, n in row.items() if what not in _NO_END]


def _with_every_result(counts: Mapping[tuple[str, str, str], int]) -> list[Series]:
    """Give each route seen all its results, from 0, so that PromQL finds the series."""
    routes = dict.fromkeys((target, route) for target, route, _ in counts)
    full = {(*route, str(result)): 0 for route in routes for result in Result}
    return list((full | dict(counts)).items())


def _plain(spec: Spec, series: Sequence[Series]) -> Metric:
    family: CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily
    match spec.kind:
        case "counter":
            family = CounterMetricFamily(spec.name.removesuffix("_total"), spec.help, labels=spec.labels)
        case "info":
            info = InfoMetricFamily(spec.name.removesuffix("_info"), spec.help)
            for labels, _ in series:
                info.add_metric((), dict(zip(spec.labels, map(_written, labels), strict=True)))
            return info
        case _:
            family = GaugeMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, value in series:
        family.add_metric([_written(label) for label in labels], value)
    return family


def _histogram(spec: Spec, series: Iterable[tuple[tuple[str, ...], Histogram]]) -> Metric:
    family = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
    for labels, histogram in series:
        family.add_metric([_written(label) for label in labels], _buckets(histogram), histogram.sum_s)
    return family


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return the counts up to each bound, with the bucket's exemplar where it has one."""
    rows: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    below = 0
    for bucket, (bound, count) in enumerate(zip((*map(str, BOUNDS_S), "+Inf"), histogram.counts, strict=True)):
        below += count
        trace_id, seconds = histogram.traces.get(bucket, ("", 0.0))
        if 0 < len(trace_id) <= _TRACE_MOST:
            rows.append((bound, below, Exemplar({"trace_id": _written(trace_id)}, seconds)))
        else:
            rows.append((bound, below))
    return rows


def _written(label: str) -> str:
    """Return a label that UTF-8 can hold: one lone surrogate in a path must not end every scrape."""
    return label.encode("utf-8", "backslashreplace").decode()
