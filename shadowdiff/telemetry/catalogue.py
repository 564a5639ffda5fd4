"""Every metric that this product names, with its labels, its help and how worker processes' figures become a pod's."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

_EVERY_POD: Final = " Read from the store: the same from every pod, so aggregate with max."
VERDICTS: Final = ("pass", "fail", "insufficient")


Across = Literal["sum", "most", "least", "one", "own"]


class Spec(NamedTuple):
    """One metric as it is announced. kind: `counter`, `gauge`, `histogram` or `info`.

    across: how the figures of one pod's worker processes become the pod's. `one`: all say the same, so that any
    one's will do. `own`: the supervisor's.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str
    across: Across = "sum"


METRICS: Final = {
    spec.name: spec
    for spec in (
        Spec(
            "shadowdiff_mirrored_requests_total",
            "counter",
            ("target", "disposition"),
            "Mirrored requests taken in, by what became of them.",
        ),
        Spec(
            "shadowdiff_records_total",
            "counter",
            ("target", "side", "disposition"),
            "Recorded responses taken in, by what became of them.",
        ),
        Spec(
            "shadowdiff_comparisons_total",
            "counter",
            ("target", "route", "result"),
            "Pairs compared and committed by this pod, by result.",
        ),
        Spec(
            "shadowdiff_differences_total",
            "counter",
            ("target", "route", "kind"),
            "Differences that no rule covers, by kind.",
        ),
        Spec(
            "shadowdiff_orphans_total",
            "counter",
            ("target", "missing"),
            "Observations whose window ended with no partner, by the side that was missing." + _EVERY_POD,
            "most",
        ),
        Spec(
            "shadowdiff_shed_total",
            "counter",
            ("target", "reason"),
            "What a bound turned away, by the bound.",
        ),
        Spec(
            "shadowdiff_response_seconds",
            "histogram",
            ("target", "route", "side"),
            "How long a side took to answer, as measured by whoever recorded it.",
        ),
        Spec(
            "shadowdiff_pairing_delay_seconds",
            "histogram",
            ("target",),
            "From a pair's last observation taken in until its comparison was committed.",
        ),
        Spec(
            "shadowdiff_mismatch_ratio",
            "gauge",
            ("target", "bound"),
            "Mismatches over pairs compared in the current epoch: the point, and both ends of its interval."
            + _EVERY_POD,
            "one",
        ),
        Spec(
            "shadowdiff_coverage_ratio",
            "gauge",
            ("target",),
            "Pairs compared over eligible primaries in the current epoch." + _EVERY_POD,
            "one",
        ),
        Spec(
            "shadowdiff_verdict",
            "gauge",
            ("target", "verdict"),
            "1 for the verdict of now, as the API gives it, and 0 for the other two." + _EVERY_POD,
            "one",
        ),
        Spec(
            "shadowdiff_top_differences",
            "gauge",
            ("target", "route", "path", "kind"),
            "The paths that differ most in the current epoch, at most 10 a target, with their counts." + _EVERY_POD,
            "one",
        ),
        Spec(
            "shadowdiff_gate_threshold",
            "gauge",
            ("target", "threshold"),
            "What the configuration's gate allows or asks for: max_mismatch_ratio and min_coverage.",
            "one",
        ),
        Spec(
            "shadowdiff_candidate_failures_total",
            "counter",
            ("target", "reason"),
            "Committed pairs for which v2 gave no whole response or a 5xx, by what went wrong.",
        ),
        Spec(
            "shadowdiff_buffer_observations",
            "gauge",
            ("target", "side"),
            "Observations parked that wait for their partner." + _EVERY_POD,
            "one",
        ),
        Spec("shadowdiff_store_up", "gauge", (), "Whether the store answered this pod's last call.", "least"),
        Spec(
            "shadowdiff_store_info",
            "info",
            ("backend", "version", "durable"),
            "What the store is, and whether it outlives its process.",
            "one",
        ),
        Spec(
            "shadowdiff_otlp_spans_total",
            "counter",
            ("outcome",),
            "Spans of comparisons, by what became of them on the way to the collector.",
        ),
        Spec(
            "shadowdiff_config_last_reload_successful",
            "gauge",
            (),
            "Whether the last attempt to load the configuration succeeded.",
            "own",
        ),
        Spec(
            "shadowdiff_config_last_reload_timestamp_seconds",
            "gauge",
            (),
            "When the configuration was last loaded or tried, Unix time.",
            "own",
        ),
        Spec("shadowdiff_workers", "gauge", (), "Processes of this pod that take requests.", "own"),
        Spec(
            "shadowdiff_worker_crashes_total",
            "counter",
            (),
            "Processes of this pod that ended by themselves, or were ended since they hung, and were started again.",
            "own",
        ),
        Spec("shadowdiff_build_info", "info", ("version", "python"), "What runs here.", "own"),
    )
}
"""Every metric that this product names; `process_*` stand beside them."""
