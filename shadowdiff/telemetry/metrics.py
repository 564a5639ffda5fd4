"""Declare all metrics: the name, labels and help text, how to read the value, and how to combine a pod's processes.

`METRICS` is the registry; `scripts/draw_metrics.py` writes `docs/metrics.md` from it. Stages keep plain counters and
never import this module; a read never changes a count.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, Literal, Protocol

import msgspec

from shadowdiff import __version__
from shadowdiff.telemetry.histogram import Histogram

VERDICTS: Final = ("pass", "fail", "insufficient")
_NOT_FINAL: Final = frozenset({"received", "in_flight"})
"""Not dispositions: a total, and the number of current requests."""
_EVERY_POD: Final = " The value is from the store: every pod reports the same value, so aggregate with max."

Labels = tuple[str, ...]
Reading = tuple[Labels, float | Histogram]
"""The label values and the value of one series."""
Kind = Literal["counter", "gauge", "histogram", "info"]


class StoreState(msgspec.Struct, frozen=True):
    """The store's kind and version, and whether it responds."""

    up: bool
    backend: str
    version: str
    durable: bool


class TargetGauges(msgspec.Struct, frozen=True):
    """The gauges of one target, from its ledger and verdict in the last read of the store.

    orphans: by the missing side. buffered: by the waiting side. coverage_ratio: None before there are eligible
    responses. mismatch_ratio: by bound (`point`, `lower`, `upper`), empty before the first compared pair, because there
    is no ratio yet. verdict: None before it was read. top: (route, path, kind) → count. causes: (severity, state) →
    count. new_causes: severity → count. cause_pairs: (place, relation) → pairs.
    """

    orphans: Mapping[str, int]
    buffered: Mapping[str, int]
    coverage_ratio: float | None
    mismatch_ratio: Mapping[str, float]
    verdict: str | None = None
    top: Mapping[tuple[str, str, str], int] = {}
    causes: Mapping[tuple[str, str], int] = {}
    new_causes: Mapping[str, int] = {}
    cause_pairs: Mapping[tuple[str, str], int] = {}


class ReloadState(msgspec.Struct, frozen=True):
    """Whether the last attempt to load the configuration succeeded, and its Unix time."""

    successful: bool
    at_s: float


class WorkersState(msgspec.Struct, frozen=True):
    """How many processes of this pod accept requests, and how many crashed. A single process counts as one worker."""

    ready: int = 1
    crashes: int = 0


class PairCounts(Protocol):
    """The worker's plain counters, which scrapes read directly. Add a new counter to the worker, and its type here."""

    comparisons: dict[tuple[str, str, str], int]  # by target, route and result
    differences: dict[tuple[str, str, str], int]  # by target, route and kind
    candidate_failures: dict[tuple[str, str], int]  # by target and reason
    response_seconds: dict[tuple[str, str, str], Histogram]  # by target, route and side
    pairing_delay_seconds: dict[str, Histogram]  # by target


class PodSources(msgspec.Struct, frozen=True, kw_only=True):
    """The values that one process (the supervisor, if there is one) reports for the whole pod."""

    config_reload: Callable[[], ReloadState]
    workers: Callable[[], WorkersState] = WorkersState


class Sources(PodSources, frozen=True, kw_only=True):
    """The sources of the values; a scrape reads them on the event loop.

    mirrored: target → disposition → n. recorded: (target, side) → disposition → n. shed: (target, reason) → n.
    gauges: by target. thresholds: by (target, threshold). spans: outcome → n, empty if spans are off.
    """

    mirrored: Callable[[], Mapping[str, Mapping[str, int]]]
    recorded: Callable[[], Mapping[tuple[str, str], Mapping[str, int]]]
    pairs: PairCounts
    shed: Callable[[], Mapping[tuple[str, str], int]]
    store: Callable[[], StoreState]
    gauges: Callable[[], Mapping[str, TargetGauges]]
    thresholds: Callable[[], Mapping[tuple[str, str], float]]
    spans: Callable[[], Mapping[str, int]] = dict


class Metric(msgspec.Struct, frozen=True):
    """One metric. `series` is `name{label,…}`. `read` yields each series; for a histogram it yields a copy.

    combine: how to combine the values of a pod's processes. `any`: all processes have the same value. `store`: the
    same, and every pod reads it from the store; `max` if it only increases. `supervisor`: one process per pod reports
    it, only from `PodSources`.
    """

    kind: Kind
    series: str
    text: str
    read: Callable[[Sources], Iterable[Reading]]
    combine: Literal["sum", "min", "any", "supervisor", "store", "store max"] = "sum"

    @property
    def name(self) -> str:
        """The name without the labels."""
        return self.series.partition("{")[0]

    @property
    def labels(self) -> Labels:
        """The names of the labels."""
        return tuple(re.findall(r"\w+", self.series)[1:])

    @property
    def in_store(self) -> bool:
        """Whether every pod reads the same value from the store."""
        return self.combine.startswith("store")

    @property
    def help(self) -> str:
        """Return the help text that a scrape contains."""
        return self.text + _EVERY_POD * self.in_store


def _dispositions(counts: Mapping[Labels, Mapping[str, int]]) -> Iterator[Reading]:
    for labels, row in counts.items():
        yield from (((*labels, name), count) for name, count in row.items() if name not in _NOT_FINAL)


_counter, _gauge = partial(Metric, "counter"), partial(Metric, "gauge")
_histogram, _info = partial(Metric, "histogram"), partial(Metric, "info")
DECLARED: Final = (
    _counter(
        "shadowdiff_mirrored_requests_total{target,disposition}",
        "Mirrored requests by disposition: forwarded, blocked (the target does not allow the method on this route), "
        "withheld (a GraphQL operation that is not a query), excluded (by include or exclude), sampled_out, "
        "unidentified (no id), looped (shadowdiff sent the request itself), aborted (the sender disconnected), "
        "too_large, shed, store_lost (v2 responded, but the store did not accept the observation).",
        lambda s: _dispositions({(target,): row for target, row in s.mirrored().items()}),
    ),
    _counter(
        "shadowdiff_records_total{target,side,disposition}",
        "Recorded responses by disposition: accepted, ineligible (the target does not allow the method on this "
        "route), excluded (by include or exclude), sampled_out, refused (the record is invalid), shed, store_lost (the "
        "store did not accept the observation).",
        lambda s: _dispositions(s.recorded()),
    ),
    _counter(
        "shadowdiff_comparisons_total{target,route,result}",
        "Pairs that this pod compared and committed, by result: match, ignored, mismatch, incomparable. When a route "
        "gets its first pair, all four series start at 0.",
        lambda s: s.pairs.comparisons.items(),
    ),
    _counter(
        "shadowdiff_differences_total{target,route,kind}",
        "Differences that no rule covers, by kind: status, header, type, value, added, removed, order, text, bytes.",
        lambda s: s.pairs.differences.items(),
    ),
    _counter(
        "shadowdiff_orphans_total{target,missing}",
        "Observations whose partner did not arrive within the pairing window. The label `missing` is the partner's "
        "side.",
        lambda s: (((t, side), n) for t, gauges in s.gauges().items() for side, n in gauges.orphans.items()),
        "store max",
    ),
    _counter(
        "shadowdiff_shed_total{target,reason}",
        "Requests and records that shadowdiff shed, by the limit that was reached. The runbook ShadowdiffShedding "
        "explains each limit.",
        lambda s: s.shed().items(),
    ),
    _histogram(
        "shadowdiff_response_seconds{target,route,side}",
        "Response times of each side, as its recorder measured them. Exemplars contain the trace id.",
        lambda s: ((labels, histogram.copy()) for labels, histogram in s.pairs.response_seconds.items()),
    ),
    _histogram(
        "shadowdiff_pairing_delay_seconds{target}",
        "Time from the last observation of a pair to the commit of its comparison.",
        lambda s: (((t,), histogram.copy()) for t, histogram in s.pairs.pairing_delay_seconds.items()),
    ),
    _gauge(
        "shadowdiff_mismatch_ratio{target,bound}",
        "Share of the compared pairs of the current run that are mismatches: point is the share, lower and upper are "
        "the bounds of its interval. The series start when the run's first pair is compared.",
        lambda s: (((t, bound), n) for t, gauges in s.gauges().items() for bound, n in gauges.mismatch_ratio.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_coverage_ratio{target}",
        "Share of v1's eligible responses in the current run that were compared. The series starts with the run's "
        "first eligible response.",
        lambda s: (((t,), g.coverage_ratio) for t, g in s.gauges().items() if g.coverage_ratio is not None),
        "store",
    ),
    _gauge(
        "shadowdiff_verdict{target,verdict}",
        "1 if the current verdict is the label's value (pass, fail or insufficient), else 0.",
        lambda s: (
            ((target, verdict), float(verdict == gauges.verdict))
            for target, gauges in s.gauges().items()
            if gauges.verdict is not None
            for verdict in VERDICTS
        ),
        "store",
    ),
    _gauge(
        "shadowdiff_top_differences{target,route,path,kind}",
        "Pairs of the current run that differ at a path, for the 10 most frequent paths of a target. Array indexes in "
        "paths are written as [*], and ids in keys and lines by their form, such as [{uuid}].",
        lambda s: (((t, *labels), n) for t, gauges in s.gauges().items() for labels, n in gauges.top.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_causes{target,severity,state}",
        "Causes of mismatches in the current run, by severity (breaking, value, additive) and state (open, "
        "acknowledged, expected, fixed). A pod reads them once a minute.",
        lambda s: (((t, *labels), n) for t, gauges in s.gauges().items() for labels, n in gauges.causes.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_new_causes{target,severity}",
        "Open causes that were first seen with v2's current revision, after another revision, without those that are "
        "noise.",
        lambda s: (((t, severity), n) for t, gauges in s.gauges().items() for severity, n in gauges.new_causes.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_cause_pairs{target,place,relation}",
        "Pairs of the current run that a cause explains, for the 10 causes of a target with most pairs. The relation "
        "is how v2's value follows from v1's, or other.",
        lambda s: (((t, *labels), n) for t, gauges in s.gauges().items() for labels, n in gauges.cause_pairs.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_gate_threshold{target,threshold}",
        "The configured limits for a pass: max_mismatch_ratio and min_coverage.",
        lambda s: s.thresholds().items(),
        "any",
    ),
    _counter(
        "shadowdiff_candidate_failures_total{target,reason}",
        "Pairs in which v2 sent no complete response, a 5xx, or GraphQL errors that v1 did not send, by reason: "
        "refused, unresolved, timeout, reset, tls_untrusted, tls_expired, tls_name_mismatch, "
        "tls_client_certificate_required, tls_failed, malformed, saturated, breaker_open, status_5xx, graphql_errors. "
        "When a target gets its first pair, all series start at 0.",
        lambda s: s.pairs.candidate_failures.items(),
    ),
    _gauge(
        "shadowdiff_buffer_observations{target,side}",
        "Observations in the store that wait for their partners.",
        lambda s: (((t, side), n) for t, gauges in s.gauges().items() for side, n in gauges.buffered.items()),
        "store",
    ),
    _gauge(
        "shadowdiff_store_up",
        "1 if the store responded to this pod's last call, else 0.",
        lambda s: [((), float(s.store().up))],
        "min",
    ),
    _info(
        "shadowdiff_store_info{backend,version,durable}",
        "Always 1. The labels describe the store. If durable is false, its data is lost when the process exits.",
        lambda s: (((one.backend, one.version, str(one.durable).lower()), 1.0) for one in (s.store(),)),
        "any",
    ),
    _counter(
        "shadowdiff_otlp_spans_total{outcome}",
        "Spans of comparisons by outcome: exported, failed (the collector did not accept them in time), dropped (the "
        "queue was full: telemetry.queue). If spans are off, there are no series.",
        lambda s: (((outcome,), n) for outcome, n in s.spans().items()),
    ),
    _gauge(
        "shadowdiff_config_last_reload_successful",
        "1 if the last attempt to load the configuration succeeded. 0 if it failed: the previous configuration is "
        "active.",
        lambda s: [((), float(s.config_reload().successful))],
        "supervisor",
    ),
    _gauge(
        "shadowdiff_config_last_reload_timestamp_seconds",
        "Unix time of the last attempt to load the configuration.",
        lambda s: [((), s.config_reload().at_s)],
        "supervisor",
    ),
    _gauge(
        "shadowdiff_workers",
        "Processes of this pod that accept requests. Without `serve --workers`, it is 1.",
        lambda s: [((), s.workers().ready)],
        "supervisor",
    ),
    _counter(
        "shadowdiff_worker_crashes_total",
        "How often a process of this pod exited or hung, and was restarted.",
        lambda s: [((), s.workers().crashes)],
        "supervisor",
    ),
    _info(
        "shadowdiff_build_info{version,python}",
        "Always 1. The labels are the versions of shadowdiff and Python.",
        lambda _: [((__version__, platform.python_version()), 1.0)],
        "supervisor",
    ),
)
METRICS: Final = {metric.name: metric for metric in DECLARED}
"""By name, in the order of a scrape; `process_*` metrics follow them."""
