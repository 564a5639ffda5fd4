"""The counters of a running service, as the metrics read them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, cast

from shadowdiff.model import Comparison, Result, Side
from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import ReloadState, Sources, StoreState, TargetGauges
from shadowdiff.worker import PairCounters
from tests.fakes.responses import pair_of, response

if TYPE_CHECKING:
    from shadowdiff.telemetry.metrics import PairCounts

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ROUTE = "GET /products/{id}"


def _delays() -> Histogram:
    delays = Histogram()
    delays.observe(0.02)
    return delays


@cache
def worker() -> PairCounters:
    """Return the counters of a worker that committed one matching pair."""
    counters = PairCounters()
    counters.add(pair_of(response(Side.PRIMARY), response(Side.CANDIDATE)), Comparison(result=Result.MATCH), 0.02)
    return counters


@dataclass
class Stages:
    """The counters of a running service."""

    mirrored: dict[str, dict[str, int]] = field(default_factory=lambda: {"shop": {"forwarded": 7, "shed": 0}})
    comparisons: dict[tuple[str, str, str], int] = field(default_factory=lambda: {("shop", ROUTE, "match"): 5})
    differences: dict[tuple[str, str, str], int] = field(default_factory=lambda: {("shop", ROUTE, "value"): 4})
    candidate_failures: dict[tuple[str, str], int] = field(default_factory=lambda: {("shop", "timeout"): 2})
    response_seconds: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    pairing_delay_seconds: dict[str, Histogram] = field(default_factory=lambda: {"shop": _delays()})
    gauges: dict[str, TargetGauges] = field(
        default_factory=lambda: {
            "shop": TargetGauges(
                orphans={"candidate": 2, "primary": 0},
                buffered={"primary": 3, "candidate": 0},
                coverage_ratio=0.97,
                mismatch_ratio={"point": 0.01, "lower": 0.005, "upper": 0.02},
                verdict="fail",
                top={(ROUTE, "$['price']", "value"): 7},
                causes={("value", "open"): 3},
                new_causes={"breaking": 1},
                cause_pairs={("$['price']", "offset"): 7},
            ),
            "quiet": TargetGauges(orphans={}, buffered={}, coverage_ratio=None, mismatch_ratio={}),
        }
    )
    store_up: bool = True

    def __getattr__(self, name: str) -> object:
        """Return a counter of pairs that has no values here, as a worker counts one pair."""
        return getattr(worker(), name)

    def sources(self) -> Sources:
        """Return the sources of the metrics."""
        return Sources(
            mirrored=lambda: self.mirrored,
            recorded=lambda: {("shop", "primary"): {"accepted": 9}},
            pairs=cast("PairCounts", self),
            shed=lambda: {("shop", "queue"): 1},
            store=lambda: StoreState(up=self.store_up, backend="redis", version="7.0.15", durable=True),
            gauges=lambda: self.gauges,
            thresholds=lambda: {("shop", "max_mismatch_ratio"): 0.001},
            spans=lambda: {"exported": 3, "failed": 0, "dropped": 0},
            config_reload=lambda: ReloadState(successful=True, at_s=1_790_000_000.0),
        )
