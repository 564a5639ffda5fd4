"""The plain counters of a service at work, as the metrics read them."""

from __future__ import annotations

from dataclasses import dataclass, field

from shadowdiff.telemetry.histogram import Histogram
from shadowdiff.telemetry.metrics import LedgerFigures, ReloadState, Sources, StoreState

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
ROUTE = "GET /products/{id}"


@dataclass
class Stages:
    """The plain counters of a service at work."""

    mirrored: dict[str, dict[str, int]] = field(default_factory=lambda: {"shop": {"forwarded": 7, "shed": 0}})
    comparisons: dict[tuple[str, str, str], int] = field(default_factory=lambda: {("shop", ROUTE, "match"): 5})
    response_seconds: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    ledgers: dict[str, LedgerFigures] = field(
        default_factory=lambda: {
            "shop": LedgerFigures(
                orphans={"candidate": 2, "primary": 0},
                buffered={"primary": 3, "candidate": 0},
                coverage_ratio=0.97,
                mismatch_ratio={"point": 0.01, "lower": 0.005, "upper": 0.02},
                verdict="fail",
                top={(ROUTE, "$['price']", "value"): 7},
            ),
            "quiet": LedgerFigures(orphans={}, buffered={}, coverage_ratio=None, mismatch_ratio={}),
        }
    )
    store_up: bool = True

    def sources(self) -> Sources:
        """Return what the metrics read."""
        delay = Histogram()
        delay.observe(0.02)
        return Sources(
            mirrored=lambda: self.mirrored,
            recorded=lambda: {("shop", "primary"): {"accepted": 9}},
            comparisons=self.comparisons,
            differences={("shop", ROUTE, "value"): 4},
            candidate_failures={("shop", "timeout"): 2},
            shed=lambda: {("shop", "queue"): 1},
            response_seconds=self.response_seconds,
            pairing_delay_seconds={"shop": delay},
            store=lambda: StoreState(up=self.store_up, backend="redis", version="7.0.15", durable=True),
            ledgers=lambda: self.ledgers,
            thresholds=lambda: {("shop", "max_mismatch_ratio"): 0.001},
            spans=lambda: {"exported": 3, "failed": 0, "dropped": 0},
            config_reload=lambda: ReloadState(successful=True, at_s=1_790_000_000.0),
        )
