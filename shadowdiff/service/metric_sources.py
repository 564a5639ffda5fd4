"""Provide the data for telemetry: the stages' counters, and the latest ledger and verdict of each target."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from shadowdiff.intake.counters import Disposition, MirrorCounts
from shadowdiff.model import UNKNOWN_TARGET, Result, Severity, Side
from shadowdiff.pairing import names
from shadowdiff.pairing.ledger import read_ledger
from shadowdiff.queries.causes import current_causes
from shadowdiff.report import State
from shadowdiff.store import STORE_ERRORS, describe_error
from shadowdiff.telemetry.metrics import TargetGauges
from shadowdiff.verdict import LedgerSnapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shadowdiff.config import TargetConfig
    from shadowdiff.intake.counters import IntakeCounters
    from shadowdiff.pairing.ledger import Ledger
    from shadowdiff.queries.causes import Cause
    from shadowdiff.queries.targets import Queries
    from shadowdiff.store import Store
    from shadowdiff.verdict import Verdict

log = logging.getLogger(__name__)

GAUGES_EVERY_S = 5.0
CAUSES_EVERY_MS = 60_000
_WRITTEN = {"forwarded", "withheld", "accepted"}
TOP = 10
"""The number of paths per target that have separate series."""


def ledger_growth(intake: IntakeCounters) -> dict[str, dict[str, int]]:
    """Return the intake's cumulative counts for the ledger, by target and dotted field.

    `received` excludes requests in flight, which are a level, and observations that are counted when they are written.
    """
    rows = {
        target: _growth(
            "mirrored", mirrored.as_dict(), mirrored[Disposition.FORWARDED] + mirrored[Disposition.WITHHELD]
        )
        | _growth("recorded", recorded.as_dict(), recorded[Disposition.ACCEPTED])
        for target in intake.targets()
        for mirrored, recorded in ((intake.mirrored.get(target, MirrorCounts()), intake.records(target)),)
    }
    return rows | {names.routes(target): counts for target, counts in intake.losses.counts.items()}


def _growth(row: str, counts: Mapping[str, int], written: int) -> dict[str, int]:
    growth = {f"{row}.{name}": count for name, count in counts.items() if name not in _WRITTEN}
    growth[f"{row}.received"] -= written + counts["in_flight"]
    return growth


def thresholds(targets: Iterable[TargetConfig]) -> dict[tuple[str, str], float]:
    """Return the limits of each target's gate."""
    return {
        (one.target.name, name): getattr(one.target.gate, name)
        for one in targets
        for name in ("max_mismatch_ratio", "min_coverage")
    }


class CauseGauges(msgspec.Struct, frozen=True):
    """The gauges of one target's causes, in the form of `TargetGauges`."""

    causes: Mapping[tuple[str, str], int] = {}
    new_causes: Mapping[str, int] = {}
    cause_pairs: Mapping[tuple[str, str], int] = {}


def cause_gauges(causes: Sequence[Cause]) -> CauseGauges:
    """Return the gauges of a target's causes, most frequent first."""
    counts = Counter((one.severity.value, one.state.value) for one in causes)
    new = Counter(one.severity.value for one in causes if one.new and not one.noise and one.state is State.OPEN)
    pairs: Counter[tuple[str, str]] = Counter()
    for one in causes[:TOP]:
        pairs[one.place, one.relation] += one.pairs
    return CauseGauges(
        {(severity.value, state.value): counts[severity, state] for severity in Severity for state in State},
        {severity.value: new[severity] for severity in Severity},
        pairs,
    )


def _target_gauges(ledger: Ledger, verdict: Verdict | None, causes: CauseGauges) -> TargetGauges:
    observations, pairs = ledger["observations"], ledger["pairs"]
    compared = ledger["coverage"]["compared"]
    ratio = {"point": pairs[Result.MISMATCH] / compared} if compared else {}
    if verdict is not None and verdict.interval is not None:
        ratio |= {"lower": verdict.interval.lower, "upper": verdict.interval.upper}
        ratio |= {} if verdict.mismatch_ratio is None else {"point": verdict.mismatch_ratio}
    return TargetGauges(
        orphans={
            Side.CANDIDATE: observations[Side.PRIMARY]["orphaned"],
            Side.PRIMARY: observations[Side.CANDIDATE]["orphaned"],
        },
        buffered={side: row["waiting"] for side, row in observations.items()},
        coverage_ratio=ledger["coverage"]["ratio"] if ledger["coverage"]["eligible"] else None,
        mismatch_ratio=ratio,
        verdict=None if verdict is None else str(verdict.verdict),
        top={(one.route, one.path, str(one.kind)): one.count for one in verdict.top[:TOP]} if verdict else {},
        causes=causes.causes,
        new_causes=causes.new_causes,
        cause_pairs=causes.cause_pairs,
    )


class LedgerGauges:
    """The latest ledger and verdict of every target. Both remain if the store is unavailable; scrapes never wait."""

    def __init__(self, store: Store, now_ms: Callable[[], int]) -> None:
        self._ledgers: dict[str, Ledger] = {}
        self.verdicts: dict[str, Verdict] = {}
        self._causes: dict[str, CauseGauges] = {}
        self._causes_ms = 0
        self._store = store
        self._now_ms = now_ms
        self._snapshots = LedgerSnapshots(store)

    def by_target(self) -> dict[str, TargetGauges]:
        """Return the gauges of every target."""
        return {
            name: _target_gauges(ledger, self.verdicts.get(name), self._causes.get(name, CauseGauges()))
            for name, ledger in self._ledgers.items()
        }

    async def run(self, queries: Queries) -> None:
        """Read the ledgers and verdicts every few seconds, in the same way as the pages, until cancelled."""
        while True:
            try:
                await self._read(queries)
            except STORE_ERRORS as error:
                log.debug("store unavailable; gauges keep their values", extra={"error": describe_error(error)})
            await asyncio.sleep(GAUGES_EVERY_S)

    async def _read(self, queries: Queries) -> None:
        views = queries.targets()
        for name in [*(view.target.name for view in views), UNKNOWN_TARGET]:
            self._ledgers[name] = await read_ledger(self._store, name, check_values=False)
            await self._snapshots.keep(name, self._ledgers[name], self._now_ms())
        for view in views:
            self.verdicts[view.target.name] = await queries.verdict(view)
        if not 0 <= self._now_ms() - self._causes_ms < CAUSES_EVERY_MS:
            self._causes_ms = self._now_ms()
            for view in views:
                self._causes[view.target.name] = cause_gauges(await current_causes(queries, view.target.name))
