"""What telemetry reads of this process: the stages' plain counters, and the store's ledgers as last read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowdiff.intake.books import MirrorRow
from shadowdiff.model import Result, Side
from shadowdiff.pairing import routes_name
from shadowdiff.telemetry.metrics import LedgerFigures, ReloadState, Sources, StoreState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shadowdiff.config import TargetConfig
    from shadowdiff.intake.books import Books
    from shadowdiff.pairing import Ledger
    from shadowdiff.verdict import Verdict
    from shadowdiff.worker import Tally


TOP = 10
"""Paths that a target shows as series of their own."""


def snapshot(books: Books) -> dict[str, dict[str, int]]:
    """Return what the store does not know yet of the intake: cumulative counts by target and dotted field.

    What was parked is booked where it is parked, and what is in flight is a level: neither is in `received` here.
    """
    rows = {
        target: _untold("mirrored", mirrored.counts(), mirrored.forwarded)
        | _untold("recorded", recorded.counts(), recorded.accepted)
        for target in books.targets()
        for mirrored, recorded in ((books.mirrored.get(target, MirrorRow()), books.records(target)),)
    }
    return rows | {routes_name(target): counts for target, counts in books.losses.counts.items()}


def _untold(row: str, counts: Mapping[str, int], parked: int) -> dict[str, int]:
    told = {f"{row}.{name}": count for name, count in counts.items() if name not in {"forwarded", "accepted"}}
    told[f"{row}.received"] -= parked + counts["in_flight"]
    return told


def _dispositions(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name not in {"received", "in_flight"}}


def thresholds(targets: Iterable[TargetConfig]) -> dict[tuple[str, str], float]:
    """Return what each target's gate allows or asks for."""
    return {
        (target.target.name, name): value
        for target in targets
        for name, value in (
            ("max_mismatch_ratio", target.target.gate.max_mismatch_ratio),
            ("min_coverage", target.target.gate.min_coverage),
        )
    }


def ledger_figures(ledger: Ledger, verdict: Verdict | None = None) -> LedgerFigures:
    """Return the gauges of one target's ledger, and of its verdict where there is one."""
    observations, pairs = ledger["observations"], ledger["pairs"]
    compared = ledger["coverage"]["compared"]
    ratio = {"point": pairs[Result.MISMATCH] / compared} if compared else {}
    if verdict is not None and verdict.interval is not None:
        ratio |= {"lower": verdict.interval.lower, "upper": verdict.interval.upper}
        ratio |= {} if verdict.mismatch_ratio is None else {"point": verdict.mismatch_ratio}
    return LedgerFigures(
        orphans={
            Side.CANDIDATE: observations[Side.PRIMARY]["orphaned"],
            Side.PRIMARY: observations[Side.CANDIDATE]["orphaned"],
        },
        buffered={side: row["waiting"] for side, row in observations.items()},
        coverage_ratio=ledger["coverage"]["ratio"] if ledger["coverage"]["eligible"] else None,
        mismatch_ratio=ratio,
        verdict=None if verdict is None else str(verdict.verdict),
        top={(one.route, one.path, str(one.kind)): one.count for one in verdict.top[:TOP]} if verdict else {},
    )


def sources(
    books: Books,
    tally: Tally,
    *,
    store: Callable[[], StoreState],
    ledgers: Mapping[str, Ledger],
    verdicts: Mapping[str, Verdict],
    targets: Callable[[], Iterable[TargetConfig]],
    reload: Callable[[], ReloadState],
    spans: Callable[[], Mapping[str, int]],
) -> Sources:
    """Return what a scrape reads."""
    return Sources(
        mirrored=lambda: {target: _dispositions(row.counts()) for target, row in books.mirrored.items()},
        recorded=lambda: {
            (target, str(side)): _dispositions(row.counts()) for (target, side), row in books.recorded.items()
        },
        comparisons=tally.comparisons,
        differences=tally.differences,
        candidate_failures=tally.candidate_failures,
        shed=lambda: books.shed_reasons,
        response_seconds=tally.response_seconds,
        pairing_delay_seconds=tally.pairing_delay_seconds,
        store=store,
        ledgers=lambda: {target: ledger_figures(ledger, verdicts.get(target)) for target, ledger in ledgers.items()},
        thresholds=lambda: thresholds(targets()),
        config_reload=reload,
        spans=spans,
    )
